"""People cut out of annotated photographs, and how they bend: what the `collage` simulation is made of."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter, label, map_coordinates

from parsing.errors import InputError
from parsing.labels import label_set

from ...photographs.library import Photos

_LEGWEAR = [label_set("person7").index(name) for name in ("lower", "legs", "feet")]


@dataclass(frozen=True, slots=True)
class Cutout:
    """A person's box out of a photograph: image (h, w, 3), labels (h, w), alpha (h, w) in [0, 1]."""

    image: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    alpha: NDArray[np.float32]


def cut_out_person(photos: Photos, photo_id: str) -> Cutout:
    """Return the person on a photograph, without pieces of the annotation far smaller than a hand."""
    image, labels = _photo_and_parts(photos, photo_id)
    pieces, _ = label(labels > 0)
    area = np.bincount(pieces.ravel())
    area[0] = 0
    labels = np.where((area > 0.002 * area.sum())[pieces], labels, 0).astype(np.uint8)
    rows, columns = np.flatnonzero(labels.any(1)), np.flatnonzero(labels.any(0))
    if not len(rows):
        raise InputError(f"{photos.root}: the parts of photo {photo_id} show nobody")
    margin = 4
    box = np.s_[
        max(0, rows[0] - margin) : rows[-1] + 1 + margin,
        max(0, columns[0] - margin) : columns[-1] + 1 + margin,
    ]
    image, labels = image[box], labels[box]
    return Cutout(image, labels, (labels > 0).astype(np.float32))


def resize_person(person: Cutout, height: int) -> Cutout:
    """Return the person `height` pixels tall; its edge is a pixel soft, and lies inside the old background."""
    width = max(8, round(person.labels.shape[1] * height / person.labels.shape[0]))
    size = (width, height)
    image = Image.fromarray(person.image).resize(size, Image.Resampling.BOX)
    labels = Image.fromarray(person.labels).resize(size, Image.Resampling.NEAREST)
    alpha = Image.fromarray(person.alpha).resize(size, Image.Resampling.BOX)
    soft = gaussian_filter(np.asarray(alpha), 0.7)
    return Cutout(np.asarray(image), np.asarray(labels), np.clip((soft - 0.3) / 0.5, 0, 1))


@dataclass(frozen=True, slots=True)
class Bend:
    """A change of pose, as smooth warps. Lengths are fractions of the body's height, `turn` is in radians.

    wide: width of the body relative to the photograph's; turn, lean: of the whole body; bow: sideways at the
    waist; spread: of the legs per height below the hip; stride: one foot higher than the other, relative;
    swing: of each arm outwards per width beyond the trunk; nod: of the head sideways;
    wobble: random and slow.
    """

    wide: float
    turn: float
    lean: float
    bow: float
    spread: float
    stride: float
    swing: tuple[float, float]
    nod: float
    wobble: NDArray[np.float32]


def draw_bend(rng: np.random.Generator) -> Bend:
    return Bend(
        wide=rng.uniform(0.86, 1.12),
        turn=rng.normal(0, 0.035),
        lean=rng.normal(0, 0.05),
        bow=rng.normal(0, 0.018),
        spread=rng.uniform(-0.22, 0.4),
        stride=rng.uniform(-0.13, 0.13),
        swing=(rng.uniform(-0.35, 0.35), rng.uniform(-0.35, 0.35)),
        nod=rng.normal(0, 0.14),
        wobble=(rng.standard_normal((2, 5, 3)) * 0.006).astype(np.float32),
    )


