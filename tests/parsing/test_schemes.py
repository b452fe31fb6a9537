"""Part schemes: SPReID's grouping class by class, what cannot be mapped, and schemes of the user's own."""

from pathlib import Path

import numpy as np
import pytest

from parsing.errors import InputError, MissingError
from parsing.labels import LABEL_SETS, build_label_set, label_set
from parsing.schemes import PART_SCHEMES, PartScheme, part_scheme

REID4 = {
    "lip": ({1, 2, 4, 13}, {3, 5, 6, 7, 10, 11, 14, 15}, {9, 12, 16, 17}, {8, 18, 19}),
    "cihp": ({1, 2, 4, 13}, {3, 5, 6, 7, 10, 11, 14, 15}, {9, 12, 16, 17}, {8, 18, 19}),
    "atr": ({1, 2, 3, 11}, {4, 7, 14, 15, 17}, {5, 6, 8, 12, 13}, {9, 10}),
    "goliath": (
        {2, 3, 23, 24, 25, 26, 27},
        {5, 6, 10, 14, 15, 19, 21, 22},
        {7, 11, 12, 16, 20},
        {4, 8, 9, 13, 17, 18},
    ),
    "fashn": ({1, 2, 9, 11}, {3, 4, 10, 12, 13, 16, 17}, {5, 6, 7, 14}, {15}),
    "person7": ({1}, {2, 3}, {4, 5}, {6}),
}
ARMS_AND_LEGS = {
    "lip": ({3, 14, 15}, {16, 17}),
    "cihp": ({3, 14, 15}, {16, 17}),
    "atr": ({14, 15}, {12, 13}),
    "goliath": ({5, 6, 10, 14, 15, 19}, {7, 11, 16, 20}),
    "fashn": ({12, 13}, {14}),
    "person7": ({3}, {5}),
}


def grouped(scheme: str, labels: str) -> tuple[set[int], ...]:
    table = part_scheme(scheme).table(label_set(labels))
    return tuple(set(np.flatnonzero(table == part).tolist()) for part in range(1, len(part_scheme(scheme)) + 1))


@pytest.mark.parametrize("labels", REID4)
def test_reid4_groups_the_classes_as_spreid_does(labels: str) -> None:
    assert part_scheme("reid4").parts == ("head", "upper", "lower", "feet")
    assert grouped("reid4", labels) == REID4[labels]


@pytest.mark.parametrize("labels", REID4)
def test_reid6_takes_arms_from_upper_and_legs_from_lower(labels: str) -> None:
    head, upper, lower, feet = REID4[labels]
    arms, legs = ARMS_AND_LEGS[labels]
    assert part_scheme("reid6").parts == ("head", "upper", "arms", "lower", "legs", "feet")
    assert grouped("reid6", labels) == (head, upper - arms, arms, lower - legs, legs, feet)


@pytest.mark.parametrize("labels", LABEL_SETS)
def test_body_is_everything_but_the_background(labels: str) -> None:
    assert grouped("body", labels) == (set(range(1, len(label_set(labels)))),)


@pytest.mark.parametrize("labels", REID4)
def test_reid5_takes_legs_alone_from_lower(labels: str) -> None:
    head, upper, lower, feet = REID4[labels]
    _, legs = ARMS_AND_LEGS[labels]
    assert part_scheme("reid5").parts == ("head", "upper", "lower", "legs", "feet")
    assert grouped("reid5", labels) == (head, upper, lower - legs, legs, feet)


@pytest.mark.parametrize("scheme", ["reid4", "reid5", "reid6"])
def test_pascal_is_refused_for_want_of_feet(scheme: str) -> None:
    with pytest.raises(
        InputError, match=r"'pascal' has no class for 'feet'. Write a scheme of your own, .* \[pascal\]"
    ):
        part_scheme(scheme).table(label_set("pascal"))


@pytest.mark.parametrize("scheme", PART_SCHEMES)
def test_ignored_pixels_stay_ignored_and_background_stays_background(scheme: str) -> None:
    table = part_scheme(scheme).table(label_set("lip"))
    assert (table.shape, table.dtype) == ((256,), np.dtype("uint8"))
    assert (table[0], table[255]) == (0, 255)
    assert not table[20:255].any()


def toml(folder: Path, text: str) -> str:
    file = folder / "own.toml"
    file.write_text(text, encoding="utf-8")
    return str(file)


HALVES = """
name = "halves"
parts = ["top", "bottom"]
[lip]
top = ["hat", "hair", "face", "upper-clothes"]
bottom = ["pants", "skirt"]
[person7]
top = ["head", "upper"]
bottom = ["lower"]
"""


