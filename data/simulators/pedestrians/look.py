"""What a drawn pedestrian's materials look like: colours and patterns, near-infrared reflectance, warmth."""

import math
from dataclasses import dataclass
from typing import Literal, cast

import numpy as np
from PIL import Image

from .brush import Material

Band = Literal["visible", "near", "thermal"]
Pattern = Literal["plain", "stripes", "bars", "checks", "dots", "block"]
Colour = tuple[float, float, float]

_CLOTH: tuple[Colour, ...] = (
    *((28, 28, 32), (45, 47, 54), (118, 118, 122), (172, 172, 174), (232, 230, 224)),
    *((32, 42, 78), (58, 84, 128), (96, 126, 168), (190, 205, 222), (52, 130, 140)),
    *((205, 190, 158), (140, 104, 70), (92, 96, 62), (58, 112, 78), (214, 168, 60)),
    *((120, 32, 40), (186, 44, 46), (226, 110, 50), (204, 120, 140), (110, 70, 130)),
)
_HAIR: tuple[Colour, ...] = ((22, 19, 18), (48, 34, 26), (88, 60, 40), (150, 112, 66), (110, 104, 100))
_SKIN: tuple[Colour, ...] = ((236, 196, 170), (220, 176, 146), (196, 148, 116), (150, 106, 78), (104, 70, 52))
_LEATHER: tuple[Colour, ...] = ((24, 22, 24), (60, 40, 30), (120, 78, 46), (210, 206, 200), (150, 40, 44))


@dataclass(frozen=True, slots=True)
class Cloth:
    """A pattern of two colours; `frequency` in periods over the body's height."""

    pattern: Pattern
    frequency: float
    second: Colour


@dataclass(frozen=True, slots=True)
class Stuff:
    """How one material looks: colour in [0, 255], near-infrared reflectance and warmth in [0, 1]."""

    colour: Colour
    reflectance: float
    warmth: float


@dataclass(frozen=True, slots=True)
class Look:
    """How a person looks: stuff of every material in their order, patterns, the seed of the folds."""

    stuff: tuple[Stuff, ...]
    upper: Cloth
    lower: Cloth
    folds: int


def clothe(rng: np.random.Generator) -> Look:
    """Draw the look of one person. Reflectance and warmth are independent of the colours."""
    skin, lips = _near(rng, _SKIN, 3), (0.82, 0.58, 0.6)
    flesh, hot = rng.uniform(0.8, 0.95), rng.uniform(0.86, 0.97)
    dark, cool = rng.uniform(0.12, 0.3), rng.uniform(0.5, 0.72)

    def garment() -> Stuff:
        return Stuff(_near(rng, _CLOTH), rng.uniform(0.25, 1.0), rng.uniform(0.43, 0.68))

    def leather(warmest: float) -> Stuff:
        palette = _LEATHER if rng.random() < 0.7 else _CLOTH
        return Stuff(_near(rng, palette), rng.uniform(0.12, 0.75), rng.uniform(0.2, warmest))

    upper, lower, bag = garment(), garment(), leather(0.4)
    r, g, b = bag.colour
    stuff = {
        Material.NOTHING: Stuff((0, 0, 0), 0, 0),
        Material.HAIR: Stuff(_near(rng, _HAIR, 3), dark, cool),
        Material.FACE: Stuff(skin, flesh, hot),
        Material.EYES: Stuff((30, 26, 24), 0.2, 0.96 * hot),
        Material.LIPS: Stuff((skin[0] * lips[0], skin[1] * lips[1], skin[2] * lips[2]), 0.9 * flesh, hot),
        Material.HAT: garment(),
        Material.UPPER: upper,
        Material.INNER: garment(),
        Material.ARM: Stuff(skin, flesh, 0.94 * hot),
        Material.LOWER: lower,
        Material.LEG: Stuff(skin, flesh, 0.9 * hot),
        Material.SHOE: leather(0.5),
        Material.BAG: bag,
        Material.STRAP: Stuff((0.75 * r, 0.75 * g, 0.75 * b), 0.7 * bag.reflectance, bag.warmth),
    }
    return Look(
        stuff=tuple(stuff[material] for material in Material),
        upper=_cloth(rng, upper.colour, plain=0.45),
        lower=_cloth(rng, lower.colour, plain=0.75),
        folds=int(rng.integers(2**31)),
    )


