"""The task that `cscl parse` sends to a worker: the images of one shard; importing this loads no torch.

What it does is in `work`, which workers import.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

from data.records import Record
from parsing.errors import CsclError, InputError, first_line
from parsing.parsers.spec import ParserSpec

from .site import Site

Result = TypeVar("Result")


@dataclass(frozen=True)
class ShardTask:
    """One shard to parse and write.

    Attributes:
        path: file of the shard.
        records: its images.
        attributes: HDF5 attributes of the file.
        parser: parser and its options.
        site: what the worker must have in common with the run.
        size: (height, width) of the masks, in pixels.
        batch_size: number of images per batch; None for the default of the device.
        flip: whether to average an image and its mirror image.
        probs: whether to store class probabilities.
        fatal: rows of images that killed every process that parsed them; they get a status and are not read.
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


class TaskFailedError(RuntimeError):
    """Raised for an unexpected exception in a task, as text: not every exception can be sent from worker to run."""


def make_errors_plain(function: Callable[..., Result]) -> Callable[..., Result]:
    """Return `function` changed so that it raises InputError, CsclError or TaskFailedError, without a cause.

    Dask cannot send an exception that is of several built-in kinds, as MissingError is, or was caused by such a one.
    """

    @wraps(function)
    def wrapped(*args: Any) -> Result:
        try:
            return function(*args)
        except InputError as error:
            failure: Exception = InputError(str(error))
        except CsclError as error:
            failure = CsclError(str(error))
        except Exception as error:
            failure = TaskFailedError(f"{type(error).__name__}: {first_line(error)}")
        raise failure

    return wrapped


@make_errors_plain
def parse_shard(task: ShardTask) -> str:
    """Parse the images of a shard, write its file, and return the SHA-256; masks are not sent over the network."""
    from .work import write_shard

    return write_shard(task)


@make_errors_plain
def try_rows(task: ShardTask, rows: Sequence[int]) -> None:
    """Parse these rows of the task and discard the masks, to see whether the process survives."""
    from .work import parse_rows

    parse_rows(task, rows)


def name_progress_topic(site: Site) -> str:
    """Return the dask topic under which workers report images; one per run, since a scheduler may serve several."""
    return f"cscl-images-{site.lock.line.rpartition(',')[2].strip()}"
