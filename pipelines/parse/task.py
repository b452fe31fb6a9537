"""The task that `cscl parse` sends to a worker: the images of one shard; importing this loads no torch.

What it does is in `work`, which workers import.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

from data.records import Record
from parsing.cache.shard import StoredFile
from parsing.errors import CsclError, first_line
from parsing.parsers.spec import ParserSpec

from .site import Site

Result = TypeVar("Result")


@dataclass(frozen=True)
class ShardTask:
    """One shard to write: where, which images, with which parser and options.

    fatal: rows of images that killed every process that parsed them; they are recorded, not touched.
    """

    path: Path
    records: Sequence[Record]
    attributes: Mapping[str, Any]
    parser: ParserSpec
    site: Site
    size: tuple[int, int]
    batch_size: int | None
    flip: bool
    probs: bool
    fatal: frozenset[int] = frozenset()

    @property
    def names(self) -> list[str]:
        """Names of the images, in order."""
        return [record.name for record in self.records]

    def is_done(self, whole: Mapping[str, StoredFile]) -> bool:
        """Return whether the shard is among the `whole` ones, by file name, and holds what this task would write."""
        stored = whole.get(self.path.name)
        return stored is not None and stored.fits(self.names, self.attributes)


class TaskFailedError(RuntimeError):
    """Any error in a task that is not one of ours, as text: not every exception reaches the other side of dask."""


def plain_errors(function: Callable[..., Result]) -> Callable[..., Result]:
    """Raise what is no error of ours as TaskFailedError."""

    @wraps(function)
    def wrapped(*args: Any) -> Result:
        try:
            return function(*args)
        except CsclError:
            raise
        except Exception as error:
            raise TaskFailedError(f"{type(error).__name__}: {first_line(error)}") from None

    return wrapped


@plain_errors
def parse_shard(task: ShardTask) -> str:
    """Write the shard and return its SHA-256; the masks themselves never travel."""
    from .work import write_shard

    return write_shard(task)


@plain_errors
def try_rows(task: ShardTask, rows: Sequence[int]) -> None:
    """Parse these rows of the task and keep nothing: does the process live through it?"""
    from .work import parse_rows

    parse_rows(task, rows)


def progress_topic(site: Site) -> str:
    """Under what a run's workers report images; other runs of the same scheduler have their own."""
    return f"cscl-images-{site.lock.line.rpartition(',')[2].strip()}"
