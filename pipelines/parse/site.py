"""What dask's processes must have in common with a run: versions, and workers the images and the cache's folder."""

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
"""Those that decide which bytes come out, or whether the two sides understand each other."""


@dataclass(frozen=True)
class Site:
    """What both sides must see: the lock of the run, folder and one image of the data set, folder of the shards."""

    lock: Lock
    root: Path
    sample: str
    shards: Path
    versions: tuple[tuple[str, str], ...]

    def check_versions(self, who: str) -> None:
        """CsclError where this process, `who`, has other versions than the run."""
        if self.versions != versions():
            here = dict(versions())
            differ = ", ".join(
                f"{name} {here.get(name)} (the run's is {v})" for name, v in self.versions if here.get(name) != v
            )
            raise CsclError(f"{who}: {differ}; install the same versions on both sides")

    def check(self) -> None:
        """CsclError where this process cannot parse for the run, saying why and where."""
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
    """`Site.check_versions` of a scheduler: it unpickles the tasks that it hands on."""
    site.check_versions(f"the dask scheduler on {socket.gethostname()}")


def check_writing(site: Site) -> None:
    """`Site.check`, and that this process may write shards."""
    site.check()
    try:
        probe_folder(site.shards, shard_name(0))
    except OSError as error:
        raise CsclError(
            f"worker on {socket.gethostname()}: {site.shards} cannot be written to ({error.strerror})"
        ) from error


@cache
def versions() -> tuple[tuple[str, str], ...]:
    """Name and version of Python, of the packages that matter, and a hash of the code that parses."""
    code = hashlib.sha256()
    ours = Path(parsing.__file__).parent
    for file in sorted([*ours.rglob("*.py"), *Path(__file__).parent.glob("*.py")]):
        code.update(file.name.encode() + b"\0" + file.read_bytes())
    return (
        ("python", ".".join(platform.python_version_tuple()[:2])),
        *((name, metadata.version(name).partition("+")[0]) for name in PACKAGES),
        ("cscl's code", code.hexdigest()[:12]),
    )
