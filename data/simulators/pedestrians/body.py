"""The body of a drawn pedestrian, dressed: limbs, trunk and garments, back to front."""

import math

import numpy as np

from .brush import Material, Painter, Point
from .extras import draw_back_hair, draw_bag, draw_head, draw_neck, rounded
from .pose import Arm, Build, Leg, Pose, lower, pose_arms, pose_legs


def paint(
    build: Build, pose: Pose, size: tuple[int, int], scale: float, origin: Point
) -> tuple[np.ndarray, np.ndarray]:
    """Return materials (h, w) uint8 and shade (h, w) float32 of the figure.

    size: (w, h) of the canvas in pixels; scale: pixels of the body's height; origin: pixel between the feet.
    """
    brush = Painter(size, scale=scale, origin=origin, view=(pose.yaw, pose.pitch), light=pose.light)
    legs, drop = pose_legs(pose)
    arms = pose_arms(build, pose, drop)
    order = sorted(range(2), key=lambda i: brush.depth(arms[i].elbow) + brush.depth(arms[i].hand))
    facing = math.cos(pose.yaw)
    draw_bag(brush, build=build, arms=arms, drop=drop, front=False)
    if facing > 0:
        draw_back_hair(brush, build, drop)
    far = [i for i in order if brush.depth(arms[i].elbow) < -0.03]
    for i in far:
        _draw_arm(brush, build=build, arm=arms[i], index=i, far=True)
    for leg in sorted(legs, key=lambda leg: brush.depth(leg.knee) + brush.depth(leg.ankle)):
        _draw_leg(brush, build=build, leg=leg, drop=drop, far=leg is not max(legs, key=lambda x: brush.depth(x.knee)))
    draw_neck(brush, drop)
    _draw_trunk(brush, build=build, legs=legs, drop=drop)
    draw_head(brush, build=build, pose=pose, drop=drop)
    if facing <= 0:
        draw_back_hair(brush, build, drop)
    draw_bag(brush, build=build, arms=arms, drop=drop, front=True)
    for i in order:
        if i not in far:
            _draw_arm(brush, build=build, arm=arms[i], index=i, far=False)
    return brush.maps()


def _draw_leg(brush: Painter, build: Build, leg: Leg, drop: float, far: bool) -> None:
    hip, knee, ankle = (brush.project(lower(p, drop)) for p in (leg.hip, leg.knee, leg.ankle))
    toe = brush.project(lower((leg.ankle[0] * 1.25, leg.ankle[1] - 0.022, leg.ankle[2] + 0.085), drop))
    heel = brush.project(lower((leg.ankle[0], leg.ankle[1] - 0.018, leg.ankle[2] - 0.02), drop))
    g, dim = build.girth, 28 if far else 0
    brush.limb(heel, b=toe, ra=0.024, rb=0.017, material=Material.SHOE, dim=dim + 20)
    brush.limb(hip, b=knee, ra=0.062 * g, rb=0.04 * g, material=Material.LEG, dim=dim)
    brush.limb(knee, b=ankle, ra=0.041 * g, rb=0.022 * g, material=Material.LEG, dim=dim)
    brush.ellipse(ankle, rx=0.024, ry=0.026, material=Material.SHOE, shade=165 - dim)
    if build.boots > 0:
        top = tuple(a + (k - a) * build.boots for a, k in zip(ankle, knee, strict=True))
        brush.limb((top[0], top[1]), b=ankle, ra=0.037 * g, rb=0.03, material=Material.SHOE, dim=dim + 10)
    if build.top == "dress" or build.bottom == "skirt":
        return
    if build.bottom != "shorts":
        brush.limb(hip, b=knee, ra=0.068 * g, rb=0.047 * g, material=Material.LOWER, dim=dim)
    if build.bottom == "shorts":
        share = min(1.0, max(0.3, (hip[1] - build.bottom_hem) / max(hip[1] - knee[1], 0.05)))
        end = (hip[0] + share * (knee[0] - hip[0]), hip[1] + share * (knee[1] - hip[1]))
        brush.limb(hip, b=end, ra=0.07 * g, rb=0.06 * g, material=Material.LOWER, dim=dim)
        return
    if build.boots > 0.3:
        ankle = (ankle[0] + 0.5 * (knee[0] - ankle[0]), ankle[1] + 0.5 * (knee[1] - ankle[1]))
    brush.limb(
        knee, b=ankle, ra=0.047 * g, rb=0.046 if build.bottom == "wide" else 0.03 * g, material=Material.LOWER, dim=dim
    )


