"""Check that dask's processes match the run: same versions; workers see the images and the folder of the cache."""

import hashlib
import platform
import socket
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path

import parsing
from parsing.cache.index import shard_name
from parsing.cache.lock import Lock
from parsing.errors import CsclError
from parsing.files import probe_folder

PACKAGES = ("torch", "numpy", "h5py", "pillow", "dask", "distributed")
"""Packages whose version may change the masks, or the messages between the processes."""


@dataclass(frozen=True)
class Site:
    """What a run and its workers must have in common.

    Attributes:
        lock: lock of the run on the cache.
        root: folder of the images.
        sample: name of one image in it.
        shards: folder of the shards.
        versions: see `list_versions`.
    """

    lock: Lock
    root: Path
    sample: str
    shards: Path
    versions: tuple[tuple[str, str], ...]

    def check_versions(self, who: str) -> None:
        """Check that this process has the versions of the run.

        Args:
            who: description of this process, for the error.

        Raises:
            CsclError: if they differ.
        """
        if self.versions != list_versions():
            here = dict(list_versions())
            differ = ", ".join(
                f"{name} {here.get(name)} (the run's is {v})" for name, v in self.versions if here.get(name) != v
            )
            raise CsclError(f"{who}: {differ}; install the same versions on both sides")

    def check(self) -> None:
        """Check that this process can parse for the run.

        Raises:
            CsclError: if its versions differ, or it does not see the lock or the images.
        """
        self.check_versions(f"worker on {socket.gethostname()}")
        if not self.lock.seen():
            raise CsclError(
                f"worker on {socket.gethostname()}: does not see the run's lock {self.lock.path}; the cache must lie "
                "in a folder that all machines share under one path (or the run has ended)"
            )
        if not (self.root / self.sample).is_file():
            raise CsclError(
                f"worker on {socket.gethostname()}: does not see the image {self.root / self.sample}; the data set "
                "must lie in a folder that all machines share under one path"
            )


def check_scheduler(site: Site) -> None:
    """Check the versions of a scheduler, see `Site.check_versions`: it unpickles the tasks that it passes on."""
    site.check_versions(f"the dask scheduler on {socket.gethostname()}")


def check_writing(site: Site) -> None:
    """Check a worker, see `Site.check`, and that it can write shards.

    Raises:
        CsclError: if not.
    """
    site.check()
    try:
        probe_folder(site.shards, shard_name(0))
    except OSError as error:
        raise CsclError(
            f"worker on {socket.gethostname()}: {site.shards} cannot be written to ({error.strerror})"
        ) from error


@cache
def list_versions() -> tuple[tuple[str, str], ...]:
    """Return name and version of Python and of PACKAGES, and a hash of the code that parses."""
    code = hashlib.sha256()
    ours = Path(parsing.__file__).parent
    for file in sorted([*ours.rglob("*.py"), *Path(__file__).parent.glob("*.py")]):
        code.update(file.name.encode() + b"\0" + file.read_bytes())
    return (
        ("python", ".".join(platform.python_version_tuple()[:2])),
        *((name, metadata.version(name).partition("+")[0]) for name in PACKAGES),
        ("cscl's code", code.hexdigest()[:12]),
    )
