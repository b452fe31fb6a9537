"""`eanet`: the eight classes of EANet's part segmentation, for huanghoujing/EANet."""

from ..labels import LABEL_SETS
from ..schemes import PART_SCHEMES, PartScheme
from .base import PartIdExporter

_PARTS = ("head", "torso", "upper-arm", "lower-arm", "upper-leg", "lower-leg", "foot")
_FROM = ("head", "upper", "", "arms", "lower", "legs", "feet")
"""Where a label set does not halve limbs: bare arms and legs are mostly lower ones, trousers and skirts upper legs."""

_GROUPS = {
    name: {part: parts.get(source, ()) for part, source in zip(_PARTS, _FROM, strict=True)}
    for name, parts in PART_SCHEMES["reid6"].groups.items()
}
_GROUPS["pascal"] |= {
    "upper-arm": ("upper-arms",),
    "lower-arm": ("lower-arms",),
    "upper-leg": ("upper-legs",),
    "lower-leg": ("lower-legs",),
}
_GROUPS["goliath"] |= {
    "upper-arm": ("left-upper-arm", "right-upper-arm"),
    "lower-arm": tuple(c for c in LABEL_SETS["goliath"].classes if c.endswith(("lower-arm", "hand"))),
    "upper-leg": ("lower-clothing", "left-upper-leg", "right-upper-leg"),
    "lower-leg": ("left-lower-leg", "right-lower-leg"),
}


class EanetExporter(PartIdExporter):
    """Grey ids in a folder beside the images' own, `_ps_label` after its name, at the size that the loss takes.

    The loader resizes what is larger, and bilinearly (it gives OpenCV the rule in place of the destination), which
    makes up ids between those of neighbours; files of that size it leaves as they are.
    """

    name = "eanet"
    reader = "huanghoujing/EANet (get_ps_label)"
    path = "{root}_ps_label/{dir}/{stem}.png"
    default_size = (48, 16)
    scheme = PartScheme("eanet", _PARTS, _GROUPS, partial=True)
