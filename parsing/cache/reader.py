"""Reading a mask cache: by name, by number or by slice, as labels, as parts, or as probabilities."""

import json
import os
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ..errors import CacheError, MissingError, first_line
from ..labels import LabelSet
from ..resize import resize_maps
from ..schemes import PartScheme, part_scheme
from ..words import quote_path
from .index import follow_link, list_shards, read_shard_table, shard_folder
from .provenance import describe_mending, fingerprint, read_provenance
from .sealed import check_seal, open_sealed
from .shard import Status, read_columns
from .stored import get_dataset

Key = str | int | np.integer[Any]
Keys = Key | slice | Sequence[Key] | NDArray[np.integer[Any]] | NDArray[np.bool_]


class MaskCache:
    """The masks of a cache, read from its index file and the shards beside it.

    >>> cache = MaskCache("data/sysu_masks.h5")
    >>> cache["cam1/0001/0001.jpg"]                 # (H, W) uint8, classes of cache.labels
    >>> cache.parts("cam1/0001/0001.jpg", "reid4")  # (4, H, W) float32, one map per part

    Files are opened when first needed, once per process, so that a cache survives fork and pickling.

    Args:
        path: the index file.
        root: folder of the images, if they are not where they were parsed; None for the folder that the index names.

    Attributes:
        names: image names in the data set, in order.
        status, confidence, source_size, identity, camera, modality: arrays in the same order, see
            `parsing.cache.shard.Columns`.
        has_mask: (N) bool, False if the image could not be parsed.
        size: (H, W) of the masks.
        labels: their label set.
        data_set, root: name and folder of the images' data set.
        pattern: how their paths name identity and camera; None if the data set knows.
        made_by: parser, weights, preprocessing and size, see `parsing.cache.provenance.Provenance`.
        fingerprint: the hash of `made_by`.
        shard_hashes: SHA-256 of each shard, as the index says: other masks have others, if not another fingerprint.

    Raises:
        MissingError: if there is no such file, or no folder `root`.
        CacheError: if it is damaged, of another version or no index of a cache.
    """

    def __init__(self, path: str | os.PathLike[str], root: str | os.PathLike[str] | None = None) -> None:
        self.path = follow_link(Path(path))
        if not self.path.is_file():
            if list_shards(self.path):
                raise MissingError(
                    f"no index {self.path} beside its shards: the run that writes it has not ended; if it was stopped, "
                    "the same command goes on, and `cscl masks verify` says what is there"
                )
            raise MissingError(
                f"no mask cache at {self.path}; `cscl parse --dataset NAME --out {quote_path(self.path)}` makes one"
            )
        check_seal(self.path)
        columns, attributes = read_columns(self.path)
        self.fingerprint: str = attributes["fingerprint"]
        self.data_set: str = attributes["data_set"]
        self.licence: str = attributes["licence"]
        self.pattern: str | None = attributes.get("pattern")
        if root is not None and not Path(root).is_dir():
            raise MissingError(f"there is no folder {root} of the images of {self.path}")
        # links are resolved, since `..` from a linked folder leads elsewhere
        named = os.path.normpath(self.path.parent.resolve() / attributes["root"])
        self.root = Path(named if root is None else os.path.abspath(root))
        self._folder = shard_folder(self.path.absolute())
        try:
            self.made_by: dict[str, Any] = json.loads(attributes["made_by"])
            if fingerprint(self.made_by)[1] != self.fingerprint:
                raise CacheError(f"{self.path}: its fingerprint does not fit what it says it was made by; parse again")
            said = read_provenance(self.made_by)
        except CacheError:
            raise
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            raise CacheError(f"{self.path} is no index of a mask cache: {first_line(error)}") from error
        self.labels: LabelSet = said.labels
        self.size: tuple[int, int] = said.size
        self._probs_shape = said.probs_shape
        table = read_shard_table(self.path, len(columns))
        self._shards, self._shard, self._row = table.names, table.shard, table.row
        self.shard_hashes: list[str] = table.hashes
        self.names: tuple[str, ...] = tuple(columns.names)
        self.status, self.confidence, self.source_size = (
            columns.status,
            columns.confidence,
            columns.source_size,
        )
        self.has_mask = ~np.isin(self.status, (Status.UNREADABLE, Status.FATAL))
        self.identity, self.camera, self.modality = columns.identity, columns.camera, columns.modality
        self._open: dict[int, dict[str, h5py.Dataset]] = {}
        self._process = os.getpid()

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k != "_numbers"} | {"_open": {}}

    def __len__(self) -> int:
        return len(self.names)

    def __contains__(self, name: object) -> bool:
        return name in self._numbers

    def __repr__(self) -> str:
        height, width = self.size
        return f"MaskCache({str(self.path)!r}: {len(self)} masks, {self.labels.name}, {height}x{width})"

    def number(self, key: Key) -> int:
        """Return the row of an image, by name or (also negative) number.

        Raises:
            KeyError, IndexError: if there is none, as for dict and list.
            TypeError: for another type.
        """
        if isinstance(key, str):
            if key not in self._numbers:
                raise KeyError(f"{key} is not in {self.path} ({len(self)} images, the first is {self.names[0]})")
            return self._numbers[key]
        if isinstance(key, bool) or not isinstance(key, int | np.integer):
            raise TypeError(f"{key!r} is neither the name of an image nor a number")
        if not -len(self) <= key < len(self):
            raise IndexError(f"{self.path} has {len(self)} images, there is no number {key}")
        return int(key) % len(self)

    def __getitem__(self, key: Keys) -> NDArray[np.uint8]:
        """Return labels (H, W) of one image, or (N, H, W) of several.

        Those are a slice, a sequence of names or numbers, or an array of one bool per image of the cache (`has_mask`).
        """
        return self._read("labels", key)

    def probs(self, key: Keys) -> NDArray[np.uint8]:
        """Return class probabilities in 1/255 at a quarter of the size: (C, H // 4, W // 4), or (N, C, H // 4, W // 4).

        Raises:
            CacheError: if the cache holds none.
        """
        if not self.made_by["probs"]:
            raise CacheError(f"{self.path} holds no probabilities; parse with --probs")
        return self._read("probs", key)

    def part_labels(self, key: Keys, scheme: str | PartScheme = "reid4") -> NDArray[np.uint8]:
        """Return labels regrouped to a part scheme: 0 background, 1..Q parts; shaped as `cache[key]`."""
        return self.table(scheme)[self[key]]

    def parts(
        self,
        key: Keys,
        scheme: str | PartScheme = "reid4",
        soft: bool | None = None,
        size: tuple[int, int] | None = None,
    ) -> NDArray[np.float32]:
        """Return one map per part in [0, 1], without background: (Q, H, W), or (N, Q, H, W).

        Args:
            key: an image, a slice or a sequence of images.
            scheme: a part scheme or its name.
            soft: True for the sum of the probabilities of each part's classes, bilinear from a quarter of the size;
                False for 0 and 1 from the labels; None for soft maps if the cache has probabilities.
            size: (height, width) of the maps; None for that of the masks. Maps of labels are then between 0 and 1 too.

        Raises:
            CacheError: if `soft` is True and the cache holds no probabilities.
        """
        chosen = part_scheme(scheme) if isinstance(scheme, str) else scheme
        if not (self.made_by["probs"] if soft is None else soft):
            numbers = np.arange(1, len(chosen) + 1, dtype=np.uint8)[:, None, None]
            maps = np.equal(self.part_labels(key, chosen)[..., None, :, :], numbers).astype(np.float32)
        else:
            probs, table = self.probs(key), self.table(chosen)[: len(self.labels)]
            members = [np.flatnonzero(table == number) for number in range(1, len(chosen) + 1)]
            sums = [probs[..., classes, :, :].sum(-3, dtype=np.uint16) for classes in members]
            maps = np.stack(sums, -3).astype(np.float32) / np.float32(255)
        return np.minimum(resize_maps(maps, size or self.size), 1)

    def table(self, scheme: str | PartScheme) -> NDArray[np.uint8]:
        """Return the look-up table (256,) from this cache's classes to the parts of `scheme`."""
        return (part_scheme(scheme) if isinstance(scheme, str) else scheme).table(self.labels)

    def preload(self, keys: Iterable[Key] | None = None) -> NDArray[np.uint8]:
        """Return labels (N, H, W) of `keys`, or of every image, read once in the order of the file.

        The array is plain memory: processes forked later (a DataLoader's workers) share it.
        """
        return self._gather("labels", np.arange(len(self)) if keys is None else self._list_numbers(keys))

    def close(self) -> None:
        """Close the shards that this process has open; reading opens them again."""
        for opened in self._open.values():
            opened["labels"].file.close()
        self._open = {}

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {name: number for number, name in enumerate(self.names)}

    def _read(self, what: str, key: Keys) -> NDArray[np.uint8]:
        if isinstance(key, slice):
            return self._gather(what, np.arange(len(self))[key])
        if isinstance(key, str | int | np.integer):
            one: NDArray[np.uint8] = self._gather(what, np.array([self.number(key)]))[0]
            return one
        return self._gather(what, self._list_numbers(key))

    def _list_numbers(self, keys: Iterable[Key]) -> NDArray[np.int64]:
        if isinstance(keys, np.ndarray) and keys.dtype == bool:
            if keys.shape != (len(self),):
                raise IndexError(f"{self.path} has {len(self)} images, the array of bools is {keys.shape}")
            return np.flatnonzero(keys)
        return np.array([self.number(k) for k in keys], np.int64)

    def _gather(self, what: str, numbers: NDArray[np.int64]) -> NDArray[np.uint8]:
        shape = self.size if what == "labels" else self._probs_shape or ()
        result = np.empty((len(numbers), *shape), np.uint8)
        for position in np.lexsort((self._row[numbers], self._shard[numbers])):
            number = numbers[position]
            shard = int(self._shard[number])
            try:
                result[position] = self._dataset(shard, what)[int(self._row[number])]
            except (OSError, KeyError, IndexError, TypeError, ValueError, RuntimeError) as error:
                if not self._folder.is_dir():
                    raise CacheError(read_shard_table(self.path, len(self)).describe_lost_folder(self.path)) from error
                raise CacheError(
                    f"{self._folder / self._shards[shard]}: the mask of {self.names[number]} cannot be read "
                    f"({error}); {describe_mending(self.made_by)}"
                ) from error
        return result

    def _dataset(self, shard: int, what: str) -> h5py.Dataset:
        """Return an open data set of a shard, the same object each time: h5py takes longer to find one than to read."""
        if self._process != os.getpid():  # forked: the parent's handles are not ours to use
            self._open, self._process = {}, os.getpid()
        if shard not in self._open:
            # with its hash: beside an index that is older than a shard, a row would be the mask of another image
            file = open_sealed(self._folder / self._shards[shard], self.shard_hashes[shard])
            try:
                of_shard = file.attrs.get("fingerprint")  # an array is unequal to no text for numpy 2.1 and earlier
                if not isinstance(of_shard, str) or of_shard != self.fingerprint:
                    raise ValueError("the shard is of another cache")
                opened = {"labels": get_dataset(file, path="labels", kind="u1", shape=(None, *self.size))}
                if self._probs_shape is not None:
                    opened["probs"] = get_dataset(file, path="probs", kind="u1", shape=(None, *self._probs_shape))
            except BaseException:
                file.close()
                raise
            self._open[shard] = opened
        return self._open[shard][what]
