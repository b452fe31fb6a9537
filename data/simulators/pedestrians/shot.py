"""One image of a drawn pedestrian: the camera's place, light and manner, what hides the person, noise."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from .look import Band
from .pose import Pose
from .scene import HORIZON, SIZE, make_scene

Occluder = Literal["none", "pole", "box", "plant"]
OCCLUDER: dict[Occluder, float] = {"none": 0.85, "pole": 0.05, "box": 0.05, "plant": 0.05}
"""How often each thing stands before the person."""

T = TypeVar("T")


def pick(rng: np.random.Generator, weights: Mapping[T, float]) -> T:
    """Return one of the keys, drawn with its weight."""
    return list(weights)[int(rng.choice(len(weights), p=list(weights.values())))]


@dataclass(frozen=True, slots=True)
class Shot:
    """One image of someone: the crop's size and content, the camera's place and manner.

    size: (width, height) in pixels; foot: where the feet stand as a fraction of (width, height); scale: the
    body's height as a fraction of the image's; column: of the scene, in pixels; light: gain; tint: gain of
    each channel; blur: radius in pixels; noise: sigma in grey levels; occluder: what stands in front.
    """

    seed: int
    noise_seed: tuple[int, ...]
    band: Band
    place: int
    size: tuple[int, int]
    pose: Pose
    foot: tuple[float, float]
    scale: float
    column: int
    zoom: float
    light: float
    tint: tuple[float, float, float]
    blur: float
    noise: float
    occluder: Occluder


def make_shot(seed: int, number: int, camera: int, index: int, band: Band, place: int | None = None) -> Shot:
    """Return image `index` of person `number` by `camera`; `place` is the camera's number unless two share one."""
    place = camera if place is None else place
    eye = np.random.default_rng((seed, 0xCA, camera))
    pitch, glow, sharp = eye.uniform(0.02, 0.24), eye.uniform(0.8, 1.15), eye.uniform(0.2, 1.0)
    tint = np.clip(eye.normal(1, 0.07, 3), 0.85, 1.15)
    usual = eye.uniform(0, 2 * math.pi)
    rng = np.random.default_rng((seed, 0x5407, number, camera, index))
    height = int(rng.integers(180, 301))
    width = round(height / rng.uniform(2.0, 2.6))
    # people cross a camera's view in few directions: along the path, back again, and a few otherwise
    yaw = usual + rng.choice([0, math.pi, rng.uniform(0, 2 * math.pi)], p=[0.4, 0.35, 0.25]) + rng.normal(0, 0.3)
    pose = Pose(
        yaw=float(yaw),
        phase=rng.uniform(0, 2 * math.pi),
        stride=float(rng.choice([rng.uniform(0.05, 0.25), rng.uniform(0.55, 1.0)], p=[0.25, 0.75])),
        pitch=float(pitch),
        bend=rng.uniform(0.1, 0.5),
        light=int(eye.choice([-1, 1])),
    )
    scale = rng.uniform(0.84, 0.95)
    return Shot(
        seed=seed,
        noise_seed=(seed, 0xF1, number, camera, index),
        band=band,
        place=place,
        size=(width, height),
        pose=pose,
        foot=(0.5 + rng.normal(0, 0.035), rng.uniform(0.95, 0.985) + (0.07 if rng.random() < 0.12 else 0.0)),
        scale=scale,
        column=int(rng.integers(0, SIZE[0])),
        zoom=rng.uniform(0.85, 1.15),
        light=float(glow * rng.uniform(0.88, 1.1)),
        tint=(float(tint[0]), float(tint[1]), float(tint[2])),
        blur=float(sharp * rng.uniform(0.4, 1.3)),
        noise=rng.uniform(1.5, 5.0) if band == "visible" else rng.uniform(4.0, 8.0),
        occluder=pick(rng, OCCLUDER),
    )


