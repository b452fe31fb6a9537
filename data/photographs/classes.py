"""Person7 classes from the classes of Clothing Co-Parsing: garments by name, skin by where on the body it is."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from parsing.labels import label_set

from .ccp import CLASSES

_NAMED = {
    "head": "hair hat glasses sunglasses earrings",
    "arms": "gloves bracelet ring watch",
    "lower": "belt jeans leggings panties pants shorts skirt",
    "legs": "stockings tights",
    "feet": "socks boots clogs flats heels loafers pumps sandals shoes sneakers wedges",
    "bag": "bag purse wallet accessories",
}
_PERSON7 = {name: index for index, name in enumerate(label_set("person7").classes)}
_HEAD, _ARMS, _LEGS, _BAG = (_PERSON7[name] for name in ("head", "arms", "legs", "bag"))
_SKIN = len(_PERSON7)
"""Stands for skin until it is divided."""


def _table() -> NDArray[np.uint8]:
    part = {name: _PERSON7[group] for group, names in _NAMED.items() for name in names.split()}
    part |= {"null": _PERSON7["background"], "skin": _SKIN}
    return np.array([part.get(name, _PERSON7["upper"]) for name in CLASSES], np.uint8)


_TABLE = _table()


def is_person(parts: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return which pixels of a map of person7 classes (H, W) show the person; bags do not."""
    shown: NDArray[np.bool_] = (parts != _PERSON7["background"]) & (parts != _BAG)
    return shown


def person7_parts(classes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the person7 class of every pixel (H, W) of a map of CCP's classes; skin becomes head, arms or legs.

    Skin is divided by its height r, from the top of the person (0) to the sole (1), and its distance d to the
    side from the middle of the head, in the same unit; so about right at necks and hands.
    """
    parts = _TABLE[classes]
    rows, columns = np.nonzero(is_person(parts))
    if not len(rows):
        return parts
    # percentiles, since single stray pixels occur above and below people
    top, sole = np.percentile(rows, (0.05, 99.95))
    height = max(sole - top, 1.0)
    upmost = (rows - top) / height < 0.15
    at_head = upmost & np.isin(parts[rows, columns], (_HEAD, _SKIN))
    middle = np.median(columns[at_head if at_head.any() else upmost])

    skin = np.nonzero(parts == _SKIN)
    if not len(skin[0]):
        return parts
    r, d = (skin[0] - top) / height, np.abs(skin[1] - middle) / height
    head = ((r < 0.165) & (d < 0.10)) | ((r < 0.27) & (d < 0.055))
    rest = np.zeros(parts.shape, bool)
    rest[skin] = ~head
    pieces, number = ndimage.label(rest, np.ones((3, 3)))
    piece, each = pieces[skin], np.arange(1, number + 1)
    # by piece, from 1; 0 are the pixels of the head
    lowest = np.append(0.0, ndimage.maximum(r, piece, each))[piece]
    aside = np.append(0.0, ndimage.median(d, piece, each))[piece]
    hanging_hand = (lowest < 0.66) & (aside > 0.065)
    legs = ((r > 0.56) | ((r > 0.47) & (lowest > 0.63))) & ~hanging_hand
    parts[skin] = np.select([head, legs], [_HEAD, _LEGS], _ARMS)
    return parts
