"""Data of a training in files that all processes of a machine map into their memory, so that they are there once.

A file's name says what is in it: for images their names, sizes and times of change, and how they were decoded. A file
of that name and of the right length holds these data; it is written whole or not at all, by one process. It ends with a
hash of the data, by which a run that goes on knows them again, also from a copy of the files with other times.
"""

import errno
import hashlib
import json
import math
import os
import re
import shutil
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import PIL
import torch
from torch import Tensor
from tqdm import tqdm

from parsing import files
from parsing.cache.lock import LockedError, hold_lock
from parsing.errors import CacheError, CsclError, first_line
from parsing.images import STRETCH, UnreadableImageError
from parsing.progress import Bar

from .images import load_image_with_hash

Buffer = bytes | memoryview
FORMAT = 2
HASH_SIZE = 32
"""Number of bytes of the hash at the end of a file."""
AHEAD = 256
"""Number of images that may be decoded before they are written; bounds the memory."""


class Content(NamedTuple):
    """What a store holds: arrays (N, *shape) uint8, and the SHA-256 of what they are made of, see `Store.compute`."""

    arrays: Tensor
    hash: str


class Store:
    """N arrays of uint8 of one shape, one for each name, computed once into a file in `folder`.

    Args:
        folder: of the stores of a cache, see `find_folder`.
        group: of the file's name: files of one group replace each other.
        content: what decides the arrays, as JSON; a file of something else is not used.
        names: N names.
        shape: of one array.

    Attributes:
        path: the file: (N, *shape) uint8 and the 32 bytes of the hash.
        what: the data, in messages.
    """

    what: str

    def __init__(
        self, folder: Path, group: str, content: Mapping[str, Any], names: Sequence[str], shape: tuple[int, ...]
    ) -> None:
        self.names, self._group = list(names), group
        self.path = folder / f"{group}-{digest({'format': FORMAT, **content})[:16]}.uint8"
        self.shape = (len(self.names), *shape)

    def compute(self) -> Iterator[tuple[Tensor, Buffer]]:
        """Yield the arrays in order, with or without a first dimension for several of them, and what is hashed of them.

        That depends on the data alone, and not on when or with which versions they are read.
        """
        raise NotImplementedError

    @property
    def bytes(self) -> int:
        """The length of the arrays in the file."""
        return math.prod(self.shape)

    def exists(self) -> bool:
        """Return whether the file is there in its whole length."""
        return self.path.is_file() and self.path.stat().st_size == self.bytes + HASH_SIZE

    def make(self) -> str | None:
        """Write the file if it is not there; return why it cannot be written, or None.

        If another process is writing it, wait for that.

        Raises:
            UnreadableImageError, CacheError: if an image or a mask cannot be read; the message names it.
        """
        waiting = False
        while not self.exists():
            try:
                with hold_lock(self.path, "cscl train", folder=self.path.parent):
                    if not self.exists():
                        self._write()
            except (UnreadableImageError, CacheError):
                raise
            except LockedError as error:
                if not waiting:
                    tqdm.write(f"note: {first_line(error)}; waiting", file=sys.stderr)
                waiting = True
                time.sleep(1)
            except (OSError, CsclError) as error:
                return error.strerror or str(error) if isinstance(error, OSError) else first_line(error)
        return None

    def open(self) -> Content:
        """Return all arrays, mapped from the file, and their hash; computed into memory if there is no file.

        What a process changes in the arrays stays in its own memory.

        Raises:
            UnreadableImageError, CacheError: if an image or a mask cannot be read; the message names it.
        """
        if self.exists():
            with open(self.path, "rb") as file:
                file.seek(self.bytes)
                stored = file.read()
            mapped = torch.from_file(str(self.path), shared=False, size=self.bytes, dtype=torch.uint8)
            return Content(mapped.view(self.shape), stored.hex())
        found, made_of = torch.empty(self.shape, dtype=torch.uint8), hashlib.sha256()
        flat, done = found.flatten(), 0
        for some in self._compute_with_bar(made_of.update):
            flat[done : done + some.numel()] = some.flatten()
            done += some.numel()
        return Content(found, made_of.hexdigest())

    def _write(self) -> None:
        folder = self.path.parent
        # of killed processes: those that live hold the lock of their file
        for half in files.find_leftovers(folder, re.compile(re.escape(self.path.name))):
            half.unlink(missing_ok=True)
        if shutil.disk_usage(folder).free < self.bytes:
            raise OSError(errno.ENOSPC, f"{self.bytes / 1e9:.1f} GB do not fit")
        made_of = hashlib.sha256()
        with files.replacing(self.path) as temporary, open(temporary, "xb") as file:
            for some in self._compute_with_bar(made_of.update):
                file.write(some.contiguous().numpy().data)
            file.write(made_of.digest())
            file.flush()
            os.fsync(file.fileno())  # else a power cut may leave zeros under the name
        for old in folder.glob(f"{self._group}-*.uint8"):  # of data that have changed since
            if old != self.path:
                old.unlink(missing_ok=True)

    def _compute_with_bar(self, update: Callable[[Buffer], None]) -> Iterator[Tensor]:
        """Yield the arrays of `compute`, and call `update` with what is hashed of them."""
        one = math.prod(self.shape[1:])
        with Bar(total=len(self.names), unit="image", desc=f"read {self.what}") as bar:
            for some, hashed in self.compute():
                update(hashed)
                yield some
                bar.update(some.numel() // one)


class ImageStore(Store):
    """The images (3, *size) of a list of files at one size.

    Args:
        folder: of the stores of a cache, see `find_folder`.
        root: folder of the images.
        names: N image files below `root`.
        size: (height, width) to which they are stretched.
        about: what else the store belongs to, as JSON.

    Raises:
        UnreadableImageError: if a file is not there.
    """

    what = "images"

    def __init__(
        self, folder: Path, root: Path, names: Sequence[str], size: tuple[int, int], about: Mapping[str, Any]
    ) -> None:
        self.root, self.size = root, size
        super().__init__(
            folder,
            group=f"{size[0]}x{size[1]}-{digest(list(names))[:12]}",
            content={
                "about": about, "stretch": STRETCH, "pillow": PIL.__version__,
                "files": [_stamp(root, name) for name in names],
            },
            names=names,
            shape=(3, *size),
        )  # fmt: skip

    def compute(self) -> Iterator[tuple[Tensor, Buffer]]:
        """Yield the decoded images in order, each with the hash of its file; threads decode them."""
        ahead: deque[Future[tuple[Tensor, str]]] = deque()
        with ThreadPoolExecutor() as pool:
            for number, name in enumerate(self.names, start=1):
                ahead.append(pool.submit(load_image_with_hash, self.root / name, self.size))
                while len(ahead) > AHEAD or (ahead and number == len(self.names)):
                    image, content = ahead.popleft().result()
                    yield image, content.encode()


def find_folder(cache: Path) -> Path:
    """Return the folder of the stores of a cache, `sysu_masks.images` for `sysu_masks.h5`; it may be removed."""
    return cache.with_suffix(".images")


def _stamp(root: Path, name: str) -> list[str | int]:
    """Return the name of a file with what shows that it was changed."""
    try:
        found = (root / name).stat()
    except FileNotFoundError:
        raise UnreadableImageError(f"{root / name}: no such file") from None
    return [name, found.st_size, found.st_mtime_ns]


def digest(content: Any) -> str:
    """Return the SHA-256 of JSON."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
