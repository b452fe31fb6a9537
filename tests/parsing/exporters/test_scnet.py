"""What the loader of Gpn-star/SCNet does: a palette PNG indexes the image, ids of clothes are blacked out."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from parsing import MaskCache, label_set
from parsing.exporters.scnet import ScnetExporter

CLOTHES = [2, 3, 4, 5, 6, 7, 10, 11]
CLASSES = ["background", *ScnetExporter.scheme.parts]


def test_the_file_indexes_the_image(
    make_cache: Callable[..., MaskCache], exported: Callable[..., Path], tmp_path: Path
) -> None:
    cache = make_cache("atr", ["visible/train/001-1-c01.jpg"], source=(90, 33))
    root = exported(cache, "scnet", tmp_path / "VC-Clothes")
    img_path = root / "train" / "001-1-c01.jpg"
    with Image.open(img_path.parent.parent / "processed" / (img_path.name[:-4] + ".png")) as image:
        assert image.mode == "P"
        parsing = np.asarray(image, np.uint8)
    pixels = np.full((3, 90, 33), 7, np.uint8)
    pixels[np.isin(np.repeat(parsing[None], 3, 0), CLOTHES)] = 0
    assert (pixels[:, parsing == 1] == 7).all()  # the head stays
    assert (pixels[:, parsing == 2] == 0).all()
    assert set(np.unique(parsing)) == set(range(12))


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (
            "atr",
            {"hat": "head", "face": "head", "left-shoe": "shoes", "right-leg": "legs", "belt": "belt", "bag": "bag"},
        ),
        ("lip", {"coat": "upper", "jumpsuits": "dress", "socks": "shoes", "glove": "arms", "scarf": "scarf"}),
        ("cihp", {"torso-skin": "upper", "dress": "dress"}),
        ("person7", {"lower": "pants", "upper": "upper", "bag": "bag"}),
        ("fashn", {"top": "upper", "hands": "arms", "feet": "shoes", "glasses": "head"}),
        ("goliath", {"left-sock": "shoes", "face-neck": "head", "right-hand": "arms", "apparel": "background"}),
        ("pascal", {"torso": "upper", "lower-legs": "legs"}),
    ],
)
def test_classes_become_scnets(labels: str, classes: dict[str, str]) -> None:
    table = ScnetExporter.scheme.table(label_set(labels))
    assert {name: CLASSES[table[label_set(labels).index(name)]] for name in classes} == classes
