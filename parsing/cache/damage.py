"""Finding what is wrong with the files of a mask cache, without its images or its parser."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import CacheError, MissingError
from ..words import quote_path
from .index import SHARD_NAME, find_orphans, list_shards, read_shard_table, shard_folder, shard_name
from .sealed import is_ours, sealed_hash
from .shard import Columns, StoredFile, read_columns, read_stored


@dataclass(frozen=True)
class Damage:
    """One file that is not as it should be.

    Attributes:
        kind: `shard` must be parsed again, `index` rebuilt, `leftover` removed; `unfinished` needs the command that
            began it.
        what: the damage, to be read after the path.
        masks: how many masks are lost; 0 if none are or the number is unknown.
    """

    path: Path
    kind: str
    what: str
    masks: int = 0


@dataclass(frozen=True)
class Inspection:
    """The content of a cache's files.

    Attributes:
        attributes: those of the whole files, None if no file is whole.
        expected: columns of each shard by file name, as a whole index says; None without one.
        whole: the whole shards by file name.
    """

    index: Path
    damage: tuple[Damage, ...]
    attributes: Mapping[str, Any] | None
    expected: Mapping[str, Columns] | None
    whole: Mapping[str, StoredFile]


def inspect_cache(index: Path, counted: Callable[[int], object] = lambda shards: None) -> Inspection:
    """Read every file of the cache once; call `counted` with 1 after each shard.

    Raises:
        MissingError: if there is no such cache.
        OtherVersionError: if it is of another format.
    """
    present = list_shards(index)
    if not index.is_file() and not present:
        raise MissingError(f"no mask cache at {index}; `cscl parse --dataset NAME --out {quote_path(index)}` makes one")
    damage: list[Damage] = []
    attributes, expected, hashes = _read_index(index, damage)
    names = sorted(expected) if expected is not None else list(map(shard_name, range(_last(present) + 1)))
    if expected is not None and not shard_folder(index).is_dir():  # one line in place of one per shard
        masks = sum(map(len, expected.values()))
        lost = read_shard_table(index, masks).describe_lost_folder(index)
        damage.append(Damage(shard_folder(index), "shard", lost.removeprefix(f"{shard_folder(index)} "), masks))
        names = []
    whole: dict[str, StoredFile] = {}
    for name in names:
        path = shard_folder(index) / name
        masks = len(expected[name]) if expected is not None else 0
        if not path.is_file():
            damage.append(Damage(path, kind="shard", what=f"is missing{_of(masks)}", masks=masks))
        elif (stored := read_stored(path)) is None:
            damage.append(Damage(path, kind="shard", what=_harm(path), masks=masks))
        else:
            attributes = attributes or stored.attributes
            if stored.attributes != attributes:
                damage.append(Damage(path, kind="shard", what="belongs to another cache", masks=masks))
            elif expected is not None and not np.array_equal(stored.columns.names, expected[name].names):
                damage.append(Damage(path, kind="shard", what="holds other images than the index says", masks=masks))
            else:
                whole[name] = stored
                if expected is not None and hashes[name] != stored.sha256:
                    damage.append(Damage(index, "index", f"was made of another {name} than is there"))
        counted(1)
    for path in present:
        if path.name not in names:
            damage.append(Damage(path, "unfinished", "is not in the index: the run that wrote it was stopped"))
    damage += [Damage(path, "leftover", "was left by a run that was killed") for path in find_orphans(index)]
    return Inspection(index, damage=tuple(damage), attributes=attributes, expected=expected, whole=whole)


def _read_index(
    index: Path, damage: list[Damage]
) -> tuple[Mapping[str, Any] | None, Mapping[str, Columns] | None, Mapping[str, str]]:
    """Return attributes, and columns and SHA-256 of its shards by file name; nothing if it is damaged."""
    if not index.is_file():
        damage.append(Damage(index, "index", "is missing, and with it how many shards there were"))
        return None, None, {}
    stored = read_stored(index)
    if stored is None:
        damage.append(Damage(index, "index", _harm(index)))
        return None, None, {}
    try:
        table = read_shard_table(index, len(stored.columns))
    except CacheError as error:
        damage.append(Damage(index, "index", str(error).removeprefix(f"{index} ")))
        return None, None, {}
    if table.folders != {shard_folder(index).name}:
        was = ", ".join(sorted(table.folders))
        damage.append(
            Damage(index, "index", f"was renamed: in it plain h5py reads what lies in {was}, if anything does")
        )
    bounds = zip(table.names, table.starts[:-1], table.starts[1:], strict=True)
    pieces = {name: stored.columns.rows(slice(a, b)) for name, a, b in bounds}
    return stored.attributes, pieces, dict(zip(table.names, table.hashes, strict=True))


def _last(shards: list[Path]) -> int:
    return max((int(p.stem) for p in shards if SHARD_NAME.fullmatch(p.name)), default=-1)


def _harm(path: Path) -> str:
    """Describe the damage of a file that is there; HDF5 does not open one that was ours, where it could hang."""
    if is_ours(path) and sealed_hash(path) is None:
        return "was changed since it was written"
    try:
        read_columns(path)
    except CacheError as error:
        return str(error).removeprefix(f"{path} ")
    return "was not written by this program"


def _of(masks: int) -> str:
    return f" with {masks} masks" if masks else ""
