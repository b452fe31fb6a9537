"""`array` and `agw`: all masks in one .npy, for training loops that keep their images in memory or map a file."""

import json
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

import numpy as np

from ..cache.reader import MaskCache
from ..errors import InputError
from ..labels import IGNORED
from ..modality import Modality
from .base import FileOptions, JointExporter, npy_header

_ARRAY, _NAMES = PurePosixPath("masks.npy"), PurePosixPath("masks.json")
_SHORT: dict[str, Modality] = {"rgb": "visible", "ir": "infrared"}
"""What AGW calls a modality in the names of its files."""


class ArrayExporter(JointExporter):
    """`masks.npy`, uint8 (N, H, W), and `masks.json` with the N names of the images and the classes."""

    name = "array"
    reader = "numpy.load, also with mmap_mode"
    path = str(_ARRAY)

    def __init__(self, cache: MaskCache, options: FileOptions) -> None:
        super().__init__(cache, options)
        if self.size == "source":
            raise InputError(f"--size source: {self.name} is one array, whose masks have one size; give --size HxW")

    def files(self) -> dict[PurePosixPath, tuple[int, ...]]:
        return {_ARRAY: self.numbers(), _NAMES: self.numbers()}

    def stream(self, target: PurePosixPath) -> Iterator[bytes]:
        numbers = self.files()[target]
        if target != _NAMES:
            yield from self.rows(numbers)
            return
        said = {"names": [self.cache.names[n] for n in numbers], "classes": self.classes, "ignored": IGNORED}
        yield json.dumps(said, ensure_ascii=False, indent=1).encode() + b"\n"

    def rows(self, numbers: Sequence[int]) -> Iterator[bytes]:
        """Yield an array (N, H, W) of these images as a .npy file; an image without a mask is ignored altogether."""
        height, width = self.size_of(0)
        yield npy_header((len(numbers), height, width))
        nothing = np.full((height, width), IGNORED, np.uint8)
        for number in numbers:
            yield (self.labels(number) if self.cache.has_mask[number] else nothing).tobytes()


class AgwExporter(ArrayExporter):
    """The training images in the order of AGW's `pre_process_sysu.py`: person, camera, file, each modality alone.

    Row n belongs to row n of `train_rgb_resized_img.npy` or `train_ir_resized_img.npy`. That script takes every file
    of a folder, so an image without a mask keeps its row, all 255.
    """

    name = "agw"
    reader = "mangye16/Cross-Modal-Re-ID-baseline (SYSUData) and loaders made of it"
    path = "train_rgb_resized_mask.npy"
    default_size = (288, 144)
    needs_training = True

    def __init__(self, cache: MaskCache, options: FileOptions) -> None:
        super().__init__(cache, options)
        training = options.training or {}
        absent = [name for names in training.values() for name in names if name not in cache]
        if absent:
            raise InputError(
                f"agw: {len(absent)} training images are not in the cache, the first is {absent[0]}; rows would not be "
                "those of the images"
            )
        self._training = {
            PurePosixPath(f"train_{short}_resized_mask.npy"): tuple(map(cache.number, training.get(modality, ())))
            for short, modality in _SHORT.items()
        }

    def files(self) -> dict[PurePosixPath, tuple[int, ...]]:
        return self._training

    def stream(self, target: PurePosixPath) -> Iterator[bytes]:
        return self.rows(self.files()[target])

    def notes(self) -> list[str]:
        without = sum(not self.cache.has_mask[n] for numbers in self._training.values() for n in numbers)
        said = [f"{without} training images have no mask: their rows are 255"] if without else []
        return [*super().notes(), *said]
