"""One shard of a mask cache: written whole or not at all, and checked before it is believed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from enum import IntEnum
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ..errors import CacheError, first_line
from ..modality import MODALITIES
from ..names import leads_out
from ..resize import MOST_PIXELS
from .provenance import ATTRIBUTES, FORMAT_VERSION
from .sealed import is_ours, open_stored, sealed_hash, write_whole
from .stored import TEXT, get_dataset, read_stored_array


class OtherVersionError(CacheError):
    """A mask cache in a format that this version does not read."""


class Status(IntEnum):
    """How parsing an image ended: with a mask; no readable image; a mask of nobody; all its processes were killed."""

    OK = 0
    UNREADABLE = 1
    EMPTY = 2
    FATAL = 3


ROUNDING = 1e-3
"""By which a confidence may lie outside of [0, 1]."""
_KINDS: dict[str, tuple[Any, ...]] = {
    "names": (TEXT,), "status": ("u1",), "confidence": ("f4",), "source_size": ("i4", 2), "identity": ("i4",),
    "camera": ("i4",), "modality": ("u1",),
}  # fmt: skip
"""Type and further axes of each column."""


@dataclass(frozen=True)
class Columns:
    """What a cache holds of each of N images beside its mask, one array (N, ...) per column.

    Attributes:
        names: path of the image below the data set's folder, with forward slashes.
        status: Status.
        confidence: in [0, 1].
        source_size: (N, 2), height and width of the image file in pixels, 0 if it is unreadable.
        identity, camera: the data set's numbers; -1 and 0 if unknown.
        modality: index into `parsing.modality.MODALITIES`.
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
        """Return some of the rows."""
        return Columns(*(getattr(self, f.name)[rows] for f in fields(Columns)))

    @staticmethod
    def joined(pieces: "list[Columns]") -> "Columns":
        """Return the rows of all pieces, in order."""
        return Columns(*(np.concatenate([getattr(p, f.name) for p in pieces]) for f in fields(Columns)))

    def write(self, group: h5py.Group) -> None:
        """Create a data set per column."""
        for field in fields(self):
            values = getattr(self, field.name)
            kind = h5py.string_dtype("utf-8") if field.name == "names" else values.dtype
            group.create_dataset(field.name, data=values, dtype=kind, track_times=False)

    @staticmethod
    def read(group: h5py.Group) -> "Columns":
        """Read the data sets that `write` made.

        Raises:
            KeyError, TypeError, ValueError, OSError: if one of them is missing, or holds what no image has.
        """
        count = len(get_dataset(group, path="names", kind=TEXT, shape=(None,)))
        found = Columns(
            *(read_stored_array(group, path=n, kind=kind, shape=(count, *rest)) for n, (kind, *rest) in _KINDS.items())
        )
        found.check()
        return found

    def check(self) -> None:
        """Raise ValueError for values that no image has, such as a name that leads out of the data set's folder."""
        names = self.names.tolist()
        if len(set(names)) < len(names):
            raise ValueError("a name occurs twice")
        if (odd := next(filter(leads_out, names), None)) is not None:
            raise ValueError(f"{odd!a} is no path below the data set's folder")
        allowed = {
            "status": np.isin(self.status, list(Status)),
            "confidence": (self.confidence >= -ROUNDING) & (self.confidence <= 1 + ROUNDING),  # not of NaN
            "source_size": (self.source_size >= 0)
            & (self.source_size.astype(np.int64).prod(1) <= MOST_PIXELS)[:, None],
            "modality": self.modality < len(MODALITIES),
        }
        if wrong := [name for name, good in allowed.items() if not good.all()]:
            raise ValueError(f"{wrong[0]} has values that no image has")


