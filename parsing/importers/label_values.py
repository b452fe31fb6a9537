"""What the numbers and colours in somebody's label PNGs mean: the one rule for all commands that read such files."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..labels import IGNORED, LabelSet
from .label_png import Key, LabelPng, read_label_png
from .palettes import Colour, Palette, list_palettes

BY_NUMBER = "numbers"
_WHITE = (255, 255, 255)
"""Ignored as a grey value, but often a class: its number must say so too."""


@dataclass(frozen=True)
class Reading:
    """The class of each key that occurs. by: `numbers`, or the palette whose colours decided. notes: for the user."""

    classes: Mapping[Key, int]
    by: str = BY_NUMBER
    notes: tuple[str, ...] = ()

    def of(self, png: LabelPng) -> NDArray[np.uint8]:
        """Return classes (H, W)."""
        return np.array([self.classes[key] for key in png.keys], np.uint8)[png.pixels]


def read_labels(path: Path, labels: LabelSet) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """Return classes (H, W) of one label PNG, read on its own (255: ignored), and what the user should know of it."""
    png = read_label_png(path)
    reading = understand({key: path for key in png.keys}, labels)
    return reading.of(png), reading.notes


def understand(
    where: Mapping[Key, object],
    labels: LabelSet,
    values: Mapping[int, int] | None = None,
    numbers: bool = False,
    given: Palette | None = None,
) -> Reading:
    """Decide what the keys of somebody's files mean.

    Numbers are classes, 255 is ignored. If all colours are of a palette that is known for the label set, they decide
    instead: an editor may have changed the order.

    Args:
        where: what messages call the first mask of each key that occurs: usually its path.
        labels: the label set of the masks.
        values: the classes of numbers that are other ones; with it, colours decide nothing.
        numbers: colours decide nothing.
        given: the palette of all colours, as a label map says; None looks for a known one.

    Raises:
        InputError: for what is no class, and if the palettes of two files contradict each other.
    """
    coloured = {  # two classes in one colour: the numbers alone tell them apart, unless a label map says what it is
        key: path for key, path in where.items() if key.colour is not None and (given is not None or not key.shared)
    }
    palette = None if values is not None or numbers else given or _palette(coloured, labels)
    classes = {
        key: _class(key, path=path, palette=palette if key in coloured else None, labels=labels, values=values or {})
        for key, path in where.items()
    }
    if palette is not None:
        notes = _colour_notes(coloured, classes, palette)
    elif values is not None or numbers:
        notes = ()
    else:
        notes = _doubts(coloured, labels)
    moved = palette is not None and any(key.number != classes[key] for key in coloured)
    return Reading(classes, palette.name if palette is not None and moved else BY_NUMBER, notes)


def _palette(coloured: Iterable[Key], labels: LabelSet) -> Palette | None:
    """Return the known palette of all these colours: one in its own order, or else the likeliest."""
    known = list_palettes(labels) if coloured else []
    for palette in known:
        if all(palette.classes.get(_rgb(key), -1) == key.number for key in coloured):
            return palette
    for palette in known:
        if all(_rgb(key) in palette.classes and (_rgb(key) != _WHITE or key.number == IGNORED) for key in coloured):
            return palette
    return None


def _rgb(key: Key) -> Colour:
    return key.colour or (0, 0, 0)


def _class(key: Key, path: object, palette: Palette | None, labels: LabelSet, values: Mapping[int, int]) -> int:
    if palette is not None:
        if _rgb(key) not in palette.classes:
            raise InputError(
                f"{path} has the colour {_rgb(key)}, which is of no class of {labels.name} in {palette.name}"
            )
        return palette.classes[_rgb(key)]
    number = key.number
    if number is None:
        if len(set(_rgb(key))) > 1:
            names = ", ".join(p.name for p in list_palettes(labels))
            raise InputError(
                f"{path} has the colour {_rgb(key)}, which is of no palette known for {labels.name} ({names}); "
                "give palette or grey PNGs whose values are class numbers"
            )
        number = _rgb(key)[0]  # grey, repeated over the channels
    found = values.get(number, number)
    if found != IGNORED and not 0 <= found < len(labels):
        raise InputError(
            f"{path} has the value {number}, but label set {labels.name!r} has the classes 0 to {len(labels) - 1}; "
            f"give another --labels, or say which class it is, as --values {number}={labels.classes[1]}"
        )
    return found


def _colour_notes(coloured: Mapping[Key, object], classes: Mapping[Key, int], palette: Palette) -> tuple[str, ...]:
    """Return a note of what reading by colour changed."""
    for key, path in coloured.items():
        if key.number is not None and key.number != classes[key]:
            return (
                f"palettes are not in their usual order (the first in {path}): classes read by colour, as "
                f"{palette.name}; --numbers takes the numbers",
            )
    for key, path in coloured.items():
        if key.number is None:
            return (f"colours of RGB masks (the first is {path}) read as {palette.name}",)
    return ()


def _doubts(coloured: Mapping[Key, object], labels: LabelSet) -> tuple[str, ...]:
    """Return a note of unknown palettes; InputError if two files have another colour for the same number."""
    first: dict[int, tuple[Colour, object]] = {}
    for key, path in coloured.items():
        if key.number is None:
            continue
        colour, other = first.setdefault(key.number, (_rgb(key), path))
        if colour != _rgb(key):
            raise InputError(
                f"number {key.number} is {colour} in the palette of {other} and {_rgb(key)} in that of {path}, of no "
                f"palette known for {labels.name}: the numbers cannot be classes in both; save all with one palette, "
                "or give --numbers"
            )
    grey = all(len(set(colour)) == 1 for colour, _ in first.values())
    if not first or (grey and first.get(0, ((0, 0, 0),))[0] == (0, 0, 0)):
        return ()  # black background and shades of grey, such as a bilevel PNG's: nothing contradicts the numbers
    return (
        f"the colours of {min(first.items())[1][1]} are of no palette known for {labels.name}: its numbers are taken "
        f"as classes, 0 {first[0][0] if 0 in first else 'nowhere'} as background",
    )


def parse_values(texts: Iterable[str], labels: LabelSet) -> dict[int, int] | None:
    """Read `255=1`, `255=person`, `128-255=person` as the class of each number; None without any.

    >>> parse_values(["254-255=hat"], LABEL_SETS["lip"])  # doctest: +SKIP
    {254: 1, 255: 1}
    """
    said: dict[int, int] = {}
    for text in texts:
        found = re.fullmatch(r"\s*([0-9]{1,5})(?:-([0-9]{1,5}))?\s*=\s*(.+?)\s*", text)
        if found is None:
            raise InputError(f"--values {text!r} is not NUMBER=CLASS, as 255={labels.classes[1]} or 128-255=1")
        low, high, name = int(found[1]), int(found[2] or found[1]), found[3]
        number = int(name) if name.isdecimal() else IGNORED if name == "ignored" else labels.index(name)
        if number != IGNORED and number >= len(labels):
            raise InputError(f"--values {text}: label set {labels.name!r} has the classes 0 to {len(labels) - 1}")
        if high < low or any(n in said for n in range(low, high + 1)):
            raise InputError(f"--values {text}: a number is said twice, or the range is empty")
        said.update(dict.fromkeys(range(low, high + 1), number))
    return said or None
