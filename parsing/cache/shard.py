"""One shard of a mask cache: written whole or not at all, and checked before it is believed."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from enum import IntEnum
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ..errors import CacheError
from .sealed import is_sealed, write_whole

FORMAT_VERSION = 1
MODALITIES = ("visible", "infrared")
ATTRIBUTES = ("fingerprint", "made_by", "data_set", "root", "licence")
"""What every shard and index says of itself, as text, beside its `format_version`; and `pattern` where the
data set was read by one."""


class OtherVersionError(CacheError):
    """A mask cache in a format that this version does not read."""


class Status(IntEnum):
    """What became of an image: parsed; not a readable image; nobody found in it; whatever parsed it was killed."""

    OK = 0
    UNREADABLE = 1
    EMPTY = 2
    FATAL = 3


@dataclass(frozen=True)
class Columns:
    """What is known of each of N images beside its mask.

    status: Status. confidence: in [0, 1]. source_size: (height, width) of the image file, 0 where unreadable.
    identity, camera: the data set's numbers. modality: index into MODALITIES.
    """

    names: NDArray[np.object_]
    status: NDArray[np.uint8]
    confidence: NDArray[np.float32]
    source_size: NDArray[np.int32]
    identity: NDArray[np.int32]
    camera: NDArray[np.int32]
    modality: NDArray[np.uint8]

    def __post_init__(self) -> None:
        lengths = {field.name: len(getattr(self, field.name)) for field in fields(self)}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"columns of unequal length: {lengths}")

    def __len__(self) -> int:
        return len(self.names)

    def rows(self, rows: slice) -> "Columns":
        """Some of the rows."""
        return Columns(*(getattr(self, f.name)[rows] for f in fields(Columns)))

    @staticmethod
    def joined(pieces: "list[Columns]") -> "Columns":
        """The rows of all pieces, in order."""
        return Columns(*(np.concatenate([getattr(p, f.name) for p in pieces]) for f in fields(Columns)))

    def write(self, group: h5py.Group) -> None:
        for field in fields(self):
            values = getattr(self, field.name)
            kind = h5py.string_dtype("utf-8") if field.name == "names" else values.dtype
            group.create_dataset(field.name, data=values, dtype=kind, track_times=False)

    @staticmethod
    def read(group: h5py.Group) -> "Columns":
        names = np.array(group["names"].asstr()[:], dtype=object)
        return Columns(names, *(group[f.name][:] for f in fields(Columns)[1:]))


def write_shard(
    path: Path,
    labels: NDArray[np.uint8],
    columns: Columns,
    attributes: Mapping[str, Any],
    probs: NDArray[np.uint8] | None = None,
) -> None:
    """Write labels (N, H, W), optional probabilities (N, C, h, w) in 1/255, the columns and the attributes."""

    def fill(file: h5py.File) -> None:
        file.attrs.update(attributes)
        columns.write(file)
        for name, values in (("labels", labels), ("probs", probs)):
            if values is not None:
                file.create_dataset(
                    name, data=values, chunks=(1, *values.shape[1:]), compression="gzip", compression_opts=4,
                    shuffle=False, fletcher32=True, track_times=False,
                )  # fmt: skip

    write_whole(path, fill)


def read_columns(path: Path) -> tuple[Columns, dict[str, Any]]:
    """Columns and attributes of a shard or an index; CacheError where the file is no such thing."""
    try:
        with h5py.File(path, "r") as file:
            attributes = dict(file.attrs)
            if attributes["format_version"] != FORMAT_VERSION:
                raise OtherVersionError(
                    f"{path}: mask cache format {attributes['format_version']}, "
                    f"but this version of cscl reads {FORMAT_VERSION}; parse again with --overwrite"
                )
            if absent := [name for name in ATTRIBUTES if not isinstance(attributes.get(name), str)]:
                raise KeyError(f"no attribute {absent[0]}")
            if not isinstance(attributes.get("pattern", ""), str):
                raise TypeError("its pattern is no text")
            return Columns.read(file), attributes
    except CacheError:
        raise
    except (OSError, KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise CacheError(f"{path} is damaged or no mask cache: {str(error).splitlines()[0]}") from error


def shard_fits(path: Path, names: NDArray[np.object_], attributes: Mapping[str, Any]) -> bool:
    """Whether an undamaged shard of exactly these names and attributes lies at `path`."""
    if (whole := _undamaged(path)) is None:
        return False
    columns, found = whole
    return found == dict(attributes) and np.array_equal(columns.names, names)


def _undamaged(path: Path) -> tuple[Columns, dict[str, Any]] | None:
    """What `read_columns` answers of an undamaged shard; None where there is none."""
    if not is_sealed(path):
        return None
    try:
        return read_columns(path)
    except CacheError:
        return None


def rename_people(
    path: Path, names: NDArray[np.object_], people: Mapping[str, NDArray[Any]], attributes: Mapping[str, Any]
) -> bool:
    """Give a whole shard of exactly these names the columns of `people`, identity, camera and modality; masks stay.

    False, and nothing is done, where it has them already, or where more than those and the pattern would change.
    """
    if (whole := _undamaged(path)) is None:
        return False
    columns, found = whole
    if found | {"pattern": None} != dict(attributes) | {"pattern": None} or not np.array_equal(columns.names, names):
        return False
    same = all(np.array_equal(getattr(columns, column), values) for column, values in people.items())
    if same and found == dict(attributes):
        return False
    with h5py.File(path, "r") as file:
        labels, probs = file["labels"][:], file["probs"][:] if "probs" in file else None
    write_shard(path, labels, replace(columns, **people), attributes, probs)
    return True
