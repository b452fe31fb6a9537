"""`coco`: one JSON with an annotation per part, run-length encoded, as pycocotools and annotation tools read it."""

import json
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from ..coco import IGNORED_CATEGORY, encode_mask
from ..labels import IGNORED
from .base import JointExporter

_FILE = PurePosixPath("annotations.json")


class CocoExporter(JointExporter):
    """Masks as large as the images; category n is class n, and background has no annotation.

    Ignored pixels are an annotation of `iscrowd` 1, which COCO's evaluation leaves out, in a category of their own.
    """

    name = "coco"
    reader = "pycocotools, and tools that import COCO"
    path = str(_FILE)
    default_size = "source"

    def files(self) -> dict[PurePosixPath, tuple[int, ...]]:
        return {_FILE: self.numbers()}

    def stream(self, target: PurePosixPath) -> Iterator[bytes]:
        numbers = self.files()[target]
        licence = [{"id": 1, "name": self.cache.licence, "url": ""}]
        info = {"description": f"part masks of {self.cache.data_set}", "version": self.cache.fingerprint}
        yield b'{"info": ' + _json(info) + b',\n"licenses": ' + _json(licence)
        categories = [{"id": n, "name": name, "supercategory": "person"} for n, name in enumerate(self.classes) if n]
        categories.append({"id": IGNORED, "name": IGNORED_CATEGORY, "supercategory": ""})
        yield b',\n"categories": ' + _json(categories) + b',\n"images": '
        yield from _list(self._image(number) for number in numbers)
        yield b',\n"annotations": '
        yield from _list(self._annotations(numbers))
        yield b"}\n"

    def _image(self, number: int) -> dict[str, Any]:
        height, width = self.size_of(number)
        name = self.cache.names[number]
        return {"id": number + 1, "file_name": name, "height": height, "width": width, "license": 1}

    def _annotations(self, numbers: tuple[int, ...]) -> Iterator[dict[str, Any]]:
        count = 0
        for number in numbers:
            labels = self.labels(number)
            for label in np.flatnonzero(np.bincount(labels.ravel(), minlength=256)).tolist():
                if label:
                    count += 1
                    head = {"id": count, "image_id": number + 1, "category_id": label}
                    yield head | encode_mask(labels == label) | {"iscrowd": int(label == IGNORED)}


def _list(rows: Iterator[dict[str, Any]]) -> Iterator[bytes]:
    before = b"[\n"
    for row in rows:
        yield before + _json(row)
        before = b",\n"
    yield b"]" if before == b",\n" else b"[]"


def _json(content: object) -> bytes:
    return json.dumps(content, ensure_ascii=False).encode()
