"""Head, hair, hat and bags of a drawn pedestrian."""

import math

from .brush import Material, Painter
from .pose import Arm, Build, Pose, lower


def draw_neck(brush: Painter, drop: float) -> None:
    low, high = brush.project((0.0, 0.845 - drop, 0.0)), brush.project((0.0, 0.895 - drop, 0.008))
    brush.limb(low, b=high, ra=0.034, rb=0.028, material=Material.FACE, dim=25)


def draw_back_hair(brush: Painter, build: Build, drop: float) -> None:
    if build.hair not in ("bob", "long"):
        return
    end = 0.745 if build.hair == "long" else 0.85
    x, top = brush.project((0.0, 0.965 - drop, -0.012))
    xb, low = brush.project((0.0, end - drop, -0.04))
    w = brush.width(0.062, 0.05)
    brush.tube([(top, x, w * 0.85), ((top + low) / 2, (x + xb) / 2, w * 1.08), (low, xb, w)], Material.HAIR)


def draw_head(brush: Painter, build: Build, pose: Pose, drop: float) -> None:
    turn, facing = math.sin(pose.yaw), math.cos(pose.yaw)
    x, y = brush.project((0.0, 0.935 - drop, 0.0))
    rx = brush.width(0.049, 0.058)
    skull = Material.FACE if build.hair == "bald" else Material.HAIR
    if build.hair == "bun":
        knot = brush.project((0.0, 0.985 - drop, -0.045))
        brush.ellipse(knot, rx=0.028, ry=0.026, material=Material.HAIR, shade=165)
    brush.ellipse((x, y + 0.006), rx=rx + 0.006, ry=0.064, material=skull, shade=165)
    brush.ellipse((x + 0.3 * pose.light * rx, y + 0.02), rx=rx * 0.5, ry=0.035, material=skull, shade=205)
    if facing > -0.3:
        shift = 0.028 * turn
        low = 0.016 if build.hair != "bald" else 0.004
        narrow = rx * (0.9 if facing > 0.6 else 0.72)
        brush.ellipse((x + shift, y - low), rx=narrow, ry=0.056, material=Material.FACE, shade=190)
        brush.ellipse(
            (x + shift + 0.25 * pose.light * narrow, y - low),
            rx=narrow * 0.6,
            ry=0.04,
            material=Material.FACE,
            shade=208,
        )
        if abs(turn) > 0.5:
            brush.ellipse(
                (x + math.copysign(rx * 1.02, turn), y - 0.008), rx=0.012, ry=0.01, material=Material.FACE, shade=205
            )
    if build.hair in ("short", "bun", "cap", "bald"):
        for side in (-1, 1):
            ear = (0.05 * side, 0.93 - drop, -0.004)
            if brush.depth(ear) > -0.012:
                brush.ellipse(brush.project(ear), rx=0.009, ry=0.015, material=Material.FACE, shade=165)
    for side in (-1, 1):
        eye = (0.02 * side, 0.938 - drop, 0.05)
        if brush.depth(eye) > 0.012:
            brush.ellipse(brush.project(eye), rx=0.0085, ry=0.0055, material=Material.EYES, shade=150)
    mouth = (0.0, 0.897 - drop, 0.05)
    if brush.depth(mouth) > 0.012:
        brush.ellipse(brush.project(mouth), rx=0.015 * max(0.4, facing), ry=0.005, material=Material.LIPS, shade=180)
    if build.hair in ("bob", "long") and facing > -0.3:
        for side in (-1, 1):
            end = 0.875 if build.hair == "bob" else 0.79
            root, tip = (0.046 * side, 0.955 - drop, 0.01), (0.053 * side, end - drop, 0.02)
            brush.limb(brush.project(root), b=brush.project(tip), ra=0.015, rb=0.013, material=Material.HAIR, dim=10)
    if build.hair == "cap":
        brush.tube([(y + 0.074, x, rx * 0.5), (y + 0.06, x, rx * 0.95), (y + 0.026, x, rx + 0.008)], Material.HAT)
        if facing > -0.4:
            brim = brush.project((0.0, 0.96 - drop, 0.075))
            brush.ellipse((brim[0], y + 0.026), rx=brush.width(0.045, 0.04), ry=0.011, material=Material.HAT, shade=140)


def rounded(x: float, top: float, bottom: float, wide: float, base: float) -> list[tuple[float, float, float]]:
    """Return levels of a bag with round corners, `wide` at its top and `base` at its bottom (half widths)."""
    r = 0.16 * (top - bottom)
    upper = [(top, x, 0.72 * wide), (top - 0.3 * r, x, 0.92 * wide), (top - r, x, wide)]
    return [*upper, (bottom + r, x, base), (bottom + 0.3 * r, x, 0.94 * base), (bottom, x, 0.8 * base)]


def draw_bag(brush: Painter, build: Build, arms: tuple[Arm, Arm], drop: float, front: bool) -> None:
    """Draw the bag and its straps that lie before (`front`) or behind the trunk."""
    size, side = build.bag_size, build.side
    if build.bag == "backpack":
        at = (0.0, 0.715 - drop, -0.125)
        x, y = brush.project(at)
        w, h = brush.width(0.092 * size, 0.06 * size), 0.105 * size
        if front == (brush.depth(at) > 0):
            brush.tube(rounded(x, top=y + h, bottom=y - h, wide=0.9 * w, base=w), Material.BAG)
            if front:
                brush.tube(
                    rounded(x, top=y - 0.1 * h, bottom=y - 0.85 * h, wide=0.7 * w, base=0.75 * w), Material.BAG, 35
                )
        if front and brush.depth((0.0, 0.0, 1.0)) > 0.05:
            for s in (-1, 1):
                points = [(0.062 * s, 0.845, 0.035), (0.07 * s, 0.77, 0.088), (0.085 * s, 0.67, 0.06)]
                if brush.depth(points[1]) > 0:
                    brush.line([brush.project(lower(p, drop)) for p in points], 0.02, Material.STRAP)
    elif build.bag in ("crossbody", "tote"):
        at = (side * (0.125 if build.bag == "crossbody" else 0.14), 0.545 - drop, 0.02)
        x, y = brush.project(at)
        w, h = brush.width(0.075 * size, 0.05), (0.06 if build.bag == "crossbody" else 0.095) * size
        if front != (brush.depth(at) > -0.05):
            return
        over = -side if build.bag == "crossbody" else side
        depth = 0.085 if brush.depth((0.0, 0.0, 1.0)) > 0 else -0.085
        points = [(0.07 * over, 0.845, depth * 0.3), (0.0 if over != side else 0.12 * side, 0.71, depth)]
        strap = [brush.project(lower(p, drop)) for p in points]
        if front:
            brush.line([*strap, (x, y + h)], 0.014, Material.STRAP)
        brush.tube(
            rounded(x, top=y + h, bottom=y - h, wide=w, base=w * (1.0 if build.bag == "crossbody" else 0.85)),
            Material.BAG,
        )
