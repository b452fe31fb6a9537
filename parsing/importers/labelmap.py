"""`labelmap.txt`: the names and colours of classes beside masks of CVAT and of PASCAL VOC's tools."""

import re
from pathlib import Path

from ..errors import InputError
from ..labels import LabelSet
from .palettes import Colour, Palette, voc_colours

NAME = "labelmap.txt"
HEADER = "# label:color_rgb:parts:actions"
_LINE = re.compile(r"(.+?):([0-9]{1,3}),([0-9]{1,3}),([0-9]{1,3}):.*")


def find_labelmap(masks: Path, labels: LabelSet) -> Palette | None:
    """Return the palette of the `labelmap.txt` in a folder of masks or above it; None if there is none.

    Classes that the label set lacks are left out, so that a mask that shows one is refused.

    Raises:
        InputError: if it cannot be read, gives one colour to two names, or knows none of the label set's classes.
    """
    path = next((place / NAME for place in (masks, masks.resolve().parent) if (place / NAME).is_file()), None)
    if path is None:
        return None
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    classes: dict[Colour, int] = {}
    names: dict[Colour, str] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        found = _LINE.fullmatch(line.strip())
        if found is None or max(int(v) for v in found.groups()[1:]) > 255:
            raise InputError(f"{path}, line {number}: {line!r} is not 'label:red,green,blue:parts:actions'")
        colour = int(found[2]), int(found[3]), int(found[4])
        if names.setdefault(colour, found[1]) != found[1]:
            raise InputError(f"{path}, line {number}: {names[colour]} and {found[1]} have one colour, {colour}")
        if found[1] in labels.classes:
            classes[colour] = labels.classes.index(found[1])
    if not classes:
        raise InputError(f"{path} names no class of {labels.name}: {', '.join(labels.classes)}; give another --labels")
    return Palette(str(path), classes)


def labelmap_text(labels: LabelSet) -> str:
    """Return the `labelmap.txt` of masks in PASCAL VOC's colours, a line per class."""
    flat = voc_colours()
    rows = (f"{name}:{flat[3 * n]},{flat[3 * n + 1]},{flat[3 * n + 2]}::" for n, name in enumerate(labels.classes))
    return "\n".join([HEADER, *rows]) + "\n"
