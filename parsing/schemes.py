"""Part schemes: how the classes of a label set are grouped into the few parts that re-identification pools over."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .errors import InputError
from .files import parse_toml
from .labels import IGNORED, LABEL_SETS, LabelSet, find_own_file, present_name

Groups = Mapping[str, Mapping[str, tuple[str, ...]]]


@dataclass(frozen=True)
class PartScheme:
    """Parts 1..Q (0 is background) and, for each label set, the classes that make up each part.

    Classes that no part names (a bag, say) count as background. partial: a part for which a label set has no
    class stays empty, instead of being refused.

    >>> int(part_scheme("reid4").table(label_set("lip"))[13])  # face -> head
    1
    """

    name: str
    parts: tuple[str, ...]
    groups: Groups
    partial: bool = False

    def __post_init__(self) -> None:
        if not 1 <= len(self.parts) < IGNORED or len(set(self.parts)) != len(self.parts):
            raise InputError(f"part scheme {self.name!r}: parts must be distinct names, at least one, got {self.parts}")

    def __len__(self) -> int:
        return len(self.parts)

    def table(self, labels: LabelSet) -> NDArray[np.uint8]:
        """Return the look-up table (256,) from class to part; 255 stays. InputError names a part without a class."""
        if labels.name not in self.groups:
            known = ", ".join(self.groups)
            if self.partial:  # an exporter's own, whose place no file can take
                raise InputError(
                    f"{self.name}: no part of label set {labels.name!r} is known; there are {known}, and --to png and "
                    "array write the classes of any label set"
                )
            raise InputError(
                f"part scheme {self.name!r} does not know label set {labels.name!r}; it knows {known}. "
                f"{_advise(labels)}"
            )
        groups = self.groups[labels.name]
        table = np.zeros(256, np.uint8)
        table[IGNORED] = IGNORED
        for number, part in enumerate(self.parts, 1):
            if not groups.get(part) and not self.partial:
                raise InputError(
                    f"part scheme {self.name!r}: label set {labels.name!r} has no class for {part!r}. {_advise(labels)}"
                )
            for name in groups.get(part, ()):
                if labels.index(name) == 0:
                    raise InputError(f"part scheme {self.name!r}: {name!r} is no part; leave it out of {part!r}")
                if table[labels.index(name)]:
                    raise InputError(f"part scheme {self.name!r}: class {name!r} of {labels.name!r} is in two parts")
                table[labels.index(name)] = number
        return table

    def flipped(self, labels: LabelSet) -> tuple[int, ...]:
        """Return the permutation (Q+1) of background and parts under a left-right flip, from that of the classes."""
        table = self.table(labels)
        turned: dict[int, int] = {}
        for one, other in enumerate(labels.flipped):
            if turned.setdefault(int(table[one]), int(table[other])) != table[other]:
                raise InputError(
                    f"part scheme {self.name!r} mixes the sides of {labels.name!r}, so that a flip has no answer; "
                    f"group {labels.classes[one]!r} as {labels.classes[other]!r}, or in parts of their own"
                )
        return tuple(turned.get(part, part) for part in range(len(self) + 1))


def _advise(labels: LabelSet) -> str:
    """Return what to do where a scheme does not fit a label set."""
    return (
        f"Write a scheme of your own, a TOML file with name, parts and a table [{_toml_key(labels.name)}] that gives "
        f"each part its classes (of {', '.join(labels.classes[1:])}), and give the file in its place"
    )


def _toml_key(name: str) -> str:
    return name if re.fullmatch(r"[\w-]+", name, re.ASCII) else f'"{name}"'


def _sides(*parts: str) -> str:
    return " ".join(f"{side}-{part}" for part in parts for side in ("left", "right"))


_LIP_BODY = {
    "head": "hat hair sunglasses face",
    "upper": "upper-clothes dress coat {} scarf",
    "arms": f"glove {_sides('arm')}",
    "lower": "pants skirt",
    "legs": _sides("leg"),
    "feet": f"socks {_sides('shoe')}",
}
_SIX: dict[str, dict[str, str]] = {
    "lip": {part: names.format("jumpsuits") for part, names in _LIP_BODY.items()},
    "cihp": {part: names.format("torso-skin") for part, names in _LIP_BODY.items()},
    "atr": {
        "head": "hat hair sunglasses face",
        "upper": "upper-clothes dress scarf",
        "arms": _sides("arm"),
        "lower": "skirt pants belt",
        "legs": _sides("leg"),
        "feet": _sides("shoe"),
    },
    "pascal": {
        "head": "head",
        "upper": "torso",
        "arms": "upper-arms lower-arms",
        "lower": "upper-legs",
        "legs": "lower-legs",
        "feet": "",
    },
    "goliath": {
        "head": "face-neck hair lower-lip upper-lip lower-teeth upper-teeth tongue",
        "upper": "torso upper-clothing",
        "arms": _sides("upper-arm", "lower-arm", "hand"),
        "lower": "lower-clothing",
        "legs": _sides("upper-leg", "lower-leg"),
        "feet": _sides("foot", "shoe", "sock"),
    },
    "fashn": {
        "head": "face hair hat glasses",
        "upper": "top dress scarf torso jewelry",
        "arms": "arms hands",
        "lower": "skirt pants belt",
        "legs": "legs",
        "feet": "feet",
    },
    "person7": {part: part for part in ("head", "upper", "arms", "lower", "legs", "feet")},
}


def _join(groups: Mapping[str, str], parts: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Return the groups of parts of which each is made of one or more of the six: `"upper": "upper arms"`."""
    return {part: tuple(name for one in made.split() for name in groups[one].split()) for part, made in parts.items()}


