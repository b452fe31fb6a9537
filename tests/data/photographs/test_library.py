"""Annotated photographs: labels of any mode are read by number, EXIF turns both, what does not fit is refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from data.photographs.library import Photos
from parsing.errors import InputError, MissingError
from parsing.images import read_image
from parsing.importers.palettes import voc_colours
from parsing.labels import label_set

META: dict[str, Any] = {"train": ["a1"], "val": ["b2"], "parts": list(label_set("person7").classes)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for name in ("photos", "parts", "unlabelled"):
        (tmp_path / name).mkdir()
    for photo_id in ("a1", "b2"):
        Image.fromarray(rng.integers(0, 255, (12, 8, 3), dtype=np.uint8)).save(tmp_path / f"photos/{photo_id}.jpg")
        Image.fromarray(rng.integers(0, 8, (12, 8), dtype=np.uint8)).save(tmp_path / f"parts/{photo_id}.png")
    for photo_id in ("u2", "u1"):
        Image.new("RGB", (8, 12)).save(tmp_path / f"unlabelled/{photo_id}.jpg")
    return describe(tmp_path, META)


def describe(root: Path, meta: object) -> Path:
    (root / "meta.json").write_text(json.dumps(meta))
    return root


def test_ids_and_pixels_are_read(folder: Path) -> None:
    photos = Photos(folder)
    assert (tuple(photos.train), tuple(photos.val)) == (("a1",), ("b2",))
    assert tuple(photos.unlabelled) == ("u1", "u2")
    photo, parts = photos.photo("a1"), photos.parts("a1")
    assert photo.shape == (12, 8, 3)
    assert parts.shape == (12, 8)
    assert photo.dtype == parts.dtype == np.uint8
    with Image.open(folder / "parts/a1.png") as file:
        assert np.array_equal(parts, np.asarray(file))


@pytest.mark.parametrize("lost", ["photos", "parts", "meta.json"])
def test_a_lost_part_of_the_folder_is_named(folder: Path, lost: str) -> None:
    (folder / lost).rename(folder / "moved")
    with pytest.raises(MissingError, match=lost):
        Photos(folder)


def test_a_lost_photo_is_named(folder: Path) -> None:
    (folder / "photos/a1.jpg").unlink()
    with pytest.raises(MissingError, match="a1"):
        Photos(folder).photo("a1")


def test_other_classes_than_person7_are_refused(folder: Path) -> None:
    describe(folder, {**META, "parts": ["background", "person"]})
    with pytest.raises(InputError, match="person"):
        Photos(folder)


def test_a_photo_is_for_one_thing_alone(folder: Path) -> None:
    assert Photos(describe(folder, {**META, "test": ["c3"]})).test == ("c3",)
    with pytest.raises(InputError, match="b2 is in val and in test"):
        Photos(describe(folder, {**META, "test": ["b2"]}))


@pytest.mark.parametrize("bad", ["../a1", "/etc/a1", "x/a1", "x\\a1", "..", ""])
def test_ids_that_are_paths_are_refused(folder: Path, bad: str) -> None:
    describe(folder, {**META, "train": ["a1", bad]})
    with pytest.raises(InputError):
        Photos(folder)


@pytest.mark.parametrize("text", ["{", "[]", '{"train": []}'])
def test_unusable_metadata_is_refused(folder: Path, text: str) -> None:
    (folder / "meta.json").write_text(text)
    with pytest.raises(InputError, match=r"meta\.json"):
        Photos(folder)


def test_labels_beyond_the_classes_are_refused(folder: Path) -> None:
    Image.fromarray(np.full((12, 8), 9, np.uint8)).save(folder / "parts/a1.png")
    with pytest.raises(InputError, match="9"):
        Photos(folder).parts("a1")


def test_a_damaged_photo_is_refused(folder: Path) -> None:
    (folder / "photos/a1.jpg").write_bytes(b"no image")
    with pytest.raises(InputError, match="a1"):
        Photos(folder).photo("a1")


PARTS = np.repeat(np.arange(8, dtype=np.uint8), 3)[:, None].repeat(12, 1)


@pytest.fixture
def one(tmp_path: Path) -> Path:
    for name in ("photos", "parts"):
        (tmp_path / name).mkdir()
    Image.fromarray(np.full((24, 12, 3), 99, np.uint8)).save(tmp_path / "photos/a.jpg")
    meta = {"parts": list(label_set("person7").classes), "train": [], "val": ["a"]}
    (tmp_path / "meta.json").write_text(json.dumps(meta))
    return tmp_path


def labelled(one: Path, image: Image.Image) -> Photos:
    image.save(one / "parts/a.png")
    return Photos(one)


@pytest.mark.parametrize("mode", ["L", "I;16", "palette", "reordered", "rgb", "odd colours", "one colour"])
def test_labels_are_their_numbers_or_known_colours_and_never_luminance(one: Path, mode: str) -> None:
    voc = np.array(voc_colours(), np.uint8).reshape(256, 3)
    image = Image.fromarray(PARTS.astype(np.uint16) if mode == "I;16" else PARTS)
    if mode == "palette":
        image.putpalette(voc.ravel().tolist())
    if mode == "reordered":
        image = Image.fromarray(255 - PARTS)
        image.putpalette(voc[::-1].ravel().tolist())
    if mode == "rgb":
        image = Image.fromarray(voc[PARTS])
    if mode == "odd colours":
        image.putpalette([v for n in range(256) for v in (0, n, 9)])
    if mode == "one colour":
        image.putpalette([0, 0, 0, *([4, 4, 4] * 255)])  # whose luminance is a class too
    assert np.array_equal(labelled(one, image).parts("a"), PARTS)


def test_doubts_are_kept_for_the_user_once(one: Path) -> None:
    image = Image.fromarray(PARTS)
    image.putpalette([v for n in range(256) for v in (0, n, 9)])
    photos = labelled(one, image)
    for _ in range(2):
        photos.parts("a")
    (note,) = photos.notes
    assert "of no palette known for person7: its numbers are taken as classes" in note


@pytest.mark.parametrize("ending", ["png", "JPEG", "tif"])
def test_photographs_may_be_any_image(one: Path, ending: str) -> None:
    (one / "photos/a.jpg").unlink()
    (one / "unlabelled").mkdir()
    picture = Image.fromarray(np.full((24, 12, 3), 77, np.uint8))
    for name in (f"photos/a.{ending}", f"unlabelled/b.{ending}", f"unlabelled/._b.{ending}"):
        picture.save(one / name)
    photos = labelled(one, Image.fromarray(PARTS))
    assert photos.unlabelled == ("b",)
    assert abs(int(photos.photo("a").mean()) - 77) <= 1
    assert abs(int(photos.photo("b", labelled=False).mean()) - 77) <= 1
    assert np.array_equal(photos.parts("a"), PARTS)


def test_two_photographs_of_one_id_are_refused(one: Path) -> None:
    Image.fromarray(np.full((24, 12, 3), 77, np.uint8)).save(one / "photos/a.png")
    with pytest.raises(InputError, match=r"a\.jpg and a\.png have one id"):
        Photos(one).photo("a")


def test_a_sixteen_bit_photograph_is_read_as_every_image(one: Path) -> None:
    (one / "photos/a.jpg").unlink()
    values = np.linspace(29315, 30815, 24 * 12).reshape(24, 12).astype(np.uint16)
    Image.fromarray(values).save(one / "photos/a.png")
    assert np.array_equal(Photos(one).photo("a"), read_image(one / "photos/a.png"))


def test_a_photograph_turned_by_exif_is_upright_and_its_labels_too(one: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = np.full((12, 24, 3), 99, np.uint8)
    stored[:, 12:] = 200
    Image.fromarray(stored).save(one / "photos/a.jpg", exif=exif)
    for parts in (PARTS, np.rot90(PARTS)):  # drawn on the upright photograph, and on the stored pixels
        photos = labelled(one, Image.fromarray(parts))
        assert photos.photo("a").shape == (24, 12, 3)
        assert photos.photo("a")[-1].mean() > 150
        assert np.array_equal(photos.parts("a"), PARTS)


def test_what_is_no_annotation_is_refused(one: Path) -> None:
    with pytest.raises(MissingError, match=r"a\.png is named in meta.json but missing"):
        Photos(one).parts("a")
    with pytest.raises(InputError, match=r"has the value 8, but label set 'person7' has the classes 0 to 7"):
        labelled(one, Image.fromarray(PARTS + 1)).parts("a")
    with pytest.raises(InputError, match="holds 255"):
        labelled(one, Image.fromarray(np.where(PARTS, PARTS, 255).astype(np.uint8))).parts("a")
    with pytest.raises(InputError, match="is 24x24, its photograph 24x12"):
        labelled(one, Image.fromarray(PARTS.repeat(2, 1))).parts("a")
    (one / "photos/a.jpg").write_bytes(b"no image")
    with pytest.raises(InputError, match="cannot be read"):
        Photos(one).photo("a")
