"""What pycocotools finds in the JSON of masks: one annotation per part, exact run lengths, areas and boxes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as tools
from pycocotools.coco import COCO

from parsing import MaskCache
from parsing.cache.shard import Status
from parsing.coco import decode_segmentation, encode_mask
from parsing.resize import resize_labels

Exported = Callable[..., Path]


@pytest.fixture
def noise() -> np.ndarray:
    """Four masks of lip, of noise and of flat areas, with ignored pixels, up to all four corners."""
    rng = np.random.default_rng(0)
    masks = rng.integers(0, 20, (4, 48, 24)).astype(np.uint8)
    masks[1] = 0
    masks[2, :, :12] = 7
    masks[3, ::5] = 255
    return masks


def test_pycocotools_reads_every_class_where_the_cache_has_it(
    make_cache: Callable[..., MaskCache], exported: Exported, noise: np.ndarray
) -> None:
    cache = make_cache("lip", [f"cam1/0001/{n}.jpg" for n in range(4)], noise)
    coco = COCO(exported(cache, "coco") / "annotations.json")
    assert [c["name"] for c in coco.loadCats(coco.getCatIds())] == [*cache.labels.classes[1:], "ignored"]
    for number, name in enumerate(cache.names):
        (image,) = [one for one in coco.dataset["images"] if one["file_name"] == name]
        assert (image["height"], image["width"]) == (100, 40)  # as large as the image
        found = np.zeros((100, 40), np.uint8)
        for one in coco.loadAnns(coco.getAnnIds(image["id"])):
            part = coco.annToMask(one).astype(bool)
            assert one["area"] == part.sum()
            rows, columns = np.nonzero(part)
            left, top, width, height = one["bbox"]
            assert (left, top) == (columns.min(), rows.min())
            assert (left + width - 1, top + height - 1) == (columns.max(), rows.max())
            assert one["iscrowd"] == (one["category_id"] == 255)
            found[part] = one["category_id"]
        assert np.array_equal(found, resize_labels(noise[number], (100, 40)))


def test_parts_of_a_scheme_are_categories_and_unreadable_images_are_left_out(
    make_cache: Callable[..., MaskCache], exported: Exported
) -> None:
    cache = make_cache("lip", ["d/a.jpg", "d/b.jpg"], status=[Status.UNREADABLE, Status.OK])
    said = json.loads((exported(cache, "coco", scheme="reid4", size="masks") / "annotations.json").read_text())
    assert [c["name"] for c in said["categories"]] == ["head", "upper", "lower", "feet", "ignored"]
    assert [(image["file_name"], image["height"]) for image in said["images"]] == [("d/b.jpg", 48)]
    assert {one["image_id"] for one in said["annotations"]} == {said["images"][0]["id"]}
    assert said["licenses"][0]["name"] == "MIT"


def test_a_cache_without_masks_makes_a_file_with_empty_lists(
    make_cache: Callable[..., MaskCache], exported: Exported
) -> None:
    cache = make_cache("lip", ["d/a.jpg"], status=[Status.UNREADABLE])
    said = json.loads((exported(cache, "coco") / "annotations.json").read_text())
    assert (said["images"], said["annotations"]) == ([], [])


@pytest.mark.parametrize("share", [0, 0.001, 0.4, 1])
@pytest.mark.parametrize("size", [(31, 17), (1, 1), (1, 300), (700, 1), (400, 600)])
def test_runs_are_those_of_pycocotools_to_the_letter(size: tuple[int, int], share: float) -> None:
    mask = np.random.default_rng(1).random(size) < share
    mask[: size[0] // 2] |= share > 0.3  # long runs too
    made = encode_mask(mask)
    theirs = tools.encode(np.asfortranarray(mask, np.uint8))
    assert made["segmentation"] == {"size": list(size), "counts": theirs["counts"].decode()}
    assert (made["area"], made["bbox"]) == (tools.area(theirs), tools.toBbox(theirs).tolist())
    assert np.array_equal(decode_segmentation(made["segmentation"], size), mask)
    flat = mask.ravel(order="F").astype(int)
    cuts = [0, *(np.flatnonzero(np.diff(flat)) + 1).tolist(), flat.size]
    counts = np.diff(cuts).tolist()
    listed = {"size": list(size), "counts": [0, *counts] if flat[0] else counts}
    assert np.array_equal(decode_segmentation(listed, size), mask)


def test_polygons_are_filled_as_pycocotools_fills_them_but_for_the_outline() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        middles = rng.uniform(30, 90, (2, 1, 2))
        turns = np.sort(rng.uniform(0, 2 * np.pi, (2, 9)), 1)
        rays = rng.uniform(10, 30, (2, 9, 1)) * np.stack([np.cos(turns), np.sin(turns)], -1)
        polygons = (middles + rays).reshape(2, -1).tolist()
        mask = decode_segmentation(polygons, (120, 110))
        theirs = tools.decode(tools.merge(tools.frPyObjects(polygons, 120, 110))).astype(bool)
        differ = mask != theirs
        inner = theirs.copy()
        inner[1:-1, 1:-1] &= theirs[:-2, 1:-1] & theirs[2:, 1:-1] & theirs[1:-1, :-2] & theirs[1:-1, 2:]
        assert not (inner & ~mask).any()
        assert differ.sum() < 0.05 * theirs.sum()
    square = np.zeros((9, 8), bool)
    square[2:5, 1:4] = True
    assert np.array_equal(decode_segmentation([[1, 2, 4, 2, 4, 5, 1, 5]], (9, 8)), square)
    assert decode_segmentation([[-9e8, -9e8, 9e8, -9e8, 9e8, 9e8, -9e8, 9e8]], (9, 8)).all()  # far beyond the image


@pytest.mark.parametrize(
    "segmentation",
    [
        None, [], {}, [[1, 2, 3, 4]], [[1, 2, 3, 4, 5, "6"]], [[1, 2, 3, 4, 5, float("nan")]], [[True] * 6],
        {"size": [17, 31], "counts": [527]}, {"size": [31, 17], "counts": [526]},
        {"size": [31, 17], "counts": [-1, 528]},
        {"size": [31, 17], "counts": "o5"}, {"size": [31, 17], "counts": "é"}, {"size": [31, 17], "counts": 527},
        {"size": [31, 17], "counts": ""}, {"size": [31, 17], "counts": "0" * 9 + "P" * 9 + "0"},
        {"size": [31, 17], "counts": [2**70, 527 - 2**70]}, {"size": [31, 17], "counts": [2**62] * 4 + [527]},
        [[1, 2, 3, 4, 5, 10**400]], [[1, 2, 3, 4, 5, float("inf")]],
    ],
)  # fmt: skip
def test_what_is_no_segmentation_is_refused(segmentation: Any) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode_segmentation(segmentation, (31, 17))
