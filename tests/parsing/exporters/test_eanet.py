"""What get_ps_label of huanghoujing/EANet does: the image's path with another root and ending, opened as it is."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from parsing import MaskCache, label_set
from parsing.exporters.eanet import EanetExporter

HEAD, TORSO, UPPER_ARM, LOWER_ARM, UPPER_LEG, LOWER_LEG, FOOT = range(1, 8)


def test_labels_lie_and_read_as_the_loader_expects(
    make_cache: Callable[..., MaskCache], exported: Callable[..., Path], tmp_path: Path
) -> None:
    cache = make_cache("lip")
    out = exported(cache, "eanet", tmp_path / "ROOT")
    im_root = cache.root.name
    im_path = f"{im_root}/{cache.names[3]}"
    path = im_path.replace(im_root, im_root + "_ps_label").replace(".jpg", ".png")
    with Image.open(out / path) as image:
        assert image.mode == "L"  # to cv2 as one channel, and back
        label = np.array(image)
    assert label.ndim == 2
    assert label.max() < 8
    assert np.array_equal(label == HEAD, np.isin(cache[3], [1, 2, 4, 13]))
    assert np.array_equal(label == FOOT, np.isin(cache[3], [8, 18, 19]))


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        ("pascal", {"head": HEAD, "upper-arms": UPPER_ARM, "lower-arms": LOWER_ARM, "lower-legs": LOWER_LEG}),
        (
            "goliath",
            {"left-hand": LOWER_ARM, "left-upper-arm": UPPER_ARM, "right-upper-leg": UPPER_LEG, "torso": TORSO},
        ),
        ("goliath", {"lower-clothing": UPPER_LEG, "right-sock": FOOT, "apparel": 0}),
        ("atr", {"pants": UPPER_LEG, "left-arm": LOWER_ARM, "bag": 0}),
        ("person7", {"legs": LOWER_LEG, "lower": UPPER_LEG, "bag": 0}),
    ],
)
def test_classes_become_eanets(labels: str, classes: dict[str, int]) -> None:
    table = EanetExporter.scheme.table(label_set(labels))
    assert {name: int(table[label_set(labels).index(name)]) for name in classes} == classes
