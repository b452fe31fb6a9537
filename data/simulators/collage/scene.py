"""Scenes of the `collage` simulation: a background, the person, and who or what else is there."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from parsing.errors import InputError

from ...photographs.library import Photos
from ..layouts import Slot
from .cutouts import Cutout, cut_out_person, resize_person, side_strip
from .difficulty import Box

_POOL = 14
"""Photographs that give a place its backgrounds."""


@dataclass(frozen=True, slots=True)
class Cast:
    """The people of a data set: photo `ids` below `root`, and the `seed` that deals backgrounds to places."""

    root: Path
    ids: tuple[str, ...]
    seed: int

    @property
    def photos(self) -> Photos:
        """The photographs, shared by all that this process makes of them."""
        return _photos(self.root)

    def cutout(self, person: int) -> Cutout:
        """Return person number `person`."""
        return _cutout(self.root, self.ids[person])

    def background(self, slot: Slot, canvas: tuple[int, int], rng: np.random.Generator) -> NDArray[np.float32]:
        """Return a side strip of another photograph of the place's pool, mirrored to fill the canvas (H, W)."""
        pool = np.random.default_rng((self.seed, 0x9A, slot.place)).permutation(len(self.ids))
        pool = pool[pool != slot.person][:_POOL]
        for pick in rng.permutation(pool):
            strip = _strip(self.root, self.ids[pick])
            if strip is not None:
                break
        else:
            raise InputError(f"no photo for the background of place {slot.place} has room beside its person")
        tile = np.concatenate((strip, strip[:, ::-1]), 1)
        height = int(tile.shape[0] * rng.uniform(0.6, 1.0))
        width = round(height * canvas[1] / canvas[0])
        tile = np.concatenate([tile] * (1 + -(-width // tile.shape[1])), 1)
        top, left = tile.shape[0] - height, int(rng.integers(0, tile.shape[1] - width))
        top = int(top * rng.uniform(0.6, 1.0))
        crop = Image.fromarray(tile[top : top + height, left : left + width])
        filled = crop.resize((canvas[1], canvas[0]), Image.Resampling.BILINEAR)
        return np.array(filled.filter(ImageFilter.GaussianBlur(rng.uniform(0, 1.5))), np.float32)


@dataclass(frozen=True, slots=True)
class Scene:
    """A scene in the making, changed in place: image (H, W, 3) in [0, 255] and labels (H, W) of the slot's person."""

    cast: Cast
    slot: Slot
    image: NDArray[np.float32]
    labels: NDArray[np.uint8]

    @classmethod
    def empty(cls, cast: Cast, slot: Slot, canvas: tuple[int, int], rng: np.random.Generator) -> "Scene":
        """Return a scene of the size `canvas` (H, W) without anybody."""
        return cls(cast, slot, cast.background(slot, canvas, rng), np.zeros(canvas, np.uint8))

    def copy(self) -> "Scene":
        """Return the same scene, to be changed separately."""
        return Scene(self.cast, slot=self.slot, image=self.image.copy(), labels=self.labels.copy())

    def add(self, person: Cutout, corner: tuple[int, int], labelled: bool = True) -> None:
        """Put a person before the scene, as background to the labels unless `labelled`.

        Args:
            person: the person.
            corner: row and column of the upper left corner; may be outside the scene.
            labelled: whether the labels show the person's parts.
        """
        (height, width), (rows, columns) = self.labels.shape, person.labels.shape
        y0, x0 = max(0, corner[0]), max(0, corner[1])
        y1, x1 = min(height, corner[0] + rows), min(width, corner[1] + columns)
        if y0 >= y1 or x0 >= x1:
            return
        here = np.s_[y0:y1, x0:x1]
        there = np.s_[y0 - corner[0] : y1 - corner[0], x0 - corner[1] : x1 - corner[1]]
        alpha = person.alpha[there]
        classes = person.labels[there] if labelled else 0
        self.image[here] += alpha[..., None] * (person.image[there] - self.image[here])
        self.labels[here] = np.where(alpha >= 0.5, classes, self.labels[here])

    def add_other(self, tall: int, frame: Box, rng: np.random.Generator) -> None:
        """Put somebody else at the side of `frame`; `tall` is the height of the slot's person in pixels."""
        who = int(rng.integers(len(self.cast.ids) - 1))
        who += who >= self.slot.person
        other = resize_person(self.cast.cutout(who), int(tall * rng.uniform(0.75, 1.15)))
        height, width = frame.height, frame.width
        there = other.labels.shape
        shift = rng.choice((-1, 1)) * rng.uniform(0.38, 0.65) * width
        corner = (
            frame.bottom - there[0] + int(rng.uniform(-0.1, 0.15) * height),
            int(frame.left + width / 2 + shift - there[1] / 2),
        )
        self.add(other, corner, labelled=False)

    def occlude(self, tall: int, frame: Box, rng: np.random.Generator) -> None:
        """Put somebody or something before the person; arguments as of `add_other`."""
        if rng.random() < 0.35:
            self.add_other(tall, frame, rng)
        else:
            self._add_thing(frame, rng)

    def _add_thing(self, frame: Box, rng: np.random.Generator) -> None:
        """Put a post, or something that stands on the ground, before the person; cut from another background."""
        canvas = (self.labels.shape[0], self.labels.shape[1])
        stuff = self.cast.background(self.slot, canvas, rng) * rng.uniform(0.5, 1.1)
        if rng.random() < 0.4:
            left = frame.left + int(rng.uniform(0, 0.9) * frame.width)
            box = np.s_[0:, left : left + max(3, int(rng.uniform(0.06, 0.22) * frame.width))]
        else:
            left = frame.left + int(rng.uniform(-0.3, 0.7) * frame.width)
            top = frame.top + int(rng.uniform(0.58, 0.88) * frame.height)
            box = np.s_[top:, max(0, left) : max(1, left + int(rng.uniform(0.35, 0.9) * frame.width))]
        self.image[box], self.labels[box] = stuff[box], 0


@lru_cache(maxsize=1)
def _photos(root: Path) -> Photos:
    return Photos(root)


@lru_cache(maxsize=96)
def _cutout(root: Path, photo_id: str) -> Cutout:
    return cut_out_person(_photos(root), photo_id)


@lru_cache(maxsize=512)
def _strip(root: Path, photo_id: str) -> NDArray[np.uint8] | None:
    return side_strip(_photos(root), photo_id)
