"""Surveillance-like person crops out of annotated photographs: what the built-in parser is trained and scored on.

A fashion photograph shows one whole person, sharp and well lit. A crop of a surveillance camera is small, blurred,
cut off, crowded, occluded, and every second one is infrared. `PersonCrops` turns the one into the other, at random
but as a pure function of (seed, epoch, index).
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageFilter
from torch.utils.data import Dataset

from . import MOST_MISPLACED
from .infrared import near_infrared, reflectance, thermal, warmth
from .library import Photos

Spectrum = Literal["colour", "grey", "near-infrared", "thermal"]
SPECTRA: tuple[Spectrum, ...] = ("colour", "grey", "near-infrared", "thermal")
Box = tuple[float, float, float, float]
Pair = tuple[NDArray[np.uint8], NDArray[np.uint8]]


@dataclass(frozen=True, slots=True)
class Photo:
    """A photograph reduced to 1.5 times the crop's height, with the box of its person (left, top, right, bottom)."""

    image: Image.Image
    labels: Image.Image
    box: Box


def load(photos: Photos, photo_id: str, height: int) -> Photo | None:
    """Return photo `photo_id` for crops `height` pixels high; None if its labels show nobody."""
    image = reduce_photo(photos.photo(photo_id), height)
    labels = Image.fromarray(photos.parts(photo_id)).resize(image.size, Image.Resampling.NEAREST)
    box = person_box(np.asarray(labels))
    return Photo(image, labels, box) if box else None


def reduce_photo(photo: NDArray[np.uint8], height: int) -> Image.Image:
    """Return the photograph (H, W, 3) at 1.5 times the height of the crops."""
    image = Image.fromarray(photo)
    width = max(1, round(image.width * 1.5 * height / image.height))
    return image.resize((width, round(1.5 * height)), Image.Resampling.BOX)


def person_box(labels: NDArray[np.uint8]) -> Box | None:
    """Return the box around all classes but the background in labels (H, W); None if there are none."""
    rows, columns = np.flatnonzero(labels.any(1)), np.flatnonzero(labels.any(0))
    if not len(rows):
        return None
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)


def widen_box(box: Box) -> Box:
    """Return the box with a detector's margin: 15 % of its width to each side, 5 % of its height above and below."""
    left, top, right, bottom = box
    dx, dy = 0.15 * (right - left), 0.05 * (bottom - top)
    return left - dx, top - dy, right + dx, bottom + dy