def test_a_scheme_of_ones_own_is_read_from_toml(tmp_path: Path) -> None:
    scheme = part_scheme(toml(tmp_path, HALVES))
    assert (scheme.name, scheme.parts) == ("halves", ("top", "bottom"))
    assert set(np.flatnonzero(scheme.table(label_set("lip")) == 1)) == {1, 2, 5, 13}
    assert set(np.flatnonzero(scheme.table(label_set("person7")) == 2)) == {4}
    with pytest.raises(InputError, match=r"'halves' does not know label set 'atr'; it knows lip, person7"):
        scheme.table(label_set("atr"))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("name = ", "own.toml"),
        (HALVES.replace('name = "halves"', ""), "name"),
        (HALVES.replace('parts = ["top", "bottom"]', ""), "parts"),
        (HALVES.replace('parts = ["top", "bottom"]', "parts = 3"), "parts"),
        (HALVES.replace('parts = ["top", "bottom"]', "parts = []"), "parts"),
        (HALVES.replace('parts = ["top", "bottom"]', 'parts = ["top", "top", "bottom"]'), "top"),
        (HALVES.replace('"pants"', '"trousers"'), "no class 'trousers'"),
        (HALVES.replace('"pants"', '"face"'), "'face' of 'lip' is in two parts"),
        (HALVES.replace('"pants"', '"background"'), "background"),
        (HALVES.replace('bottom = ["pants", "skirt"]', ""), "no class for 'bottom'"),
        (HALVES.replace('bottom = ["lower"]', 'bottom = ["lower"]\nfeet = ["feet"]'), "'feet' of 'person7'"),
        (HALVES.replace('["pants", "skirt"]', '"pants"'), "pants"),
        (HALVES.replace('["pants", "skirt"]', "[1, 2]"), "1"),
        (HALVES.replace('["pants", "skirt"]', "7"), "7 is no list of class names"),
        ('name = "x"\nparts = ["a"]\n', "label set"),
    ],
)
def test_a_scheme_that_cannot_be_used_is_refused_with_its_fault(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        part_scheme(toml(tmp_path, text))


def test_a_flip_swaps_the_parts_whose_classes_it_swaps() -> None:
    for scheme in PART_SCHEMES.values():
        assert scheme.flipped(label_set("lip")) == tuple(range(len(scheme) + 1))
    sides = PartScheme("sides", ("left", "right", "head"), {"lip": {
        "left": ("left-arm", "left-leg"), "right": ("right-arm", "right-leg"), "head": ("face",),
    }})  # fmt: skip
    assert sides.flipped(label_set("lip")) == (0, 2, 1, 3)


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (("left-arm", "right-arm", "left-leg"), ("right-leg",)),
        (("left-arm", "left-leg"), ("right-arm",)),
        (("left-arm",), ("face",)),
        (("left-arm", "right-leg", "face"), ("right-arm", "left-leg")),
    ],
)
def test_a_scheme_that_mixes_the_sides_has_no_flip(one: tuple[str, ...], two: tuple[str, ...]) -> None:
    scheme = PartScheme("mixed", ("one", "two"), {"lip": {"one": one, "two": two}})
    with pytest.raises(InputError, match="'mixed' mixes the sides of 'lip'"):
        scheme.flipped(label_set("lip"))


def test_a_partial_scheme_leaves_parts_empty() -> None:
    scheme = PartScheme("partial", ("head", "feet"), {"pascal": {"head": ("head",)}}, partial=True)
    assert set(scheme.table(label_set("pascal"))[:7].tolist()) == {0, 1}


def test_an_unknown_scheme_lists_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"'reid7'.*reid4, reid5, reid6, body.*\.toml"):
        part_scheme("reid7")
    with pytest.raises(MissingError, match=r"none\.toml"):
        part_scheme(str(tmp_path / "none.toml"))
    (tmp_path / "latin.toml").write_bytes(HALVES.replace("halves", "h\xe4lften").encode("latin-1"))
    with pytest.raises(InputError, match=r"latin\.toml"):
        part_scheme(str(tmp_path / "latin.toml"))


def test_a_label_set_made_of_a_models_config_can_be_mapped_and_the_refusal_says_how(tmp_path: Path) -> None:
    own = build_label_set("parser-v1.0", ["background", "cap", "shirt", "shorts"])
    with pytest.raises(InputError, match=r'does not know .*a table \["parser-v1\.0"\] .*\(of cap, shirt, shorts\)'):
        part_scheme("reid4").table(own)
    text = HALVES + '["parser-v1.0"]\ntop = ["cap", "shirt"]\nbottom = ["{}"]\n'
    assert part_scheme(toml(tmp_path, text.format("shorts"))).table(own)[:4].tolist() == [0, 1, 1, 2]
    wrong = part_scheme(toml(tmp_path, text.format("trousers")))
    with pytest.raises(InputError, match=r"'parser-v1\.0' has no class 'trousers'; it has background, cap"):
        wrong.table(own)


def test_a_scheme_file_may_have_the_earlier_name_of_a_label_set(tmp_path: Path) -> None:
    present, earlier = tmp_path / "present.toml", tmp_path / "earlier.toml"
    present.write_text(HALVES)
    earlier.write_text(HALVES.replace("[person7]", "[street]"))
    assert part_scheme(str(earlier)) == part_scheme(str(present))