def cut_background(shot: Shot, body: float) -> np.ndarray:
    """Return the crop of the camera's scene around the person, (H, W, 3) float32; `body` is its height in pixels."""
    width, height = shot.size
    seen = getattr(make_scene(shot.seed, shot.place), shot.band)
    # a body is about 230 pixels tall in the scene and stands a little below the horizon
    zoom = shot.zoom * 230 / body
    w, h = width * zoom, height * zoom
    left = shot.column % max(1, int(SIZE[0] - w))
    top = float(np.clip(HORIZON + 60 - shot.foot[1] * h, 0, SIZE[1] - h))
    crop = seen.resize((width, height), Image.Resampling.BILINEAR, box=(left, top, left + w, min(SIZE[1], top + h)))
    pixels = np.asarray(crop.convert("RGB"), np.float32)
    if shot.band == "visible":
        rows, columns = np.ogrid[:height, :width]
        x, y = shot.foot[0] * width, shot.foot[1] * height - 0.02 * body
        shadow = np.exp(-(((columns - x) / (0.16 * body)) ** 2) - ((rows - y) / (0.035 * body)) ** 2)
        pixels = pixels * (1 - 0.45 * shadow[..., None].astype(np.float32))
    return pixels


def occlude(
    image: np.ndarray, labels: np.ndarray, shot: Shot, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Put a thing before the person; what it hides becomes background."""
    if shot.occluder == "none":
        return image, labels
    width, height = shot.size
    cover = Image.new("L", shot.size)
    fill = ImageDraw.Draw(cover)
    x = width * rng.uniform(0.1, 0.9)
    if shot.occluder == "pole":
        fill.rectangle((x, 0, x + width * rng.uniform(0.08, 0.16), height), fill=255)
    elif shot.occluder == "box":
        left = x - width * rng.uniform(0.2, 0.5)
        fill.rectangle((left, height * rng.uniform(0.62, 0.85), left + width * rng.uniform(0.4, 0.8), height), fill=255)
    else:
        for _ in range(60):
            cx, cy, r = (
                x + rng.normal(0, 0.13) * width,
                height * (1 - abs(rng.normal(0, 0.13))),
                width * rng.uniform(0.03, 0.07),
            )
            fill.ellipse((cx - r, cy - r, cx + r, cy + r), fill=255)
    hidden = np.asarray(cover) > 0
    base = rng.uniform(60, 170) + (rng.normal(0, 14, 3) if shot.band == "visible" else np.zeros(3))
    if shot.occluder == "plant" and shot.band == "visible":
        base = np.array([rng.uniform(40, 80), rng.uniform(90, 140), rng.uniform(35, 70)])
    grain = rng.normal(0, 22 if shot.occluder == "plant" else 4, (height, width, 1))
    across = (np.arange(width) / width - 0.5)[None, :, None] * 50
    thing = np.clip(base + grain + across, 0, 255)
    return np.where(hidden[..., None], thing, image), np.where(hidden, 0, labels).astype(np.uint8)


def film(image: np.ndarray, shot: Shot, rng: np.random.Generator) -> np.ndarray:
    """Apply the camera to the light: lamp, gain, tint, blur, noise, resolution."""
    width, height = shot.size
    rows, columns = np.ogrid[:height, :width]
    if shot.band == "near":
        x, y = rng.uniform(0.3, 0.7) * width, rng.uniform(0.25, 0.6) * height
        far = ((columns - x) / width) ** 2 + ((rows - y) / height) ** 2
        image = image * ((1.12 / (1 + rng.uniform(1.0, 2.2) * far))[..., None] * shot.light)
    elif shot.band == "thermal":
        image = (image - 110) * rng.uniform(0.8, 1.2) + 110 + rng.normal(0, 10)
    else:
        slope = 1 + rng.normal(0, 0.08) * (columns / width - 0.5)
        image = image * slope[..., None] * (shot.light * np.asarray(shot.tint))
    seen = Image.fromarray(np.clip(image, 0, 255).astype(np.uint8))
    if shot.band == "thermal":
        small = (max(16, round(width / 3)), max(32, round(height / 3)))
        seen = seen.resize(small, Image.Resampling.BOX).resize(shot.size, Image.Resampling.BICUBIC)
    else:
        seen = seen.filter(ImageFilter.GaussianBlur(shot.blur))
    if shot.band == "visible":
        noise = rng.standard_normal((height, width, 3), np.float32) * np.float32(shot.noise)
    else:
        noise = rng.standard_normal((height, width, 1), np.float32) * np.float32(
            shot.noise * (0.4 if shot.band == "thermal" else 1)
        )
    return np.clip(np.asarray(seen, np.float32) + noise, 0, 255).astype(np.uint8)
