"""How hard the crops of the `collage` simulation are: how far off the detector's box is, how many people are hidden."""

from dataclasses import dataclass

import numpy as np

from ..layouts import Slot
from .levels import DIFFICULTIES, MIXED, MOST_OFF, NARROWEST, check_difficulty


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
        return Box(
            self.top - outer.top,
            left=self.left - outer.left,
            bottom=self.bottom - outer.top,
            right=self.right - outer.left,
        )


def surroundings(person: Box) -> Box:
    """Return a box that contains every detector's box around a person."""
    down = round((MOST_OFF + 0.02) * person.height)
    # wide enough for the narrowest box of the full height
    aside = round(max((MOST_OFF + 0.02) * person.width, NARROWEST * (0.5 + MOST_OFF) * person.height))
    return Box(person.top - down, left=person.left - aside, bottom=person.bottom + down, right=person.right + aside)


def detect_box(person: Box, error: float, rng: np.random.Generator) -> Box:
    """Return the box of a detector that errs by `error`; the draws do not depend on it, so that a larger error is
    the same mistake made larger."""
    top, left, bottom, right = error * rng.uniform(-1, 1, 4)
    upper, lower = person.top - round(top * person.height), person.bottom + round(bottom * person.height)
    first, last = person.left - left * person.width, person.right + right * person.width
    lacks = max(0.0, NARROWEST * (lower - upper) - (last - first)) / 2
    return Box(upper, left=round(first - lacks), bottom=lower, right=round(last + lacks))
