"""What made the masks of a cache, as every file of it says: in both directions."""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..labels import LabelSet, present_name
from ..parsers.info import CONFIDENCE
from ..resize import MOST_PIXELS

FORMAT_VERSION = 1
ATTRIBUTES = ("fingerprint", "made_by", "data_set", "root", "licence")
"""Texts that every shard and index has beside its `format_version`; and `pattern`, if one read the data set."""


@dataclass(frozen=True)
class Provenance:
    """All that decides the masks of a cache. Masks of two provenances are never mixed in one cache.

    Attributes:
        parser: name of what made them.
        weights: SHA-256 of its weights, or another text that tells two parsers of one name apart.
        labels: the label set of the masks.
        size: (height, width) of the masks.
        preprocessing: what is done to an image before the parser, as JSON.
        flip: whether the answer is averaged with that of the mirrored image.
        probs: whether the cache holds class probabilities too.
        deep_images: how images of more than 8 bits were brought to 8; None if there are none, for then the masks
            do not depend on it.
    """

    parser: str
    weights: str
    labels: LabelSet
    size: tuple[int, int]
    preprocessing: Mapping[str, Any] = field(default_factory=dict)
    flip: bool = False
    probs: bool = False
    deep_images: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return what `made_by` in a cache holds; `read_provenance` reads it."""
        labels = {"name": self.labels.name, "classes": self.labels.classes, "swaps": self.labels.swaps}
        return {
            "parser": self.parser,
            "weights": self.weights,
            "preprocessing": dict(self.preprocessing),
            "labels": labels,
            "size": self.size,
            "flip": self.flip,
            "probs": self.probs,
            **({} if self.deep_images is None else {"deep_images": self.deep_images}),
        }

    @property
    def probs_shape(self) -> tuple[int, int, int] | None:
        """(C, H // 4, W // 4): the shape of the probabilities of an image; None if the cache holds none."""
        return (len(self.labels), self.size[0] // 4, self.size[1] // 4) if self.probs else None


def read_provenance(made_by: Any) -> Provenance:
    """Return what a cache says of itself, in the other direction than `Provenance.to_json`.

    Raises:
        KeyError, TypeError, ValueError: if it is not as `Provenance.to_json` makes it.
    """
    kinds = {"parser": str, "weights": str, "preprocessing": dict, "labels": dict, "flip": bool, "probs": bool}
    if not isinstance(made_by, dict) or not all(isinstance(made_by[key], kind) for key, kind in kinds.items()):
        raise TypeError("what it was made by is not as this project writes it")
    said, size, deep = made_by["labels"], made_by["size"], made_by.get("deep_images")
    names = [said["name"], *_list(said["classes"]), *([] if deep is None else [deep])]
    numbers = [*_list(size), *(number for pair in _list(said["swaps"]) for number in _list(pair))]
    if not all(isinstance(name, str) for name in names) or not all(type(number) is int for number in numbers):
        raise TypeError("its size, label set or rule for images of more than 8 bits is not as this project writes it")
    height, width = size
    if min(size) < 1 or height * width > MOST_PIXELS:
        raise ValueError(f"masks of {height}x{width}")
    labels = LabelSet(present_name(said["name"]), tuple(said["classes"]), tuple((a, b) for a, b in said["swaps"]))
    flags = {key: made_by[key] for key in ("parser", "weights", "preprocessing", "flip", "probs")}
    return Provenance(labels=labels, size=(height, width), deep_images=deep, **flags)


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError(f"{value!r} is no list")
    return value


def command_of(made_by: Mapping[str, Any]) -> str:
    """Return the command that made a cache, which also completes and mends it."""
    return "cscl masks import" if made_by["parser"].startswith("imported ") else "cscl parse"


def describe_mending(made_by: Mapping[str, Any]) -> str:
    """Return what brings lost or damaged masks of a cache back, to be read after a semicolon."""
    if made_by["parser"].startswith("imported ") or is_parsed(made_by):
        return f"the `{command_of(made_by)}` that made it mends it"
    return (
        f"no command of this version makes masks of {made_by['parser']} as they are there: put the files back from a "
        "copy, or let the code that wrote the cache write it anew, with overwrite=True"
    )


def is_parsed(made_by: Mapping[str, Any]) -> bool:
    """Return whether `cscl parse` of this version makes such masks; other code writes them with `CacheWriter`."""
    return bool(made_by["preprocessing"].get("confidence") == CONFIDENCE)


def fingerprint(made_by: Mapping[str, Any]) -> tuple[str, str]:
    """Return the canonical JSON of what made a cache, and its SHA-256."""
    text = json.dumps(made_by, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text, hashlib.sha256(text.encode("utf-8")).hexdigest()


def cache_attributes(
    index: Path, provenance: Provenance, *, data_set: str, root: Path, licence: str, pattern: str | None = None
) -> dict[str, Any]:
    """Return the attributes of every file of the cache `index`.

    Args:
        index: the cache's index file.
        provenance: what made the masks.
        data_set: name of the data set that the images are of.
        root: its folder; stored relative to the index.
        licence: of the masks or of the weights that made them.
        pattern: how the paths of a `folder` data set name identity and camera. It is no part of the fingerprint, as
            the masks do not depend on it.
    """
    text, digest = fingerprint(provenance.to_json())
    return {
        "format_version": FORMAT_VERSION,
        "fingerprint": digest,
        "made_by": text,
        "data_set": data_set,
        "root": os.path.relpath(root.resolve(), index.parent.resolve()),
        "licence": licence,
        **({} if pattern is None else {"pattern": pattern}),
    }
