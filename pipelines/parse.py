"""`cscl parse`: run a human parser over every image of a data set and cache the masks, shard by shard, on dask."""

import json
import logging
import math
import os
import re
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import dask
import torch
from distributed import Client, Future, LocalCluster, as_completed
from tqdm import tqdm

from data.datasets import open_data_set
from data.records import Record
from parsing.cache import MaskCache, fingerprint
from parsing.errors import CacheError, CsclError, InputError
from parsing.index import build_index, shard_folder
from parsing.registry import ParserSpec, find_parser
from parsing.shard import FORMAT_VERSION, OtherVersionError, Status, read_columns, shard_fits

from .devices import find_device
from .parse_shard import PROGRESS, ShardTask, names_of, parse_shard

MOST_IN_A_SHARD = 1024
OURS = re.compile(r"\d{5}\.h5(\.\d+\.part)?")
"""Names of the files that runs leave in a folder of shards."""


@dataclass(frozen=True)
class ParseConfig:
    """What `cscl parse` was asked for.

    size: (height, width) of the masks. device: `auto` is CUDA where there is one. workers: processes, None for one
    a core (one a GPU), 0 for none but this one. scheduler: address of a running dask scheduler to use instead.
    probs: store class probabilities too. limit: at most so many images, spread evenly over the data set.
    labels to remote_code: of parsers that do not know them, see parsing.registry.ParserSpec.
    """

    dataset: str
    root: Path | None = None
    out: Path | None = None
    parser: str = "street"
    weights: Path | None = None
    size: tuple[int, int] = (288, 144)
    batch_size: int = 32
    device: str = "auto"
    workers: int | None = None
    scheduler: str | None = None
    probs: bool = False
    flip: bool = True
    overwrite: bool = False
    limit: int | None = None
    progress: bool = True
    labels: str | None = None
    input_size: tuple[int, int] | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    channels: str | None = None
    remote_code: str | None = None

    def __post_init__(self) -> None:
        if min(self.size) < 16 or max(self.size) > 4096:
            raise InputError(f"--size {self.size[0]}x{self.size[1]}: give height x width, each from 16 to 4096")
        if self.batch_size < 1:
            raise InputError(f"--batch-size {self.batch_size}: give at least 1")
        if self.limit is not None and self.limit < 1:
            raise InputError(f"--limit {self.limit}: give at least 1")


@dataclass(frozen=True)
class ParseResult:
    """What became of it: images in the cache, how many of them this run parsed, and the ones that failed."""

    path: Path
    images: int
    parsed: int
    unreadable: tuple[str, ...]
    empty: int
    seconds: float


def parse(config: ParseConfig) -> ParseResult:
    """Parse what the cache lacks and write its index; a shard that is already whole is kept.

    Unreadable images are recorded with their status and reported, never fatal.
    """
    began = time.monotonic()
    data_set = open_data_set(config.dataset, config.root)
    out = config.out or Path("data") / f"{config.dataset}_masks.h5"
    if out.suffix != ".h5" or out.is_dir():
        raise InputError(f"--out {out}: give a file that ends in .h5")
    records = _limited(data_set.images, config.limit)
    # workers of somebody else's scheduler may have what this machine lacks
    device = config.device if config.scheduler and config.device != "auto" else find_device(config.device)
    spec = ParserSpec(
        config.parser, config.weights and config.weights.resolve(), device, config.labels, config.input_size,
        config.mean, config.std, config.channels, config.remote_code,
    )  # fmt: skip
    parser = find_parser(replace(spec, device="cpu"))  # for its name and weights: only workers need the device
    made_by = {
        "parser": parser.name,
        "weights": parser.weights_hash,
        "preprocessing": parser.preprocessing,
        "labels": {
            "name": parser.labels.name,
            "classes": parser.labels.classes,
            "swaps": parser.labels.swaps,
        },
        "size": config.size,
        "flip": config.flip,
        "probs": config.probs,
    }
    text, digest = fingerprint(made_by)
    attributes: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "fingerprint": digest,
        "made_by": text,
        "data_set": config.dataset,
        "root": os.path.relpath(data_set.root.resolve(), out.parent.resolve()),
        "licence": parser.licence,
    }
    _make_room(out, attributes, records, config.overwrite)
    tasks = _plan(out, data_set.root.resolve(), records, attributes, spec, config)
    todo = [t for t in tasks if not shard_fits(t.path, names_of(t), attributes)]
    with tqdm(
        total=len(records), initial=len(records) - sum(len(t.records) for t in todo), unit="image",
        desc=f"parse {config.dataset}", disable=not config.progress,
    ) as bar:  # fmt: skip
        if todo:
            _run(todo, config, device, bar)
    build_index(out, [t.path for t in tasks])
    planned = {t.path.name for t in tasks}
    for stale in shard_folder(out).iterdir():
        if stale.name not in planned and OURS.fullmatch(stale.name):
            stale.unlink()
    cache = MaskCache(out)
    unreadable = tuple(n for n, s in zip(cache.names, cache.status, strict=True) if s == Status.UNREADABLE)
    return ParseResult(
        out, len(cache), sum(len(t.records) for t in todo), unreadable,
        int((cache.status == Status.EMPTY).sum()), time.monotonic() - began,
    )  # fmt: skip


