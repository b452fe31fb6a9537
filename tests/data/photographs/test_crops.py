"""Training crops: pure in (seed, epoch, index), labels that stay person7 classes, every spectrum, whole plain crops."""

import itertools
import json

import numpy as np
import pytest
import torch
from PIL import Image

from data.photographs.crops import (
    SPECTRA,
    PersonCrops,
    Photo,
    cut_plain_crop,
    degrade,
    jitter_box,
    load,
    misplace_box,
    render,
)
from data.photographs.library import Photos
from parsing.labels import label_set

SIZE = (96, 48)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Photos:
    """Three photographs of striped people, wide and narrow, and one of nobody."""
    root = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for name in ("photos", "parts"):
        (root / name).mkdir()
    for number, width in enumerate((120, 90, 160, 100)):
        labels = np.zeros((200, width), np.uint8)
        if number < 3:
            for part, rows in enumerate(np.array_split(np.arange(20, 190), 7), start=1):
                labels[rows, width // 3 : 2 * width // 3] = part
        colours = np.concatenate([[(110, 120, 115)], rng.integers(0, 256, (7, 3))])
        image = colours[labels] + rng.normal(0, 10, (200, width, 3))
        Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(root / "photos" / f"{number}.jpg")
        Image.fromarray(labels).save(root / "parts" / f"{number}.png")
    meta = {"parts": list(label_set("person7").classes), "train": ["0", "1", "2", "3"], "val": []}
    (root / "meta.json").write_text(json.dumps(meta))
    return Photos(root)


def loaded(photos: Photos) -> list[Photo]:
    return [photo for name in photos.train if (photo := load(photos, name, SIZE[0])) is not None]


@pytest.fixture
def crops(photos: Photos) -> PersonCrops:
    return PersonCrops(loaded(photos), SIZE, seed=0)


@pytest.fixture
def photo(photos: Photos) -> Photo:
    found = load(photos, "0", SIZE[0])
    assert found is not None
    return found


def test_photos_of_nobody_are_left_out(crops: PersonCrops, photos: Photos) -> None:
    assert len(crops) == 3
    assert load(photos, "3", SIZE[0]) is None


def test_a_loaded_photo_knows_the_box_of_its_person(photo: Photo) -> None:
    assert photo.image.size == photo.labels.size
    assert photo.image.height == 1.5 * SIZE[0]
    scale = photo.image.height / 200
    assert photo.box == pytest.approx((40 * scale, 20 * scale, 80 * scale, 190 * scale), abs=1.5)


def test_a_crop_is_a_pure_function_of_seed_epoch_and_index(photos: Photos, crops: PersonCrops) -> None:
    again = PersonCrops(loaded(photos), SIZE, seed=0)
    assert again[2][0].shape == again[1][0].shape  # the order of asking does not matter
    for index in range(3):
        for one, two in zip(crops[index], again[index], strict=True):
            assert torch.equal(one, two)
    first = crops[0][0]
    crops.epoch = 1
    assert not torch.equal(crops[0][0], first)
    crops.epoch = 0
    assert torch.equal(crops[0][0], first)
    assert not torch.equal(PersonCrops(loaded(photos), SIZE, seed=1)[0][0], first)


def test_crops_are_images_with_classes(crops: PersonCrops) -> None:
    classes, people = set(), 0
    for epoch in range(25):
        crops.epoch = epoch
        for index in range(len(crops)):
            image, labels = crops[index]
            assert (image.shape, image.dtype) == ((3, *SIZE), torch.uint8)
            assert (labels.shape, labels.dtype) == (SIZE, torch.uint8)
            classes |= set(labels.unique().tolist())
            people += bool((labels > 0).float().mean() > 0.05)
    assert classes == set(range(8))
    assert people > 0.9 * 25 * 3


def test_all_spectra_occur_in_about_equal_shares(crops: PersonCrops, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def noted(image: np.ndarray, scene: np.ndarray, spectrum: str, rng: np.random.Generator) -> np.ndarray:
        seen.append(spectrum)
        return image

    monkeypatch.setattr("data.photographs.crops.render", noted)
    for epoch in range(60):
        crops.epoch = epoch
        assert len([crops[index] for index in range(len(crops))]) == len(crops)
    assert set(seen) == set(SPECTRA)
    assert min(seen.count(spectrum) for spectrum in SPECTRA) > 0.15 * len(seen)


def test_most_crops_that_are_not_in_colour_are_grey(crops: PersonCrops) -> None:
    grey = 0
    for epoch in range(40):
        crops.epoch = epoch
        image = crops[0][0].int()
        grey += int((image.amax(0) - image.amin(0)).max()) <= 2
    assert 0.5 * 40 < grey < 0.95 * 40


@pytest.mark.parametrize("spectrum", SPECTRA)
def test_a_rendered_image_has_the_cameras_channels(photo: Photo, spectrum: str) -> None:
    image, labels = cut_plain_crop(photo, size=SIZE, spectrum="colour", rng=np.random.default_rng(0))
    seen = render(image, scene=labels, spectrum=spectrum, rng=np.random.default_rng(0))  # type: ignore[arg-type]
    assert (seen.shape, seen.dtype) == (image.shape, np.dtype("uint8"))
    assert (spectrum == "colour") == bool(np.max(np.ptp(seen, axis=2)) > 0)
    assert seen.flags.writeable


@pytest.mark.parametrize("name", ["0", "1", "2"])
@pytest.mark.parametrize("spectrum", SPECTRA)
def test_a_plain_crop_holds_the_whole_person_upright_with_a_margin(photos: Photos, name: str, spectrum: str) -> None:
    photo = load(photos, name, SIZE[0])
    assert photo is not None
    image, labels = cut_plain_crop(photo, size=SIZE, spectrum=spectrum, rng=np.random.default_rng(0))  # type: ignore[arg-type]
    assert image.shape == (*SIZE, 3)
    assert labels.shape == SIZE
    person = labels > 0
    border = np.concatenate([person[0], person[-1], person[:, 0], person[:, -1]])
    assert not border.any()
    rows = [np.flatnonzero((labels == part).any(1)) for part in range(1, 8)]
    assert all(np.max(upper) < np.min(lower) for upper, lower in itertools.pairwise(rows))
    assert person.mean() == pytest.approx(1 / 1.3 / 1.1, abs=0.05)  # margins of 15 % and 5 % on both sides


def test_a_plain_crop_is_the_same_in_labels_for_every_spectrum_and_generator(photo: Photo) -> None:
    labels = [
        cut_plain_crop(photo, size=SIZE, spectrum=s, rng=np.random.default_rng(n))[1] for n, s in enumerate(SPECTRA)
    ]
    assert all(np.array_equal(labels[0], other) for other in labels[1:])


def test_a_jittered_box_still_shows_much_of_its_person() -> None:
    left, top, right, bottom = 10.0, 20.0, 50.0, 140.0
    width, height = right - left, bottom - top
    cut = below = 0
    for seed in range(400):
        box = jitter_box((left, top, right, bottom), np.random.default_rng(seed))
        assert min(right, box[2]) - max(left, box[0]) >= 0.29 * width
        assert min(bottom, box[3]) - max(top, box[1]) >= 0.29 * height
        below += box[3] < bottom - 0.05 * height
        cut += box[3] < bottom - 0.05 * height or box[1] > top + 0.05 * height
    assert 0.15 * 400 < below < 0.35 * 400
    assert cut > below


def test_a_misplaced_box_is_off_by_no_more_than_its_error_and_by_as_much_in_proportion() -> None:
    box = np.array([10.0, 20.0, 50.0, 140.0])
    sides = np.array([40.0, 120.0, 40.0, 120.0])
    off = np.array([(misplace_box(tuple(box), 0.3, np.random.default_rng(s)) - box) / sides for s in range(1000)])
    assert np.abs(off).max() <= 0.3
    assert (off.min(0) < -0.28).all()
    assert (off.max(0) > 0.28).all()
    assert np.abs(off.mean(0)).max() < 0.03
    half = np.array([(misplace_box(tuple(box), 0.15, np.random.default_rng(s)) - box) / sides for s in range(1000)])
    assert half == pytest.approx(off / 2)


def test_a_degraded_image_keeps_its_shape_and_the_original(photo: Photo) -> None:
    image, _ = cut_plain_crop(photo, size=SIZE, spectrum="colour", rng=np.random.default_rng(0))
    before = image.copy()
    changed = 0
    for seed in range(40):
        seen = degrade(image, np.random.default_rng(seed))
        assert (seen.shape, seen.dtype) == (image.shape, np.dtype("uint8"))
        assert np.array_equal(seen, degrade(image, np.random.default_rng(seed)))
        changed += not np.array_equal(seen, image)
    assert np.array_equal(image, before)
    assert changed > 20