def write_shard(
    path: Path,
    labels: NDArray[np.uint8],
    columns: Columns,
    attributes: Mapping[str, Any],
    probs: NDArray[np.uint8] | None = None,
) -> str:
    """Write labels (N, H, W), the columns, the attributes and probabilities (N, C, h, w) in 1/255, if any.

    Returns:
        The SHA-256 of the file.

    Raises:
        CsclError: if the disk is full or the place cannot be written to.
    """

    def fill(file: h5py.File) -> None:
        file.attrs.update(attributes)
        columns.write(file)
        for name, values in (("labels", labels), ("probs", probs)):
            if values is not None:
                file.create_dataset(
                    name, data=values, chunks=(1, *values.shape[1:]), compression="gzip", compression_opts=3,
                    shuffle=False, fletcher32=True, track_times=False,
                )  # fmt: skip

    return write_whole(path, fill)


def read_columns(path: Path) -> tuple[Columns, dict[str, Any]]:
    """Return columns and attributes of a shard or an index, without a look at its seal.

    Raises:
        OtherVersionError: if it is of another format version.
        CacheError: if it is damaged or something else.
    """
    try:
        with open_stored(path) as file:
            attributes = dict(file.attrs)
            version = attributes["format_version"]
            if not isinstance(version, int | np.integer):
                raise TypeError("its format version is no number")
            if version != FORMAT_VERSION:
                raise OtherVersionError(
                    f"{path}: mask cache format {version}, "
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
        reason = error.args[0] if isinstance(error, KeyError) and error.args else first_line(error)
        raise CacheError(f"{path} is damaged or no mask cache: {reason}") from error


@dataclass(frozen=True)
class StoredFile:
    """A shard or an index every byte of which is as it was written, with the SHA-256 of the file."""

    path: Path
    columns: Columns
    attributes: Mapping[str, Any]
    sha256: str

    def __len__(self) -> int:
        return len(self.columns)

    def fits(self, names: Sequence[str], attributes: Mapping[str, Any]) -> bool:
        """Return whether it holds exactly the images of these names, in this order, and these attributes."""
        return dict(self.attributes) == dict(attributes) and self.columns.names.tolist() == list(names)

    def holds(self, names: Sequence[str], attributes: Mapping[str, Any]) -> bool:
        """Return whether it holds the masks of these images, though their people may have been read by another rule."""
        return _same_masks(self.attributes, attributes) and self.columns.names.tolist() == list(names)


def _same_masks(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Return whether attributes differ at most in the pattern, by which people are read."""
    return {**found, "pattern": None} == {**wanted, "pattern": None}


def read_stored(path: Path) -> StoredFile | None:
    """Read columns and attributes of a shard or an index; None if there is none or a byte of it has changed.

    The seal is checked first: what a damaged file says of its parser, its version or its images may be noise.

    Raises:
        OtherVersionError: for a file of another format version, whose seal may be another too.
    """
    if not path.is_file():
        return None
    digest = sealed_hash(path)
    if digest is None and is_ours(path):
        return None
    try:
        columns, attributes = read_columns(path)
    except OtherVersionError:
        raise
    except CacheError:
        return None
    return None if digest is None else StoredFile(path, columns=columns, attributes=attributes, sha256=digest)


def rename_people(
    stored: StoredFile, people: Mapping[str, NDArray[Any]], attributes: Mapping[str, Any]
) -> StoredFile | None:
    """Write a shard again with other columns `people` (identity, camera and modality); the masks stay.

    Returns:
        The new shard; None, with nothing done, if it has them already, or if more than them and the pattern would
        change.
    """
    if not _same_masks(stored.attributes, attributes):
        return None
    same = all(np.array_equal(getattr(stored.columns, column), values) for column, values in people.items())
    if same and dict(stored.attributes) == dict(attributes):
        return None
    with open_stored(stored.path) as file:
        labels, probs = file["labels"][:], file["probs"][:] if "probs" in file else None
    columns = replace(stored.columns, **people)
    return StoredFile(
        stored.path,
        columns=columns,
        attributes=attributes,
        sha256=write_shard(stored.path, labels=labels, columns=columns, attributes=attributes, probs=probs),
    )