_MADE: dict[str, dict[str, str]] = {
    "reid4": {"head": "head", "upper": "upper arms", "lower": "lower legs", "feet": "feet"},  # SPReID's grouping
    "reid5": {"head": "head", "upper": "upper arms", "lower": "lower", "legs": "legs", "feet": "feet"},
    "reid6": {part: part for part in ("head", "upper", "arms", "lower", "legs", "feet")},
}
"""Of which of the six parts those of a scheme are made."""
PART_SCHEMES: dict[str, PartScheme] = {
    s.name: s
    for s in (
        *(
            PartScheme(name, tuple(parts), {labels: _join(groups, parts) for labels, groups in _SIX.items()})
            for name, parts in _MADE.items()
        ),
        PartScheme("body", ("foreground",), {n: {"foreground": s.classes[1:]} for n, s in LABEL_SETS.items()}),
    )
}


def part_scheme(name: str) -> PartScheme:
    """The part scheme called `name`, or the one in the TOML file that `name` is a path to.

    The file: `name = "..."`, `parts = [...]`, and a table for each label set with the classes of each part. A label
    set that is not known here, as one made of a model's config, is checked once it is there.
    """
    if name in PART_SCHEMES:
        return PART_SCHEMES[name]
    file = find_own_file("part scheme", name, PART_SCHEMES)
    try:
        content = parse_toml(file.read_text(encoding="utf-8"))
        parts = tuple(str(p) for p in content["parts"])
        groups = {present_name(n): {p: _names(g[p]) for p in g} for n, g in content.items() if isinstance(g, dict)}
        scheme = PartScheme(str(content["name"]), parts, groups)
    except InputError:
        raise
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"part scheme file {file} cannot be used: {error!r}; it needs name, parts, a table a label set"
        ) from error
    if not groups:
        raise InputError(f"part scheme file {file} has no table; add one a label set, as [lip] or [person7]")
    for label_set_name, group in groups.items():
        if unknown := set(group) - set(parts):
            raise InputError(f"part scheme file {file}: {sorted(unknown)[0]!r} of {label_set_name!r} is not in parts")
        if empty := [part for part in parts if not group.get(part)]:
            raise InputError(f"part scheme file {file}: {label_set_name!r} has no class for {empty[0]!r}")
        if label_set_name in LABEL_SETS:
            scheme.table(LABEL_SETS[label_set_name])
    return scheme


def _names(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise TypeError(f"{value!r} is no list of class names")
    return tuple(value)
