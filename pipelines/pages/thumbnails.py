"""Make the thumbnails of a page from a sample of a cache's masks: small pictures with their parts as a second layer."""

import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from parsing.cache.reader import MaskCache
from parsing.cache.shard import Status
from parsing.images import UnreadableImageError, read_image
from parsing.labels import IGNORED
from parsing.modality import MODALITIES
from parsing.progress import Bar

from .sheets import palette

BOX = (160, 192)
"""Largest width and height of a small picture, in pixels."""


@dataclass(frozen=True)
class Card:
    """One image.

    Attributes:
        image: JPEG; empty if it is missing or not wanted.
        mask: PNG of the same size, transparent in the background.
        size: (width, height), in pixels.
        person: share of the mask that is a person, in [0, 1].
    """

    name: str
    identity: int
    camera: int
    modality: str
    confidence: float
    person: float
    size: tuple[int, int]
    image: bytes
    mask: bytes


@dataclass(frozen=True)
class Thumbnails:
    """Cards in the order in which they are shown, and the legend: class and its colour, #rrggbb."""

    title: str
    caption: str
    cards: Sequence[Card]
    legend: Sequence[tuple[str, str]]


def order_worst_first(cache: MaskCache, person: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the numbers of all images that have a mask: empty masks, then by confidence, then by share of person."""
    order = np.lexsort((person, cache.confidence, cache.status != Status.EMPTY))
    return order[cache.has_mask[order]]


def sample(cache: MaskCache, order: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Return at most `count` numbers of `order`, in its order, divided evenly among the cameras of each modality.

    One half of a camera's share are its first images, the other half lie at equal distances in the rest. If a camera
    has fewer images than its share, the other cameras get the remainder.
    """
    camera = cache.modality[order].astype(np.int64) * (int(np.max(cache.camera, initial=0)) + 1) + cache.camera[order]
    groups = sorted((np.flatnonzero(camera == c) for c in np.unique(camera)), key=len)
    chosen: list[int] = []
    for number, group in enumerate(groups):
        share = min(len(group), (count - len(chosen)) // (len(groups) - number))
        first = share - share // 2
        rest = group[first:]
        chosen += [*group[:first].tolist(), *(int(rest[i * len(rest) // (share // 2)]) for i in range(share // 2))]
    return order[sorted(chosen)]


def make_legend(cache: MaskCache, classes: NDArray[np.bool_]) -> list[tuple[str, str]]:
    """Return name and colour (#rrggbb) of the parts among `classes` (C,)."""
    colours = palette(cache.labels.classes)
    return [
        (name, "#" + bytes(colours[i]).hex()) for i, name in enumerate(cache.labels.classes) if i > 0 and classes[i]
    ]


def make_cards(
    cache: MaskCache, root: Path, numbers: NDArray[np.int64], person: NDArray[np.float64], images: bool
) -> list[Card]:
    """Return a card per number; without the image if it cannot be read or `images` is False."""
    names = [cache.names[n] for n in numbers]
    with ThreadPoolExecutor() as pool:
        pictures = pool.map(lambda name: _picture(root, name), names) if images else iter([b""] * len(names))
        bar = Bar(zip(numbers.tolist(), pictures, strict=True), total=len(names), unit="image", desc="draw thumbnails")
        return [_card(cache, number=number, picture=picture, person=float(person[number])) for number, picture in bar]


def _picture(root: Path, name: str) -> bytes:
    """Return the image `name`, small, as a JPEG; nothing if it cannot be read."""
    try:
        image = Image.fromarray(read_image(root / name))
    except UnreadableImageError:
        return b""  # the page counts these and says so
    file = io.BytesIO()
    image.resize(_fit_size(image.size), Image.Resampling.LANCZOS).save(file, "JPEG", quality=80)
    return file.getvalue()


def _card(cache: MaskCache, number: int, picture: bytes, person: float) -> Card:
    height, width = cache.source_size[number].tolist()
    if min(height, width) < 1:
        height, width = cache.size
    if picture:
        with Image.open(io.BytesIO(picture)) as image:
            size = image.size
    else:
        size = _fit_size((width, height))
    return Card(
        cache.names[number],
        identity=int(cache.identity[number]),
        camera=int(cache.camera[number]),
        modality=MODALITIES[cache.modality[number]],
        confidence=float(cache.confidence[number]),
        person=person,
        size=size,
        image=picture,
        mask=_draw_layer(cache[number], size, palette(cache.labels.classes)),
    )


def _draw_layer(labels: NDArray[np.uint8], size: tuple[int, int], colours: NDArray[np.uint8]) -> bytes:
    """Return the parts as a palette PNG of `size` (width, height), transparent in background and ignored pixels."""
    shown = Image.fromarray(np.where(labels == IGNORED, 0, labels)).resize(size, Image.Resampling.NEAREST)
    shown.putpalette(colours.tobytes())
    file = io.BytesIO()
    shown.save(file, "PNG", transparency=0, optimize=True)
    return file.getvalue()


def _fit_size(size: tuple[int, int]) -> tuple[int, int]:
    """Return the size (width, height), shrunk to fit BOX; never enlarged."""
    scale = min(1.0, BOX[0] / size[0], BOX[1] / size[1])
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
