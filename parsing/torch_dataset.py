"""Masks beside anybody's images: a torch data set of (image, label) joined to a mask cache by the images' paths."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import ExifTags
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset
from torchvision import tv_tensors
from torchvision.datasets.vision import StandardTransform

from .cache.reader import MaskCache
from .errors import InputError
from .joint_transform import is_mirrored, joint_transform, ramps
from .schemes import PartScheme, part_scheme

_TURN_IT = "turn images by EXIF when they are read, as parsing.images.read_image does"


class WithMasks(Dataset[tuple[Any, ...]]):
    """`dataset[i]` with its mask inserted in second place: (image, mask, label, ...).

    >>> data = WithMasks(ImageFolder("data/SYSU-MM01/cam1"), MaskCache("data/sysu_masks.h5"), transform=v2.Compose([
    ...     v2.RandomHorizontalFlip(), v2.Resize((288, 144)), v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]))
    >>> image, mask, label = data[0]              # (3, 288, 144), (4, 288, 144), int

    The mask is a tv_tensors.Mask as large as the image. If the transform mirrors it, left and right classes or parts
    are exchanged, as `cache.labels.flipped` says. Other attributes are those of `dataset`: `targets`, `ids`.

    Args:
        dataset: a data set of (image, label, ...).
        cache: the masks.
        paths: of the images, in the order of `dataset`, below `cache.root` or as the cache names them; None takes them
            from its `samples` or `imgs`, as torchvision's data sets have.
        scheme: a part scheme for parts (Q, H, W) float32 in [0, 1]; None for classes (H, W) uint8 of `cache.labels`.
        transform: moves both: of torchvision's transforms.v2; of its older transforms, of which those that move pixels
            are applied as their namesakes in v2; of albumentations; or a function of (image, mask), which exchanges
            sides itself.
        aligned: accept a transform of `dataset`'s own, and unknown parts of older transforms: they move nothing.

    Raises:
        InputError: if an image has no mask, or a transform moves the image alone; for a mirrored image, if a part of
            `scheme` mixes sides.
    """

    def __init__(
        self,
        dataset: Any,
        cache: MaskCache,
        paths: Sequence[str | os.PathLike[str]] | None = None,
        scheme: str | PartScheme | None = "reid4",
        transform: Callable[..., Any] | None = None,
        aligned: bool = False,
    ) -> None:
        if not aligned and (own := _find_transform(dataset)):
            raise InputError(
                f"{own} would move images away from their masks; give it to WithMasks as transform, or say "
                "aligned=True if it neither flips nor crops"
            )
        if paths is None:
            samples = getattr(dataset, "samples", None) or getattr(dataset, "imgs", None)
            if samples is None:
                raise InputError(f"{type(dataset).__name__} has no samples to take paths from; give paths")
            paths = [sample[0] for sample in samples]
        if len(paths) != len(dataset):
            raise InputError(f"{len(paths)} paths for {len(dataset)} images; give one an image, in their order")
        if scheme is not None:
            cache.table(scheme)
        if transform is not None:
            self._joint, takes_more = joint_transform(transform, aligned)
            self._watched = takes_more and self._has_sides(cache, scheme)
        self.dataset, self.cache, self.scheme, self.transform = dataset, cache, scheme, transform
        self.names = [self._name(path) for path in paths]
        missing = [name for name in self.names if name not in cache]
        without = [name for name in self.names if name in cache and not cache.has_mask[cache.number(name)]]
        if without:
            raise InputError(
                f"{len(without)} of {len(paths)} images could not be parsed, {cache.path} has no mask of them; the "
                f"first is {without[0]}; leave them out, or replace them and parse them (`cscl masks verify --repair`)"
            )
        if missing:
            raise InputError(
                f"{len(missing)} of {len(paths)} images have no mask in {cache.path}, the first is {missing[0]}; its "
                f"names are paths below {cache.root}, such as {cache.names[0]}"
            )

    def __len__(self) -> int:
        return len(self.names)

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of the data set inside."""
        if name.startswith("_") or name == "dataset":  # not there yet while a copy is unpickled
            raise AttributeError(name)
        return getattr(self.dataset, name)

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        item = self.dataset[index]
        if not isinstance(item, Sequence):
            raise InputError(
                f"{type(self.dataset).__name__} gives a {type(item).__name__}; WithMasks takes (image, label, ...)"
            )
        image, *rest = item
        self._check_upright(index, image)
        mask = tv_tensors.Mask(_resize_mask(self._mask(self.names[index]), _size(image)))
        if self.transform is not None:
            watched = [ramps(_size(image))] if self._watched else []
            image, (moved, *moved_ramps) = self._joint(image, [mask, *watched])
            mirrored = bool(moved_ramps) and is_mirrored(moved_ramps[0])
            mask = tv_tensors.Mask(self._exchanged(torch.as_tensor(moved)) if mirrored else moved)
        return (image, mask, *rest)

    def _check_upright(self, index: int, image: Any) -> None:
        """Raise InputError for an image that is not as it is seen: torchvision's loader applies no EXIF orientation."""
        size = _size(image)
        exif = image.getexif() if hasattr(image, "getexif") else {}
        turn = exif.get(ExifTags.Base.Orientation, 1)  # gone once it is applied
        upright = tuple(int(n) for n in self.cache.source_size[self.cache.number(self.names[index])])
        if size[0] != size[1] and size == upright[::-1]:
            raise InputError(
                f"{self.names[index]} is {size[0]}x{size[1]} (height x width), but its mask is of {upright[0]}x"
                f"{upright[1]}: {_TURN_IT}"
            )
        if turn > 1 and not (turn >= 5 and size == upright and size[0] != size[1]):  # turned, and the tag left
            raise InputError(
                f"{self.names[index]} has the EXIF orientation {turn}, but its mask is upright: {_TURN_IT}"
            )

    @staticmethod
    def _has_sides(cache: MaskCache, scheme: str | PartScheme | None) -> bool:
        """Return whether a mirror changes more than the places of a mask's pixels."""
        try:
            flipped = _flip_classes(cache, scheme)
        except InputError:  # parts that mix sides; nothing is wrong unless an image is mirrored
            return True
        return flipped != tuple(range(len(flipped)))

    def _exchanged(self, mask: Tensor) -> Tensor:
        """Return the mask of a mirrored image with left and right exchanged."""
        flipped = torch.tensor(_flip_classes(self.cache, self.scheme))
        if self.scheme is not None:
            return mask[flipped[1:] - 1]
        table = torch.arange(256, dtype=torch.uint8)
        table[: len(flipped)] = flipped.to(torch.uint8)
        return table[mask.long()].to(mask.dtype)

    def _mask(self, name: str) -> Tensor:
        if self.scheme is None:
            return torch.from_numpy(self.cache[name])
        return torch.from_numpy(self.cache.parts(name, self.scheme))

    def _name(self, path: str | os.PathLike[str]) -> str:
        """Return the cache's name of an image file; the path below the data set's folder if it has none."""
        name = Path(path).as_posix()
        folder, file = os.path.split(path)
        for place in (folder, os.path.realpath(folder)):  # as given, then with links followed
            if name in self.cache:
                break
            name = Path(os.path.relpath(os.path.join(place, file), os.path.realpath(self.cache.root))).as_posix()
        return name


