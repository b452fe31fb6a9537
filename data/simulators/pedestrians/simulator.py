"""Procedural pedestrians with exact part labels, in colour, near-infrared and heat."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from parsing.labels import label_set

from .body import paint
from .brush import Material
from .look import Look, clothe, colours
from .pose import Bag, Bottom, Build, Hair, Sleeves, Top
from .shot import Shot, cut_background, film, make_shot, occlude, pick

__all__ = ["Identity", "Shot", "draw", "make_identity", "make_shot"]

HAIR: dict[Hair, float] = {"bald": 0.06, "short": 0.32, "bob": 0.17, "long": 0.22, "bun": 0.1, "cap": 0.13}
TOP: dict[Top, float] = {"shirt": 0.44, "jacket": 0.22, "coat": 0.18, "dress": 0.16}
SLEEVES: dict[Sleeves, float] = {"none": 0.15, "short": 0.4, "long": 0.45}
BOTTOM: dict[Bottom, float] = {"trousers": 0.44, "wide": 0.16, "shorts": 0.18, "skirt": 0.22}
BAG: dict[Bag, float] = {"none": 0.32, "backpack": 0.24, "handbag": 0.16, "crossbody": 0.14, "tote": 0.14}
BOOTS = {0.0: 0.62, 0.25: 0.2, 0.8: 0.18}
"""How often each kind is worn."""

HEM = {"shirt": (0.47, 0.53), "jacket": (0.46, 0.54), "coat": (0.24, 0.4), "dress": (0.16, 0.38)}
"""Heights at which a top may end, in heights of the body above ground."""

CLASSES = {
    "head": (Material.HAIR, Material.FACE, Material.EYES, Material.LIPS, Material.HAT),
    "upper": (Material.UPPER, Material.INNER),
    "arms": (Material.ARM,),
    "lower": (Material.LOWER,),
    "legs": (Material.LEG,),
    "feet": (Material.SHOE,),
    "bag": (Material.BAG, Material.STRAP),
}
"""The materials of each `person7` class."""


def _class_of() -> np.ndarray:
    table = np.zeros(len(Material), np.uint8)
    for name, materials in CLASSES.items():
        table[list(materials)] = label_set("person7").index(name)
    return table


_CLASS_OF = _class_of()
_OVERSAMPLED = 2


@dataclass(frozen=True, slots=True)
class Identity:
    """A person: body and kinds of clothes, and what they look like in each band."""

    number: int
    build: Build
    look: Look


def make_identity(seed: int, number: int) -> Identity:
    """Return person `number` of the data set of `seed`."""
    rng = np.random.default_rng((seed, 0x1D, number))
    top, sleeves = pick(rng, TOP), pick(rng, SLEEVES)
    build = Build(
        height=rng.uniform(0.92, 1.06),
        shoulder=rng.uniform(0.104, 0.136),
        girth=rng.uniform(0.86, 1.2),
        hair=pick(rng, HAIR),
        top=top,
        sleeves="long" if top in ("jacket", "coat") else sleeves,
        hem=rng.uniform(*HEM[top]),
        flare=rng.uniform(1.02, 1.7 if top != "coat" else 1.35),
        bottom=pick(rng, BOTTOM),
        bottom_hem=rng.uniform(0.27, 0.42),
        boots=pick(rng, BOOTS),
        bag=pick(rng, BAG),
        bag_size=rng.uniform(0.85, 1.25),
        side=pick(rng, {-1: 0.5, 1: 0.5}),
    )
    return Identity(number, build, clothe(rng))


def draw(identity: Identity, shot: Shot) -> tuple[np.ndarray, np.ndarray]:
    """Return the image (H, W, 3) uint8 RGB and its exact labels (H, W) uint8 in the classes of `person7`."""
    k, (width, height) = _OVERSAMPLED, shot.size
    scale = k * height * shot.scale * identity.build.height
    origin = (k * width * shot.foot[0], k * height * shot.foot[1])
    materials, shade = paint(identity.build, pose=shot.pose, size=(k * width, k * height), scale=scale, origin=origin)
    person = colours(identity.look, shot.band, shot.pose.yaw, materials, shade, scale, origin)
    cover = Image.fromarray((materials > 0).astype(np.uint8) * 255)
    alpha = np.asarray(cover.reduce(k), np.float32) / 255
    rng = np.random.default_rng(shot.noise_seed)
    behind = cut_background(shot, scale / k)
    front = np.asarray(Image.fromarray(person).reduce(k), np.float32)
    image = front + behind * (1 - alpha[..., None])
    labels = _labels(_CLASS_OF[materials], alpha)
    image, labels = occlude(image, labels, shot, rng)
    return film(image, shot, rng), labels


def _labels(classes: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Return labels at the image's size: foreground if at least half of the pixel is covered."""
    low = classes[1::2, 1::2]
    any_ = np.maximum(np.maximum(classes[::2, ::2], classes[1::2, ::2]), classes[::2, 1::2])
    return np.where(alpha >= 0.5, np.where(low > 0, low, any_), 0).astype(np.uint8)
