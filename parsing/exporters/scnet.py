"""`scnet`: the twelve classes that SCNet (Gpn-star/SCNet, clothes-changing) makes of atr's."""

from ..schemes import PartScheme
from .base import PartIdExporter

_PARTS = ("head", "upper", "skirt", "pants", "dress", "belt", "shoes", "legs", "arms", "bag", "scarf")
_BARE = {"legs": "left-leg right-leg", "arms": "left-arm right-arm", "scarf": "scarf"}
_LIP = {
    **_BARE,
    "head": "hat hair sunglasses face",
    "upper": "upper-clothes coat",
    "skirt": "skirt",
    "pants": "pants",
    "dress": "dress jumpsuits",
    "shoes": "socks left-shoe right-shoe",
    "arms": "glove left-arm right-arm",
}
_SIDES = ("left-", "right-")
_WORDS = {
    "lip": _LIP,
    "cihp": _LIP | {"upper": "upper-clothes coat torso-skin", "dress": "dress"},
    "atr": {
        **_BARE,
        "head": "hat hair sunglasses face",
        "upper": "upper-clothes",
        "skirt": "skirt",
        "pants": "pants",
        "dress": "dress",
        "belt": "belt",
        "shoes": "left-shoe right-shoe",
        "bag": "bag",
    },
    "pascal": {
        "head": "head",
        "upper": "torso",
        "pants": "upper-legs",
        "legs": "lower-legs",
        "arms": "upper-arms lower-arms",
    },
    "goliath": {
        "head": "face-neck hair lower-lip upper-lip lower-teeth upper-teeth tongue",
        "upper": "torso upper-clothing",
        "pants": "lower-clothing",
        "shoes": " ".join(side + c for side in _SIDES for c in ("foot", "shoe", "sock")),
        "legs": " ".join(side + c for side in _SIDES for c in ("upper-leg", "lower-leg")),
        "arms": " ".join(side + c for side in _SIDES for c in ("upper-arm", "lower-arm", "hand")),
    },
    "fashn": {
        "head": "face hair hat glasses",
        "upper": "top torso jewelry",
        "skirt": "skirt",
        "pants": "pants",
        "dress": "dress",
        "belt": "belt",
        "shoes": "feet",
        "legs": "legs",
        "arms": "arms hands",
        "bag": "bag",
        "scarf": "scarf",
    },
    "person7": {
        "head": "head",
        "upper": "upper",
        "pants": "lower",
        "shoes": "feet",
        "legs": "legs",
        "arms": "arms",
        "bag": "bag",
    },
}


class ScnetExporter(PartIdExporter):
    """Palette PNGs as large as the image.

    The loader blacks out the image's clothes by indexing it with the ids, so the sizes must agree, and resizes the
    picture as it is, which leaves ids whole only if it has a palette.
    """

    name = "scnet"
    reader = "Gpn-star/SCNet (data/dataset_loader.py)"
    path = "processed/{stem}.png"
    full_path = "processed/{dir}/{stem}.png"
    default_size = "source"
    palette = True
    scheme = PartScheme(
        "scnet",
        _PARTS,
        {name: {part: tuple(words.split()) for part, words in groups.items()} for name, groups in _WORDS.items()},
        partial=True,
    )
