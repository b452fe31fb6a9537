"""The `street` simulation: people from annotated photographs before other backgrounds, in two modalities.

One photograph is one identity. Labels are the photograph's, moved as the person moves: exact. It is a
simulation, and a number from it says so.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from parsing.errors import InputError

from ...photographs.infrared import near_infrared, reflectance, thermal, warmth
from ...photographs.library import Photos
from ...records import Infrared
from ..layouts import Slot
from .cutouts import Cutout, bent, cutout, mirrored, random_bend, resized, side_strip
from .difficulty import DIFFICULTIES, REMAINS, STANDARD, Box, Difficulty, detected, known, level, surroundings

Part = Literal["train", "val", "all", "apart"]
_POOL = 14
"""Photographs that give a place its backgrounds."""


def people(photos: Photos, part: Part, train: int, test: int, seed: int) -> tuple[str, ...]:
    """Photo ids of the identities, the training ones first, drawn from `part` of the photographs.

    `apart`: those to train from `train`, those to test from `val`, which the built-in parser never saw.
    """
    if part == "apart":
        return people(photos, "train", train, 0, seed) + people(photos, "val", 0, test, seed)
    parts = {"train": photos.train, "val": photos.val, "all": (*photos.train, *photos.val)}
    if part not in parts:
        raise InputError(f"photos are in part train, val, all or apart; got {part!r}")
    ids = sorted(parts[part])
    if train + test > len(ids):
        raise InputError(
            f"{train} people to train and {test} to test need {train + test} photos; "
            f"part {part!r} of {photos.root} has {len(ids)}"
        )
    order = np.random.default_rng((seed, 0x57)).permutation(len(ids))
    return tuple(ids[i] for i in order[: train + test])


@dataclass(frozen=True, slots=True)
class Camera:
    """What a camera does to every image: light, colour, sharpness; whether it sees the street in a mirror."""

    gain: float
    tint: NDArray[np.float32]
    gamma: float
    blur: float
    contrast: float
    mirror: bool


@dataclass(frozen=True)
class Street:
    """Films `ids` (one photograph, one person, in that order) on simulated streets."""

    root: Path
    ids: tuple[str, ...]
    seed: int
    infrared: Infrared = "near"
    difficulty: str = STANDARD

    def __post_init__(self) -> None:
        if self.infrared not in ("near", "thermal"):
            raise InputError(f"infrared is 'near' or 'thermal', got {self.infrared!r}")
        known(self.difficulty)
        _photos(self.root)  # raises if this is no folder of photographs

    @property
    def notes(self) -> tuple[str, ...]:
        """Doubts about the labels that this process has read, for the user."""
        return _photos(self.root).notes

    def level(self, slot: Slot) -> str:
        """How hard the image of the slot is: `standard` or a key of `DIFFICULTIES`."""
        return level(self.difficulty, self.seed, slot)

    def shoot(self, slot: Slot) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Image (H, W, 3) RGB and labels (H, W), a pure function of the seed and the slot."""
        rng = np.random.default_rng((self.seed, 0x57EE7, slot.person, slot.camera, slot.index))
        camera = self._camera(slot.camera)
        tall = int(rng.integers(150, 291))
        person = resized(_cutout(self.root, self.ids[slot.person]), tall)
        person = bent(mirrored(person) if camera.mirror else person, random_bend(rng))
        name = self.level(slot)
        if name != STANDARD:
            return self._cropped(slot, camera, person, tall, DIFFICULTIES[name])
        canvas, corner = _frame(person, tall, rng)
        image = self._background(slot, canvas, rng)
        labels = np.zeros(canvas, np.uint8)
        frame = Box(0, 0, *canvas)
        if rng.random() < 0.3:
            self._other(image, labels, slot, tall, frame, rng)
        _paste(image, labels, person, corner, person.labels)
        if rng.random() < 0.33:
            self._in_front(image, labels, slot, tall, frame, rng)
        return self._film(image, labels, slot, camera, rng), labels

    def _cropped(
        self, slot: Slot, camera: Camera, person: Cutout, tall: int, difficulty: Difficulty
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """What a detector cuts out of a scene.

        The scene is the same at every level but for who is hidden, and so is the noise: crops of one slot at two
        levels agree where they overlap.
        """
        key = (self.seed, 0xB0C5, slot.person, slot.camera, slot.index)
        scenery, finding, hiding, filming = np.random.default_rng(key).spawn(4)
        shown = _extent(person.labels)
        around = surroundings(shown)
        frame, canvas = shown.within(around), (around.height, around.width)
        image, labels = self._background(slot, canvas, scenery), np.zeros(canvas, np.uint8)
        if scenery.random() < 0.3:
            self._other(image, labels, slot, tall, frame, scenery)
        _paste(image, labels, person, (-around.top, -around.left), person.labels)
        box = detected(frame, difficulty.box_error, finding).pixels
        if hiding.random() < difficulty.occlusion:
            hidden, remains = image.copy(), labels.copy()
            self._in_front(hidden, remains, slot, tall, frame, hiding)
            # nothing stands in front of a person of whom too little would remain in the box
            if remains[box].any(1).sum() >= REMAINS * frame.height:
                image, labels = hidden, remains
        film = self._film(image, labels, slot, camera, filming, person=frame.height)
        return film[box], labels[box]

    def _camera(self, number: int) -> Camera:
        rng = np.random.default_rng((self.seed, 0xCA, number))
        return Camera(
            gain=rng.uniform(0.72, 1.15),
            tint=np.clip(rng.normal(1, 0.07, 3), 0.82, 1.18).astype(np.float32),
            gamma=rng.uniform(0.85, 1.2),
            blur=rng.uniform(0.4, 1.4),
            contrast=rng.uniform(0.75, 1.1),
            mirror=bool(rng.random() < 0.5),
        )

    def _background(self, slot: Slot, canvas: tuple[int, int], rng: np.random.Generator) -> NDArray[np.float32]:
        """A side strip of another photograph of the place's pool, mirrored to fill the canvas (H, W)."""
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

    def _other(
        self,
        image: NDArray[np.float32],
        labels: NDArray[np.uint8],
        slot: Slot,
        tall: int,
        frame: Box,
        rng: np.random.Generator,
    ) -> None:
        """Somebody else at the side of the frame, who is background to the labels."""
        who = int(rng.integers(len(self.ids) - 1))
        who += who >= slot.person
        other = resized(_cutout(self.root, self.ids[who]), int(tall * rng.uniform(0.75, 1.15)))
        height, width = frame.height, frame.width
        there = other.labels.shape
        shift = rng.choice((-1, 1)) * rng.uniform(0.38, 0.65) * width
        corner = (
            frame.bottom - there[0] + int(rng.uniform(-0.1, 0.15) * height),
            int(frame.left + width / 2 + shift - there[1] / 2),
        )
        _paste(image, labels, other, corner, np.zeros(there, np.uint8))

    def _in_front(
        self,
        image: NDArray[np.float32],
        labels: NDArray[np.uint8],
        slot: Slot,
        tall: int,
        frame: Box,
        rng: np.random.Generator,
    ) -> None:
        """Somebody or something in front."""
        if rng.random() < 0.35:
            self._other(image, labels, slot, tall, frame, rng)
        else:
            self._thing(image, labels, slot, frame, rng)

    def _thing(
        self,
        image: NDArray[np.float32],
        labels: NDArray[np.uint8],
        slot: Slot,
        frame: Box,
        rng: np.random.Generator,
    ) -> None:
        """A post, or something standing on the ground, cut from another place's background."""
        stuff = self._background(slot, (labels.shape[0], labels.shape[1]), rng) * rng.uniform(0.5, 1.1)
        if rng.random() < 0.4:
            left = frame.left + int(rng.uniform(0, 0.9) * frame.width)
            box = np.s_[0:, left : left + max(3, int(rng.uniform(0.06, 0.22) * frame.width))]
        else:
            left = frame.left + int(rng.uniform(-0.3, 0.7) * frame.width)
            top = frame.top + int(rng.uniform(0.58, 0.88) * frame.height)
            box = np.s_[top:, max(0, left) : max(1, left + int(rng.uniform(0.35, 0.9) * frame.width))]
        image[box], labels[box] = stuff[box], 0

    def _film(
        self,
        image: NDArray[np.float32],
        labels: NDArray[np.uint8],
        slot: Slot,
        camera: Camera,
        rng: np.random.Generator,
        person: int | None = None,
    ) -> NDArray[np.uint8]:
        """What the camera makes of the scene, (H, W, 3); `person` is the person's height where the scene is taller."""
        colour = np.clip(image, 0, 255).astype(np.uint8)
        soft = ImageFilter.GaussianBlur(camera.blur * rng.uniform(0.7, 1.4))
        if slot.modality == "infrared":
            own = np.random.default_rng((self.seed, 0x1F, slot.person))
            if self.infrared == "thermal":
                return thermal(colour, labels, warmth(own), rng, person)
            # blurred after the rendering, whose edges are as hard as the labels', and made noisy again
            near = near_infrared(colour, labels, reflectance(own), rng, person)
            grey = Image.fromarray(near[..., 0]).filter(soft)
            noise = rng.standard_normal(labels.shape, np.float32) * np.float32(rng.uniform(2, 6))
            noisy = (np.asarray(grey) + noise).clip(0, 255).astype(np.uint8)
            return np.repeat(noisy[..., None], 3, axis=2)
        seen = Image.fromarray(colour).filter(soft)
        light = np.asarray(seen, np.float32) / 255
        light = ((light - 0.5) * camera.contrast + 0.5).clip(0, 1) ** (camera.gamma * rng.uniform(0.92, 1.08))
        slope = 1 + rng.normal(0, 0.1) * np.linspace(-1, 1, labels.shape[1], dtype=np.float32)[None, :, None]
        light = light * slope * (camera.gain * rng.uniform(0.85, 1.12)) * camera.tint
        noise = rng.standard_normal(light.shape, np.float32) * np.float32(rng.uniform(1.5, 6))
        return (light * 255 + noise).clip(0, 255).astype(np.uint8)


def _frame(person: Cutout, tall: int, rng: np.random.Generator) -> tuple[tuple[int, int], tuple[int, int]]:
    """Size (H, W) of the crop and where the person's canvas lies in it: a detector's idea of the box."""
    rows, columns = np.flatnonzero(person.labels.any(1)), np.flatnonzero(person.labels.any(0))
    wide = columns[-1] - columns[0]
    left, right = rng.uniform(-0.06, 0.3, 2) * wide
    top, bottom = rng.uniform(-0.03, 0.08, 2) * tall
    if rng.random() < 0.08:
        bottom = -rng.uniform(0.05, 0.3) * tall
    height = int(rows[-1] - rows[0] + top + bottom)
    width = int(wide + left + right)
    # crops of the real data sets are 1:2 to 1:2.6
    least, most = int(height / 2.8), int(height / 1.9)
    extra = max(0, least - width)
    width = max(least, min(width, most))
    return (height, width), (int(top - rows[0]), int(left + extra / 2 - columns[0]))


def _extent(labels: NDArray[np.uint8]) -> Box:
    """The tight box around all classes but the background in labels (H, W)."""
    rows, columns = np.flatnonzero(labels.any(1)), np.flatnonzero(labels.any(0))
    return Box(int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1)


def _paste(
    image: NDArray[np.float32],
    labels: NDArray[np.uint8],
    person: Cutout,
    corner: tuple[int, int],
    classes: NDArray[np.uint8],
) -> None:
    """Lay a person over the image; `corner` (row, column) may lie outside."""
    (height, width), (rows, columns) = labels.shape, person.labels.shape
    y0, x0 = max(0, corner[0]), max(0, corner[1])
    y1, x1 = min(height, corner[0] + rows), min(width, corner[1] + columns)
    if y0 >= y1 or x0 >= x1:
        return
    here = np.s_[y0:y1, x0:x1]
    there = np.s_[y0 - corner[0] : y1 - corner[0], x0 - corner[1] : x1 - corner[1]]
    alpha = person.alpha[there]
    image[here] += alpha[..., None] * (person.image[there] - image[here])
    labels[here] = np.where(alpha >= 0.5, classes[there], labels[here])


@lru_cache(maxsize=1)
def _photos(root: Path) -> Photos:
    return Photos(root)


@lru_cache(maxsize=96)
def _cutout(root: Path, photo_id: str) -> Cutout:
    return cutout(_photos(root), photo_id)


@lru_cache(maxsize=512)
def _strip(root: Path, photo_id: str) -> NDArray[np.uint8] | None:
    return side_strip(_photos(root), photo_id)
