"""Masks that others made: what their numbers and colours mean, and where in a mask its image lies."""

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from ..errors import InputError

if TYPE_CHECKING:
    from ..labels import LabelSet
    from .label_png import LabelPng

IMPORTERS = {
    "png": (".png",),
    "npy": (".npy",),
    "bpbreid": (".npy", "{suffix}.npy", "{suffix}.confidence_fields.npy"),
    "sgiel": ("{suffix}",),
    "coco": (".json",),
}
"""Kinds of masks, and what follows the stem of an image's name in the name of its mask; `coco` is one file for all."""
STRETCHED = ("bpbreid", "sgiel")
"""Kinds whose own loaders stretch image and mask to one size."""


def mask_reader(kind: str, labels: "LabelSet") -> "Callable[[Path], LabelPng]":
    """Return what reads a mask file of a kind, whose classes are those of `labels`; InputError for an unknown kind."""
    if kind == "npy":
        from .class_scores import read_class_scores

        return partial(read_class_scores, labels=labels)
    if kind == "bpbreid":
        from .pose_fields import read_pose_fields

        return partial(read_pose_fields, labels=labels)
    if kind == "sgiel":
        from .shape_picture import read_shape_picture

        return partial(read_shape_picture, labels=labels)
    if kind == "png":
        from .label_png import read_label_png

        return read_label_png
    raise InputError(f"no kind of masks {kind!r}; there are {', '.join(IMPORTERS)}")


def guess_kind(masks: Path, names: Iterable[str]) -> str:
    """Return the kind of a file of masks, or of the mask files in a folder.

    Args:
        masks: the file or the folder.
        names: of all files below the folder, relative to it.

    Raises:
        InputError: if there are no masks, or masks of several kinds.
    """
    if masks.is_file():
        if masks.suffix.lower() == ".json":
            return "coco"
        raise InputError(f"{masks} is no JSON of COCO; give the folder of other masks")
    files: dict[str, str] = {}
    for name in sorted(names, reverse=True):
        path = PurePosixPath(name)
        if not path.name.startswith((".", "cscl-")):
            files[path.suffix.lower()] = name
    choice = f"say which are the masks with --from {'|'.join(IMPORTERS)}"
    if ".png" in files and ".npy" in files:
        raise InputError(f"{masks} holds png and npy files; {choice}")
    if ".png" in files:
        return "png"
    if ".npy" in files:
        from .npy_file import read_npy
        from .pose_fields import CHANNELS

        shape = read_npy(masks / files[".npy"]).shape
        return "bpbreid" if len(shape) == 3 and shape[0] == CHANNELS else "npy"
    if ".json" in files:
        return "coco"
    from ..images import image_suffixes

    if files.keys() & image_suffixes():
        return "sgiel"
    raise InputError(f"{masks} holds neither png nor npy files, nor pictures nor a JSON of COCO; {choice}")
