"""Masks in a JSON file of COCO: run lengths and polygons of parts, by the names of the images."""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..coco import IGNORED_CATEGORY, decode_segmentation
from ..errors import InputError, MissingError
from ..labels import IGNORED, LabelSet
from ..names import find_name_fault
from ..resize import MOST_PIXELS, Size
from .label_png import Key, LabelPng


@dataclass(frozen=True)
class _Annotation:
    id: Any
    label: int
    segmentation: Any
    crowd: bool


@dataclass(frozen=True)
class CocoMask:
    """The annotations of one image, a `MaskSource`."""

    file: Path
    name: str
    size: Size
    annotations: tuple[_Annotation, ...]

    def read(self) -> LabelPng:
        """Return the classes, smaller annotations in front of larger ones.

        Annotations of `iscrowd` 1 are ignored pixels, behind all others.
        """
        painted = np.zeros(self.size, np.uint8)
        masks = []
        for one in self.annotations:
            try:
                mask = decode_segmentation(one.segmentation, self.size)
            except ValueError as error:
                raise InputError(f"{self.file}: annotation {one.id!r} of {self.name}: {error}") from error
            masks.append((one.crowd, int(mask.sum()), IGNORED if one.crowd else one.label, mask))
        for _, _, label, mask in sorted(masks, key=lambda row: (row[0], row[1]), reverse=True):
            painted[mask] = label
        found, pixels = np.unique(painted, return_inverse=True)
        return LabelPng(pixels.reshape(self.size), tuple(Key(int(n), None) for n in found))

    def digest(self) -> str:
        said = [self.size, [(a.label, a.segmentation, a.crowd) for a in self.annotations]]
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()

    def __str__(self) -> str:
        return f"{self.file} ({self.name})"


def read_coco(path: Path, labels: LabelSet, values: Mapping[int, int] | None = None) -> dict[str, CocoMask]:
    """Return the masks of a COCO file by `file_name`, sorted.

    Categories are classes by their names; or, where only one is meant, whatever the case, with `-`, `_` or a space
    between words.

    Args:
        path: the JSON file.
        labels: the label set of the classes.
        values: classes of categories by their number, in place of their names.

    Raises:
        MissingError: if there is no such file.
        InputError: if it is no COCO file, or shows a category that is no class.
    """
    content = _load(path)
    masks: dict[int | str, tuple[str, Size]] = {}
    for number, row in enumerate(content["images"]):
        name, height, width = (row.get(key, 0) for key in ("file_name", "height", "width"))
        if not isinstance(name, str) or find_name_fault(name):
            raise InputError(f"{path}: image {number} has the file_name {name!r}: {_why(name)}")
        if not _is_size(height, width):
            raise InputError(f"{path}: {name} is {height!r} x {width!r} (height x width), no size of an image")
        if _hashable(row, "id", path) in masks:
            raise InputError(f"{path}: two images have the id {row['id']!r}")
        masks[row["id"]] = name, (int(height), int(width))
    classes = _match_categories(path, rows=content["categories"], labels=labels, values=values or {})
    found: dict[int | str, list[_Annotation]] = {image: [] for image in masks}
    for number, row in enumerate(content["annotations"]):
        image, category = _hashable(row, "image_id", path), _hashable(row, "category_id", path)
        if image not in masks:
            raise InputError(f"{path}: annotation {number} is of image {image!r}, which is not in the file")
        crowd = row.get("iscrowd", 0) == 1
        label = classes.get(category, f"number {category!r}")
        if isinstance(label, str) and not crowd:
            raise InputError(
                f"{path}: {masks[image][0]} shows the category {label}, which is no class of {labels.name} "
                f"({', '.join(labels.classes[1:])}); say which it is, as --values {category}={labels.classes[1]}"
            )
        value = IGNORED if isinstance(label, str) else label
        found[image].append(_Annotation(row.get("id"), label=value, segmentation=row.get("segmentation"), crowd=crowd))
    by_name = {
        name: CocoMask(path, name=name, size=size, annotations=tuple(found[image]))
        for image, (name, size) in masks.items()
    }
    if len(by_name) < len(masks):
        raise InputError(f"{path}: two images have one file_name; give each image once")
    if not by_name:
        raise InputError(f"{path} has no images")
    return {name: by_name[name] for name in sorted(by_name)}


def _load(path: Path) -> dict[str, list[dict[str, Any]]]:
    """Return the three lists of a COCO file; InputError if it has others."""
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise MissingError(f"no masks {path}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} is no readable JSON: {error}") from error
    lists = ("images", "annotations", "categories")
    rows = [content.get(name) for name in lists] if isinstance(content, dict) else [None]
    if not all(isinstance(row, list) and all(isinstance(one, dict) for one in row) for row in rows):
        raise InputError(f"{path} is no COCO file: it has no lists {', '.join(lists)}")
    return {name: content[name] for name in lists}


def _is_size(height: Any, width: Any) -> bool:
    return all(type(side) is int and 0 < side <= MOST_PIXELS for side in (height, width)) and (
        height * width <= MOST_PIXELS
    )


def _hashable(row: dict[str, Any], key: str, path: Path) -> int | str:
    value = row.get(key)
    if not isinstance(value, int | str):
        raise InputError(f"{path}: {key} is {value!r}; expected a number")
    return value


def _match_categories(
    path: Path, rows: list[dict[str, Any]], labels: LabelSet, values: Mapping[int, int]
) -> dict[int | str, int | str]:
    """Return the class of each category; its quoted name if it is none, or might be two that differ in case alone."""
    exact = {IGNORED_CATEGORY: IGNORED} | {name: number for number, name in enumerate(labels.classes)}
    alike = Counter(map(_plain, exact))
    known = {_plain(name): number for name, number in exact.items() if alike[_plain(name)] == 1}
    found: dict[int | str, int | str] = {}
    for row in rows:
        number, name = _hashable(row, "id", path), row.get("name")
        if not isinstance(name, str):
            raise InputError(f"{path}: category {number!r} has no name")
        found[number] = exact.get(name, known.get(_plain(name), repr(name)))
    return found | dict(values)


def _plain(name: str) -> str:
    return name.strip().lower().replace("_", "-").replace(" ", "-")


def _why(name: object) -> str:
    return find_name_fault(name) if isinstance(name, str) else "expected a text"
