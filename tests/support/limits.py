"""Places that cannot take a file, also for the superuser, as whom the tests may run."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NEVER_WRITTEN = Path("/proc")
"""A folder in which nobody can create a file; there on Linux alone."""


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Let no file of this process grow beyond `size` bytes: writing on fails as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
