"""What BPBreID and KPR do with a mask file: load, channels last, resize, then the maximum over a part's channels."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path, PurePosixPath

import numpy as np
import pytest

from parsing import InputError, MaskCache
from parsing.exporters.base import FileOptions
from parsing.exporters.bpbreid import BpbreidExporter

HEAD = [*range(5), *range(29, 36)]
FIVE_V = {
    "head": HEAD,
    "upper": [5, 6, 7, 8, 24, 25, 26],
    "lower": [9, 10, 11, 12, 23, 27, 28],
    "legs": [11, 12, 13, 14, 17, 18, 19, 20],
    "feet": [15, 16],
}
EIGHT = {
    "head": HEAD,
    "left arm": [5, 7, 9, 25, 27],
    "right arm": [6, 8, 10, 26, 28],
    "torso": [11, 12, 21, 22, 23, 24],
    "left leg": [13, 17, 18, 21],
    "right leg": [14, 19, 20],
    "left foot": [15],
    "right foot": [16],
}
LIP = {"face": 13, "upper-clothes": 5, "left-arm": 14, "right-arm": 15, "pants": 9, "left-leg": 16, "right-leg": 17}
LIP |= {"left-shoe": 18, "right-shoe": 19}


def grouped(file: Path, groups: dict[str, list[int]]) -> dict[str, np.ndarray]:
    masks = np.load(file)
    assert masks.dtype == np.float32
    assert masks.shape[0] == 36
    return {part: masks[channels].max(0).clip(0, 1) for part, channels in groups.items()}


def person(left: slice, right: slice) -> np.ndarray:
    """A drawn person (1, 64, 32) in lip, limbs of the left side in columns `left`, of the right side in `right`."""
    mask = np.zeros((1, 64, 32), np.uint8)
    mask[0, 0:8, 12:20] = LIP["face"]
    mask[0, 8:32, 8:24] = LIP["upper-clothes"]
    mask[0, 32:44, 8:24] = LIP["pants"]
    for side, columns in (("left", left), ("right", right)):
        mask[0, 8:32, columns.start - 4 if columns.start > 12 else columns.start + 4] = 0
        mask[0, 44:56, columns] = LIP[f"{side}-leg"]
        mask[0, 56:64, columns] = LIP[f"{side}-shoe"]
    mask[0, 8:32, 4:8] = LIP["right-arm" if right.start < left.start else "left-arm"]
    mask[0, 8:32, 24:28] = LIP["left-arm" if right.start < left.start else "right-arm"]
    return mask


FACING = person(slice(16, 24), slice(8, 16))
AWAY = person(slice(8, 16), slice(16, 24))


def test_the_file_lies_where_the_loader_looks(
    make_cache: Callable[..., MaskCache], exported: Callable[..., Path], tmp_path: Path
) -> None:
    image = "visible/bounding_box_train/0002_c1s1_000451_03.jpg"
    exported(make_cache("lip", [image]), "bpbreid", tmp_path / "Market-1501-v15.09.15")
    split, stem = Path(image).parent.name, Path(image).stem
    base = tmp_path / "Market-1501-v15.09.15/masks/pifpaf_maskrcnn_filtering"
    channels_last = np.load(base / split / (stem + ".npy")).transpose(1, 2, 0)
    assert channels_last.shape == (12, 6, 36)


@pytest.mark.parametrize("to", ["bpbreid", "kpr"])
def test_five_v_and_eight_find_their_parts_in_one_file(
    make_cache: Callable[..., MaskCache], exported: Callable[..., Path], to: str
) -> None:
    cache = make_cache("lip", ["a/b.jpg"], FACING, size=(64, 32))
    file = exported(cache, to, size="masks") / "masks/pifpaf_maskrcnn_filtering/a/b.npy"
    mask = FACING[0]

    def where(*names: str) -> np.ndarray:
        return np.isin(mask, [LIP[n] for n in names])

    rows = np.arange(64)[:, None]
    arms_and_torso = where("upper-clothes", "left-arm", "right-arm")
    expected = {
        "head": where("face"),
        "upper": arms_and_torso & (rows < 20),
        "lower": arms_and_torso & (rows >= 20),
        "legs": where("pants", "left-leg", "right-leg"),
        "feet": where("left-shoe", "right-shoe"),
    }
    for part, found in grouped(file, FIVE_V).items():
        assert np.array_equal(found, expected[part]), part
    left = np.arange(32)[None] >= 16
    expected = {
        "head": where("face"),
        "left arm": where("left-arm"),
        "right arm": where("right-arm"),
        "torso": where("upper-clothes"),
        "left leg": where("left-leg") | (where("pants") & left),
        "right leg": where("right-leg") | (where("pants") & ~left),
        "left foot": where("left-shoe"),
        "right foot": where("right-shoe"),
    }
    for part, found in grouped(file, EIGHT).items():
        assert np.array_equal(found, expected[part]), part


def test_limbs_without_a_side_follow_the_way_the_person_faces(
    make_cache: Callable[..., MaskCache], exported: Callable[..., Path]
) -> None:
    cache = make_cache("lip", ["a/b.jpg"], AWAY, size=(64, 32))
    parts = grouped(exported(cache, "bpbreid", size="masks") / "masks/pifpaf_maskrcnn_filtering/a/b.npy", EIGHT)
    trousers = slice(32, 44)
    assert parts["left leg"][trousers, 8:16].all()
    assert not parts["left leg"][trousers, 16:].any()


def test_soft_masks_sum_to_the_person_and_hold_no_more(
    make_cache: Callable[..., MaskCache], exported: Callable[..., Path]
) -> None:
    cache = make_cache("lip", ["a/b.jpg"], FACING, probs=True, size=(64, 32))
    masks = np.load(exported(cache, "kpr") / "masks/pifpaf_maskrcnn_filtering/a/b.npy")
    assert masks.shape == (36, 16, 8)
    body = cache.parts("a/b.jpg", "body", size=(16, 8))[0]  # as stored: no blur of two resizings
    np.testing.assert_allclose(masks.sum(0), body, atol=1e-5)
    assert ((masks > 0.05) & (masks < 0.95)).any()


@pytest.mark.parametrize("labels", ["person7", "pascal", "goliath"])
def test_no_part_of_a_label_set_is_lost(make_cache: Callable[..., MaskCache], labels: str) -> None:
    cache = make_cache(labels, ["a/b.jpg"])
    writer = BpbreidExporter(cache, FileOptions("masks"))
    masks = np.load(BytesIO(writer.encode(0, PurePosixPath("b.npy"))))
    counted = {"person7": range(1, 7), "pascal": range(1, 7), "goliath": range(2, 28)}[labels]
    assert np.array_equal(masks.sum(0) > 0, np.isin(cache[0], list(counted)))
    assert masks.sum(0).max() == 1


def test_images_that_would_share_a_file_are_named(
    make_cache: Callable[..., MaskCache], exported: Callable[..., Path], tmp_path: Path
) -> None:
    cache = make_cache("lip")
    with pytest.raises(InputError, match=r"cam1/0001/0001.jpg and cam3/0001/0001.jpg would both be"):
        exported(cache, "bpbreid", path="masks/{1}/{stem}.npy")
    out = exported(cache, "bpbreid", tmp_path / "all", path="masks/{dir}/{stem}.npy")
    assert len(list(out.rglob("*.npy"))) == len(cache)