def _limited(records: Sequence[Record], limit: int | None) -> tuple[Record, ...]:
    if limit is None or limit >= len(records):
        return tuple(records)
    return tuple(records[i * len(records) // limit] for i in range(limit))


def _make_room(out: Path, attributes: dict[str, Any], records: Sequence[Record], overwrite: bool) -> None:
    """Refuse to mix with another cache at `out`, or remove it if told to."""
    folder = shard_folder(out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for place in (out.parent, folder):
            with tempfile.TemporaryFile(dir=place):
                pass
    except OSError as error:
        raise InputError(f"--out {out}: {out.parent} cannot be written to ({error.strerror})") from error
    shards = sorted(path for path in folder.glob("*.h5") if OURS.fullmatch(path.name))
    if overwrite:
        for path in (out, *shards):
            path.unlink(missing_ok=True)
        return
    held: set[str] = set()
    for path in (*shards, out):
        if not path.is_file():
            continue
        try:
            columns, found = read_columns(path)
        except OtherVersionError:
            raise
        except CacheError as error:
            if path == out and not held:  # no shard vouches that it was an index
                raise CacheError(f"{error}; give another --out, or --overwrite to replace it") from error
            continue  # damaged: parsed again, or rebuilt
        for what, name in (("data_set", "data set"), ("root", "folder"), ("made_by", "parser or options")):
            if found.get(what) != attributes[what]:
                raise CacheError(
                    f"{out} was made from another {name} ({_difference(found, attributes, what)}); "
                    "give another --out, or --overwrite to replace it"
                )
        held.update(columns.names)
    if held - {r.name for r in records}:
        raise CacheError(
            f"{out} already holds {len(held)} images, this run would leave some of them out; "
            "give another --out, or --overwrite to replace it"
        )


def _difference(found: dict[str, Any], wanted: dict[str, Any], what: str) -> str:
    before, now = str(found.get(what)), str(wanted[what])
    if what == "made_by":
        try:
            old, new = dict(json.loads(before)), json.loads(now)
        except (TypeError, ValueError):
            return "one that cannot be read"
        key = next((k for k in new if old.get(k) != new[k]), "format")
        before, now = f"{key} {old.get(key)}", f"{new.get(key)}"
    return f"{before}, now {now}"


def _plan(
    out: Path,
    root: Path,
    records: Sequence[Record],
    attributes: dict[str, Any],
    spec: ParserSpec,
    config: ParseConfig,
) -> list[ShardTask]:
    """Cut the images into shards by their number alone, so that any number of workers makes the same files."""
    if not records:
        raise InputError(f"{config.dataset}: there is no image under {root}")
    for record in records:
        if any("\ud800" <= letter <= "\udfff" for letter in record.name):  # bytes of the file system, not text
            raise InputError(f"{config.dataset}: the file name {record.name!a} is not UTF-8; rename it")
    size = min(MOST_IN_A_SHARD, max(64, math.ceil(len(records) / 32)))
    folder = shard_folder(out).resolve()
    return [
        ShardTask(
            folder / f"{start // size:05d}.h5", root, tuple(records[start : start + size]), attributes,
            spec, config.size, config.batch_size, config.flip, config.probs,
        )
        for start in range(0, len(records), size)
    ]  # fmt: skip


def _run(todo: list[ShardTask], config: ParseConfig, device: str, bar: tqdm) -> None:
    """Send the tasks to dask, a few a worker at a time, and count their images on `bar`."""
    workers = config.workers
    if workers is None:
        workers = torch.cuda.device_count() if device.startswith("cuda") else os.cpu_count() or 1
    workers = min(workers, len(todo))
    settings = {"distributed.worker.daemon": True, "distributed.admin.tick.limit": "1h"}
    with dask.config.set(settings), _client(config.scheduler, workers) as client:
        client.subscribe_topic(PROGRESS, lambda event: bar.update(event[1]))
        capacity = max(1, len(client.scheduler_info()["workers"]))
        waiting: Iterator[ShardTask] = iter(todo)
        running = as_completed([_submit(client, t) for t in islice(waiting, 3 * capacity)])
        for future in running:
            try:
                future.result()
            except CsclError:
                raise
            except Exception as error:
                raise CsclError(f"a worker failed: {type(error).__name__}: {error}") from error
            for task in islice(waiting, 1):
                running.add(_submit(client, task))
        time.sleep(0.1)  # the last counts are on their way
        bar.update(bar.total - bar.n)


def _submit(client: Client, task: ShardTask) -> Future:
    return client.submit(parse_shard, task, key=f"parse-{task.path.name}", pure=False, retries=2)


def _client(scheduler: str | None, workers: int) -> Client:
    if scheduler is not None:
        try:
            return Client(scheduler, timeout=10)
        except (OSError, ValueError) as error:
            raise InputError(f"--scheduler {scheduler}: no dask scheduler answers there ({error})") from error
    cluster = LocalCluster(
        n_workers=max(1, workers),
        threads_per_worker=1,
        processes=workers > 0,
        dashboard_address=None,
        memory_limit=0,
        silence_logs=logging.ERROR,
    )
    return _OwnClient(cluster)


class _OwnClient(Client):
    """A client that closes the cluster it was given, which is its own."""

    def __exit__(self, *error: object) -> None:
        cluster = self.cluster
        super().__exit__(*error)
        if cluster is not None:
            cluster.close()
