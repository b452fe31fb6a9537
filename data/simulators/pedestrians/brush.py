"""Painting a drawn pedestrian: limbs and tubes in body units, as a map of materials and one of shade."""

import math
from collections.abc import Sequence
from enum import IntEnum

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

Point = tuple[float, float]
Place = tuple[float, float, float]


class Material(IntEnum):
    """What a pixel is made of; `look` gives each a colour, a reflectance and a warmth."""

    NOTHING = 0
    HAIR = 1
    FACE = 2
    EYES = 3
    LIPS = 4
    HAT = 5
    UPPER = 6
    INNER = 7
    ARM = 8
    LOWER = 9
    LEG = 10
    SHOE = 11
    BAG = 12
    STRAP = 13


class Painter:
    """Two maps on a canvas, materials and shade, drawn in body units (x right, y up, height 1).

    view: yaw and pitch in radians; light: -1 from the left, 1 from the right.
    """

    def __init__(
        self, size: tuple[int, int], scale: float, origin: Point, view: tuple[float, float], light: int
    ) -> None:
        self._materials, self._shade = Image.new("L", size), Image.new("L", size, 160)
        self._draws = ImageDraw.Draw(self._materials), ImageDraw.Draw(self._shade)
        self._scale, self._origin, self._light = scale, origin, light
        self._sin, self._cos, self._tilt = math.sin(view[0]), math.cos(view[0]), math.sin(view[1])

    def project(self, at: Place) -> Point:
        """Return the screen position of a point given as (left of the body's middle, height, forward)."""
        return at[0] * self._cos + at[2] * self._sin, at[1] - self._tilt * self.depth(at)

    def depth(self, at: Place) -> float:
        """Return how far the point lies towards the camera."""
        return at[2] * self._cos - at[0] * self._sin

    def width(self, lateral: float, deep: float) -> float:
        """Return half the width on the screen of an upright cylinder with these half axes."""
        return math.hypot(lateral * self._cos, deep * self._sin)

    def polygon(self, points: Sequence[Point], material: Material, shade: int = 200) -> None:
        pixels = [self._pixel(p) for p in points]
        self._draws[0].polygon(pixels, fill=int(material))
        self._draws[1].polygon(pixels, fill=shade)

    def ellipse(self, centre: Point, rx: float, ry: float, material: Material, shade: int = 200) -> None:
        (x, y), rx, ry = self._pixel(centre), rx * self._scale, ry * self._scale
        box = (x - rx, y - ry, x + rx, y + ry)
        self._draws[0].ellipse(box, fill=int(material))
        self._draws[1].ellipse(box, fill=shade)

    def line(self, points: Sequence[Point], width: float, material: Material, shade: int = 190) -> None:
        pixels = [self._pixel(p) for p in points]
        for draw, fill in zip(self._draws, (int(material), shade), strict=True):
            draw.line(pixels, fill=fill, width=max(2, round(width * self._scale)), joint="curve")

    def limb(self, a: Point, b: Point, ra: float, rb: float, material: Material, dim: int = 0) -> None:
        """Draw a tapered limb, round at its ends, brighter on the side of the light."""
        for share, offset, shade in ((1.0, 0.0, 150), (0.72, 0.2, 190), (0.38, 0.42, 215)):
            dx = offset * self._light
            p, q = (a[0] + dx * ra, a[1]), (b[0] + dx * rb, b[1])
            self._capsule(
                p, b=q, ra=ra * share, rb=rb * share, material=material if share == 1.0 else None, shade=shade - dim
            )

    def tube(self, levels: Sequence[tuple[float, float, float]], material: Material, dim: int = 0) -> None:
        """Draw an upright shape from (height, middle, half width) levels, top first, shaded like a cylinder."""
        for share, offset, shade in ((1.0, 0.0, 150), (0.78, 0.16, 185), (0.42, 0.34, 212)):
            left = [(m + (offset * self._light - share) * w, y) for y, m, w in levels]
            right = [(m + (offset * self._light + share) * w, y) for y, m, w in levels]
            pixels = [self._pixel(p) for p in left + right[::-1]]
            if share == 1.0:
                self._draws[0].polygon(pixels, fill=int(material))
            self._draws[1].polygon(pixels, fill=shade - dim)

    def maps(self) -> tuple[np.ndarray, np.ndarray]:
        """Return materials (h, w) uint8 and shade (h, w) float32 about 1."""
        soft = self._shade.filter(ImageFilter.BoxBlur(max(1.0, 0.011 * self._scale)))
        return np.asarray(self._materials), np.asarray(soft, np.float32) / 200

    def _pixel(self, at: Point) -> Point:
        return self._origin[0] + self._scale * at[0], self._origin[1] - self._scale * at[1]

    def _capsule(self, a: Point, b: Point, ra: float, rb: float, material: Material | None, shade: int) -> None:
        (ax, ay), (bx, by) = self._pixel(a), self._pixel(b)
        ra, rb = ra * self._scale, rb * self._scale
        length = math.hypot(bx - ax, by - ay) or 1.0
        nx, ny = (ay - by) / length, (bx - ax) / length
        sides = [(ax + nx * ra, ay + ny * ra), (bx + nx * rb, by + ny * rb)]
        sides += [(bx - nx * rb, by - ny * rb), (ax - nx * ra, ay - ny * ra)]
        for draw, fill in zip(self._draws, (None if material is None else int(material), shade), strict=True):
            if fill is not None:
                draw.polygon(sides, fill=fill)
                draw.ellipse((ax - ra, ay - ra, ax + ra, ay + ra), fill=fill)
                draw.ellipse((bx - rb, by - rb, bx + rb, by + rb), fill=fill)
