"""Fields of BPBreID and KPR: the class of the largest, as BPBreID groups and thresholds them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from parsing.errors import InputError
from parsing.importers.pose_fields import CHANNELS, read_pose_fields
from parsing.labels import label_set

PERSON7 = label_set("person7")
EIGHT = {
    "head": [*range(5), *range(29, 36)],
    "arms": [5, 7, 9, 25, 27, 6, 8, 10, 26, 28],
    "upper": [11, 12, 21, 22, 23, 24],
    "lower": [13, 17, 18, 14, 19, 20],
    "feet": [15, 16],
}
"""Channels of BPBreID's grouping `eight`, both sides in one; 21, which is in two of its parts, in the torso."""


def saved(folder: Path, array: Any) -> Path:
    np.save(folder / "a.npy", array)
    return folder / "a.npy"


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_every_channel_is_of_the_class_that_bpbreid_groups_it_in(tmp_path: Path, dtype: Any) -> None:
    fields = np.eye(CHANNELS, dtype=dtype)[:, None, :] * 0.75  # one channel per column
    fields[:, :, 3] = 0.25  # below the threshold
    read = read_pose_fields(saved(tmp_path, fields), PERSON7)
    found = np.array([key.number for key in read.keys])[read.pixels][0]
    of = {channel: part for part, channels in EIGHT.items() for channel in channels}
    expected = [PERSON7.index(of[channel]) for channel in range(CHANNELS)]
    expected[3] = 0
    assert found.tolist() == expected


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.zeros((35, 4, 4), np.float32), r"\(35, 4, 4\); expected fields of numbers \(36, H, W\)"),
        (np.zeros((36, 4), np.float32), "expected fields"),
        (np.zeros((36, 4, 4), np.uint8), "expected fields"),
        (np.full((36, 4, 4), np.inf, np.float32), "not finite"),
        (np.zeros((36, 0, 4), np.float32), "no mask"),
    ],
)
def test_what_is_no_field_is_refused_by_name(tmp_path: Path, array: Any, said: str) -> None:
    with pytest.raises(InputError, match=rf"a\.npy .*{said}"):
        read_pose_fields(saved(tmp_path, array), PERSON7)


def test_a_label_set_without_these_classes_is_refused_with_the_one_that_has_them(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="label set lip has no head; give --labels person7"):
        read_pose_fields(saved(tmp_path, np.zeros((36, 4, 4), np.float32)), label_set("lip"))
