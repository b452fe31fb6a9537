"""Writing a mask cache of your own: one mask at a time, by any program."""

import math
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..labels import IGNORED, LabelSet, label_set
from ..modality import MODALITIES, Modality
from ..names import find_name_fault
from ..resize import MOST_PIXELS
from .builder import MOST_IN_A_SHARD, OneImage, ShardBuilder
from .index import find_orphans, finish_cache, list_shards, shard_folder, shard_name
from .provenance import Provenance, cache_attributes
from .shard import StoredFile


class CacheWriter:
    """Write a mask cache of masks that you made yourself, image by image.

    >>> with CacheWriter("data/mine.h5", labels="lip", size=(288, 144), parser="mine", root="data/SYSU-MM01") as cache:
    ...     cache.add("cam1/0001/0001.jpg", mask, identity=1, camera=1)

    Images are in the cache in the order in which they are added, 1,024 per shard. The cache is there once the block
    has ended; if the block ends with an error, nothing of it stays. One thread may add, and no other run may write to
    the same cache meanwhile.

    Args:
        path: the index file, which ends in `.h5`; shards lie in a folder beside it.
        labels: the label set of the masks, its name or its TOML file.
        size: (height, width) of the masks.
        parser: name of what made the masks.
        weights: SHA-256 of its weights, or another text that tells two parsers of one name apart.
        preprocessing: what was done to an image before, as JSON.
        flip: whether the answers are averaged with those of the mirrored images.
        probs: whether `add` gets class probabilities too.
        data_set: name of the data set that the images are of, as `cscl train` knows it.
        root: its folder; None for that of the index.
        licence: of the masks.
        pattern: how the paths of a `folder` data set name identity and camera.
        overwrite: remove a cache that is there first.

    Raises:
        InputError: if the path, the size or the label set cannot be used.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        labels: LabelSet | str,
        size: tuple[int, int],
        parser: str,
        weights: str = "",
        preprocessing: Mapping[str, Any] | None = None,
        flip: bool = False,
        probs: bool = False,
        data_set: str = "images",
        root: Path | str | None = None,
        licence: str = "not stated",
        pattern: str | None = None,
        overwrite: bool = False,
    ) -> None:
        self.path = Path(path)
        if self.path.suffix != ".h5" or self.path.is_dir():
            raise InputError(f"{self.path}: give the path of a file that ends in .h5")
        if min(size) < (4 if probs else 1) or size[0] * size[1] > MOST_PIXELS:
            raise InputError(
                f"size {size}: give (height, width), each 1 or more, 4 with probabilities, and at most {MOST_PIXELS} "
                "pixels"
            )
        known = labels if isinstance(labels, LabelSet) else label_set(labels)
        self.provenance = Provenance(
            parser,
            weights=weights,
            labels=known,
            size=(size[0], size[1]),
            preprocessing=preprocessing or {},
            flip=flip,
            probs=probs,
        )
        self.attributes = cache_attributes(
            self.path,
            self.provenance,
            data_set=data_set,
            root=self.path.parent if root is None else Path(root),
            licence=licence,
            pattern=pattern,
        )
        self._overwrite = overwrite
        self._lock = ExitStack()
        self._written: list[StoredFile] = []
        self._names: set[str] = set()
        self._images: list[OneImage] = []
        self._masks: list[tuple[int, NDArray[np.uint8], tuple[int, int], float | None, NDArray[np.uint8] | None]] = []

    def __enter__(self) -> "CacheWriter":
        """Lock the place and clear it.

        Raises:
            InputError: if a cache is there and `overwrite` is not given, or the place cannot be written to.
            LockedError: if another run writes to it.
        """
        from .lock import hold_lock  # it needs a Unix; reading a cache does not

        self._lock.enter_context(hold_lock(self.path, "CacheWriter"))
        try:
            there = [*list_shards(self.path), *([self.path] if self.path.exists() else [])]
            if there and not self._overwrite:
                raise InputError(f"{there[-1]} is there already; give another path, or overwrite=True to replace it")
            _remove([*there, *find_orphans(self.path)])
        except BaseException:
            self._lock.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        with self._lock:
            try:
                if kind is None:
                    self.cut_shard()
                    if not self._written:
                        raise InputError(f"{self.path}: no mask was added")
                    finish_cache(self.path, self._written)
                    self._written = []
            finally:
                _remove([stored.path for stored in self._written])
                with suppress(OSError):  # not empty
                    shard_folder(self.path).rmdir()

    def add(
        self,
        name: str,
        labels: NDArray[np.uint8] | None,
        *,
        identity: int = -1,
        camera: int = 0,
        modality: Modality = "visible",
        confidence: float | None = None,
        source_size: tuple[int, int] = (0, 0),
        probs: NDArray[np.uint8] | None = None,
    ) -> None:
        """Add the mask of one image.

        Args:
            name: path of the image below `root`, with forward slashes.
            labels: (H, W) uint8 of classes, 0 background, 255 for pixels that no class claims; None for an image that
                could not be parsed.
            identity: number of the person; -1 if unknown.
            camera: number of the camera, from 1; 0 if unknown.
            modality: `visible` or `infrared`.
            confidence: in [0, 1]; None for 1, and 0 for a mask of nobody.
            source_size: (height, width) of the image file in pixels; 0 if unknown.
            probs: (C, H // 4, W // 4) uint8, class probabilities in 1/255; needed if the cache holds them.

        Raises:
            InputError: if one of these cannot be in the cache; it is then as it was before.
        """
        self._check(name, modality, confidence)
        self._check_numbers(name, identity=identity, camera=camera, source_size=source_size)
        if labels is not None:
            self._check_mask(name, labels, probs)
            self._masks.append(
                (len(self._images), labels.copy(), source_size, confidence, None if probs is None else probs.copy())
            )
        self._names.add(name)
        self._images.append(OneImage(name, identity=identity, camera=camera, modality=modality))
        if len(self._images) == MOST_IN_A_SHARD:
            self.cut_shard()

    def cut_shard(self) -> None:
        """Write the images since the last shard as one; nothing if there are none. A full shard is cut by itself."""
        if not self._images:
            return
        builder = ShardBuilder(self._images, self.provenance.size, self.provenance.probs_shape)
        for row, labels, source_size, confidence, probs in self._masks:
            trust = None if confidence is None else np.array([confidence], np.float32)
            builder.put([row], labels[None], [source_size], trust, probs)
        path = shard_folder(self.path) / shard_name(len(self._written))
        self._written.append(builder.write(path, self.attributes))
        self._images, self._masks = [], []

    def _check(self, name: str, modality: str, confidence: float | None) -> None:
        if not isinstance(name, str):
            raise InputError(f"{name!r} is a {type(name).__name__}; give the name as text, as path.as_posix()")
        if why := find_name_fault(name):
            raise InputError(f"{name!a}: {why}")
        if name in self._names:
            raise InputError(f"{name} was added before; an image has one mask")
        if modality not in MODALITIES:
            raise InputError(f"{name}: modality {modality!r}; give {' or '.join(MODALITIES)}")
        if confidence is not None and not 0 <= confidence <= 1:
            raise InputError(f"{name}: confidence {confidence}; give a number in [0, 1]")

    @staticmethod
    def _check_numbers(name: str, identity: int, camera: int, source_size: tuple[int, int]) -> None:
        for what, value in (("identity", identity), ("camera", camera)):
            if not isinstance(value, int | np.integer) or not -(2**31) <= value < 2**31:
                raise InputError(f"{name}: {what} {value!r}; give a number of 32 bits")
        if min(source_size) < 0 or math.prod(map(int, source_size)) > MOST_PIXELS:
            raise InputError(f"{name}: source_size {source_size}; give (height, width), at most {MOST_PIXELS} pixels")

    def _check_mask(self, name: str, labels: NDArray[np.uint8], probs: NDArray[np.uint8] | None) -> None:
        known = self.provenance.labels
        if not isinstance(labels, np.ndarray):
            raise InputError(
                f"{name}: a mask of type {type(labels).__name__}; give an array, as numpy.asarray makes it"
            )
        if labels.dtype != np.uint8 or labels.shape != self.provenance.size:
            how = "astype('uint8')" if labels.shape == self.provenance.size else "parsing.resize.resize_labels"
            raise InputError(
                f"{name}: a mask {labels.shape} of {labels.dtype}; this cache takes {self.provenance.size} of uint8 "
                f"({how} makes it)"
            )
        if wrong := sorted({int(v) for v in np.unique(labels)} - {*range(len(known)), IGNORED}):
            raise InputError(
                f"{name}: the mask has the value {wrong[0]}; label set {known.name!r} has 0 to {len(known) - 1}, "
                f"and {IGNORED} for none"
            )
        shape = self.provenance.probs_shape
        found = None if probs is None else probs.shape
        if found != shape or (probs is not None and probs.dtype != np.uint8):
            raise InputError(f"{name}: probabilities {found}; this cache takes {shape or 'none'} of uint8")


def _remove(paths: Sequence[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
