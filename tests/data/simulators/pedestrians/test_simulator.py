"""Drawn pedestrians: the same in every run, labelled exactly, one person in three bands."""

from dataclasses import replace

import numpy as np
import pytest

from data.simulators.pedestrians.brush import Material
from data.simulators.pedestrians.look import Band
from data.simulators.pedestrians.simulator import CLASSES, Identity, Shot, draw, make_identity, make_shot
from parsing.labels import label_set

BANDS: tuple[Band, ...] = ("visible", "near", "thermal")
PERSON7 = label_set("person7")


def clear_shot(number: int, band: Band = "visible", index: int = 0) -> Shot:
    """A shot with nothing in front and the whole body inside."""
    shot = make_shot(3, number=number, camera=1, index=index, band=band)
    return replace(shot, occluder="none", foot=(0.5, 0.96), scale=0.85)


def recoloured(identity: Identity, material: Material) -> Identity:
    stuff = list(identity.look.stuff)
    old = stuff[material]
    stuff[material] = replace(old, colour=(250.0, 20.0, 250.0) if sum(old.colour) < 380 else (10.0, 60.0, 10.0))
    return replace(identity, look=replace(identity.look, stuff=tuple(stuff)))


@pytest.mark.parametrize("band", BANDS)
def test_the_same_numbers_draw_the_same_bytes(band: Band) -> None:
    first = draw(make_identity(5, 2), make_shot(5, number=2, camera=1, index=0, band=band))
    again = draw(make_identity(5, 2), make_shot(5, number=2, camera=1, index=0, band=band))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))


def test_seed_person_camera_and_index_each_change_the_image() -> None:
    def image(seed: int, number: int, camera: int, index: int) -> bytes:
        return draw(
            make_identity(seed, number), make_shot(seed, number=number, camera=camera, index=index, band="visible")
        )[0].tobytes()

    images = [
        image(0, number=0, camera=1, index=0),
        image(1, number=0, camera=1, index=0),
        image(0, number=1, camera=1, index=0),
        image(0, number=0, camera=2, index=0),
        image(0, number=0, camera=1, index=1),
    ]
    assert len(set(images)) == len(images)


def test_every_class_is_drawn_by_somebody_and_nobody_lacks_head_and_upper() -> None:
    seen = set()
    for number in range(12):
        image, labels = draw(make_identity(0, number), clear_shot(number))
        classes = set(np.unique(labels).tolist())
        assert {0, PERSON7.index("head"), PERSON7.index("upper")} <= classes
        assert image.shape == (*labels.shape, 3)
        assert image.dtype == labels.dtype == np.uint8
        seen |= classes
    assert seen == set(range(len(PERSON7)))


def test_every_material_but_nothing_has_one_class() -> None:
    materials = [material for group in CLASSES.values() for material in group]
    assert sorted(materials) == sorted(set(Material) - {Material.NOTHING})
    assert set(CLASSES) == set(PERSON7.classes[1:])


def test_what_is_worn_is_what_is_labelled() -> None:
    who, shot = make_identity(0, 0), clear_shot(0)
    bare = replace(who, build=replace(who.build, top="shirt", bottom="shorts", bag="none", sleeves="none", boots=0.0))
    carries = replace(bare, build=replace(bare.build, bag="backpack"))
    covered = replace(bare, build=replace(bare.build, bottom="trousers", sleeves="long"))
    bag, legs, arms = (PERSON7.index(name) for name in ("bag", "legs", "arms"))
    counts = {
        name: np.bincount(draw(p, shot)[1].ravel(), minlength=len(PERSON7))
        for name, p in {"bare": bare, "carries": carries, "covered": covered}.items()
    }
    assert counts["bare"][bag] == 0 < counts["carries"][bag]
    assert counts["covered"][legs] == 0 < counts["bare"][legs]
    assert counts["covered"][arms] < counts["bare"][arms] / 2


def test_another_coat_changes_the_upper_part_and_leaves_the_rest() -> None:
    who, shot = make_identity(0, 1), replace(clear_shot(1), blur=0.0)
    before, labels = draw(who, shot)
    after, same_labels = draw(recoloured(who, Material.UPPER), shot)
    assert np.array_equal(labels, same_labels)
    changed = (before != after).any(-1)
    upper = labels == PERSON7.index("upper")
    assert changed[upper].mean() > 0.5
    grown = upper.copy()
    for axis, step in ((0, 1), (0, -1), (1, 1), (1, -1)):
        grown |= np.roll(upper, step, axis)
    for axis, step in ((0, 1), (0, -1), (1, 1), (1, -1)):
        grown |= np.roll(grown, step, axis)
    assert not changed[~grown].any()


def test_the_person_stands_upright_head_above_feet() -> None:
    for number in range(6):
        who = make_identity(0, number)
        shod = replace(who, build=replace(who.build, bottom="trousers", hem=0.5))
        labels = draw(shod, clear_shot(number))[1]
        middles = [np.flatnonzero((labels == PERSON7.index(c)).any(1)).mean() for c in ("head", "upper", "feet")]
        assert middles == sorted(middles)


def test_infrared_has_three_equal_channels_and_forgets_the_colour() -> None:
    who = make_identity(0, 1)
    for band in ("near", "thermal"):
        image = draw(who, clear_shot(1, band))[0]
        assert np.array_equal(image[..., 0], image[..., 1])
        assert np.array_equal(image[..., 0], image[..., 2])
    plain = replace(who, look=replace(who.look, upper=replace(who.look.upper, pattern="plain")))
    shot = clear_shot(1, "near")
    assert np.array_equal(draw(plain, shot)[0], draw(recoloured(plain, Material.UPPER), shot)[0])


def test_pose_and_labels_do_not_depend_on_the_band() -> None:
    labels = [draw(make_identity(0, 4), clear_shot(4, band))[1] for band in BANDS]
    assert all(np.array_equal(labels[0], other) for other in labels[1:])


def test_skin_outshines_hair_in_near_infrared_and_clothes_in_thermal() -> None:
    who = make_identity(0, 0)
    bare = replace(who, build=replace(who.build, hair="short", sleeves="none", top="shirt"))
    for band, cooler in (("near", "HAIR"), ("thermal", "UPPER")):
        look = bare.look.stuff
        value = "reflectance" if band == "near" else "warmth"
        assert getattr(look[Material.ARM], value) > getattr(look[Material[cooler]], value)
    image, labels = draw(bare, clear_shot(0, "thermal"))
    arms, upper = (image[labels == PERSON7.index(c)].mean() for c in ("arms", "upper"))
    assert arms > upper


def test_what_stands_in_front_hides_the_labels() -> None:
    who, shot = make_identity(0, 0), clear_shot(0)
    for thing in ("pole", "box", "plant"):
        hidden = draw(who, replace(shot, occluder=thing))[1]
        free = draw(who, shot)[1]
        assert (hidden > 0).sum() < (free > 0).sum()
        assert np.array_equal(hidden[hidden > 0], free[hidden > 0])


def test_crops_have_the_shapes_of_a_pedestrian_detector() -> None:
    sizes = [make_shot(0, number=number, camera=2, index=0, band="visible").size for number in range(40)]
    assert all(180 <= height <= 300 and 1.95 <= height / width <= 2.65 for width, height in sizes)
    assert len(set(sizes)) > 30
