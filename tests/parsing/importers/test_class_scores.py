"""Scores of classes as .npy: the largest of each pixel counts, in either order of the axes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from parsing.errors import InputError, MissingError
from parsing.importers.class_scores import read_class_scores
from parsing.labels import label_set

LIP = label_set("lip")


def saved(folder: Path, array: Any) -> Path:
    np.save(folder / "a.npy", array)
    return folder / "a.npy"


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize(("size", "orders"), [((9, 5), "both"), ((20, 7), "first"), ((7, 20), "last")])
def test_the_class_of_the_largest_score_is_taken(
    tmp_path: Path, size: tuple[int, int], orders: str, dtype: Any
) -> None:
    scores = np.random.default_rng(0).standard_normal((*size, 20)).astype(dtype)
    for order, array in (("last", scores), ("first", scores.transpose(2, 0, 1))):
        if orders not in ("both", order):  # as many rows or columns as classes
            with pytest.raises(InputError, match=r"a\.npy holds \(20, 7, 20\): the first axis and the last one have"):
                read_class_scores(saved(tmp_path, array), LIP)
            continue
        read = read_class_scores(saved(tmp_path, array), LIP)
        assert read.size == size
        assert np.array_equal(np.array([key.number for key in read.keys])[read.pixels], scores.argmax(2))


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.zeros((4, 5, 18), np.float32), r"\(4, 5, 18\); expected scores \(H, W, 20\) or \(20, H, W\)"),
        (np.zeros((4, 5), np.float32), "expected scores"),
        (np.zeros((4, 5, 20), np.int64), "expected scores"),
        (np.full((4, 5, 20), np.nan, np.float32), "not finite"),
        (np.zeros((0, 5, 20), np.float32), "no mask"),
        (np.array([{}], object), "no readable"),
    ],
)
def test_what_is_no_scores_is_refused_by_name(tmp_path: Path, array: Any, said: str) -> None:
    with pytest.raises(InputError, match=rf"a\.npy .*{said}"):
        read_class_scores(saved(tmp_path, array), LIP)


def test_missing_and_foreign_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"no mask .*none\.npy"):
        read_class_scores(tmp_path / "none.npy", LIP)
    (tmp_path / "b.npy").write_bytes(b"no array")
    with pytest.raises(InputError, match=r"b\.npy is no readable"):
        read_class_scores(tmp_path / "b.npy", LIP)


@pytest.mark.parametrize(
    "header", [b"{'descr': '<f4', 'fortran_order': False, 'shape': (4,", b"{", b"[" * 3000, b"\0'"]
)
def test_a_broken_header_is_one_line(tmp_path: Path, header: bytes) -> None:
    padded = header.ljust(118) + b"\n"
    (tmp_path / "c.npy").write_bytes(b"\x93NUMPY\x01\0" + len(padded).to_bytes(2, "little") + padded + bytes(320))
    with pytest.raises(InputError, match=r"c\.npy is no readable \.npy file") as refusal:
        read_class_scores(tmp_path / "c.npy", LIP)
    assert "\n" not in str(refusal.value)
