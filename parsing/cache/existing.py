"""What lies already at the place of a new mask cache: kept if it fits, refused or removed if it is another's."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import CacheError
from .index import find_orphans, list_shards
from .sealed import is_ours
from .shard import StoredFile, read_columns, read_stored


@dataclass(frozen=True)
class Room:
    """What lies at the place of a cache that is to be written.

    Attributes:
        whole: the shards, by file name, that are undamaged and of the same cache.
        stale: files that would not fit what is about to be written.
        attributes: those to write, with the folder of the images as the files there name it: it may be a link by now.
    """

    whole: dict[str, StoredFile]
    stale: tuple[Path, ...]
    attributes: Mapping[str, Any]

    def clear(self) -> None:
        """Remove the stale files; call it when nothing else can stop the run before it writes."""
        for path in self.stale:
            path.unlink(missing_ok=True)


def make_room(index: Path, attributes: Mapping[str, Any], names: Sequence[str], overwrite: bool) -> Room:
    """Return what `find_room` returns, and remove temporary files of killed runs; errors as those of `find_room`."""
    for path in find_orphans(index):
        path.unlink(missing_ok=True)
    return find_room(index, attributes=attributes, names=names, overwrite=overwrite)


def find_room(index: Path, attributes: Mapping[str, Any], names: Sequence[str], overwrite: bool) -> Room:
    """Look at the place of the cache `index` that is to have these attributes and images of these names, in order.

    With `overwrite` all that belongs to a cache there is stale. Otherwise it is an index of other images: if the run is
    stopped, its rows must not be looked up in new shards. Nothing is changed.

    Raises:
        CacheError: if another cache, a larger one or a file of somebody else's lies there.
    """
    shards = list_shards(index)
    if overwrite:
        return Room({}, (index, *shards), attributes)
    found = {path: stored for path in (*shards, index) if (stored := read_stored(path)) is not None}
    if index.is_file() and index not in found and not shards and not is_ours(index):
        _refuse_foreign(index)
    for stored in found.values():
        if _lead_to_one_folder(index, stored.attributes["root"], attributes["root"]):
            attributes = {**attributes, "root": stored.attributes["root"]}
        _refuse_other(index, stored.attributes, attributes)
    held = {name for stored in found.values() for name in stored.columns.names}
    if held - set(names):
        raise CacheError(
            f"{index} already holds {len(held)} images, this run would leave some of them out; "
            "give another --out, or --overwrite to replace it"
        )
    fits = index not in found or found[index].columns.names.tolist() == list(names)
    whole = {path.name: stored for path, stored in found.items() if path != index}
    return Room(whole, () if fits else (index,), attributes)


def _lead_to_one_folder(index: Path, *roots: str) -> bool:
    """Return whether folders, as a cache names them, are one, with links followed."""
    return len({(index.parent.resolve() / root).resolve() for root in roots}) == 1


def _refuse_foreign(index: Path) -> None:
    """Raise CacheError for a file that no version of this project wrote."""
    try:
        read_columns(index)
    except CacheError as error:
        raise CacheError(f"{error}; give another --out, or --overwrite to replace it") from error
    raise CacheError(f"{index} was changed since it was written; give another --out, or --overwrite to replace it")


def _refuse_other(index: Path, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Raise CacheError if a file says that it is of another cache than the one to be written."""
    for what, name in (("data_set", "data set"), ("root", "folder"), ("made_by", "parser or options")):
        if found.get(what) != wanted[what]:
            raise CacheError(
                f"{index} was made from another {name} ({_difference(found, wanted, what)}); "
                "give another --out, or --overwrite to replace it"
            )
    if "pattern" in found and "pattern" not in wanted:
        raise CacheError(
            f"{index} was made with --pattern {found['pattern']!r}; give it again (another one renames its people "
            "and keeps the masks), another --out, or --overwrite to replace it"
        )


def _difference(found: Mapping[str, Any], wanted: Mapping[str, Any], what: str) -> str:
    before, now = str(found.get(what)), str(wanted[what])
    if what == "made_by":
        try:
            old, new = dict(json.loads(before)), json.loads(now)
        except (TypeError, ValueError):
            return "one that cannot be read"
        key = next((k for k in {**new, **old} if old.get(k) != new.get(k)), "format")
        before, now = f"{key} {old.get(key)}", f"{new.get(key)}"
    return f"{before}, now {now}"