def bend_person(person: Cutout, bend: Bend) -> Cutout:
    """Return the person in another pose; the canvas grows so that no limb leaves it, labels move with the image."""
    height, width = person.labels.shape
    pad = round(0.14 * height)
    rows, columns = np.mgrid[-pad // 2 : height + pad // 2, -pad : width + pad].astype(np.float32)
    y = rows / height
    hip, middle, half = _measures(person)
    x = columns / height - middle
    # every line says where a pixel of the answer comes from, in the order from the whole body to its ends
    x, y = x + bend.turn * (y - 0.5), y - bend.turn * x
    x = (x - bend.lean * (0.5 - y)) / bend.wide
    x = x - bend.bow * np.sin(np.pi * np.clip(y, 0, 1))
    below = np.clip((y - hip) / (1 - hip), 0, 1.2)
    ramp = below * below * (3 - 2 * np.minimum(below, 1))
    x = x / (1 + bend.spread * ramp)
    side = np.tanh(x / (0.3 * half))
    y = y - ramp * (1 - hip) * bend.stride * 0.5 * side
    for arm, sign in zip(bend.swing, (-1, 1), strict=True):
        beyond = np.clip(sign * x - 0.75 * half, 0, None)
        reach = np.exp(-(((y - 0.42) / 0.16) ** 2))
        x = x - sign * beyond * arm * reach
    x = x - bend.nod * np.clip(0.15 - y, 0, 0.2)
    sources = []
    for place, grid in zip((y, x + middle), bend.wobble, strict=True):
        shape = (grid.shape[0] - 1, grid.shape[1] - 1)
        at = [
            np.linspace(0, shape[0], y.shape[0], dtype=np.float32)[:, None].repeat(y.shape[1], 1),
            np.linspace(0, shape[1], y.shape[1], dtype=np.float32)[None].repeat(y.shape[0], 0),
        ]
        sources.append((place + map_coordinates(grid, at, order=1)) * height)
    image = [map_coordinates(person.image[..., c], sources, order=1, mode="nearest", output=np.uint8) for c in range(3)]
    labels = map_coordinates(person.labels, sources, order=0, mode="constant")
    alpha = map_coordinates(person.alpha, sources, order=1, mode="constant")
    return Cutout(np.stack(image, -1), labels, alpha)


def mirror_person(person: Cutout) -> Cutout:
    return Cutout(person.image[:, ::-1], person.labels[:, ::-1], person.alpha[:, ::-1])


def _measures(person: Cutout) -> tuple[float, float, float]:
    """Return the hip's height, the body's middle and half of the trunk's width, in heights of the body."""
    height = len(person.labels)
    shown = person.labels > 0
    columns = np.arange(shown.shape[1])
    share = shown.sum(0)
    middle = float((columns * share).sum()) / max(float(share.sum()), 1.0) / height
    legs = np.flatnonzero(np.isin(person.labels, _LEGWEAR).sum(1) > 0.02 * height)
    hip = float(np.clip((legs[0] if len(legs) else 0.5 * height) / height, 0.42, 0.6))
    half = float(np.median(shown[int(0.2 * height) : int(0.5 * height)].sum(1))) / 2 / height
    return hip, middle, max(half, 0.05)


def _photo_and_parts(photos: Photos, photo_id: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return image (H, W, 3) and labels (H, W); raise InputError if their sizes differ."""
    image, labels = photos.photo(photo_id), photos.parts(photo_id)
    if image.shape[:2] != labels.shape:
        raise InputError(
            f"{photos.root}: photo {photo_id} is {image.shape[:2]} and its parts {labels.shape}; "
            "both must have one size"
        )
    return image, labels


def side_strip(photos: Photos, photo_id: str) -> NDArray[np.uint8] | None:
    """Return the wider strip beside the person of a photograph, (H, w, 3); None if both are narrower than a tenth."""
    image, labels = _photo_and_parts(photos, photo_id)
    shown = np.flatnonzero((labels > 0).any(0))
    if not len(shown):
        return image
    gap = 6
    left, right = image[:, : max(0, shown[0] - gap)], image[:, shown[-1] + gap :]
    strip = left if left.shape[1] >= right.shape[1] else right
    return strip if strip.shape[1] >= 0.1 * image.shape[1] else None