def _find_transform(dataset: Any) -> str:
    """Return the name of a transform of a data set, or of one inside it (Subset, ConcatDataset); empty if none has."""
    for attribute in ("transform", "transforms"):
        found = getattr(dataset, attribute, None)
        # torchvision's data sets wrap a transform of the label alone, which moves no image, as one of both
        if found is not None and not (isinstance(found, StandardTransform) and found.transform is None):
            return f"{type(dataset).__name__}.{attribute}"
    inside = [getattr(dataset, "dataset", None), *(getattr(dataset, "datasets", None) or ())]
    return next(filter(None, (_find_transform(one) for one in inside if isinstance(one, Dataset))), "")


def _flip_classes(cache: MaskCache, scheme: str | PartScheme | None) -> tuple[int, ...]:
    """Return the classes, or background and parts, of a mirrored image."""
    if scheme is None:
        return cache.labels.flipped
    return (part_scheme(scheme) if isinstance(scheme, str) else scheme).flipped(cache.labels)


def _size(image: Any) -> tuple[int, int]:
    """Return (height, width) of a tensor (..., H, W), an array (H, W, C) or a PIL image."""
    if isinstance(image, Tensor):
        return int(image.shape[-2]), int(image.shape[-1])
    if hasattr(image, "shape"):
        return int(image.shape[0]), int(image.shape[1])
    return int(image.height), int(image.width)


def _resize_mask(mask: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize classes (H, W) to the nearest, parts (Q, H, W) bilinearly."""
    if mask.shape[-2:] == size:
        return mask
    if mask.dim() == 2:
        return F.interpolate(mask[None, None], size, mode="nearest-exact")[0, 0]
    return F.interpolate(mask[None], size, mode="bilinear", antialias=True)[0].clamp(0, 1)  # rounding is beyond
