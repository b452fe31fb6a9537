"""Masks that others made: what their numbers and colours mean, and where in a mask its image lies."""

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from ..errors import InputError

if TYPE_CHECKING:
    from ..labels import LabelSet
    from .label_png import LabelPng

IMPORTERS = {"png": ".png", "npy": ".npy"}
"""Kinds of mask files, by the ending of their names."""


def mask_reader(kind: str, labels: "LabelSet") -> "Callable[[Path], LabelPng]":
    """Return what reads a mask file of a kind, whose classes are those of `labels`; InputError for an unknown kind."""
    if kind == "npy":
        from .class_scores import read_class_scores

        return partial(read_class_scores, labels=labels)
    if kind == "png":
        from .label_png import read_label_png

        return read_label_png
    raise InputError(f"no kind of masks {kind!r}; there are {', '.join(IMPORTERS)}")


def guess_kind(masks: Path, names: Iterable[str]) -> str:
    """Return the kind of the mask files among those of a folder; InputError if there are none or several."""
    endings = {PurePosixPath(name).suffix.lower() for name in names}
    found = [kind for kind, ending in IMPORTERS.items() if ending in endings]
    if len(found) != 1:
        there = " and ".join(found) or "neither " + " nor ".join(IMPORTERS)
        raise InputError(f"{masks} holds {there} files; say which are the masks with --from {'|'.join(IMPORTERS)}")
    return found[0]
