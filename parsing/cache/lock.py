"""The lock of a mask cache or of a run's folder: one process writes at a time, a killed one leaves nothing to clear."""

import errno
import fcntl
import os
import re
import secrets
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..errors import CsclError, InputError
from ..files import probe_folder
from ..stopping import StopRequest
from .index import shard_folder, shard_name

NO_FLOCK = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)
OUT_OF_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class LockedError(CsclError):
    """Another process is writing to the cache or the run."""


@dataclass(frozen=True)
class Lock:
    """A lock that is held: its file, and the line in it, which no other run has.

    Whoever reads this line from this path sees the same folder as the run that holds the lock, while it holds it.
    """

    path: Path
    line: str

    def seen(self) -> bool:
        """Return whether the file is there with our line."""
        try:
            return self.path.read_text(encoding="utf-8") == self.line
        except (OSError, UnicodeDecodeError):
            return False


@contextmanager
def hold_lock(subject: Path, purpose: str, folder: Path | None = None) -> Iterator[Lock]:
    """Hold the lock of a cache or a run for the block: the file `SUBJECT.lock` beside it.

    A Ctrl-C while the lock is taken waits for that and leaves no file behind.

    Args:
        subject: a cache's index file, or a run's folder.
        purpose: what the lock is for, in a word or two; other processes show it.
        folder: what is made, and tried whether it can be written to; None for the folder of the cache's shards.

    Raises:
        LockedError: if another process holds the lock; it names that process.
        InputError: if the place cannot be written to.
        CsclError: if the disk is full.
    """
    folder = folder or shard_folder(subject)
    since = time.strftime("%Y-%m-%d %H:%M:%S")
    line = f"{purpose}, process {os.getpid()} on {socket.gethostname()}, since {since}, {secrets.token_hex(8)}\n"
    held = None
    try:
        with StopRequest(impatient=False) as stop:
            held = _hold(subject, folder, line)
        if stop.asked:
            raise KeyboardInterrupt
        yield Lock(held[0].absolute(), line)
    finally:
        if held:
            _give_back(*held)


def _hold(subject: Path, folder: Path, line: str) -> tuple[Path, int]:
    """Return the lock's path, and its open file with our line in it."""
    path = subject.with_name(f"{subject.name}.lock")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe_folder(folder, shard_name(0))
        file = _take(path, subject)
        if file is None:  # no flock here
            path = path.with_suffix(".held")
            file = _create(path, subject)
        try:
            os.ftruncate(file, 0)
            os.pwrite(file, line.encode(), 0)
        except OSError:
            _give_back(path, file)
            raise
    except OSError as error:
        kind = CsclError if error.errno in OUT_OF_SPACE else InputError
        raise kind(f"{subject}: {subject.parent} cannot be written to ({error.strerror})") from error
    return path, file


def _give_back(path: Path, file: int) -> None:
    path.unlink(missing_ok=True)
    os.close(file)


def _take(path: Path, subject: Path) -> int | None:
    """Return the open file under an flock, which ends with its process; None if the file system has no flock."""
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(file), os.stat(path)):
                return file
            os.close(file)  # its last holder removed it just now
        except FileNotFoundError:
            os.close(file)
        except BlockingIOError:
            holder = _first_line(path)
            os.close(file)
            raise LockedError(f"{subject} is being written to by {holder}; wait for it or stop it") from None
        except OSError as error:
            os.close(file)
            if error.errno not in NO_FLOCK:
                raise
            path.unlink(missing_ok=True)
            return None


def _create(path: Path, subject: Path) -> int:
    """Return the open file, created by us alone; one that a dead process of this machine left is replaced."""
    while True:
        try:
            return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
        except FileExistsError:
            holder = _first_line(path)
            found = re.search(r"process (\d+) on (\S+),", holder)
            if found and found[2] == socket.gethostname() and not _alive(int(found[1])):
                path.unlink(missing_ok=True)
                continue
            raise LockedError(
                f"{subject} is being written to by {holder}; wait for it or stop it (this file system has no locks: "
                f"if it is gone, delete {path})"
            ) from None


def _first_line(path: Path) -> str:
    """Return the holder that a lock names, without the token."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").rpartition(",")[0] or "another run"
    except OSError:
        return "another run"


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
