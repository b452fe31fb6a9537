"""One call for the transforms that people have: of torchvision (v1 and v2), of albumentations, and of their own."""

import inspect
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from .errors import InputError

_FILLING = (
    v2.Pad, v2.RandomCrop, v2.RandomRotation, v2.RandomAffine, v2.RandomPerspective, v2.ElasticTransform,
    v2.RandomZoomOut,
)  # fmt: skip
"""Classes of torchvision v2 that fill what comes in from outside, in images and masks."""

Joint = Callable[[Any, Sequence[tv_tensors.Mask]], tuple[Any, list[Tensor]]]
"""Takes an image and masks that move with it, each (H, W) or (C, H, W); returns both moved."""

MOVING = (
    "Resize", "CenterCrop", "RandomCrop", "Pad", "RandomHorizontalFlip", "RandomVerticalFlip", "RandomResizedCrop",
    "RandomRotation", "RandomAffine", "RandomPerspective", "ElasticTransform",
)  # fmt: skip
"""Classes of torchvision v1 that move pixels; v2 has each under its name, with the same parameters."""
STILL = (
    "ToTensor", "PILToTensor", "ToPILImage", "ConvertImageDtype", "Normalize", "ColorJitter", "Grayscale",
    "RandomGrayscale", "RandomErasing", "GaussianBlur", "RandomInvert", "RandomPosterize", "RandomSolarize",
    "RandomAdjustSharpness", "RandomAutocontrast", "RandomEqualize",
)  # fmt: skip
"""Classes of torchvision v1 that move nothing: the image alone goes through them."""
_CONTAINERS = ("Compose", "RandomApply", "RandomChoice", "RandomOrder")
"""Classes of torchvision v1 and v2 that apply others."""


class ImageAlone(nn.Module):
    """Give the image to a transform, and leave the masks as they are."""

    def __init__(self, transform: Callable[[Any], Any]) -> None:
        super().__init__()
        self.transform = transform

    def forward(self, image: Any, *masks: Any) -> tuple[Any, ...]:
        """Return the image transformed, then the masks."""
        return (self.transform(image), *masks)


def joint_transform(transform: Callable[..., Any], aligned: bool = False) -> tuple[Joint, bool]:
    """Return a transform as one call for an image and its masks, and whether it takes more than one mask.

    Args:
        transform: of torchvision or albumentations, or a function of (image, mask), which takes one mask.
        aligned: accept what takes the image alone and is not known: it moves nothing.

    Raises:
        InputError: if a transform, or part of one of torchvision, takes the image alone and may move it, or one of v2
            would fill a mask with the image's colour.
    """
    if is_of(transform, "albumentations"):
        return partial(_albumentations, transform), True
    if is_of(transform, "torchvision.transforms"):
        return partial(_torchvision, _of_torchvision(transform, aligned)), True
    return partial(_own, transform if _takes_masks(transform) else _alone(transform, aligned)), False


def is_of(transform: object, *modules: str) -> bool:
    """Return whether the class of an object, or one that it is derived from, lies in one of these modules."""
    names = (kind.__module__ for kind in type(transform).__mro__)
    return any(name == module or name.startswith(f"{module}.") for name in names for module in modules)


def _check_fill(transform: Any) -> None:
    """Raise InputError if a transform of v2, or one inside it, fills what comes into a mask with the image's colour."""
    for part in getattr(transform, "transforms", None) or ():
        _check_fill(part)
    fill = transform.fill if isinstance(transform, _FILLING) else None
    of_mask = fill.get(tv_tensors.Mask, fill.get("others")) if isinstance(fill, dict) else fill
    chosen = isinstance(fill, dict) and tv_tensors.Mask in fill
    if not chosen and of_mask is not None and of_mask != 0:
        raise InputError(
            f"{type(transform).__name__}(fill={of_mask!r}) fills the mask with it too; give "
            f"fill={{tv_tensors.Mask: 0, 'others': {of_mask!r}}}, with 255 in place of 0 for classes that are ignored"
        )


def _own(transform: Callable[..., Any], image: Any, masks: Sequence[tv_tensors.Mask]) -> tuple[Any, list[Tensor]]:
    image, mask = transform(image, *masks)
    return image, [mask]


def _torchvision(
    transform: Callable[..., Any], image: Any, masks: Sequence[tv_tensors.Mask]
) -> tuple[Any, list[Tensor]]:
    if isinstance(image, np.ndarray):
        image = functional.to_image(image)  # v2 moves masks and leaves arrays where they are
    image, *moved = transform(image, *masks)
    return image, moved


