"""`cscl parse`: run a human parser over every image of a data set and cache the masks, shard by shard, on dask."""

import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from data.loading.images import has_deep_images
from data.records import DataSet
from data.registry import open_data_set
from parsing.cache.lock import writing_to
from parsing.cache.reader import MaskCache
from parsing.cache.shard import Status, rename_people, shard_fits
from parsing.images import STRETCH
from parsing.parsers.base import Parser
from parsing.parsers.registry import find_parser

from ..devices import find_device
from .config import ParseConfig
from .plan import cache_attributes, chosen, finish, make_room, plan_shards
from .schedule import run_shards
from .task import names_of, people_of

__all__ = ["ParseConfig", "ParseResult", "parse"]


@dataclass(frozen=True)
class ParseResult:
    """What became of it: images in the cache, how many of them this run parsed, and the ones that failed.

    unreadable: files that are no readable images. fatal: images that killed every process that parsed them.
    """

    path: Path
    images: int
    parsed: int
    unreadable: tuple[str, ...]
    fatal: tuple[str, ...]
    empty: int
    seconds: float


def parse(config: ParseConfig, only: Iterable[str] | None = None, again: frozenset[str] = frozenset()) -> ParseResult:
    """Parse what the cache lacks and write its index; a shard that is already whole is kept.

    Unreadable images are recorded with their status and reported, never fatal. `only` images of these names;
    `again`: names of shards to parse although they are whole. LockedError where another run writes to the cache.
    """
    began = time.monotonic()
    data_set = open_data_set(config.dataset, config.root, pattern=config.pattern)
    for finding in data_set.findings():
        tqdm.write(f"note: {finding.line()}", file=sys.stderr)
    out, root = config.index, data_set.root.resolve()
    records = chosen(data_set.images, config.limit, only)
    if not config.elsewhere:
        find_device(config.parser.device)  # refuse a wrong one now
    parser = find_parser(replace(config.parser, device="cpu"))  # for what it says of itself
    with writing_to(out, "cscl parse") as lock:
        attributes = _attributes(config, data_set, parser)
        make_room(out, attributes, records, config.overwrite)
        tasks = plan_shards(config, root, records, attributes, lock)
        renamed = [t for t in tasks if rename_people(t.path, names_of(t), people_of(t.records), attributes)]
        if renamed:
            images = sum(len(t.records) for t in renamed)
            tqdm.write(
                f"note: identities or cameras of {images} parsed images are others now; masks kept", file=sys.stderr
            )
        todo = [t for t in tasks if t.path.name in again or not shard_fits(t.path, names_of(t), attributes)]
        parsed = sum(len(t.records) for t in todo)
        with tqdm(
            total=len(records), initial=len(records) - parsed, unit="image", desc=f"parse {config.dataset}",
        ) as bar:  # fmt: skip
            if todo:
                run_shards(todo, config, bar)
        finish(out, [t.path for t in tasks])
    cache = MaskCache(out)
    unreadable, fatal = (
        tuple(n for n, s in zip(cache.names, cache.status, strict=True) if s == failure)
        for failure in (Status.UNREADABLE, Status.FATAL)
    )
    empty = int((cache.status == Status.EMPTY).sum())
    return ParseResult(out, len(cache), parsed, unreadable, fatal, empty, time.monotonic() - began)


def _attributes(config: ParseConfig, data_set: DataSet, parser: Parser) -> dict[str, Any]:
    """Return what every file of the cache states about itself."""
    made_by = {
        "parser": parser.name,
        "weights": parser.weights_hash,
        "preprocessing": parser.preprocessing,
        "size": config.size,
        "flip": config.flip,
        "probs": config.probs,
    }
    if has_deep_images(data_set):  # else nothing is stretched, and the fingerprint must not depend on the rule
        made_by["deep_images"] = STRETCH
    root = data_set.root.resolve()
    return cache_attributes(config.index, made_by, parser.labels, config.dataset, root, parser.licence, config.pattern)