def colours(
    look: Look,
    band: Band,
    yaw: float,
    materials: np.ndarray,
    shade: np.ndarray,
    scale: float,
    origin: tuple[float, float],
) -> np.ndarray:
    """Return the person's own light (h, w, 3) uint8, zero outside the person.

    materials (h, w) uint8, shade (h, w) float32 about 1; scale: pixels of the body's height; origin: pixel
    between the feet.
    """
    height, width = materials.shape
    u = (np.arange(width, dtype=np.float32) - origin[0])[None, :] / scale + 0.12 * yaw
    v = (origin[1] - np.arange(height, dtype=np.float32))[:, None] / scale
    # only the person's own pixels are worked on, a third of the canvas
    inside = np.flatnonzero(materials)
    kinds = materials.ravel()[inside]
    if band == "visible":
        base = np.asarray([s.colour for s in look.stuff], np.float32)
    else:
        level = [s.reflectance if band == "near" else s.warmth for s in look.stuff]
        base = np.asarray(level, np.float32)[:, None] * np.float32(235 if band == "near" else 250)
    flat = base[kinds]
    for material, cloth in ((Material.UPPER, look.upper), (Material.LOWER, look.lower)):
        if cloth.pattern == "plain" or band == "thermal":
            continue
        on = np.broadcast_to(_weave(cloth, u, v), materials.shape).ravel()[inside] & (kinds == material)
        if band == "visible":
            flat[on] = cloth.second
        else:
            # dyes hardly matter to near-infrared: the pattern stays as a weak step of brightness
            step = np.clip((sum(cloth.second) - sum(look.stuff[material].colour)) / 765, -1, 1)
            flat[on] *= np.float32(1 + math.copysign(0.1 + 0.3 * abs(step), step))
    grid = Image.fromarray(np.random.default_rng(look.folds).normal(0, 1, (14, 8)).astype(np.float32))
    folds = np.asarray(grid.resize((width, height), Image.Resampling.BILINEAR)).ravel()[inside]
    depth = {"visible": 1.0, "near": 0.8, "thermal": 0.35}[band]
    lit = 1 + np.float32(depth) * (shade.ravel()[inside] * (1 + np.float32(0.07) * folds) - 1)
    image = np.zeros((height * width, 3), np.uint8)
    image[inside] = np.clip(flat * lit[:, None], 0, 255)
    return image.reshape(height, width, 3)


def _near(rng: np.random.Generator, palette: tuple[Colour, ...], spread: float = 9) -> Colour:
    r, g, b = np.clip(np.asarray(palette[int(rng.integers(len(palette)))]) + rng.normal(0, spread, 3), 8, 245)
    return float(r), float(g), float(b)


def _cloth(rng: np.random.Generator, base: Colour, plain: float) -> Cloth:
    if rng.random() < plain:
        return Cloth("plain", 1.0, base)
    kind = cast(Pattern, str(rng.choice(["stripes", "bars", "checks", "dots", "block"])))
    second = _near(rng, _CLOTH)
    while abs(sum(second) - sum(base)) < 150:
        second = _near(rng, _CLOTH)
    return Cloth(kind, float(rng.uniform(12, 26)), second)


def _weave(cloth: Cloth, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Return where the second colour shows, bool, broadcastable to (h, w); u (1, w) and v (h, 1) in body heights."""
    turn = 2 * math.pi * cloth.frequency
    match cloth.pattern:
        case "stripes":
            return np.sin(turn * v) > 0.2
        case "bars":
            return np.sin(turn * u) > 0.3
        case "checks":
            return (np.sin(turn * v) > 0.45) ^ (np.sin(turn * u) > 0.45)
        case "dots":
            return np.sin(turn * v) * np.sin(turn * u) > 0.55
        case "block":
            return (v > 0.71) | ((v < 0.4) & (v > 0.3))
        case _:
            return np.zeros((1, 1), bool)