class PersonCrops(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """Augmented crops (3, H, W) uint8 with person7 labels (H, W) uint8; the four spectra in equal shares.

    `epoch` is set by the training loop before the loader starts over.
    """

    def __init__(self, photos: Sequence[Photo], size: tuple[int, int], seed: int) -> None:
        self.photos, self.size, self.seed, self.epoch = photos, size, seed, 0

    def __len__(self) -> int:
        return len(self.photos)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        rng = np.random.default_rng((self.seed, self.epoch, index))
        image, labels = cut(self.photos[index], box=jitter_box(self.photos[index].box, rng), size=self.size, rng=rng)
        scene = labels.copy()  # what stands there, to be rendered; `labels` is whom the crop is about
        if rng.random() < 0.3:
            other = self.photos[int(rng.integers(len(self.photos)))]
            _add_person(
                image,
                labels=labels,
                scene=scene,
                other=cut(other, box=jitter_box(other.box, rng), size=self.size, rng=rng),
                rng=rng,
            )
        if rng.random() < 0.3:
            other = self.photos[int(rng.integers(len(self.photos)))]
            _occlude(
                image,
                labels=labels,
                scene=scene,
                stuff=cut(other, box=(0, 0, *other.image.size), size=self.size, rng=rng)[0],
                rng=rng,
            )
        image = render(image, scene=scene, spectrum=SPECTRA[rng.integers(4)], rng=rng)
        image = degrade(image, rng)
        return torch.from_numpy(image).permute(2, 0, 1), torch.from_numpy(labels)


def cut_plain_crop(
    photo: Photo, size: tuple[int, int], spectrum: Spectrum, rng: np.random.Generator, box: Box | None = None
) -> Pair:
    """Return a crop for scoring, undisturbed, in one spectrum: `box`, or the whole person with a margin."""
    image, labels = cut(photo, box=box or widen_box(photo.box), size=size, rng=None)
    return render(image, scene=labels, spectrum=spectrum, rng=rng), labels


def render(
    image: NDArray[np.uint8], scene: NDArray[np.uint8], spectrum: Spectrum, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Return the colour image (H, W, 3) as a camera of `spectrum` would see it; `scene` (H, W) are person7 classes."""
    if spectrum == "near-infrared":
        return near_infrared(image, labels=scene, reflectance=reflectance(rng), rng=rng)
    if spectrum == "thermal":
        seen = thermal(image, scene, warmth(rng), rng)
        return 255 - seen if rng.random() < 0.1 else seen  # some displays show heat dark
    if spectrum == "grey":
        return np.array(Image.fromarray(image).convert("L").convert("RGB"))
    return image


def jitter_box(box: Box, rng: np.random.Generator) -> Box:
    """Return a detector's box: roomy, sometimes cut off below or above, or with all sides misplaced."""
    left, top, right, bottom = box
    width, height = right - left, bottom - top
    kind = rng.random()
    if kind < 0.4:
        return misplace_box(box, MOST_MISPLACED, rng)
    new_left, new_right = left - rng.uniform(-0.08, 0.35) * width, right + rng.uniform(-0.08, 0.35) * width
    new_top, new_bottom = top - rng.uniform(-0.03, 0.12) * height, bottom + rng.uniform(-0.03, 0.12) * height
    if kind < 0.48:  # cut off between waist and ankle
        new_bottom = top + rng.uniform(0.45, 0.95) * height
    elif kind < 0.52:  # head cut off
        new_top = top + rng.uniform(0.05, 0.3) * height
    return new_left, new_top, new_right, new_bottom


def misplace_box(box: Box, error: float, rng: np.random.Generator) -> Box:
    """Return the box, each side off by uniform(-error, error) of its height (top, bottom) or width (left, right)."""
    left, top, right, bottom = box
    width, height = right - left, bottom - top
    off = rng.uniform(-error, error, 4)
    return left + off[0] * width, top + off[1] * height, right + off[2] * width, bottom + off[3] * height


def cut(
    photo: Photo,
    box: Box,
    size: tuple[int, int],
    rng: np.random.Generator | None,
) -> Pair:
    """Return the box stretched to `size`, with a random flip, turn and shear if `rng` is given; grey outside."""
    left, top, right, bottom = box
    height, width = size
    turn, shear, flip = (
        (0.0, 0.0, 1) if rng is None else (rng.normal(0, 0.06), rng.normal(0, 0.06), rng.choice((-1, 1)))
    )
    sx, sy = (right - left) / width, (bottom - top) / height
    # crop pixel -> photo pixel, turning about the middle
    linear = np.array([[np.cos(turn), -np.sin(turn) + shear], [np.sin(turn), np.cos(turn)]]) @ np.diag((sx * flip, sy))
    offset = np.array([(left + right) / 2, (top + bottom) / 2]) - linear @ np.array([width / 2, height / 2])
    matrix = (*linear[0], offset[0], *linear[1], offset[1])
    affine = Image.Transform.AFFINE
    image = photo.image.transform((width, height), affine, matrix, Image.Resampling.BILINEAR, fillcolor=(110, 110, 110))
    labels = photo.labels.transform((width, height), affine, matrix, Image.Resampling.NEAREST)
    return np.array(image), np.array(labels)


def _add_person(
    image: NDArray[np.uint8],
    labels: NDArray[np.uint8],
    scene: NDArray[np.uint8],
    other: Pair,
    rng: np.random.Generator,
) -> None:
    """Put somebody else to one side, behind the person or (less often) before; they are background to the labels."""
    height, width = labels.shape
    shift = int(rng.choice((-1, 1)) * rng.uniform(0.35, 0.8) * width)
    drop = int(rng.uniform(-0.15, 0.15) * height)
    moved_image = np.roll(other[0], (drop, shift), (0, 1))
    moved = np.roll(other[1], (drop, shift), (0, 1))
    rows, columns = np.arange(height) - drop, np.arange(width) - shift
    there = (moved > 0) & ((rows >= 0) & (rows < height))[:, None] & ((columns >= 0) & (columns < width))
    if rng.random() < 0.65:
        there &= labels == 0
    image[there], scene[there], labels[there] = moved_image[there], moved[there], 0


def _occlude(
    image: NDArray[np.uint8],
    labels: NDArray[np.uint8],
    scene: NDArray[np.uint8],
    stuff: NDArray[np.uint8],
    rng: np.random.Generator,
) -> None:
    """Put a box, a pole or a hedge of foreign pixels before the person."""
    height, width = labels.shape
    kind = rng.random()
    if kind < 0.4:  # from below: a car, a desk
        box = (
            int(height * rng.uniform(0.6, 0.95)),
            height,
            int(width * rng.uniform(-0.3, 0.5)),
            int(width * rng.uniform(0.5, 1.3)),
        )
    elif kind < 0.7:  # a pole or a door frame
        left = width * rng.uniform(-0.1, 1)
        box = (0, height, int(left), int(left + width * rng.uniform(0.05, 0.35)))
    else:
        top, left = height * rng.uniform(0, 0.9), width * rng.uniform(0, 0.9)
        box = (
            int(top),
            int(top + height * rng.uniform(0.05, 0.3)),
            int(left),
            int(left + width * rng.uniform(0.1, 0.5)),
        )
    area = np.s_[max(box[0], 0) : box[1], max(box[2], 0) : max(box[3], 0)]
    image[area] = stuff[area] if rng.random() < 0.6 else rng.integers(0, 256, 3)
    scene[area] = labels[area] = 0


def degrade(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return the image (H, W, 3) after random changes of light, contrast, colour, blur, resolution, noise and JPEG."""
    picture = Image.fromarray(image)
    width, height = picture.size
    if rng.random() < 0.6:
        picture = ImageEnhance.Color(picture).enhance(rng.uniform(0.3, 1.5))
        picture = ImageEnhance.Contrast(picture).enhance(rng.uniform(0.5, 1.4))
        picture = ImageEnhance.Brightness(picture).enhance(rng.uniform(0.3, 1.4))
    if rng.random() < 0.4:
        picture = picture.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 1.8) * height / 192))
    if rng.random() < 0.5:
        small = int(rng.uniform(20, 80))
        picture = picture.resize((small, 2 * small), Image.Resampling.BOX)
        picture = picture.resize((width, height), Image.Resampling.BILINEAR)
    if rng.random() < 0.3:
        noisy = np.asarray(picture) + rng.normal(0, rng.uniform(2, 14), (height, width, 1))
        picture = Image.fromarray(noisy.clip(0, 255).astype(np.uint8))
    if rng.random() < 0.3:
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=int(rng.uniform(25, 85)))
        picture = Image.open(buffer)
    return np.array(picture)
