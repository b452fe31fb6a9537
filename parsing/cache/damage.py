"""Finding what is wrong with the files of a mask cache, without its images or its parser."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ..errors import CacheError, MissingError
from ..words import quoted
from .index import SHARD_NAME, orphans, shard_folder, shards_of
from .sealed import file_hash, is_sealed
from .shard import Columns, OtherVersionError, read_columns


@dataclass(frozen=True)
class Damage:
    """One file that is not as it should be. kind: `shard` must be parsed again, `index` rebuilt, `leftover` removed;
    `unfinished` needs the command that began it.

    masks: how many it costs; 0 where it costs none or nobody can tell.
    """

    path: Path
    kind: str
    what: str
    masks: int = 0


@dataclass(frozen=True)
class Inspection:
    """What a cache's files hold. attributes: what the whole ones say of the cache, None where none is whole.

    expected: names of its images as far as a whole index knows them, shard by shard. whole: columns of the whole
    shards by file name.
    """

    index: Path
    damage: tuple[Damage, ...]
    attributes: Mapping[str, Any] | None
    expected: Mapping[str, Columns] | None
    whole: Mapping[str, Columns]


def inspect_cache(index: Path, counted: Callable[[int], object] = lambda shards: None) -> Inspection:
    """Read every file of the cache; `counted` is told of each shard that is done.

    MissingError where there is no such cache, OtherVersionError for one of another format.
    """
    present = shards_of(index)
    if not index.is_file() and not present:
        raise MissingError(f"no mask cache at {index}; `cscl parse --dataset NAME --out {quoted(index)}` makes one")
    damage: list[Damage] = []
    attributes, expected, hashes = _read_index(index, damage)
    names = sorted(expected) if expected is not None else [f"{i:05d}.h5" for i in range(_last(present) + 1)]
    whole: dict[str, Columns] = {}
    for name in names:
        path = shard_folder(index) / name
        masks = len(expected[name]) if expected is not None else 0
        if not path.is_file():
            damage.append(Damage(path, "shard", f"is missing{_of(masks)}", masks))
        elif (wrong := _broken(path)) is not None:
            damage.append(Damage(path, "shard", wrong, masks))
        else:
            columns, found = read_columns(path)
            attributes = attributes or found
            if found != attributes:
                damage.append(Damage(path, "shard", "belongs to another cache", masks))
            elif expected is not None and not np.array_equal(columns.names, expected[name].names):
                damage.append(Damage(path, "shard", "holds other images than the index says", masks))
            else:
                whole[name] = columns
                if expected is not None and hashes[name] != file_hash(path):
                    damage.append(Damage(index, "index", f"was made of another {name} than is there"))
        counted(1)
    for path in present:
        if path.name not in names:
            damage.append(Damage(path, "unfinished", "is not in the index: the `cscl parse` that wrote it was stopped"))
    damage += [Damage(path, "leftover", "was left by a run that was killed") for path in orphans(index)]
    return Inspection(index, tuple(damage), attributes, expected, whole)


def _read_index(
    index: Path, damage: list[Damage]
) -> tuple[Mapping[str, Any] | None, Mapping[str, Columns] | None, Mapping[str, str]]:
    """Attributes, columns and SHA-256 of its shards by file name; nothing where it is damaged."""
    if not index.is_file():
        damage.append(Damage(index, "index", "is missing, and with it how many shards there were"))
        return None, None, {}
    try:
        columns, attributes = read_columns(index)
        if not is_sealed(index):
            raise CacheError(f"{index} was changed since it was written")
        with h5py.File(index, "r") as file:
            names = [Path(p).name for p in file["shards/path"].asstr()[:]]
            counts, hashes = file["shards/count"][:], file["shards/sha256"].asstr()[:]
    except OtherVersionError:
        raise
    except CacheError as error:
        damage.append(Damage(index, "index", str(error).removeprefix(f"{index} ")))
        return None, None, {}
    starts = np.concatenate([[0], np.cumsum(counts)])
    pieces = {name: columns.rows(slice(a, b)) for name, a, b in zip(names, starts[:-1], starts[1:], strict=True)}
    return attributes, pieces, dict(zip(names, hashes, strict=True))


def _last(shards: list[Path]) -> int:
    return max((int(p.stem) for p in shards if SHARD_NAME.fullmatch(p.name)), default=-1)


def _broken(path: Path) -> str | None:
    """What is wrong with a shard that is there; None where every byte is as written."""
    if is_sealed(path):
        return None
    try:
        with h5py.File(path, "r") as file:
            labels = file["labels"]
            lost = sum(not _readable(labels, row) for row in range(len(labels)))
            total = len(labels)
    except (OSError, KeyError, RuntimeError, ValueError, TypeError, AttributeError) as error:
        return f"cannot be read ({(str(error) or type(error).__name__).splitlines()[0]})"
    return f"was changed since it was written: {lost} of its {total} masks cannot be read"


def _readable(labels: h5py.Dataset, row: int) -> bool:
    try:
        labels[row]
    except (OSError, RuntimeError, ValueError):
        return False
    return True


def _of(masks: int) -> str:
    return f" with {masks} masks" if masks else ""
