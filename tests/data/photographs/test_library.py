"""Annotated photographs: what is read, and what is refused with the missing thing named."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from data.photographs.library import Photos
from parsing.errors import InputError, MissingError
from parsing.labels import label_set

META: dict[str, Any] = {"train": ["a1"], "val": ["b2"], "parts": list(label_set("street").classes)}


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


def test_other_classes_than_street_are_refused(folder: Path) -> None:
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
