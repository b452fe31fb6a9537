"""People from photographs on simulated streets: exact labels, pure in seed and slot."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.photographs.library import Photos
from data.simulators.collage.cutouts import (
    Cutout,
    bend_person,
    cut_out_person,
    draw_bend,
    mirror_person,
    resize_person,
    side_strip,
)
from data.simulators.collage.people import people
from data.simulators.collage.simulator import Collage
from data.simulators.layouts import Slot
from parsing.errors import InputError
from parsing.labels import label_set

SLOT = Slot("cam1/0001/0001.jpg", person=0, camera=1, index=0, modality="visible", place=1)
INFRARED = replace(SLOT, camera=3, modality="infrared", place=2)


def test_identities_are_distinct_photos_of_the_part_and_depend_on_the_seed(photos: Photos) -> None:
    everyone = people(photos, "all", 5, 3, seed=0)
    assert sorted(everyone) == sorted((*photos.train, *photos.val))
    assert everyone == people(photos, "all", 5, 3, seed=0)
    assert everyone != people(photos, "all", 5, 3, seed=1)
    assert set(people(photos, "val", 1, 1, seed=0)) == set(photos.val)
    assert set(people(photos, "train", 2, 2, seed=0)) <= set(photos.train)
    apart = people(photos, "apart", 3, 2, seed=0)
    assert set(apart[:3]) <= set(photos.train)
    assert set(apart[3:]) == set(photos.val)


def test_more_people_than_photos_are_refused_with_the_numbers(photos: Photos) -> None:
    with pytest.raises(InputError, match=r"9 photos.*has 8"):
        people(photos, "all", 6, 3, seed=0)


def test_an_unknown_infrared_camera_is_refused(collage: Collage) -> None:
    with pytest.raises(InputError, match="far"):
        replace(collage, infrared="far")  # type: ignore[arg-type]


def test_the_same_slot_gives_the_same_bytes_and_another_one_others(collage: Collage) -> None:
    again = Collage(collage.root, collage.ids, collage.seed)
    for slot in (SLOT, INFRARED):
        for first, second in zip(collage.shoot(slot), again.shoot(slot), strict=True):
            assert np.array_equal(first, second)
    others = [SLOT, replace(SLOT, index=1), replace(SLOT, person=1), replace(SLOT, camera=2)]
    assert len({collage.shoot(slot)[0].tobytes() for slot in others}) == len(others)


def test_labels_are_classes_of_the_image_size(collage: Collage) -> None:
    for person in range(8):
        image, labels = collage.shoot(replace(SLOT, person=person))
        assert image.shape == (*labels.shape, 3)
        assert image.dtype == labels.dtype == np.uint8
        assert 0.05 < (labels > 0).mean() < 0.9
        assert np.max(labels) < len(label_set("person7"))


def test_infrared_is_grey_and_the_two_kinds_differ(collage: Collage) -> None:
    near = collage.shoot(INFRARED)[0]
    hot = replace(collage, infrared="thermal").shoot(INFRARED)[0]
    for image in (near, hot):
        assert np.array_equal(image[..., 0], image[..., 1])
        assert np.array_equal(image[..., 0], image[..., 2])
    assert near.shape == hot.shape
    assert not np.array_equal(near, hot)
    visible = collage.shoot(SLOT)[0]
    assert not np.array_equal(visible[..., 0], visible[..., 2])


def test_where_a_person_is_pasted_the_labels_follow() -> None:
    """A person of pure red on streets without red: red pixels and labelled pixels are the same ones."""
    labels = np.zeros((200, 80), np.uint8)
    labels[20:190, 30:50] = 2
    labels[100:190, 26:36] = 4
    red = np.where(labels[..., None] > 0, np.array([255, 0, 0]), np.array([0, 0, 255])).astype(np.uint8)
    person = resize_person(Cutout(red, labels, (labels > 0).astype(np.float32)), 180)
    for seed in range(4):
        moved = bend_person(person, draw_bend(np.random.default_rng(seed)))
        inside = moved.alpha >= 0.9
        assert inside.any()
        assert (moved.image[inside][:, 0] > 128).mean() > 0.98
        assert (moved.labels[inside] > 0).mean() > 0.98
        assert moved.alpha[moved.labels == 0].mean() < 0.05


def test_a_bend_moves_the_person_and_keeps_its_classes(photos: Photos) -> None:
    person = resize_person(cut_out_person(photos, "00"), 200)
    one, two = (bend_person(person, draw_bend(np.random.default_rng(seed))) for seed in (1, 2))
    assert not np.array_equal(one.labels, two.labels)
    for moved in (one, two):
        assert set(np.unique(moved.labels)) <= set(np.unique(person.labels))
        area = float((moved.labels > 0).sum()) / float((person.labels > 0).sum())
        assert 0.7 < area < 1.5


def test_a_mirror_twice_is_no_mirror(photos: Photos) -> None:
    person = cut_out_person(photos, "00")
    assert not np.array_equal(mirror_person(person).labels, person.labels)
    assert np.array_equal(mirror_person(mirror_person(person)).labels, person.labels)


def test_a_side_strip_shows_nothing_of_the_person(photos: Photos) -> None:
    strip = side_strip(photos, "00")
    assert strip is not None
    image, parts = photos.photo("00"), photos.parts("00")
    left, right = image[:, : strip.shape[1]], image[:, -strip.shape[1] :]
    free = not (parts[:, : strip.shape[1]] > 0).any(), not (parts[:, -strip.shape[1] :] > 0).any()
    assert (np.array_equal(strip, left) and free[0]) or (np.array_equal(strip, right) and free[1])


def test_a_collage_never_takes_its_background_from_the_photo_of_the_person(collage: Collage) -> None:
    alone = replace(collage, ids=collage.ids[:1])
    with pytest.raises(InputError, match="background of place 1"):
        alone.shoot(SLOT)


def test_a_photo_whose_labels_show_nobody_is_refused(photos: Photos, tmp_path: Path) -> None:
    for name in ("photos", "parts"):
        (tmp_path / name).mkdir()
    Image.new("RGB", (20, 40)).save(tmp_path / "photos/00.jpg")
    Image.new("L", (20, 40)).save(tmp_path / "parts/00.png")
    (tmp_path / "meta.json").write_text((photos.root / "meta.json").read_text())
    with pytest.raises(InputError, match="00 show nobody"):
        cut_out_person(Photos(tmp_path), "00")


def test_palette_labels_are_their_numbers_and_doubts_are_kept_once(
    photos: Photos, collage: Collage, tmp_path: Path
) -> None:
    root = shutil.copytree(photos.root, tmp_path / "palette")
    for path in (root / "parts").iterdir():
        with Image.open(path) as grey:
            numbers = Image.fromarray(np.asarray(grey))
        numbers.putpalette([v for n in range(256) for v in (7 - n % 8, 0, 0)])  # dark reds: luminances below 8
        numbers.save(path)
    coloured = replace(collage, root=root)
    for slot in (SLOT, replace(SLOT, person=1)):
        assert np.array_equal(coloured.shoot(slot)[1], collage.shoot(slot)[1])
    (note,) = coloured.notes
    assert "of no palette known for person7" in note
