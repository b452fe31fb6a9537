"""Masks beside anybody's images: a torch data set of (image, label) joined to a mask cache by the images' paths."""

import os
from collections.abc import Callable, Mapping, Sequence
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
from .image_sizes import find_other_image
from .joint_transform import STILL, is_mirrored, is_of, joint_transform, ramps
from .schemes import PartScheme, part_scheme

_TURN_IT = "turn images by EXIF when they are read, as parsing.images.read_image does"


_MOST_CHANNELS = 4
_MOST_OF_A_PART = 1.5
"""Beyond what any interpolation makes of parts in [0, 1]."""
_MOST_CHECKED = 64
"""Images whose files are compared with the cache by their sizes, spread over the data set."""


class WithMasks(Dataset[Any]):
    """`dataset[i]` with its mask inserted in second place: (image, mask, label, ...); as `mask` in a dictionary.

    >>> data = WithMasks(ImageFolder("data/SYSU-MM01/cam1"), MaskCache("data/sysu_masks.h5"), transform=v2.Compose([
    ...     v2.RandomHorizontalFlip(), v2.Resize((288, 144)), v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]))
    >>> image, mask, label = data[0]              # (3, 288, 144), (4, 288, 144), int

    The mask is a tv_tensors.Mask as large as the image. If the transform mirrors it, left and right classes or parts
    are exchanged, as `cache.labels.flipped` says. Other attributes are those of `dataset`: `targets`, `ids`.

    Args:
        dataset: a data set of (image, label, ...), or of dictionaries whose first value is the image.
        cache: the masks.
        paths: of the images, in the order of `dataset`, below `cache.root` or as the cache names them; None takes them
            from its `samples` or `imgs`: paths, or tuples that begin with one as torchvision's data sets have.
        scheme: a part scheme for parts (Q, H, W) float32 in [0, 1]; None for classes (H, W) uint8 of `cache.labels`.
        transform: moves both: of torchvision's transforms.v2; of its older transforms, of which those that move pixels
            are applied as their namesakes in v2; of albumentations; or a function of (image, mask), which exchanges
            sides itself.
        aligned: accept a transform of `dataset`'s own, and unknown parts of older transforms: they move nothing.

    Raises:
        InputError: if an image has no mask or is another than the one that was parsed, or a transform moves the image
            alone; for a mirrored image, if a part of `scheme` mixes sides.
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
            paths = [sample if isinstance(sample, str | os.PathLike) else sample[0] for sample in samples]
        if len(paths) != len(dataset):
            raise InputError(f"{len(paths)} paths for {len(dataset)} images; give one an image, in their order")
        if scheme is not None:
            cache.table(scheme)
        if transform is not None:
            self._joint, self._known = joint_transform(transform, aligned)
            self._watched = self._known and self._has_sides(cache, scheme)
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
                f"{len(missing)} of {len(paths)} images have no mask in {cache.path}, the first is "
                f"{paths[self.names.index(missing[0])]}; its names are paths below {cache.root}, such as "
                f"{cache.names[0]}; if the images have moved, give MaskCache their folder as root"
            )
        if other := find_other_image(self.names[:: -(-len(self) // _MOST_CHECKED) or 1], cache.root, cache):
            raise InputError(
                f"{cache.root / other} has another size than the image of that name in {cache.path}: these are other "
                "images, or they were changed after parsing; parse them, or give MaskCache the folder of those as root"
            )

    def __len__(self) -> int:
        return len(self.names)

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of the data set inside."""
        if name.startswith("_") or name == "dataset":  # not there yet while a copy is unpickled
            raise AttributeError(name)
        return getattr(self.dataset, name)

    def __getitem__(self, index: int) -> Any:
        item = self.dataset[index]
        if isinstance(item, Mapping) and item and "mask" not in item:
            key = next(iter(item))
            image, mask = self._join(index, item[key])
            return {**item, key: image, "mask": mask}
        if not isinstance(item, Sequence) or isinstance(item, str):
            has = f"a {type(item).__name__}" + " that has a mask" * (isinstance(item, Mapping) and "mask" in item)
            raise InputError(
                f"{type(self.dataset).__name__} gives {has}; WithMasks takes (image, label, ...) and dictionaries "
                "without one"
            )
        image, *rest = item
        return (*self._join(index, image), *rest)

    def _join(self, index: int, image: Any) -> tuple[Any, tv_tensors.Mask]:
        """Return image `index` and its mask, both transformed."""
        self._check_upright(index, image)
        mask = tv_tensors.Mask(_resize_mask(self._mask(self.names[index]), _size(image)))
        if self.transform is not None:
            watched = [ramps(_size(image))] if self._watched else []
            image, (moved, *moved_ramps) = self._joint(image, [mask, *watched])
            if self._known and self.scheme is not None and float(moved.max()) > _MOST_OF_A_PART:
                raise InputError(
                    f"{self.names[index]}: the transform has filled the parts with {float(moved.max()):g}; they are in "
                    "[0, 1]: fill masks with 0, or take classes (scheme=None), of which 255 is ignored"
                )
            mirrored = bool(moved_ramps) and is_mirrored(moved_ramps[0])
            mask = tv_tensors.Mask(self._exchanged(torch.as_tensor(moved)) if mirrored else moved)
        return image, mask

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
    usual = {name: getattr(dataset, name, None) for name in ("transform", "transforms")}
    for attribute, found in {**getattr(dataset, "__dict__", {}), **usual}.items():
        # torchvision's data sets wrap a transform of the label alone, which moves no image, as one of both
        if found is None or (isinstance(found, StandardTransform) and found.transform is None):
            continue
        if attribute in usual or (_may_move(found) and not attribute.startswith("target_")):
            return f"{type(dataset).__name__}.{attribute}"
    inside = [getattr(dataset, "dataset", None), *(getattr(dataset, "datasets", None) or ())]
    return next(filter(None, (_find_transform(one) for one in inside if isinstance(one, Dataset))), "")


def _may_move(found: Any) -> bool:
    """Return whether something that a data set keeps is a transform that may move images."""
    return is_of(found, "torchvision.transforms", "albumentations") and type(found).__name__ not in STILL


def _flip_classes(cache: MaskCache, scheme: str | PartScheme | None) -> tuple[int, ...]:
    """Return the classes, or background and parts, of a mirrored image."""
    if scheme is None:
        return cache.labels.flipped
    return (part_scheme(scheme) if isinstance(scheme, str) else scheme).flipped(cache.labels)


def _size(image: Any) -> tuple[int, int]:
    """Return (height, width) of a tensor (..., H, W), an array (H, W, C) or a PIL image.

    Raises:
        InputError: if it is none of these, or has its channels where the others have a side.
    """
    if len(shape := tuple(getattr(image, "shape", ()))) >= 2:
        size = shape[-2:] if isinstance(image, Tensor) else shape[:2]
        if min(size) <= _MOST_CHANNELS:
            raise InputError(f"an image of shape {shape}; WithMasks takes tensors (C, H, W) and arrays (H, W, C)")
        return int(size[0]), int(size[1])
    if not hasattr(image, "height"):
        raise InputError(f"a {type(image).__name__} in place of an image; WithMasks takes the image first")
    return int(image.height), int(image.width)


def _resize_mask(mask: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize classes (H, W) to the nearest, parts (Q, H, W) bilinearly."""
    if mask.shape[-2:] == size:
        return mask
    if mask.dim() == 2:
        return F.interpolate(mask[None, None], size, mode="nearest-exact")[0, 0]
    return F.interpolate(mask[None], size, mode="bilinear", antialias=True)[0].clamp(0, 1)  # rounding is beyond
