"""Label sets: the published orders, what a flip swaps, and what is refused."""

from pathlib import Path

import pytest

from parsing.errors import InputError, MissingError
from parsing.labels import LABEL_SETS, LabelSet, label_set

PUBLISHED = {
    "lip": "background, hat, hair, glove, sunglasses, upper-clothes, dress, coat, socks, pants, jumpsuits, scarf, "
    "skirt, face, left-arm, right-arm, left-leg, right-leg, left-shoe, right-shoe",
    "cihp": "background, hat, hair, glove, sunglasses, upper-clothes, dress, coat, socks, pants, torso-skin, scarf, "
    "skirt, face, left-arm, right-arm, left-leg, right-leg, left-shoe, right-shoe",
    "atr": "background, hat, hair, sunglasses, upper-clothes, skirt, pants, dress, belt, left-shoe, right-shoe, face, "
    "left-leg, right-leg, left-arm, right-arm, bag, scarf",
    "pascal": "background, head, torso, upper-arms, lower-arms, upper-legs, lower-legs",
    "goliath": "background, apparel, face-neck, hair, left-foot, left-hand, left-lower-arm, left-lower-leg, left-shoe, "
    "left-sock, left-upper-arm, left-upper-leg, lower-clothing, right-foot, right-hand, right-lower-arm, "
    "right-lower-leg, right-shoe, right-sock, right-upper-arm, right-upper-leg, torso, upper-clothing, lower-lip, "
    "upper-lip, lower-teeth, upper-teeth, tongue",
    "fashn": "background, face, hair, top, dress, skirt, pants, belt, bag, hat, scarf, glasses, arms, hands, legs, "
    "feet, torso, jewelry",
    "person7": "background, head, upper, arms, lower, legs, feet, bag",
    "person": "background, person",
}
SWAPS = {
    "lip": {(14, 15), (16, 17), (18, 19)},
    "cihp": {(14, 15), (16, 17), (18, 19)},
    "atr": {(9, 10), (12, 13), (14, 15)},
    "goliath": {(4, 13), (5, 14), (6, 15), (7, 16), (8, 17), (9, 18), (10, 19), (11, 20)},
    "pascal": set(),
    "fashn": set(),
    "person7": set(),
    "person": set(),
}


def test_the_label_sets_are_the_published_ones() -> None:
    assert {name: ", ".join(labels.classes) for name, labels in LABEL_SETS.items()} == PUBLISHED
    assert {name: labels.name for name, labels in LABEL_SETS.items()} == {name: name for name in PUBLISHED}


@pytest.mark.parametrize("name", SWAPS)
def test_a_flip_swaps_the_published_pairs_and_nothing_else(name: str) -> None:
    labels = label_set(name)
    assert {(a, b) for a, b in enumerate(labels.flipped) if a < b} == SWAPS[name]
    assert [labels.flipped[c] for c in labels.flipped] == list(range(len(labels)))


@pytest.mark.parametrize("labels", LABEL_SETS.values(), ids=LABEL_SETS)
def test_a_flip_turns_every_left_class_into_its_right_one(labels: LabelSet) -> None:
    other = {"left-": "right-", "right-": "left-"}
    for number, name in enumerate(labels.classes):
        side = next((s for s in other if name.startswith(s)), None)
        wanted = name if side is None else other[side] + name.removeprefix(side)
        assert labels.classes[labels.flipped[number]] == wanted


def test_a_class_is_found_by_name_and_an_unknown_one_lists_what_there_is() -> None:
    assert label_set("lip").index("left-arm") == 14
    with pytest.raises(InputError, match=r"'lip' has no class 'bag'.*sunglasses"):
        label_set("lip").index("bag")
    with pytest.raises(InputError, match=r"'coco'.*goliath"):
        label_set("coco")


@pytest.mark.parametrize(
    ("classes", "complaint"),
    [
        (("background",), "2 to 254"),
        (("background", "hat", "hat"), "distinct"),
        (("hat", "background"), "class 0"),
        (("background", *map(str, range(254))), "2 to 254"),
    ],
)
def test_a_label_set_that_cannot_be_is_refused(classes: tuple[str, ...], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        LabelSet("own", classes)


def toml(folder: Path, text: str) -> str:
    (folder / "own.toml").write_text(text, encoding="utf-8")
    return str(folder / "own.toml")


def test_a_label_set_of_ones_own_is_read_from_toml_and_swaps_its_sides(tmp_path: Path) -> None:
    own = label_set(toml(tmp_path, 'name = "own"\nclasses = ["background", "right-shoe", "hair", "left-shoe", "ear"]'))
    assert own == LabelSet("own", ("background", "right-shoe", "hair", "left-shoe", "ear"), ((3, 1),))


def test_a_label_set_of_ones_own_may_say_what_a_flip_swaps(tmp_path: Path) -> None:
    classes = 'name = "own"\nclasses = ["background", "left-ear", "bras gauche", "bras droit"]\n'
    with pytest.raises(InputError, match=r"'left-ear' has no class of the right side.*swaps = \[\]"):
        label_set(toml(tmp_path, classes))
    assert label_set(toml(tmp_path, classes + 'swaps = [["bras gauche", "bras droit"]]')).swaps == ((2, 3),)
    assert label_set(toml(tmp_path, classes + "swaps = []")).swaps == ()
    with pytest.raises(InputError, match="each class at most once"):
        label_set(toml(tmp_path, classes + 'swaps = [["left-ear", "bras gauche"], ["left-ear", "bras droit"]]'))
    with pytest.raises(InputError, match="has no class 'bras'"):
        label_set(toml(tmp_path, classes + 'swaps = [["left-ear", "bras"]]'))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('name = "own"', "needs name and classes"),
        ('classes = ["background", "hair"]', "needs name and classes"),
        ('name = "own"\nclasses = ["hair", "background"]', "class 0 must be 'background'"),
        ('name = "own"\nclasses = ["background", 1]', "classes are texts"),
        ('name = "own"\nclasses = ["background", "hair"]\nswaps = [[0, 1]]', "pairs of class names"),
        ('name = "own"\nclasses = ["background", "hair"]\nparts = 1', "nothing else"),
        ('name = "lip"\nclasses = ["background", "hair"]', "'lip' is the name of a known label set"),
        ("name = ", "cannot be used"),
    ],
)
def test_a_label_set_file_that_cannot_be_used_is_refused(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        label_set(toml(tmp_path, text))
    with pytest.raises(MissingError, match=r"no label set file .*none\.toml"):
        label_set(str(tmp_path / "none.toml"))


def test_a_label_sets_earlier_name_is_read() -> None:
    assert label_set("street") is label_set("person7")
