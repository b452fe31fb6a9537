"""Sides of a label set: however the names are spelt, and never half of a pair in silence."""

import pytest

from parsing.errors import InputError
from parsing.labels import LABEL_SETS, LabelSet, build_label_set
from parsing.sides import find_side_pairs

SPELT = [
    ("left-arm", "right-arm"),
    ("Left-arm", "Right-arm"),
    ("LEFT_ARM", "RIGHT_ARM"),
    ("left_leg", "right_leg"),
    ("left arm", "right arm"),
    ("arm-left", "arm-right"),
    ("Arm (left)", "Arm (right)"),
    ("L-arm", "R-arm"),
    ("l_arm", "r_arm"),
    ("arm.L", "arm.R"),
    ("leftArm", "rightArm"),
    ("LeftUpperArm", "RightUpperArm"),
    ("armLeft", "armRight"),
    ("LArm", "RArm"),
    ("leftarm", "rightarm"),
    ("armleft", "armright"),
    ("larm", "rarm"),
    ("upper-left-arm", "right-upper-arm"),
    ("Left arm", "arm_right"),
    ("L-arm", "right-arm"),
    ("left", "right"),
    ("left-2", "right-2"),
]


@pytest.mark.parametrize(("left", "right"), SPELT)
def test_sides_are_known_however_they_are_spelt(left: str, right: str) -> None:
    assert build_label_set("own", ["background", left, "hair", right]).swaps == ((1, 3),)
    assert build_label_set("own", ["background", right, "hair", left]).swaps == ((3, 1),)


@pytest.mark.parametrize(
    "alone", [name for pair in SPELT for name in pair if "arml" not in name and "armr" not in name]
)
def test_a_side_without_its_partner_is_refused_by_name(alone: str) -> None:
    with pytest.raises(InputError) as refusal:
        build_label_set("own", ["background", "hair", alone])
    assert repr(alone) in str(refusal.value)
    assert "swaps = " in str(refusal.value)


def test_two_classes_for_one_side_are_refused_by_name() -> None:
    with pytest.raises(InputError, match="'left-ear' and 'ear_l' are both the left one"):
        build_label_set("own", ["background", "left-ear", "ear_l", "right-ear"])


@pytest.mark.parametrize(
    "name",
    ["upright", "bright", "collar", "lace", "race", "arm", "left-right-shoes", "upper-clothes", "t-shirt", "rim"],
)
def test_words_that_only_look_like_sides_are_none(name: str) -> None:
    assert build_label_set("own", ["background", name, "hair"]).swaps == ()


@pytest.mark.parametrize("labels", LABEL_SETS.values(), ids=LABEL_SETS)
def test_the_known_label_sets_swap_what_their_names_say(labels: LabelSet) -> None:
    assert find_side_pairs(labels.name, labels.classes) == labels.swaps