def _draw_arm(brush: Painter, build: Build, arm: Arm, index: int, far: bool) -> None:
    shoulder, elbow, hand = (brush.project(p) for p in (arm.shoulder, arm.elbow, arm.hand))
    g, dim = build.girth, 30 if far else 0
    cloth = 0.012 if build.top in ("coat", "jacket") else 0.006
    side = 1 if index == 0 else -1
    if build.bag == "handbag" and side == build.side:
        w, h = 0.055 * build.bag_size, 0.075 * build.bag_size
        brush.line(
            [(hand[0] - w * 0.6, hand[1] - 0.045), hand, (hand[0] + w * 0.6, hand[1] - 0.045)],
            0.009,
            Material.STRAP,
        )
        top = hand[1] - 0.045
        brush.tube(rounded(hand[0], top=top, bottom=top - h * 1.3, wide=0.8 * w, base=w), Material.BAG, dim)
    brush.limb(shoulder, b=elbow, ra=0.033 * g, rb=0.027 * g, material=Material.ARM, dim=dim)
    brush.limb(elbow, b=hand, ra=0.027 * g, rb=0.018, material=Material.ARM, dim=dim)
    brush.ellipse((hand[0], hand[1] - 0.012), rx=0.02, ry=0.027, material=Material.ARM, shade=185 - dim)
    if build.sleeves == "none":
        return
    if build.sleeves == "short":
        elbow = (shoulder[0] + 0.62 * (elbow[0] - shoulder[0]), shoulder[1] + 0.62 * (elbow[1] - shoulder[1]))
        brush.limb(shoulder, b=elbow, ra=0.036 * g + cloth, rb=0.032 * g + cloth, material=Material.UPPER, dim=dim + 8)
        return
    wrist = (elbow[0] + 0.9 * (hand[0] - elbow[0]), elbow[1] + 0.9 * (hand[1] - elbow[1]))
    brush.limb(shoulder, b=elbow, ra=0.034 * g + cloth, rb=0.029 * g + cloth, material=Material.UPPER, dim=dim + 8)
    brush.limb(elbow, b=wrist, ra=0.029 * g + cloth, rb=0.021 + cloth, material=Material.UPPER, dim=dim + 8)


def _draw_trunk(brush: Painter, build: Build, legs: tuple[Leg, Leg], drop: float) -> None:
    s, g = build.shoulder, build.girth

    def level(y: float, lateral: float, deep: float) -> tuple[float, float, float]:
        x, height = brush.project((0.0, y - drop, 0.0))
        return height, x, brush.width(lateral, deep)

    def skirt(top: float, hem: float, flare: float, material: Material) -> None:
        """Draw a skirt from `top` down to `hem`, wide enough for the knees under it."""
        knees = [brush.project(lower(leg.knee, drop))[0] for leg in legs]
        share = min(1.0, (0.55 - hem) / 0.28)
        left = min(-brush.width(0.095 * g * flare, 0.075 * g * flare), share * (min(knees) - 0.05 * g))
        right = max(brush.width(0.095 * g * flare, 0.075 * g * flare), share * (max(knees) + 0.05 * g))
        y = brush.project((0.0, hem - drop, 0.0))[1]
        waist, hip = level(top, 0.082 * g, 0.07 * g), level(0.54, 0.108 * g, 0.088 * g)
        brush.tube([waist, hip, (y, (left + right) / 2, (right - left) / 2)], material)

    if build.top != "dress":
        if build.bottom == "skirt":
            skirt(0.62, hem=build.bottom_hem, flare=build.flare, material=Material.LOWER)
        else:
            brush.tube(
                [
                    level(0.6, 0.09 * g, 0.07 * g),
                    level(0.53, 0.106 * g, 0.085 * g),
                    level(0.47, 0.088 * g, 0.07 * g),
                ],
                Material.LOWER,
            )
    if build.top in ("coat", "dress"):
        skirt(0.63, hem=build.hem, flare=build.flare, material=Material.UPPER)
    thick = 0.012 if build.top in ("coat", "jacket") else 0.0
    trunk = [
        level(0.862, 0.036, 0.038),
        level(0.846, 0.6 * s, 0.05),
        level(0.822, 0.93 * s + thick, 0.065 * g + thick),
        level(0.79, s + thick, 0.078 * g + thick),
        level(0.73, 0.93 * s + thick, 0.088 * g + thick),
        level(0.63, 0.76 * s * g + thick, 0.074 * g + thick),
        level(0.555, 0.104 * g + thick, 0.088 * g + thick),
    ]
    if build.top in ("shirt", "jacket"):
        trunk.append(level(build.hem, 0.11 * g + thick, 0.09 * g + thick))
    brush.tube(trunk, Material.UPPER)
    _draw_opening(brush, build, drop)


def _draw_opening(brush: Painter, build: Build, drop: float) -> None:
    """Draw what shows at the neck, and down the front of an open jacket or coat."""
    if brush.depth((0.0, 0.0, 1.0)) < 0.15:
        return
    low = 0.8 if build.top in ("shirt", "dress") else max(build.hem + 0.04, 0.56)
    wide = 0.026 if build.top in ("shirt", "dress") else 0.04
    material = Material.FACE if build.top in ("shirt", "dress") else Material.INNER
    if material is Material.FACE and build.sleeves == "long":
        low = 0.825
    points = [
        (-wide, 0.855, 0.04),
        (wide, 0.855, 0.04),
        (wide * 0.25, low, 0.085),
        (-wide * 0.25, low, 0.085),
    ]
    brush.polygon([brush.project(lower(p, drop)) for p in points], material, 185)
    if material is Material.INNER:
        throat = [(-0.02, 0.86, 0.04), (0.02, 0.86, 0.04), (0.0, 0.825, 0.06)]
        brush.polygon([brush.project(lower(p, drop)) for p in throat], Material.FACE, 180)