def _albumentations(
    transform: Callable[..., Any], image: Any, masks: Sequence[tv_tensors.Mask]
) -> tuple[Any, list[Tensor]]:
    """Albumentations takes arrays (H, W, C): image and masks are given so, and the masks put back."""
    arrays = [_channels_last(mask) for mask in masks]
    pixels = image.permute(1, 2, 0).numpy() if isinstance(image, Tensor) else np.asarray(image)
    rest = {"masks": arrays[1:]} if len(arrays) > 1 else {}  # an empty list is refused by some versions
    answer = transform(image=pixels, mask=arrays[0], **rest)
    moved = [answer["mask"], *answer.get("masks", ())]  # an array if no Compose is around
    return answer["image"], [
        _channels_first(found, mask.shape[0] if mask.dim() == 3 else 0)
        for found, mask in zip(moved, masks, strict=True)
    ]


def _channels_last(mask: Tensor) -> NDArray[Any]:
    array: NDArray[Any] = mask.numpy() if mask.dim() == 2 else np.ascontiguousarray(mask.permute(1, 2, 0).numpy())
    return array


def _channels_first(found: Any, channels: int) -> Tensor:
    """Return a mask (H, W, C) as (C, H, W), also if ToTensorV2 has moved its channels already; (H, W) stays."""
    mask = torch.as_tensor(np.ascontiguousarray(found) if isinstance(found, np.ndarray) else found)
    if channels and mask.dim() == 2:  # a single channel may be dropped
        mask = mask[..., None]
    return mask.permute(2, 0, 1).contiguous() if channels and mask.shape[-1] == channels else mask


def _of_torchvision(transform: Any, aligned: bool) -> Any:
    """Return a transform of torchvision with its parts of v1 as their namesakes in v2; the image alone gets the rest.

    What people have is mixed: parts of v2 in a Compose of v1, and parts of v1 and their own in a Compose of v2.
    """
    kind, module = type(transform).__name__, type(transform).__module__
    newer, older = isinstance(transform, v2.Transform), module == "torchvision.transforms.transforms"
    if kind in _CONTAINERS and module.startswith("torchvision.transforms."):
        parts = [part if newer and _is_joint(part) else _of_torchvision(part, aligned) for part in transform.transforms]
        chances = {"p": transform.p} if kind in ("RandomApply", "RandomChoice") else {}
        return getattr(v2, kind)(parts, **chances)
    if newer:
        _check_fill(transform)
        return transform
    if older and kind in MOVING:
        return _moving(transform, kind)
    return ImageAlone(transform) if older and kind in STILL else _alone(transform, aligned)


def _is_joint(part: Callable[..., Any]) -> bool:
    """Return whether a part of a Compose of v2 is somebody's own that takes image and masks."""
    return not is_of(part, "torchvision.transforms") and _takes_masks(part)


def _takes_masks(transform: Callable[..., Any]) -> bool:
    """Return whether a callable takes more than the image."""
    try:
        inspect.signature(transform.forward if isinstance(transform, nn.Module) else transform).bind(None, None)
    except TypeError:
        return False
    except ValueError:  # compiled, of which Python does not know
        return True
    return True


def _alone(transform: Callable[..., Any], aligned: bool) -> ImageAlone:
    """Give the image alone to an unknown transform that moves nothing; raise InputError if that is not said."""
    if aligned:
        return ImageAlone(transform)
    kind = getattr(transform, "__name__", type(transform).__name__)
    raise InputError(
        f"{kind} takes the image alone and may move it away from its mask; write it for image and mask, as "
        "torchvision.transforms.v2 has it, or say aligned=True if it neither flips nor crops"
    )


def _moving(transform: Any, kind: str) -> nn.Module:
    counterpart: type[nn.Module] = getattr(v2, kind)
    said = {name: getattr(transform, name) for name in inspect.signature(counterpart).parameters}
    if said.get("fill") is not None:
        # a colour is of the image; what comes in beside it is nobody
        said["fill"] = {tv_tensors.Mask: 0, "others": said["fill"]}
    made: nn.Module = counterpart(**said)
    return made


_FIRST = 1000.0
"""The number of the first column and row: beyond those that masks are filled with where they come in from outside."""


def ramps(size: tuple[int, int]) -> tv_tensors.Mask:
    """Return column and row of each pixel, from `_FIRST`, as a mask (2, H, W): moved, it tells where pixels went."""
    rows, columns = (_FIRST + torch.arange(float(side)) for side in size)
    return tv_tensors.Mask(torch.stack(torch.meshgrid(columns, rows, indexing="xy")))


def is_mirrored(moved: Tensor) -> bool:
    """Return whether `ramps` were mirrored: the sign of the plane that fits them best, without pixels of outside."""
    height, width = moved.shape[-2:]
    every = (slice(None), slice(None, None, max(1, height // 32)), slice(None, None, max(1, width // 32)))
    column, row = (values.double() for values in moved.as_subclass(Tensor)[every])
    inside = (column >= _FIRST) & (row >= _FIRST)
    at = torch.nonzero(inside).double()
    if len(at) < 3:
        return False
    places = torch.cat([at, torch.ones(len(at), 1, dtype=torch.float64)], 1)
    slopes = torch.linalg.lstsq(places, torch.stack([row[inside], column[inside]], 1)).solution[:2]
    return bool(torch.linalg.det(slopes) < 0)
