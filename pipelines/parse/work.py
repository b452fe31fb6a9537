"""The work of a task of `cscl parse`, as a worker does it: decode images, parse them, write the shard."""

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from distributed import get_worker
from torch import Tensor

from parsing.cache.builder import ShardBuilder
from parsing.cache.shard import Status
from parsing.errors import CacheError, CsclError
from parsing.images import UnreadableImageError, read_image
from parsing.parsers.base import Parser
from parsing.parsers.labelling import Masks, label_images, stack_images
from parsing.parsers.registry import ParserSpec, find_parser

from ..devices import find_device, is_out_of_memory
from .site import Site
from .task import ShardTask, name_progress_topic

Decoded = tuple[Tensor, tuple[int, int]]
_one_at_a_time = threading.Lock()
"""The threads of one worker share a parser and torch's settings."""


@dataclass(frozen=True)
class Batch:
    """Readable images of a shard.

    Attributes:
        rows: their rows in the shard.
        images: prepared for the parser.
        sizes: (height, width) of each image, in pixels.
    """

    rows: list[int]
    images: list[Tensor]
    sizes: list[tuple[int, int]]


def write_shard(task: ShardTask) -> str:
    """Parse the images of a shard, write its file, and return the SHA-256."""
    with _prepare_parser(task) as parser:
        probs = _probs_size(task)
        shard = ShardBuilder(task.records, task.size, None if probs is None else (len(parser.labels), *probs))
        shard.status[sorted(task.fatal)] = Status.FATAL
        rows = [row for row in range(len(task.records)) if row not in task.fatal]
        for batch, masks in _answers(task, parser, rows):
            shard.put(batch.rows, masks.labels, batch.sizes, masks.confidence, masks.probs)
    return shard.write(task.path, task.attributes).sha256


def parse_rows(task: ShardTask, rows: Sequence[int]) -> None:
    """Parse these rows of the task and discard the masks."""
    with _prepare_parser(task) as parser:
        for _ in _answers(task, parser, rows):
            pass


def _probs_size(task: ShardTask) -> tuple[int, int] | None:
    return (task.size[0] // 4, task.size[1] // 4) if task.probs else None


@contextmanager
def _prepare_parser(task: ShardTask) -> Iterator[Parser]:
    """Yield the task's parser after all checks, with exclusive use of it and of torch in this process."""
    task.site.check()
    with _one_at_a_time:
        spec = replace(task.parser, device=find_device(task.parser.device))
        parser = _load_parser(spec)
        if parser.weights_hash not in task.attributes["made_by"]:
            _load_parser.cache_clear()  # a long-lived worker may have loaded the file before it changed
            parser = _load_parser(spec)
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


def _answers(task: ShardTask, parser: Parser, rows: Sequence[int]) -> Iterator[tuple[Batch, Masks]]:
    """Yield the masks, batch by batch.

    If a batch does not fit into memory, it and all later ones are halved.

    Raises:
        CsclError: if a single image does not fit.
    """
    step = task.batch_size or choose_batch_size(parser)
    for whole in _batches(task, parser=parser, rows=rows, size=step):
        start = 0
        while start < len(whole.rows):
            piece = slice(start, start + step)
            batch = Batch(whole.rows[piece], whole.images[piece], whole.sizes[piece])
            answer = _parse_batch(task, parser, batch)
            if answer is not None:
                yield batch, answer
                start += step
            elif step == 1:
                raise CsclError(f"there is no memory to parse even one image at a time ({task.parser.device})")
            else:
                step = min(step, len(batch.rows)) // 2 or 1


def choose_batch_size(parser: Parser) -> int:
    """Return the number of images per batch if the user gives none."""
    return parser.cpu_batch if parser.device.type == "cpu" else 32


def _parse_batch(task: ShardTask, parser: Parser, batch: Batch) -> Masks | None:
    """Return the masks of a batch; None if it does not fit into memory."""
    try:
        return label_images(
            parser,
            batch=stack_images(batch.images),
            sources=batch.sizes,
            size=task.size,
            flip=task.flip,
            probs=_probs_size(task),
        )
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
    if torch.cuda.is_available():  # after the except clause, whose traceback holds on to tensors
        torch.cuda.empty_cache()
    return None


def _batches(task: ShardTask, parser: Parser, rows: Sequence[int], size: int) -> Iterator[Batch]:
    """Yield the readable images of `size` rows at a time; threads decode the next batch meanwhile."""

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
    """Report images to the progress bar of the run."""
    try:
        get_worker().log_event(name_progress_topic(site), images)
    except ValueError:  # called without dask, as a test does
        return


@lru_cache(maxsize=1)
def _load_parser(spec: ParserSpec) -> Parser:
    """Return the parser, loaded once per process."""
    return find_parser(spec)
