"""The places that drawn pedestrians walk through, in colour, near-infrared and heat."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw

SIZE = (1500, 480)
"""Width and height of a scene in pixels."""
HORIZON = 300
"""Row where the wall meets the floor."""


@dataclass(frozen=True, slots=True)
class Scene:
    """The same place as three images of SIZE: visible (RGB), near and thermal (L)."""

    visible: Image.Image
    near: Image.Image
    thermal: Image.Image


@lru_cache(maxsize=32)
def make_scene(seed: int, place: int) -> Scene:
    """Return place number `place` of the data set of `seed`."""
    rng = np.random.default_rng((seed, 0x5CE4E, place))
    brush = _SceneBrush()
    wall = _colour(rng, low=120, high=210, spread=14)
    floor = _colour(rng, low=90, high=180, spread=10)
    brush.box((0, 0, SIZE[0], HORIZON), wall, rng)
    _wall(brush, wall, rng)
    brush.box((0, HORIZON, SIZE[0], SIZE[1]), floor, rng)
    _floor(brush, floor, rng)
    for x in np.arange(20, SIZE[0], 130):
        _thing(brush, int(x + rng.integers(-25, 25)), rng)
    return brush.finish(rng)


class _SceneBrush:
    def __init__(self) -> None:
        self.images = [Image.new("RGB", SIZE), Image.new("L", SIZE), Image.new("L", SIZE)]
        self.draws = [ImageDraw.Draw(image) for image in self.images]

    def box(
        self,
        box: Sequence[float],
        colour: tuple[int, int, int],
        rng: np.random.Generator,
        near: float | None = None,
        heat: float | None = None,
        round_: bool = False,
    ) -> None:
        """Draw one rectangle or ellipse; near-infrared brightness and warmth are random unless given."""
        grey = sum(colour) / 3
        near = float(np.clip(0.6 * grey + rng.uniform(-30, 60), 15, 220)) if near is None else near
        heat = rng.uniform(60, 110) if heat is None else heat
        fills: tuple[int | tuple[int, int, int], ...] = (colour, int(near), int(heat))
        for draw, fill in zip(self.draws, fills, strict=True):
            (draw.ellipse if round_ else draw.rectangle)(tuple(box), fill=fill)

    def line(self, ends: Sequence[float], colour: tuple[int, int, int], near: int, width: int = 1) -> None:
        self.draws[0].line(tuple(ends), fill=colour, width=width)
        self.draws[1].line(tuple(ends), fill=near, width=width)

    def finish(self, rng: np.random.Generator) -> Scene:
        """Add grain and slow unevenness, the same in each image so that edges stay where they are."""
        coarse = Image.fromarray(rng.integers(0, 255, (10, 30), dtype=np.uint8)).resize(SIZE, Image.Resampling.BICUBIC)
        uneven = (np.asarray(coarse, np.float32) - 127) * 0.16
        grain = rng.normal(0, 5, SIZE[::-1]).astype(np.float32)
        done = []
        for image, share in zip(self.images, (1.0, 1.0, 0.3), strict=True):
            pixels = np.asarray(image, np.float32)
            extra = (uneven + grain) * share
            pixels = pixels + (extra[..., None] if pixels.ndim == 3 else extra)
            done.append(Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)))
        return Scene(done[0], done[1], done[2])


def _colour(rng: np.random.Generator, low: int, high: int, spread: int) -> tuple[int, int, int]:
    grey = rng.uniform(low, high)
    r, g, b = np.clip(grey + rng.normal(0, spread, 3), 0, 255).astype(int).tolist()
    return r, g, b


def _darker(colour: tuple[int, int, int], share: float) -> tuple[int, int, int]:
    return int(colour[0] * share), int(colour[1] * share), int(colour[2] * share)


def _wall(brush: _SceneBrush, wall: tuple[int, int, int], rng: np.random.Generator) -> None:
    seam, near = _darker(wall, 0.82), int(sum(wall) / 3 * 0.55)
    kind = rng.choice(["bricks", "panels", "plain"])
    if kind == "bricks":
        course, length = int(rng.integers(9, 16)), int(rng.integers(24, 44))
        for row, y in enumerate(range(0, HORIZON, course)):
            brush.line((0, y, SIZE[0], y), seam, near)
            for x in range((row % 2) * length // 2, SIZE[0], length):
                brush.line((x, y, x, y + course), seam, near)
    elif kind == "panels":
        step = int(rng.integers(60, 150))
        for x in range(0, SIZE[0], step):
            brush.line((x, 0, x, HORIZON), seam, near, 2)
        brush.line((0, HORIZON // 2, SIZE[0], HORIZON // 2), seam, near, 2)
    brush.line((0, HORIZON, SIZE[0], HORIZON), _darker(wall, 0.55), near // 2, 5)


def _floor(brush: _SceneBrush, floor: tuple[int, int, int], rng: np.random.Generator) -> None:
    seam, near = _darker(floor, 0.86), int(sum(floor) / 3 * 0.5)
    depth = SIZE[1] - HORIZON
    if rng.random() < 0.75:
        for k in range(1, 8):
            y = HORIZON + int(depth * (k / 8) ** 2)
            brush.line((0, y, SIZE[0], y), seam, near)
        for x in range(-800, SIZE[0] + 800, int(rng.integers(45, 90))):
            middle = SIZE[0] / 2
            brush.line((middle + (x - middle) * 0.6, HORIZON, x, SIZE[1]), seam, near)
    else:
        y = HORIZON + depth // 3
        brush.box((0, y, SIZE[0], y + 8), _darker((255, 255, 255), 0.9), rng)


def _thing(brush: _SceneBrush, x: int, rng: np.random.Generator) -> None:
    """Draw a door, window, poster, pillar, plant or bench at column `x`."""
    kind = rng.choice(["door", "window", "poster", "pillar", "plant", "bench", "nothing"])
    wide = int(rng.integers(40, 90))
    if kind == "door":
        colour = _colour(rng, low=50, high=160, spread=30)
        brush.box((x, HORIZON - 210, x + wide, HORIZON), _darker(colour, 0.7), rng)
        brush.box((x + 5, HORIZON - 205, x + wide - 5, HORIZON), colour, rng)
        brush.box((x + wide - 14, HORIZON - 105, x + wide - 9, HORIZON - 97), (200, 190, 150), rng)
    elif kind == "window":
        top = int(rng.integers(40, 110))
        brush.box((x - 4, top - 4, x + wide + 4, top + 104), (225, 225, 220), rng)
        brush.box(
            (x, top, x + wide, top + 100), _colour(rng, low=60, high=190, spread=18), rng, heat=rng.uniform(50, 140)
        )
        brush.line((x + wide // 2, top, x + wide // 2, top + 100), (225, 225, 220), 130, 3)
    elif kind == "poster":
        top = int(rng.integers(60, 150))
        brush.box((x, top, x + wide, top + int(wide * 1.3)), _colour(rng, low=80, high=210, spread=55), rng)
        for k in range(4):
            y = top + 10 + k * wide // 4
            brush.box(
                (x + 6, y, x + wide - int(rng.integers(6, 25)), y + 5), _colour(rng, low=30, high=240, spread=40), rng
            )
    elif kind == "pillar":
        colour = _colour(rng, low=90, high=200, spread=8)
        brush.box((x, 0, x + 26, HORIZON + 30), colour, rng)
        brush.box((x + 18, 0, x + 26, HORIZON + 30), _darker(colour, 0.75), rng)
    elif kind == "plant":
        brush.box((x + 8, HORIZON - 15, x + 48, HORIZON + 25), (120, 85, 60), rng)
        for _ in range(45):
            cx, cy = x + 28 + rng.normal(0, 20), HORIZON - 55 + rng.normal(0, 28)
            r, g, b = int(rng.integers(30, 80)), int(rng.integers(80, 150)), int(rng.integers(25, 70))
            size = rng.uniform(5, 11)
            brush.box(
                (cx - size, cy - size, cx + size, cy + size),
                colour=(r, g, b),
                rng=rng,
                near=rng.uniform(110, 210),
                heat=75,
                round_=True,
            )
    elif kind == "bench":
        colour = _colour(rng, low=60, high=130, spread=15)
        brush.box((x, HORIZON - 32, x + wide, HORIZON - 24), colour, rng)
        brush.box((x, HORIZON - 10, x + wide, HORIZON - 2), colour, rng)
        for leg in (x + 4, x + wide - 8):
            brush.box((leg, HORIZON - 8, leg + 4, HORIZON + 16), _darker(colour, 0.6), rng)
