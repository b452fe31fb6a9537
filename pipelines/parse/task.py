"""The task that `cscl parse` sends to a worker: parse the images of one shard and write it."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache, wraps
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from distributed import get_worker
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from data.records import Record
from parsing.cache.builder import ShardBuilder
from parsing.cache.shard import Status, StoredFile
from parsing.errors import CacheError, CsclError, first_line
from parsing.images import UnreadableImageError, read_image
from parsing.parsers.base import Parser
from parsing.parsers.confidence import confidence, winners
from parsing.parsers.registry import ParserSpec, find_parser

from ..devices import find_device
from .site import Site

Decoded = tuple[Tensor, tuple[int, int]]
Result = TypeVar("Result")
_one_at_a_time = threading.Lock()
"""The threads of one worker share a parser and torch's settings."""


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

    @property
    def names(self) -> list[str]:
        """Names of the images, in order."""
        return [record.name for record in self.records]

    def is_done(self, whole: Mapping[str, StoredFile]) -> bool:
        """Return whether the complete shards `whole`, by file name, contain what this task would write."""
        stored = whole.get(self.path.name)
        return stored is not None and stored.fits(self.names, self.attributes)


@dataclass(frozen=True)
class Batch:
    """Readable images of a shard: their rows, prepared for the parser, with their (height, width)."""

    rows: list[int]
    images: list[Tensor]
    sizes: list[tuple[int, int]]


class TaskFailedError(RuntimeError):
    """Raised for an unexpected exception in a task, as text: not every exception can be sent from worker to run."""


def plain_errors(function: Callable[..., Result]) -> Callable[..., Result]:
    """Return `function` changed so that it raises TaskFailedError instead of any exception but CsclError."""

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
    """Parse the images of a shard, write its file, and return the SHA-256; masks are not sent over the network."""
    with _ready(task) as parser:
        height, width = task.size
        probs_shape = (len(parser.labels), height // 4, width // 4) if task.probs else None
        shard = ShardBuilder(task.records, task.size, probs_shape)
        shard.status[sorted(task.fatal)] = Status.FATAL
        rows = [row for row in range(len(task.records)) if row not in task.fatal]
        for batch, scores, agreement in _answers(task, parser, rows):
            top, classes = winners(scores)
            shard.put(
                batch.rows,
                classes.cpu().numpy(),
                batch.sizes,
                confidence(scores, top, classes, agreement, parser.labels).numpy(),
                None if probs_shape is None else _small(scores, probs_shape[1:]),
            )
    return shard.write(task.path, task.attributes).sha256


def _small(scores: Tensor, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return probabilities (B, C, H, W) as (B, C, *size) in 1/255."""
    return (F.interpolate(scores, size, mode="area") * 255).round().to(torch.uint8).cpu().numpy()


@plain_errors
def try_rows(task: ShardTask, rows: Sequence[int]) -> None:
    """Parse these rows of the task and discard the masks, to see whether the process survives."""
    with _ready(task) as parser:
        for _ in _answers(task, parser, rows):
            pass


def progress_topic(site: Site) -> str:
    """Return the dask topic under which workers report images; one per run, since a scheduler may serve several."""
    return f"cscl-images-{site.lock.line.rpartition(',')[2].strip()}"


@contextmanager
def _ready(task: ShardTask) -> Iterator[Parser]:
    """The task's parser in a process that has passed all checks, alone with torch."""
    task.site.check()
    with _one_at_a_time:
        spec = replace(task.parser, device=find_device(task.parser.device))
        parser = _loaded(spec)
        if parser.weights_hash not in task.attributes["made_by"]:
            _loaded.cache_clear()  # a long-lived worker may have loaded the file before it changed
            parser = _loaded(spec)
        if parser.weights_hash not in task.attributes["made_by"]:
            raise CacheError(
                f"this worker's weights of {parser.name} are not those of the run; see that all see the same file"
            )
        threads = torch.get_num_threads()
        if spec.device == "cpu":
            torch.set_num_threads(1)  # the processes fill the cores
        try:
            yield parser
        finally:
            torch.set_num_threads(threads)


def _answers(task: ShardTask, parser: Parser, rows: Sequence[int]) -> Iterator[tuple[Batch, Tensor, Tensor]]:
    """What `Parser.parse` answers, batch for batch; batches are halved where they do not fit into memory."""
    step = task.batch_size or usual_batch(parser.device)
    for whole in _batches(task, parser, rows, step):
        start = 0
        while start < len(whole.rows):
            piece = slice(start, start + step)
            batch = Batch(whole.rows[piece], whole.images[piece], whole.sizes[piece])
            answer = _parsed(task, parser, batch)
            if answer is not None:
                yield batch, *answer
                start += step
            elif step == 1:
                raise CsclError(f"there is no memory to parse even one image at a time ({task.parser.device})")
            else:
                step = min(step, len(batch.rows)) // 2 or 1


def usual_batch(device: torch.device) -> int:
    """Images at a time where nobody says how many; the cache of a CPU holds few."""
    return 8 if device.type == "cpu" else 32


def _parsed(task: ShardTask, parser: Parser, batch: Batch) -> tuple[Tensor, Tensor] | None:
    """Probabilities and agreement; None where they do not fit into memory."""
    try:
        return parser.parse(torch.stack(batch.images), batch.sizes, task.size, task.flip)
    except MemoryError:
        pass
    except RuntimeError as error:  # torch's own for a GPU is one, that for a CPU has no type
        if not isinstance(error, torch.OutOfMemoryError) and "can't allocate memory" not in str(error):
            raise
    if torch.cuda.is_available():  # after the except clause, whose traceback holds on to tensors
        torch.cuda.empty_cache()
    return None


def _batches(task: ShardTask, parser: Parser, rows: Sequence[int], size: int) -> Iterator[Batch]:
    """The readable ones of `size` rows at a time, decoded a batch ahead in threads."""

    def decode(row: int) -> Decoded | None:
        try:
            image = read_image(task.site.root / task.records[row].name)
        except UnreadableImageError:
            return None
        return parser.prepare(image), image.shape[:2]

    pieces = [rows[i : i + size] for i in range(0, len(rows), size)]
    with ThreadPoolExecutor(2) as pool:
        ahead = [pool.submit(decode, row) for row in pieces[0]] if pieces else []
        for number, piece in enumerate(pieces, start=1):
            current = ahead
            ahead = [pool.submit(decode, row) for row in pieces[number]] if number < len(pieces) else []
            readable = [(row, d) for row, f in zip(piece, current, strict=True) if (d := f.result()) is not None]
            if readable:
                yield Batch([row for row, _ in readable], [d[0] for _, d in readable], [d[1] for _, d in readable])
            _report(task.site, len(piece))


def _report(site: Site, images: int) -> None:
    try:
        get_worker().log_event(progress_topic(site), images)
    except ValueError:  # called without dask, as a test does
        return


@lru_cache(maxsize=1)
def _loaded(spec: ParserSpec) -> Parser:
    """The parser, loaded once a process."""
    return find_parser(spec)
