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
from parsing.cache.sealed import file_hash
from parsing.cache.shard import MODALITIES, Columns, Status, write_shard
from parsing.errors import CacheError, CsclError
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


@dataclass(frozen=True)
class Batch:
    """Readable images of a shard: their rows, prepared for the parser, with their (height, width)."""

    rows: list[int]
    images: list[Tensor]
    sizes: list[tuple[int, int]]


def names_of(task: ShardTask) -> NDArray[np.object_]:
    """Names of the task's images, as a shard stores them."""
    return np.array([r.name for r in task.records], dtype=object)


def people_of(records: Sequence[Record]) -> dict[str, NDArray[Any]]:
    """Who is on the images and what took them, as columns of a shard."""
    return {
        "identity": np.array([r.identity for r in records], np.int32),
        "camera": np.array([r.camera for r in records], np.int32),
        "modality": np.array([MODALITIES.index(r.modality) for r in records], np.uint8),
    }


class TaskFailedError(RuntimeError):
    """Any error in a task that is not one of ours, as text: not every exception reaches the other side of dask."""


def told_in_words(function: Callable[..., Result]) -> Callable[..., Result]:
    """Raise what is no error of ours as TaskFailedError."""

    @wraps(function)
    def wrapped(*args: Any) -> Result:
        try:
            return function(*args)
        except CsclError:
            raise
        except Exception as error:
            raise TaskFailedError(f"{type(error).__name__}: {(str(error) or 'no message').splitlines()[0]}") from None

    return wrapped


@told_in_words
def parse_shard(task: ShardTask) -> str:
    """Write the shard and return its SHA-256; the masks themselves never travel."""
    n, (height, width) = len(task.records), task.size
    labels = np.zeros((n, height, width), np.uint8)
    status = np.full(n, Status.UNREADABLE, np.uint8)
    status[sorted(task.fatal)] = Status.FATAL
    trust, source = np.zeros(n, np.float32), np.zeros((n, 2), np.int32)
    with _ready(task) as parser:
        probs = np.zeros((n, len(parser.labels), height // 4, width // 4), np.uint8) if task.probs else None
        for batch, scores, agreement in _answers(task, parser, [r for r in range(n) if r not in task.fatal]):
            rows = batch.rows
            top, classes = winners(scores)
            labels[rows] = classes.cpu().numpy()
            trust[rows] = confidence(scores, top, classes, agreement, parser.labels).numpy()
            status[rows] = np.where(labels[rows].any((1, 2)), Status.OK, Status.EMPTY)
            source[rows] = batch.sizes
            if probs is not None:
                small = F.interpolate(scores, probs.shape[2:], mode="area")
                probs[rows] = (small * 255).round().to(torch.uint8).cpu().numpy()
    columns = Columns(names_of(task), status, trust, source, **people_of(task.records))
    write_shard(task.path, labels, columns, task.attributes, probs)
    return file_hash(task.path)


@told_in_words
def try_rows(task: ShardTask, rows: Sequence[int]) -> None:
    """Parse these rows of the task and keep nothing: does the process live through it?"""
    with _ready(task) as parser:
        for _ in _answers(task, parser, rows):
            pass


def progress_topic(site: Site) -> str:
    """Under what a run's workers report images; other runs of the same scheduler have their own."""
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
