"""A clone of Clothing Co-Parsing: what is read, and every wrong file refused by its name."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from data.photographs.ccp import CLASSES, TEST, VAL, Clone
from parsing.errors import InputError, MissingError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Photographs 0001 and 1005 of 8 x 6 pixels, the first with classes."""
    (tmp_path / "photos").mkdir()
    (tmp_path / "annotations/pixel-level").mkdir(parents=True)
    for name in ("0001", "1005"):
        Image.new("RGB", (6, 8), (200, 10, 10)).save(tmp_path / f"photos/{name}.jpg")
    annotate(tmp_path, np.arange(48, dtype=np.uint8).reshape(8, 6))
    return tmp_path


def annotate(root: Path, groundtruth: object, compressed: bool = False) -> Path:
    path = root / "annotations/pixel-level/0001.mat"
    savemat(path, {"groundtruth": groundtruth}, do_compression=compressed)
    return path


def test_ids_photos_and_classes_are_read(root: Path) -> None:
    clone = Clone(root)
    assert (clone.annotated, clone.unannotated) == (("0001",), ("1005",))
    assert clone.photo("1005").shape == (8, 6, 3)
    assert np.array_equal(clone.classes("0001", (8, 6)), np.arange(48).reshape(8, 6))


@pytest.mark.parametrize("kind", ["float64", "int16", "uint8"])
def test_class_numbers_of_any_kind_come_as_bytes(root: Path, kind: str) -> None:
    annotate(root, np.full((8, 6), 58, kind), compressed=True)
    classes = Clone(root).classes("0001", (8, 6))
    assert classes.dtype == np.uint8
    assert (classes == 58).all()


@pytest.mark.parametrize("bad", [59, -1, 1.5, np.nan, np.inf, 1 + 2j])
def test_numbers_that_are_no_class_are_refused(root: Path, bad: Any) -> None:
    annotate(root, np.full((8, 6), bad))
    with pytest.raises(InputError, match=r"0001\.mat"):
        Clone(root).classes("0001", (8, 6))


def test_another_size_than_the_photos_is_refused_with_both(root: Path) -> None:
    annotate(root, np.zeros((7, 6), np.uint8))
    with pytest.raises(InputError, match=r"0001\.mat.*7 x 6.*8 x 6"):
        Clone(root).classes("0001", (8, 6))


@pytest.mark.parametrize("value", [np.full((8, 6), "x", object), {"a": 1}, "text"])
def test_cells_structures_and_text_are_refused_unread(root: Path, value: object) -> None:
    annotate(root, value)
    with pytest.raises(InputError, match=r"0001\.mat.*(cell|struct|char)"):
        Clone(root).classes("0001", (8, 6))


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 0.97])
def test_a_truncated_file_is_refused(root: Path, share: float, compressed: bool) -> None:
    rng = np.random.default_rng(0)
    path = annotate(root, rng.integers(0, 59, (8, 6), dtype=np.uint8), compressed)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(InputError, match=r"0001\.mat"):
        Clone(root).classes("0001", (8, 6))


def test_another_variable_is_refused(root: Path) -> None:
    path = root / "annotations/pixel-level/0001.mat"
    savemat(path, {"tags": np.zeros((8, 6))})
    with pytest.raises(InputError, match=r"0001\.mat.*tags"):
        Clone(root).classes("0001", (8, 6))


@pytest.mark.parametrize("lost", ["photos", "annotations/pixel-level"])
def test_a_lost_folder_is_named(root: Path, lost: str) -> None:
    (root / lost).rename(root / "moved")
    with pytest.raises(MissingError, match=lost):
        Clone(root)


def test_a_class_map_without_its_photo_is_named(root: Path) -> None:
    (root / "photos/0001.jpg").unlink()
    with pytest.raises(MissingError, match=r"0001\.mat"):
        Clone(root)


def test_a_folder_without_class_maps_is_refused(root: Path) -> None:
    (root / "annotations/pixel-level/0001.mat").unlink()
    with pytest.raises(MissingError, match="pixel-level"):
        Clone(root)


def test_foreign_names_are_refused_and_hidden_ones_passed_over(root: Path) -> None:
    (root / "photos/._0001.jpg").write_bytes(b"")
    assert Clone(root).unannotated == ("1005",)
    (root / "photos/0001 (copy).jpg").write_bytes(b"")
    with pytest.raises(InputError, match=r"0001 \(copy\)"):
        Clone(root)


def test_a_damaged_photo_is_named(root: Path) -> None:
    (root / "photos/0001.jpg").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"0001\.jpg"):
        Clone(root).photo("0001")


def test_the_classes_and_the_split_have_the_published_numbers() -> None:
    assert len(CLASSES) == len(set(CLASSES)) == 59
    assert (len(VAL), len(TEST), len({*VAL, *TEST})) == (100, 104, 204)
    assert all("0001" <= i <= "1004" for i in VAL + TEST)
