"""The levels of difficulty of the `street` simulation; a command line lists them, so nothing heavy is imported."""

from dataclasses import dataclass

from parsing.errors import InputError

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
