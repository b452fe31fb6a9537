"""What goes into a new mask cache: whether the place is free, what its files say, which shards of which images."""

import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.records import Record
from parsing.cache.index import build_index, orphans, shard_folder, shards_of
from parsing.cache.lock import Lock
from parsing.cache.reader import fingerprint
from parsing.cache.sealed import is_sealed, was_ours
from parsing.cache.shard import FORMAT_VERSION, OtherVersionError, read_columns
from parsing.errors import CacheError, InputError
from parsing.labels import LabelSet

from .config import ParseConfig
from .site import Site, versions

if TYPE_CHECKING:
    from .task import ShardTask

MOST_IN_A_SHARD = 1024


def chosen(records: Sequence[Record], limit: int | None, only: Iterable[str] | None) -> tuple[Record, ...]:
    """The records to parse: `only` those of these names, or at most `limit`, spread evenly."""
    if only is not None:
        names = frozenset(only)
        return tuple(r for r in records if r.name in names)
    if limit is None or limit >= len(records):
        return tuple(records)
    return tuple(records[i * len(records) // limit] for i in range(limit))


def cache_attributes(
    index: Path,
    made_by: Mapping[str, Any],
    labels: LabelSet,
    data_set: str,
    root: Path,
    licence: str,
    pattern: str | None = None,
) -> dict[str, Any]:
    """What every file of the cache says of itself; `labels` are part of what it was made by.

    `pattern`, which says who is on an image of `folder`, is no part of that: the masks do not depend on it.
    """
    described = {"name": labels.name, "classes": labels.classes, "swaps": labels.swaps}
    text, digest = fingerprint({**made_by, "labels": described})
    return {
        "format_version": FORMAT_VERSION,
        "fingerprint": digest,
        "made_by": text,
        "data_set": data_set,
        "root": os.path.relpath(root.resolve(), index.parent.resolve()),
        "licence": licence,
        **({} if pattern is None else {"pattern": pattern}),
    }  # fmt: skip


def make_room(out: Path, attributes: Mapping[str, Any], records: Sequence[Record], overwrite: bool) -> None:
    """Refuse to mix with another cache at `out`, or remove it if told to; remove what killed runs left."""
    for path in orphans(out):
        path.unlink(missing_ok=True)
    shards = shards_of(out)
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
            if path == out and not shards and not was_ours(path):
                raise CacheError(f"{error}; give another --out, or --overwrite to replace it") from error
            continue  # damaged: parsed again, or rebuilt
        for what, name in (("data_set", "data set"), ("root", "folder"), ("made_by", "parser or options")):
            if found.get(what) != attributes[what]:
                raise CacheError(
                    f"{out} was made from another {name} ({_difference(found, attributes, what)}); "
                    "give another --out, or --overwrite to replace it"
                )
        if "pattern" in found and "pattern" not in attributes:
            raise CacheError(
                f"{out} was made with --pattern {found['pattern']!r}; give it again (another one renames its people "
                "and keeps the masks), another --out, or --overwrite to replace it"
            )
        if is_sealed(path):  # else a name may be noise
            held.update(columns.names)
    if held - {r.name for r in records}:
        raise CacheError(
            f"{out} already holds {len(held)} images, this run would leave some of them out; "
            "give another --out, or --overwrite to replace it"
        )


def _difference(found: Mapping[str, Any], wanted: Mapping[str, Any], what: str) -> str:
    before, now = str(found.get(what)), str(wanted[what])
    if what == "made_by":
        try:
            old, new = dict(json.loads(before)), json.loads(now)
        except (TypeError, ValueError):
            return "one that cannot be read"
        key = next((k for k in new if old.get(k) != new[k]), "format")
        before, now = f"{key} {old.get(key)}", f"{new.get(key)}"
    return f"{before}, now {now}"


def finish(index: Path, shards: Sequence[Path]) -> None:
    """Write the index over the whole `shards`, and remove what earlier runs left beside them."""
    build_index(index, list(shards))
    planned = {path.name for path in shards}
    for stale in (*(p for p in shards_of(index) if p.name not in planned), *orphans(index)):
        stale.unlink(missing_ok=True)


def shard_length(images: int) -> int:
    """Images in a shard of a cache of so many: it depends on nothing else, so any number of workers makes the same."""
    return min(MOST_IN_A_SHARD, max(64, math.ceil(images / 32)))


def plan_shards(
    config: ParseConfig, root: Path, records: Sequence[Record], attributes: Mapping[str, Any], lock: Lock
) -> list["ShardTask"]:
    """One task a shard, in order."""
    from .task import ShardTask  # imports torch, which --dry-run does without

    if not records:
        raise InputError(f"{config.dataset}: there is no image under {root}")
    size, folder = shard_length(len(records)), shard_folder(config.index).resolve()
    sample = next((r.name for r in records if (root / r.name).is_file()), records[0].name)
    parser, site = config.parser.absolute(), Site(lock, root, sample, folder, versions())
    return [
        ShardTask(
            folder / f"{start // size:05d}.h5", records[start : start + size], attributes, parser, site, config.size,
            config.batch_size, config.flip, config.probs,
        )
        for start in range(0, len(records), size)
    ]  # fmt: skip
