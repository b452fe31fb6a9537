"""Proportions and walk of a drawn pedestrian: a 3-D skeleton from the phase of the step."""

import math
from dataclasses import dataclass
from typing import Literal

from .brush import Place

Hair = Literal["bald", "short", "bob", "long", "bun", "cap"]
Top = Literal["shirt", "jacket", "coat", "dress"]
Sleeves = Literal["none", "short", "long"]
Bottom = Literal["trousers", "wide", "shorts", "skirt"]
Bag = Literal["none", "backpack", "handbag", "crossbody", "tote"]


@dataclass(frozen=True, slots=True)
class Build:
    """Proportions and kinds of clothes. Lengths are fractions of the body's height.

    hem: height above ground where the top ends; bottom_hem: where shorts or skirt end; boots: height as a
    share of the shin; side: of the bag, -1 or 1.
    """

    height: float
    shoulder: float
    girth: float
    hair: Hair
    top: Top
    sleeves: Sleeves
    hem: float
    flare: float
    bottom: Bottom
    bottom_hem: float
    boots: float
    bag: Bag
    bag_size: float
    side: int


@dataclass(frozen=True, slots=True)
class Pose:
    """How a person walks and is seen; angles in radians, stride in [0, 1].

    yaw: 0 faces the camera, pi/2 walks to the right; phase: of the step; pitch: of the camera; bend: of the
    elbows; light: -1 from the left, 1 from the right.
    """

    yaw: float
    phase: float
    stride: float
    pitch: float
    bend: float
    light: int


@dataclass(frozen=True, slots=True)
class Leg:
    hip: Place
    knee: Place
    ankle: Place


@dataclass(frozen=True, slots=True)
class Arm:
    shoulder: Place
    elbow: Place
    hand: Place


def pose_legs(pose: Pose) -> tuple[tuple[Leg, Leg], float]:
    """Return left and right leg, and how much the step lowers the body so that the lower foot touches the ground."""
    legs = []
    for side, turn in ((1, 0.0), (-1, math.pi)):
        thigh = 0.52 * pose.stride * math.sin(pose.phase + turn)
        bend = pose.stride * (0.12 + 0.75 * max(0.0, math.cos(pose.phase + turn)) ** 2)
        hip = (0.05 * side, 0.515, 0.0)
        knee = (0.052 * side, hip[1] - 0.24 * math.cos(thigh), 0.24 * math.sin(thigh))
        shank = thigh - bend
        ankle = (0.05 * side, knee[1] - 0.24 * math.cos(shank), knee[2] + 0.24 * math.sin(shank))
        legs.append(Leg(hip, knee, ankle))
    return (legs[0], legs[1]), min(leg.ankle[1] for leg in legs) - 0.035


def pose_arms(build: Build, pose: Pose, drop: float) -> tuple[Arm, Arm]:
    arms = []
    for side, turn in ((1, math.pi), (-1, 0.0)):
        swing = 0.5 * pose.stride * math.sin(pose.phase + turn)
        bend = pose.bend + 0.35 * pose.stride * (1 + math.sin(pose.phase + turn)) / 2
        out = 0.018 + 0.014 * build.girth
        shoulder = (side * (build.shoulder - 0.018), 0.805 - drop, 0.0)
        elbow = (
            shoulder[0] + side * out,
            shoulder[1] - 0.165 * math.cos(swing),
            0.165 * math.sin(swing),
        )
        fore = swing + bend
        hand = (elbow[0] + 0.006 * side, elbow[1] - 0.16 * math.cos(fore), elbow[2] + 0.16 * math.sin(fore))
        arms.append(Arm(shoulder, elbow, hand))
    return arms[0], arms[1]


def lower(at: Place, drop: float) -> Place:
    """Return the place after the step has lowered the body by `drop`."""
    return at[0], at[1] - drop, at[2]
