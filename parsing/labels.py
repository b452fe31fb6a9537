"""Label sets: the classes a human parser answers with, in index order, and what a flip swaps."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from .errors import InputError, MissingError
from .files import parse_toml
from .sides import find_side_pairs

IGNORED = 255
"""The label of pixels that no class claims (padding, erased); never a class of a label set."""


@dataclass(frozen=True)
class LabelSet:
    """Named classes of a parser; class 0 is background. swaps: pairs of class numbers that a flip exchanges.

    >>> label_set("lip").index("left-arm")
    14
    """

    name: str
    classes: tuple[str, ...]
    swaps: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        if not 2 <= len(self.classes) < IGNORED or len(set(self.classes)) != len(self.classes):
            raise InputError(f"label set {self.name!r}: 2 to {IGNORED - 1} distinct class names, got {self.classes}")
        if self.classes[0] != "background":
            raise InputError(f"label set {self.name!r}: class 0 must be 'background', got {self.classes[0]!r}")
        swapped = [number for pair in self.swaps for number in pair]
        if len(set(swapped)) < 2 * len(self.swaps) or not set(swapped) <= set(range(1, len(self.classes))):
            raise InputError(
                f"label set {self.name!r}: swaps are pairs of classes, each class at most once and never the "
                f"background, got {self.swaps}"
            )

    def __len__(self) -> int:
        return len(self.classes)

    def index(self, name: str) -> int:
        """Return the index of the class `name`; InputError names the classes there are."""
        try:
            return self.classes.index(name)
        except ValueError:
            raise InputError(
                f"label set {self.name!r} has no class {name!r}; it has {', '.join(self.classes)}"
            ) from None

    @property
    def flipped(self) -> tuple[int, ...]:
        """Permutation p of the classes under a left-right flip: channel c of the flipped answer is p[c]."""
        order = list(range(len(self.classes)))
        for a, b in self.swaps:
            order[a], order[b] = b, a
        return tuple(order)


def _named(name: str, classes: str, swaps: Sequence[tuple[int, int]] = ()) -> LabelSet:
    return LabelSet(name, tuple(classes.split()), tuple(swaps))


_GOLIATH_SIDE = "foot hand lower-arm lower-leg shoe sock upper-arm upper-leg"
_LIP = (
    "background hat hair glove sunglasses upper-clothes dress coat socks pants {} scarf skirt face "
    "left-arm right-arm left-leg right-leg left-shoe right-shoe"
)
_LIP_SWAPS = ((14, 15), (16, 17), (18, 19))

LABEL_SETS: dict[str, LabelSet] = {
    s.name: s
    for s in (
        _named("lip", _LIP.format("jumpsuits"), _LIP_SWAPS),
        _named("cihp", _LIP.format("torso-skin"), _LIP_SWAPS),
        _named(
            "atr",
            "background hat hair sunglasses upper-clothes skirt pants dress belt left-shoe right-shoe face "
            "left-leg right-leg left-arm right-arm bag scarf",
            ((9, 10), (12, 13), (14, 15)),
        ),
        _named("pascal", "background head torso upper-arms lower-arms upper-legs lower-legs"),
        _named(
            "goliath",
            "background apparel face-neck hair "
            + " ".join(f"left-{p}" for p in _GOLIATH_SIDE.split())
            + " lower-clothing "
            + " ".join(f"right-{p}" for p in _GOLIATH_SIDE.split())
            + " torso upper-clothing lower-lip upper-lip lower-teeth upper-teeth tongue",
            tuple((4 + i, 13 + i) for i in range(8)),
        ),
        _named(
            "fashn",
            "background face hair top dress skirt pants belt bag hat scarf glasses arms hands legs feet torso jewelry",
        ),
        _named("person7", "background head upper arms lower legs feet bag"),
        _named("person", "background person"),
    )
}


def present_name(name: str) -> str:
    """Return today's name of the label set `name`, which caches, part schemes and runs may hold an earlier one of."""
    return "person7" if name == "street" else name


def label_set(name: str) -> LabelSet:
    """Return the label set called `name`, or the one in the TOML file that `name` is a path to.

    The file: `name = "..."` and `classes = ["background", ...]`; the sides are read from the names (`parsing.sides`),
    or given with `swaps = [["one class", "its mirror image"], ...]`.

    Raises:
        InputError: if there is none; it lists the known ones.
    """
    name = present_name(name)
    if name in LABEL_SETS:
        return LABEL_SETS[name]
    file = find_own_file("label set", name, LABEL_SETS)
    try:
        content = parse_toml(file.read_text(encoding="utf-8"))
        own, classes, swaps = content.pop("name"), content.pop("classes"), content.pop("swaps", None)
        if content or not isinstance(own, str) or not all(isinstance(c, str) for c in classes):
            raise ValueError("name is a text, classes are texts, and there is nothing else but swaps")
        pairs = None if swaps is None else [_pair(swap) for swap in swaps]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"label set file {file} cannot be used: {error!r}; it needs name and classes") from error
    if own in LABEL_SETS:
        raise InputError(f"label set file {file}: {own!r} is the name of a known label set; give it another")
    return build_label_set(own, classes, pairs)


def _pair(swap: object) -> tuple[str, str]:
    if not isinstance(swap, list) or len(swap) != 2 or not all(isinstance(name, str) for name in swap):
        raise ValueError(f"swaps are pairs of class names, got {swap!r}")
    return swap[0], swap[1]


def find_own_file(what: str, name: str, known: Iterable[str]) -> Path:
    """Return the TOML file that `name` is a path to, of a `what` that is not one of the `known` ones."""
    if not name.endswith(".toml"):
        raise InputError(f"no {what} {name!r}; there are {', '.join(known)}, or give a .toml file")
    file = Path(name)
    if not file.is_file():
        raise MissingError(f"no {what} file {file}")
    return file


def build_label_set(name: str, classes: Sequence[str], swaps: Iterable[tuple[str, str]] | None = None) -> LabelSet:
    """Return the label set of these classes; a flip exchanges the `swaps`, or else the sides that the names show.

    >>> build_label_set("mine", ["background", "Left arm", "arm_right"]).swaps
    ((1, 2),)

    Raises:
        InputError: if a class of one side has none on the other; it names the class.
    """
    if swaps is None:
        return LabelSet(name, tuple(classes), find_side_pairs(name, classes))
    unswapped = LabelSet(name, tuple(classes))
    pairs = tuple((unswapped.index(one), unswapped.index(other)) for one, other in swaps)
    return LabelSet(name, tuple(classes), pairs)
