"""What lies already at the place of a new mask cache: kept if it fits, refused or removed if it is another's."""

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import CacheError
from .index import find_orphans, list_shards
from .sealed import is_ours
from .shard import StoredFile, read_columns, read_stored


def make_room(
    index: Path, attributes: Mapping[str, Any], names: Collection[str], overwrite: bool
) -> dict[str, StoredFile]:
    """Find the whole shards of the cache `index` that is to have these attributes and images of these names.

    Temporary files of killed runs are removed.

    Returns:
        The shards, by file name, that are undamaged and of the same cache; none of them with `overwrite`.

    Raises:
        CacheError: if another cache, a larger one or a file of somebody else's lies there.
    """
    for path in find_orphans(index):
        path.unlink(missing_ok=True)
    if overwrite:
        return {}
    shards = list_shards(index)
    found = {path: stored for path in (*shards, index) if (stored := read_stored(path)) is not None}
    if index.is_file() and index not in found and not shards and not is_ours(index):
        _refuse_foreign(index)
    for stored in found.values():
        _refuse_other(index, stored.attributes, attributes)
    held = {name for stored in found.values() for name in stored.columns.names}
    if held - set(names):
        raise CacheError(
            f"{index} already holds {len(held)} images, this run would leave some of them out; "
            "give another --out, or --overwrite to replace it"
        )
    return {path.name: stored for path, stored in found.items() if path != index}


def clear_room(index: Path, names: Sequence[str], overwrite: bool) -> None:
    """Remove what would not fit the shards that are about to be written; call it when nothing else can stop the run.

    With `overwrite` that is all that belongs to a cache at `index`. Otherwise it is an index of other images than
    `names`, in order: if the run is stopped, its rows must not be looked up in new shards. The shards stay.
    """
    if overwrite:
        for path in (index, *list_shards(index)):
            path.unlink(missing_ok=True)
    elif (stored := read_stored(index)) is not None and stored.columns.names.tolist() != list(names):
        index.unlink()


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
