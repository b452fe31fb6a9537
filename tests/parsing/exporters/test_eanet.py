"""What get_ps_label of huanghoujing/EANet does: the image's path with another root and ending, opened as it is."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from parsing import MaskCache, label_set
from parsing.exporters.eanet import EanetExporter

HEAD, TORSO, UPPER_ARM, LOWER_ARM, UPPER_LEG, LOWER_LEG, FOOT = range(1, 8)
PATH = "SYSU-MM01_ps_label/cam1/0001/0001.png"


def test_labels_lie_and_read_as_the_loader_expects(
    make_cache: Callable[..., MaskCache], exported: Callable[..., Path], tmp_path: Path
) -> None:
    cache = make_cache("lip")
    out = exported(cache, "eanet", tmp_path / "ROOT", size="masks")
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


def test_the_loader_leaves_the_ids_as_they_are(
    make_cache: Callable[..., MaskCache], exported: Callable[..., Path], tmp_path: Path
) -> None:
    """It calls cv2.resize(label, (16, 48), cv2.INTER_NEAREST), whose third argument is the destination."""
    cv2 = pytest.importorskip("cv2")
    cache = make_cache("person7", size=(100, 50))
    for size in (None, "masks"):
        with Image.open(exported(cache, "eanet", tmp_path / str(size), size=size) / PATH) as image:
            label = np.array(image)
        read = cv2.resize(label, (16, 48), cv2.INTER_NEAREST)
        assert np.array_equal(read, label) == (size is None)
        assert (UPPER_ARM in read) == (size == "masks")  # an id that person7 has no class for


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
