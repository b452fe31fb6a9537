"""The colours that label maps are painted with, by which a palette in another order and RGB masks are read."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..labels import IGNORED, LabelSet

Colour = tuple[int, int, int]

_LIP = (
    "000000 800000 ff0000 005500 aa0033 ff5500 000055 0077dd 555500 005555 553300 345680 008000 0000ff 33aadd 00ffff "
    "55ffaa aaff55 ffff00 ffaa00"
)
"""What the tools of LIP and CIHP paint their 20 classes with."""


@dataclass(frozen=True)
class Palette:
    """A name to show for it, and the class of each colour."""

    name: str
    classes: Mapping[Colour, int]

    def digest(self) -> str:
        """Return a SHA-256 of the classes of the colours, without the name."""
        return hashlib.sha256(repr(sorted(self.classes.items())).encode()).hexdigest()


def voc_colours() -> Sequence[int]:
    """Return RGB of the 256 labels as PASCAL VOC and SCHP colour them: bits of the label dealt to the channels."""
    return [
        sum((label >> (3 * bit + channel) & 1) << (7 - bit) for bit in range(3))
        for label in range(256)
        for channel in range(3)
    ]


def list_palettes(labels: LabelSet) -> list[Palette]:
    """Return the palettes that masks of a label set may be painted in, the likeliest first."""
    flat = voc_colours()
    numbers = (*range(len(labels)), IGNORED)
    voc = {(flat[3 * n], flat[3 * n + 1], flat[3 * n + 2]): n for n in numbers}
    known = [Palette("PASCAL VOC's palette", voc)]
    if labels.name in ("lip", "cihp"):
        spelt = [bytes.fromhex(colour) for colour in _LIP.split()]
        known.append(Palette("the palette of LIP's tools", {(c[0], c[1], c[2]): n for n, c in enumerate(spelt)}))
    known.append(Palette("grey values", {(n, n, n): n for n in numbers}))
    return known
