"""COCO files of other tools: classes by name, what lies in front, and one line for all that is wrong."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from parsing.errors import InputError, MissingError
from parsing.importers.coco_file import read_coco
from parsing.labels import LabelSet, label_set

PERSON7 = label_set("person7")
SIZE = (10, 8)


def square(top: int, left: int, side: int) -> list[list[float]]:
    return [[left, top, left + side, top, left + side, top + side, left, top + side]]


def content(**changed: Any) -> dict[str, Any]:
    said: dict[str, Any] = {
        "images": [{"id": 7, "file_name": "cam1/a.jpg", "height": 10, "width": 8}],
        "categories": [{"id": 0, "name": "Head"}, {"id": 5, "name": "upper"}, {"id": 9, "name": "dog"}],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 0, "segmentation": square(2, 2, 2)},
            {"id": 2, "image_id": 7, "category_id": 5, "segmentation": square(1, 1, 6), "iscrowd": 0},
            {"id": 3, "image_id": 7, "category_id": 9, "segmentation": {"size": [10, 8], "counts": [0, 80]},
             "iscrowd": 1},
        ],
    }  # fmt: skip
    return said | changed


@pytest.fixture
def written(tmp_path: Path) -> Callable[[Any], Path]:
    def write(said: Any) -> Path:
        path = tmp_path / "a.json"
        path.write_text(said if isinstance(said, str) else json.dumps(said))
        return path

    return write


def test_small_annotations_lie_in_front_and_crowds_are_ignored_behind_all(written: Callable[[Any], Path]) -> None:
    masks = read_coco(written(content()), PERSON7)
    assert list(masks) == ["cam1/a.jpg"]
    png = masks["cam1/a.jpg"].read()
    found = np.array([key.number for key in png.keys])[png.pixels]
    expected = np.full(SIZE, 255)
    expected[1:7, 1:7], expected[2:4, 2:4] = 2, 1
    assert np.array_equal(found, expected)


def test_a_category_of_another_name_gets_the_class_that_is_said(written: Callable[[Any], Path]) -> None:
    said = content()
    said["annotations"][2]["iscrowd"] = 0
    with pytest.raises(InputError, match=r"cam1/a.jpg shows the category 'dog', which .* --values 9=head"):
        read_coco(written(said), PERSON7)
    png = read_coco(written(said), PERSON7, {9: 7})["cam1/a.jpg"].read()
    assert np.array([key.number for key in png.keys])[png.pixels][9, 7] == 7


def test_classes_that_differ_in_case_alone_and_one_called_ignored_are_kept_apart(
    written: Callable[[Any], Path],
) -> None:
    own = LabelSet("own", ("background", "Hat", "hat", "ignored"))
    names = ["hat", "Hat", "ignored", "ignored", "HAT"]
    said = content(
        categories=[{"id": n, "name": name} for n, name in enumerate(names)],
        annotations=[
            {"id": n, "image_id": 7, "category_id": n, "segmentation": square(2 * n, 0, 2), "iscrowd": int(n == 3)}
            for n in range(4)
        ],
    )
    png = read_coco(written(said), own)["cam1/a.jpg"].read()
    assert np.array([key.number for key in png.keys])[png.pixels][:8:2, 0].tolist() == [2, 1, 3, 255]
    said["annotations"][0]["category_id"] = 4
    with pytest.raises(InputError, match=r"shows the category 'HAT', which is no class of own .* --values 4=Hat"):
        read_coco(written(said), own)


def test_the_digest_changes_with_the_mask_alone(written: Callable[[Any], Path]) -> None:
    one = read_coco(written(content()), PERSON7)["cam1/a.jpg"].digest()
    assert read_coco(written(content(info={"date": 1})), PERSON7)["cam1/a.jpg"].digest() == one
    said = content()
    said["annotations"][0]["segmentation"] = square(2, 2, 3)
    assert read_coco(written(said), PERSON7)["cam1/a.jpg"].digest() != one


def image(**changed: Any) -> list[dict[str, Any]]:
    return [content()["images"][0] | changed]


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("[1, 2", "no readable JSON"),
        ("[" * 100_000, "no readable JSON"),
        ([], "no COCO file"),
        ({"images": []}, "no COCO file"),
        (content(annotations=[1]), "no COCO file"),
        (content(images=[], annotations=[]), "has no images"),
        (content(images=image(file_name="../a.jpg")), r"file_name '\.\./a\.jpg': give the path"),
        (content(images=image(file_name="/etc/a.jpg")), "give the path"),
        (content(images=image(file_name=3)), "expected a text"),
        (content(images=image(height=-1)), r"is -1 x 8 \(height x width\)"),
        (content(images=image(height=10**6, width=10**6)), "no size of an image"),
        (content(images=image() * 2), "two images have the id 7"),
        (content(images=[*image(), *image(id=8)]), "two images have one file_name"),
        (content(images=image(id=[1])), r"id is \[1\]"),
        (content(categories=[{"id": 1}]), "category 1 has no name"),
        (content(annotations=[{"image_id": 1, "category_id": 0}]), "is of image 1, which is not in the file"),
        (content(annotations=[{"image_id": 7, "category_id": 3}]), "the category number 3, which is no class"),
        (content(annotations=[{"image_id": 7, "category_id": None}]), "category_id is None"),
    ],
)
def test_what_is_no_coco_file_is_refused_in_one_line(written: Callable[[Any], Path], said: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as refusal:
        read_coco(written(said), PERSON7)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("segmentation", [None, [[1, 2, 10**400, 4, 5, 6]], {"size": [10, 8], "counts": "o5"}])
def test_a_segmentation_that_does_not_fit_names_its_image(written: Callable[[Any], Path], segmentation: Any) -> None:
    said = content()
    said["annotations"][1]["segmentation"] = segmentation
    mask = read_coco(written(said), PERSON7)["cam1/a.jpg"]
    with pytest.raises(InputError, match=r"a\.json: annotation 2 of cam1/a\.jpg: "):
        mask.read()


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"no masks .*none\.json"):
        read_coco(tmp_path / "none.json", PERSON7)
