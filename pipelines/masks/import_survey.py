"""Survey all masks and images of an import before anything is written: their classes, and whether they fit."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from parsing.errors import InputError
from parsing.images import UnreadableImageError, orientation, upright_size
from parsing.importers.label_png import Key
from parsing.importers.label_values import Reading
from parsing.importers.placing import Fit, same_aspect
from parsing.importers.source import MaskSource
from parsing.labels import IGNORED, LabelSet
from parsing.resize import Size


@dataclass(frozen=True)
class Seen:
    """One mask and its image.

    Attributes:
        hash: of the mask's file or entry.
        mask: (height, width) of the mask as it is used.
        stored: (height, width) of the image's file; of the mask without a readable image.
        turn: EXIF orientation of the image, 1 to 8.
    """

    name: str
    source: MaskSource
    hash: str
    keys: tuple[Key, ...]
    mask: Size
    stored: Size
    turn: int
    readable: bool

    @property
    def upright(self) -> Size:
        """(height, width) of the image after its EXIF orientation."""
        return upright_size(self.stored, self.turn)


def look(name: str, source: MaskSource, image: Path, as_stored: bool) -> Seen:
    """Read a mask, and of its image the head. as_stored: the mask was drawn on the pixels before EXIF turns them."""
    png = source.read()
    readable = True
    try:
        stored, turn = orientation(image)
    except UnreadableImageError:
        stored, turn, readable = png.size, 1, False
    mask = upright_size(png.size, turn) if as_stored else png.size
    return Seen(
        name, source=source, hash=source.digest(), keys=png.keys, mask=mask, stored=stored, turn=turn, readable=readable
    )


def first_of_keys(seen: Iterable[Seen]) -> dict[Key, MaskSource]:
    """Every key that occurs and the first mask that has it."""
    where: dict[Key, MaskSource] = {}
    for one in seen:
        for key in one.keys:
            where.setdefault(key, one.source)
    return where


def hash_masks(seen: Iterable[Seen], as_stored: bool) -> str:
    """Return the SHA-256 over names and masks, and how these are turned, in place of a parser's weights hash."""
    digest = hashlib.sha256()
    for one in seen:
        turned = f"\0{one.turn}" if as_stored and one.turn > 1 else ""
        digest.update(f"{one.name}\0{one.hash}{turned}\n".encode())
    return digest.hexdigest()


def check_classes(seen: Sequence[Seen], reading: Reading, labels: LabelSet) -> tuple[str, ...]:
    """Raise InputError if no mask shows a person; return a note if the masks show only one of many classes."""
    found = set(reading.classes.values()) - {0}
    if not found:
        raise InputError(
            f"all {len(seen)} masks are background alone (the first is {seen[0].source}): nobody would be in the "
            "cache; see that the folder is the right one, or say what the numbers are with --values NUMBER=CLASS"
        )
    if found == {IGNORED}:
        number = next((k.number for k, c in reading.classes.items() if c == IGNORED), None)
        example = IGNORED if number is None else number
        first = next(one.source for one in seen if any(reading.classes[key] == IGNORED for key in one.keys))
        raise InputError(
            f"{example} is the only value but 0 in the {len(seen)} masks (the first is {first}), and it means ignored: "
            f"nobody would be in the cache; say which class it is, {_which(example, labels)}"
        )
    if len(labels) > 2 and len(found - {IGNORED}) == 1:
        (only,) = found - {IGNORED}
        return (
            f"the only class in any mask is {labels.classes[only]} ({only}), of the {len(labels)} of {labels.name}",
        )
    return ()


def _which(number: int, labels: LabelSet) -> str:
    if len(labels) == 2:
        return f"as --values {number}={labels.classes[1]}"
    return f"as --values {number}=CLASS; masks of whole people take --labels person --values {number}=person"


def check_shapes(seen: Sequence[Seen], fit: Fit, as_stored: bool, images: bool) -> tuple[str, ...]:
    """Return notes about shapes that cannot be judged from the sizes.

    Args:
        images: whether the masks belong to a data set, whose images should exist.

    Raises:
        InputError: if a mask has clearly another shape than its image, or an image that must be seen cannot be read.
    """
    unread = [one.name for one in seen if not one.readable]
    asks = {"letterbox": "--letterbox", "corner": "--letterbox-corner"}.get(fit, "--as-stored" if as_stored else "")
    if unread and asks:
        raise InputError(
            f"{len(unread)} of {len(seen)} images cannot be read (the first is {unread[0]}), and {asks} takes their "
            "sizes and EXIF orientations from them; give --root, their folder, or take their masks away"
        )
    if not as_stored:
        for one in seen:
            if not same_aspect(one.mask, one.upright) and same_aspect(one.mask, one.stored):
                raise InputError(
                    f"the mask of {one.name} is {_by(one.mask)} and its image {_by(one.upright)} (height x width), "
                    f"turned by EXIF from {_by(one.stored)}: --as-stored turns masks with their images"
                )
    if fit == "same":
        for one in seen:
            if not same_aspect(one.mask, one.upright):
                raise InputError(
                    f"the mask of {one.name} is {_by(one.mask)}, its image {_by(one.upright)} (height x width): "
                    "--letterbox where images were padded to that shape (--letterbox-corner: only right or below), "
                    "--stretch where they were stretched to it"
                )
    turned = [one.name for one in seen if one.turn > 1]
    notes = []
    if turned and not as_stored:
        notes.append(
            f"{len(turned)} images are turned by EXIF (the first is {turned[0]}): their masks are taken as drawn "
            "on the upright image; --as-stored where they were drawn on the pixels as stored"
        )
    if unread and images:
        notes.append(
            f"{len(unread)} images cannot be read (the first is {unread[0]}): their masks are not compared with them"
        )
    return tuple(notes)


def _by(size: Size) -> str:
    return f"{size[0]}x{size[1]}"
