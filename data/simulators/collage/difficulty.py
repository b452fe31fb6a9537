"""How hard the crops of the `collage` simulation are: how far off the detector's box is, how many people are hidden."""

from dataclasses import dataclass

import numpy as np

from parsing.errors import InputError

from ..layouts import Slot

REMAINS = 0.4
"""The least share of a person's height in a crop."""
MOST_OFF = (1 - REMAINS) / 2
"""The largest box error: with both edges so far inwards, that share remains."""
NARROWEST = 0.25
"""Width of the narrowest box, in heights of it: a network that stretches a crop still gets something of a person."""


@dataclass(frozen=True, slots=True)
class Difficulty:
    """What a level does to a crop.

    box_error: each edge of the detector's box is off by uniform(-box_error, box_error) of the person's height (top,
        bottom) or width (left, right); outwards it adds background, inwards it cuts the person.
    occlusion: the probability that something or somebody stands in front.
    """

    box_error: float
    occlusion: float

    def __post_init__(self) -> None:
        if not 0 <= self.box_error <= MOST_OFF:
            raise InputError(f"box_error is a share of the person in [0, {MOST_OFF}], got {self.box_error}")
        if not 0 <= self.occlusion <= 1:
            raise InputError(f"occlusion is a probability in [0, 1], got {self.occlusion}")


DIFFICULTIES = {
    "aligned": Difficulty(box_error=0.02, occlusion=0.0),
    "mild": Difficulty(box_error=0.1, occlusion=0.2),
    "hard": Difficulty(box_error=0.2, occlusion=0.4),
    "severe": Difficulty(box_error=0.3, occlusion=0.6),
}
"""The levels, easiest first."""
STANDARD, MIXED = "standard", "mixed"
"""`standard`: roomy boxes, one in twelve cut off below, one person in three with something or somebody in front.
`mixed`: each image has a level of its own out of `DIFFICULTIES`."""
CHOICES = (STANDARD, *DIFFICULTIES, MIXED)


def check_difficulty(difficulty: str) -> str:
    """Return the name of a difficulty; raise InputError if it is unknown."""
    if difficulty not in CHOICES:
        raise InputError(f"there is no difficulty {difficulty!r}; choose one of {', '.join(CHOICES)}")
    return difficulty


def level(difficulty: str, seed: int, slot: Slot) -> str:
    """Return the level of one image of a data set of `difficulty` and `seed`: `standard` or a key of `DIFFICULTIES`."""
    if check_difficulty(difficulty) != MIXED:
        return difficulty
    rng = np.random.default_rng((seed, 0x1E7E1, slot.person, slot.camera, slot.index))
    return tuple(DIFFICULTIES)[rng.integers(len(DIFFICULTIES))]


@dataclass(frozen=True, slots=True)
class Box:
    """Pixels of an image from (top, left) to before (bottom, right); may reach beyond it."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def height(self) -> int:
        return self.bottom - self.top

    @property
    def width(self) -> int:
        return self.right - self.left

    @property
    def pixels(self) -> tuple[slice, slice]:
        return slice(self.top, self.bottom), slice(self.left, self.right)

    def within(self, outer: "Box") -> "Box":
        """Return the same pixels, counted from the corner of `outer`."""
        return Box(self.top - outer.top, self.left - outer.left, self.bottom - outer.top, self.right - outer.left)


def surroundings(person: Box) -> Box:
    """Return a box that contains every detector's box around a person."""
    down = round((MOST_OFF + 0.02) * person.height)
    # wide enough for the narrowest box of the full height
    aside = round(max((MOST_OFF + 0.02) * person.width, NARROWEST * (0.5 + MOST_OFF) * person.height))
    return Box(person.top - down, person.left - aside, person.bottom + down, person.right + aside)


def detected(person: Box, error: float, rng: np.random.Generator) -> Box:
    """Return the box of a detector that errs by `error`; the draws do not depend on it, so that a larger error is
    the same mistake made larger."""
    top, left, bottom, right = error * rng.uniform(-1, 1, 4)
    upper, lower = person.top - round(top * person.height), person.bottom + round(bottom * person.height)
    first, last = person.left - left * person.width, person.right + right * person.width
    lacks = max(0.0, NARROWEST * (lower - upper) - (last - first)) / 2
    return Box(upper, round(first - lacks), lower, round(last + lacks))
