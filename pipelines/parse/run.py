"""Parse every image of a data set and cache the masks in shards, on dask (`cscl parse`, stage 1)."""

import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from data.registry import open_data_set
from parsing.cache.builder import people_columns
from parsing.cache.existing import make_room
from parsing.cache.index import finish_cache
from parsing.cache.lock import hold_lock
from parsing.cache.reader import MaskCache
from parsing.cache.shard import Status, StoredFile, rename_people
from parsing.parsers.registry import describe_parser
from parsing.progress import Bar

from ..datasets.check import compare_published
from ..devices import find_device
from .config import ParseConfig
from .kept import find_kept, list_notes
from .plan import choose_records, make_attributes, plan_shards
from .preload import preload_workers
from .schedule import run_shards
from .task import ShardTask

__all__ = ["ParseConfig", "ParseResult", "parse"]


@dataclass(frozen=True)
class ParseResult:
    """Result of a parse run.

    Attributes:
        path: index file of the cache.
        images: number of images in the cache.
        parsed: number of images that this run parsed.
        unreadable: names of files that are no readable images.
        fatal: names of images that killed every process that parsed them.
        empty: number of masks without a person.
        seconds: duration.
    """

    path: Path
    images: int
    parsed: int
    unreadable: tuple[str, ...]
    fatal: tuple[str, ...]
    empty: int
    seconds: float


def parse(
    config: ParseConfig,
    only: Iterable[str] | None = None,
    again: frozenset[str] = frozenset(),
    recorded: Path | None = None,
) -> ParseResult:
    """Parse the images that the cache lacks, and write its index.

    An interrupted run is continued: shards that are complete and fit this run are kept. Images that cannot be read do
    not stop the run; the cache records their status.

    Args:
        config: arguments of the run.
        only: names of images; None for all of the data set.
        again: file names of shards to parse although they are complete.
        recorded: folder that the cache says its images are in, if they have moved; None for the data set's.

    Raises:
        MissingError, InputError: if the data set is not found, the device does not exist, or the cache was made from
            another parser or options.
        LockedError: if another process writes to the cache.
        CsclError: if parsing fails; finished shards stay.
    """
    began = time.monotonic()
    data_set = open_data_set(config.dataset, config.root, pattern=config.pattern)
    for note in (*(finding.line() for finding in data_set.findings()), compare_published(data_set)):
        if note:
            tqdm.write(f"note: {note}", file=sys.stderr)
    out, root = config.index, data_set.root.resolve()
    records = choose_records(data_set.images, config.limit, only)
    if not config.elsewhere and find_device(config.parser.device) == "cpu" and config.workers != 0:  # or it is refused
        preload_workers()
    parser = describe_parser(config.parser)
    with hold_lock(out, "cscl parse") as lock:
        # 1. Find the shards of an earlier run: `room.whole` holds the complete ones by file name.
        attributes = make_attributes(config, data_set, parser, recorded or root)
        room = make_room(out, attributes, names=[r.name for r in records], overwrite=config.overwrite)
        # 2. Plan all shards of the cache, and keep those that hold the masks of their images.
        tasks = plan_shards(config, root, records, room.attributes, lock)
        kept, replaced = find_kept({t.path.name: t.records for t in tasks}, room.whole, room.attributes, root)
        for note in list_notes(kept, replaced, root):
            tqdm.write(f"note: {note}", file=sys.stderr)
        whole = kept | _rename_people(kept, tasks)
        todo = [t for t in tasks if t.path.name in again or t.path.name not in kept]
        # 3. Parse the others, and write the index over all of them.
        parsed = sum(len(t.records) for t in todo)
        with Bar(
            total=len(records), initial=len(records) - parsed, unit="image", desc=f"parse {config.dataset}",
        ) as bar:  # fmt: skip
            if todo:
                whole |= run_shards(todo, config, bar, room.clear)
        finish_cache(out, [whole[t.path.name] for t in tasks])
    # 4. Read the finished cache back for the report.
    cache = MaskCache(out)
    unreadable, fatal = (
        tuple(n for n, s in zip(cache.names, cache.status, strict=True) if s == failure)
        for failure in (Status.UNREADABLE, Status.FATAL)
    )
    empty = int((cache.status == Status.EMPTY).sum())
    return ParseResult(
        out,
        images=len(cache),
        parsed=parsed,
        unreadable=unreadable,
        fatal=fatal,
        empty=empty,
        seconds=time.monotonic() - began,
    )


def _rename_people(kept: Mapping[str, StoredFile], tasks: Sequence[ShardTask]) -> dict[str, StoredFile]:
    """Write identities and cameras of kept shards again if the data set has other ones now; return these shards.

    They change with the data set's reader or a --pattern, while images and masks stay the same.
    """
    renamed: dict[str, StoredFile] = {}
    for task in tasks:
        stored = kept.get(task.path.name)
        now = stored and rename_people(stored, people_columns(task.records), task.attributes)
        if now is not None:
            renamed[task.path.name] = now
    if renamed:
        images = sum(map(len, renamed.values()))
        tqdm.write(f"note: identities or cameras of {images} parsed images have changed; masks kept", file=sys.stderr)
    return renamed
