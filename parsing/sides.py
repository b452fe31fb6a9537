"""Which classes are the left and the right of one another, however their names are spelt."""

import re
from collections.abc import Sequence

from .errors import InputError

_OTHER = {"left": "right", "right": "left"}
_WORDS = {"left": "left", "l": "left", "lt": "left", "right": "right", "r": "right", "rt": "right"}
_PAIRED = frozenset(
    (
        "arm",
        "arms",
        "leg",
        "legs",
        "hand",
        "hands",
        "foot",
        "feet",
        "shoe",
        "shoes",
        "sock",
        "socks",
        "eye",
        "eyes",
        "brow",
    )
)
"""Parts that a single letter may be glued to: `larm`; not an ear, since `rear` is none."""
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+|[^\W\d_A-Za-z]+")

Side = tuple[str, tuple[str, ...]]
"""`left` or `right`, and the other words of the name, sorted."""


def find_side_pairs(name: str, classes: Sequence[str]) -> tuple[tuple[int, int], ...]:
    """Pairs (left, right) of class numbers, in the order of the left ones; `name` is the label set's.

    `left-arm`, `Left arm`, `arm_left`, `LeftArm`, `leftarm`, `L-arm` and `larm` are all the left arm. InputError if
    a side lacks its partner or two classes are the same side of the same part: a flip would then have no answer.

    >>> find_side_pairs("mine", ["background", "R-arm", "arm left"])
    ((2, 1),)
    """
    found: dict[Side, int] = {}
    glued = {side for side in (_glued_behind(c) for c in classes) if side is not None}
    for number, spelt in enumerate(classes):
        side = split_side(spelt) or _of_a_pair(_glued_behind(spelt), glued)
        if side is None:
            continue
        if side in found:
            raise InputError(
                f"label set {name!r}: {classes[found[side]]!r} and {spelt!r} are both the {side[0]} one; rename one, "
                f"or say what a flip swaps: {_ANSWER}"
            )
        found[side] = number
    for (hand, part), number in found.items():
        if (_OTHER[hand], part) not in found:
            raise InputError(
                f"label set {name!r}: {classes[number]!r} has no class of the {_OTHER[hand]} side, so that a flip has "
                f"no answer; name it, or say what a flip swaps: {_ANSWER}"
            )
    lefts = sorted((number, part) for (hand, part), number in found.items() if hand == "left")
    return tuple((number, found["right", part]) for number, part in lefts)


_ANSWER = 'swaps = [["one class", "its mirror image"]] in its TOML file, or swaps = []'


def split_side(spelt: str) -> Side | None:
    """Return side and part of a class name; None if it names no side, or both."""
    words = [word.lower() for word in _WORD.findall(spelt)]
    sides, rest = [], []
    for word in words:
        if word in _WORDS:
            sides.append(_WORDS[word])
        elif word.startswith(("left", "right")):
            side = "left" if word.startswith("left") else "right"
            sides.append(side)
            rest.append(word.removeprefix(side))
        elif word[0] in "lr" and word[1:] in _PAIRED:
            sides.append(_WORDS[word[0]])
            rest.append(word[1:])
        else:
            rest.append(word)
    return (sides[0], tuple(sorted(rest))) if len(sides) == 1 else None


def _glued_behind(spelt: str) -> Side | None:
    """`armleft`: a side that ends a word. `upright` ends so too, so that it counts only in pairs."""
    words = [word.lower() for word in _WORD.findall(spelt)]
    for place, word in enumerate(words):
        for side in _OTHER:
            if word.endswith(side) and word != side:
                rest = [*words[:place], word.removesuffix(side), *words[place + 1 :]]
                return side, tuple(sorted(rest))
    return None


def _of_a_pair(side: Side | None, among: set[Side]) -> Side | None:
    return side if side is not None and (_OTHER[side[0]], side[1]) in among else None
