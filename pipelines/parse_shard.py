"""The task that `cscl parse` sends to a worker: parse the images of one shard and write it."""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from distributed import get_worker
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from data.records import Record
from parsing.errors import CacheError
from parsing.images import UnreadableImageError, read_image
from parsing.parser import Parser
from parsing.registry import ParserSpec, find_parser
from parsing.shard import MODALITIES, Columns, Status, write_shard

PROGRESS = "cscl-images"
Decoded = tuple[Tensor, tuple[int, int]]


@dataclass(frozen=True)
class ShardTask:
    """One shard to write: where, which images, with which parser and options."""

    path: Path
    root: Path
    records: tuple[Record, ...]
    attributes: Mapping[str, Any]
    parser: ParserSpec
    size: tuple[int, int]
    batch_size: int
    flip: bool
    probs: bool


def names_of(task: ShardTask) -> NDArray[np.object_]:
    """Names of the task's images, as a shard stores them."""
    return np.array([r.name for r in task.records], dtype=object)


def parse_shard(task: ShardTask) -> int:
    """Write the shard and return how many images it holds; the masks themselves never travel."""
    threads = torch.get_num_threads()
    if task.parser.device == "cpu":
        torch.set_num_threads(1)  # the processes fill the cores
    try:
        return _parse_shard(task)
    finally:
        torch.set_num_threads(threads)


def _parse_shard(task: ShardTask) -> int:
    parser = _loaded(task.parser)
    if parser.weights_hash not in task.attributes["made_by"]:
        _loaded.cache_clear()  # a long-lived worker may have loaded the file before it changed
        parser = _loaded(task.parser)
    if parser.weights_hash not in task.attributes["made_by"]:
        raise CacheError(
            f"this worker's weights of {parser.name} are not those of the run; see that all see the same file"
        )
    n, (height, width) = len(task.records), task.size
    labels = np.zeros((n, height, width), np.uint8)
    probs = np.zeros((n, len(parser.labels), height // 4, width // 4), np.uint8) if task.probs else None
    status = np.full(n, Status.UNREADABLE, np.uint8)
    confidence, source = np.zeros(n, np.float32), np.zeros((n, 2), np.int32)
    for rows, images, sizes in _batches(task, parser):
        if rows:
            scores, agreement = parser.parse(torch.stack(images), sizes, task.size, task.flip)
            top, classes = scores.max(1)
            labels[rows] = classes.to(torch.uint8).cpu().numpy()
            confidence[rows] = (_sureness(top, classes).cpu() * agreement).numpy()
            status[rows] = np.where(labels[rows].any((1, 2)), Status.OK, Status.EMPTY)
            source[rows] = sizes
            if probs is not None:
                small = F.interpolate(scores, probs.shape[2:], mode="area")
                probs[rows] = (small * 255).round().to(torch.uint8).cpu().numpy()
    columns = Columns(
        names_of(task), status, confidence, source,
        np.array([r.identity for r in task.records], np.int32),
        np.array([r.camera for r in task.records], np.int32),
        np.array([MODALITIES.index(r.modality) for r in task.records], np.uint8),
    )  # fmt: skip
    write_shard(task.path, labels, columns, task.attributes, probs)
    return n


def _sureness(top: Tensor, classes: Tensor) -> Tensor:
    """Mean probability (B) of the chosen class over the foreground; 0 where there is none."""
    person = (classes > 0).float()
    return (top * person).sum((1, 2)) / person.sum((1, 2)).clamp(min=1)


def _batches(task: ShardTask, parser: Parser) -> Iterator[tuple[list[int], list[Tensor], list[tuple[int, int]]]]:
    """Rows, prepared images and source sizes of the readable images, decoded a batch ahead in threads."""

    def decode(row: int) -> Decoded | None:
        try:
            image = read_image(task.root / task.records[row].name)
        except UnreadableImageError:
            return None
        return parser.prepare(image), image.shape[:2]

    starts = range(0, len(task.records), task.batch_size)
    with ThreadPoolExecutor(2) as pool:
        ahead = [pool.submit(decode, row) for row in range(min(task.batch_size, len(task.records)))]
        for start in starts:
            current = ahead
            stop = min(start + task.batch_size, len(task.records))
            ahead = [pool.submit(decode, row) for row in range(stop, min(stop + task.batch_size, len(task.records)))]
            readable = [(row, d) for row, f in enumerate(current, start) if (d := f.result()) is not None]
            yield [row for row, _ in readable], [d[0] for _, d in readable], [d[1] for _, d in readable]
            _report(stop - start)


def _report(images: int) -> None:
    try:
        get_worker().log_event(PROGRESS, images)
    except ValueError:  # called without dask, as a test does
        return


@lru_cache(maxsize=1)
def _loaded(spec: ParserSpec) -> Parser:
    """The parser, loaded once a process."""
    return find_parser(spec)
