"""Person7 classes of CCP's: every name has one, and skin goes where the rules of the body put it."""

import numpy as np
import pytest

from data.photographs.ccp import CLASSES
from data.photographs.classes import is_person, person7_parts
from parsing.labels import label_set

PERSON7 = label_set("person7").classes
SKIN, SHIRT, SHOES, HAIR, BAG = (CLASSES.index(name) for name in ("skin", "shirt", "shoes", "hair", "bag"))


def body() -> np.ndarray:
    """A person of 400 rows and no skin: hair, a shirt in the middle, shoes at the end; 300 columns, middle 150."""
    classes = np.zeros((420, 300), np.uint8)
    classes[10:30, 140:160] = HAIR
    classes[30:390, 148:152] = SHIRT
    classes[390:410, 140:160] = SHOES
    return classes


def person7_of(classes: np.ndarray, row: int, column: int) -> str:
    return PERSON7[int(person7_parts(classes)[row, column])]


@pytest.mark.parametrize(
    ("label", "names"),
    [
        ("background", "null"),
        ("head", "hair hat glasses sunglasses earrings"),
        ("arms", "gloves bracelet ring watch"),
        ("legs", "stockings tights"),
        ("feet", "socks boots clogs flats heels loafers pumps sandals shoes sneakers wedges"),
        ("bag", "bag purse wallet accessories"),
        ("lower", "belt jeans leggings panties pants shorts skirt"),
        ("upper", "necklace scarf tie bra dress coat suit romper swimwear vest"),
    ],
)
def test_garments_go_by_their_names(label: str, names: str) -> None:
    for name in names.split():
        assert person7_of(np.full((4, 4), CLASSES.index(name), np.uint8), 2, 2) == label, name


@pytest.mark.parametrize(
    ("rows", "columns", "label"),
    [
        ((30, 60), (120, 180), "head"),  # a face
        ((90, 100), (153, 160), "head"),  # a neck: r of .2, at the middle
        ((90, 100), (190, 200), "arms"),  # a shoulder at that height
        ((100, 230), (190, 200), "arms"),  # an arm that ends at r = .55
        ((300, 390), (153, 170), "legs"),  # a shin
        ((205, 390), (153, 170), "legs"),  # a bare leg from r = .49 on
        ((240, 255), (200, 215), "arms"),  # a hanging hand below r = .56: far from the middle, ends above .66
        ((240, 255), (153, 160), "legs"),  # the same by the middle
        ((240, 290), (200, 215), "legs"),  # the same, longer: reaches .70
    ],
)
def test_skin_goes_by_height_and_by_distance_from_the_middle(
    rows: tuple[int, int], columns: tuple[int, int], label: str
) -> None:
    classes = body()
    classes[slice(*rows), slice(*columns)] = SKIN
    assert person7_of(classes, rows[0] + 1, columns[0] + 1) == label
    assert person7_of(classes, rows[1] - 2, columns[1] - 2) == label


def test_a_bare_arm_and_leg_in_one_piece_are_cut_at_the_hip() -> None:
    classes = body()
    classes[100:390, 153:170] = SKIN
    named = [person7_of(classes, row, 165) for row in (150, 190, 205, 380)]
    assert named == ["arms", "arms", "legs", "legs"]


def test_a_bag_above_the_head_does_not_move_the_rules() -> None:
    classes = body()
    classes[240:255, 200:215] = SKIN
    plain = person7_parts(classes)
    classes[0:5, 0:100] = BAG
    with_bag = person7_parts(classes)
    assert np.array_equal(plain[5:], with_bag[5:])
    assert PERSON7[with_bag[2, 2]] == "bag"


def test_without_a_person_nothing_is_a_person() -> None:
    assert not is_person(person7_parts(np.array([[0, BAG]], np.uint8))).any()
    assert is_person(person7_parts(body())).sum() == (body() > 0).sum()


def test_the_callers_map_stays_as_it_is() -> None:
    classes = body()
    classes[200:390, 153:170] = SKIN
    before = classes.copy()
    person7_parts(classes)
    assert np.array_equal(classes, before)
