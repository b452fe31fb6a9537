"""What engine/miou.py of CASIA-IVA-Lab/ISP-reID does: every file of the folder as grey, classes of lip compared."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from parsing import MaskCache

NAMES = ["visible/bounding_box_train/0002_c1s1_000451_03.jpg", "visible/bounding_box_train/0007_c2s1_000001_01.jpg"]
GROUPS = {"head": [1, 2, 4, 13], "legs": [8, 9, 16, 17], "shoes": [18, 19]}


def listed(out: Path) -> dict[str, np.ndarray]:
    folder = out / "bounding_box_train_parsing_pgt"
    found = {}
    for name in os.listdir(folder):
        with Image.open(folder / name) as image:
            assert image.mode == "L"  # a palette would come back as the grey of its colours
            found[name] = np.array(image)
    return found


def test_classes_of_lip_come_back_as_they_are(
    make_cache: Callable[..., MaskCache], exported: Callable[..., Path]
) -> None:
    cache = make_cache("lip", NAMES)
    found = listed(exported(cache, "isp"))
    assert sorted(found) == [Path(name).stem + ".png" for name in NAMES]
    assert np.array_equal(found["0002_c1s1_000451_03.png"], cache[0])


def test_another_label_set_scores_in_the_same_groups(
    make_cache: Callable[..., MaskCache], exported: Callable[..., Path]
) -> None:
    cache = make_cache("person7", NAMES)
    found = listed(exported(cache, "isp"))["0002_c1s1_000451_03.png"]
    person7 = {"head": ["head"], "legs": ["lower", "legs"], "shoes": ["feet"]}
    for group, classes in person7.items():
        assert np.array_equal(
            np.isin(found, GROUPS[group]), np.isin(cache[0], [cache.labels.index(c) for c in classes])
        )
    assert np.array_equal(found > 0, (cache[0] > 0) & (cache[0] != cache.labels.index("bag")))


def test_names_that_repeat_between_folders_keep_all_folders(
    make_cache: Callable[..., MaskCache], exported: Callable[..., Path]
) -> None:
    cache = make_cache("lip", ["cam1/0001/0001.jpg", "cam2/0001/0001.jpg"])
    out = exported(cache, "isp")
    for number, camera in enumerate(("cam1", "cam2")):
        with Image.open(out / camera / "0001_parsing_pgt/0001.png") as image:
            assert np.array_equal(np.array(image), cache[number])
