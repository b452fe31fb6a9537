"""`cscl masks score`: IoU over all pixels of a modality, against loops over the pixels."""

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from cli import main
from data.simulators.layouts import label_name
from parsing.cache.reader import MaskCache
from parsing.errors import InputError, MissingError
from parsing.labels import IGNORED, label_set
from parsing.schemes import part_scheme
from pipelines.masks.score import confusion, iou, score_masks


@pytest.fixture(scope="module")
def perfect(figures: Path, make_true_cache: Any) -> Path:
    out: Path = make_true_cache("sysu", figures, figures.parent / "true" / "masks.h5")
    return out


def truth(root: Path, name: str, size: tuple[int, int]) -> np.ndarray:
    with Image.open(root / label_name(name)) as picture:
        return np.asarray(picture.resize(size[::-1], Image.Resampling.NEAREST))


@pytest.mark.parametrize("scheme", [None, "reid4", "reid6", "body"])
def test_true_masks_score_1_in_both_modalities(perfect: Path, scheme: str | None) -> None:
    scores = score_masks(MaskCache(perfect), scheme)
    assert scores.images == {"visible": 36, "infrared": 18}
    for modality in ("visible", "infrared"):
        assert scores.mean(modality) == 1.0
        assert all(value == 1.0 or math.isnan(value) for value in scores.iou[modality])
        assert sum(value == 1.0 for value in scores.iou[modality]) >= len(scores.classes) - 1


@pytest.mark.parametrize("scheme", [None, "reid4"])
def test_scores_are_those_of_a_loop_over_all_images_of_a_modality(
    masks: Path, figures: Path, scheme: str | None
) -> None:
    cache, person7 = MaskCache(masks), label_set("person7")
    table = np.arange(256) if scheme is None else part_scheme(scheme).table(person7)
    classes = person7.classes if scheme is None else ("background", *part_scheme(scheme).parts)
    scores = score_masks(cache, scheme)
    assert scores.classes == classes
    for number, modality in enumerate(("visible", "infrared")):
        names = [n for n, m in zip(cache.names, cache.modality, strict=True) if m == number]
        for index in range(len(classes)):
            both = either = 0
            for name in names:
                is_true, is_found = table[truth(figures, name, cache.size)] == index, table[cache[name]] == index
                both += int((is_true & is_found).sum())
                either += int((is_true | is_found).sum())
            value = scores.iou[modality][index]
            assert value == pytest.approx(both / either) if either else math.isnan(value)
        present = [v for v in scores.iou[modality] if not math.isnan(v)]
        assert scores.mean(modality) == pytest.approx(sum(present) / len(present))
        assert 0 < scores.mean(modality) < 1


def test_confusion_counts_pixels_and_leaves_out_ignored_ones() -> None:
    rng = np.random.default_rng(0)
    true = rng.integers(0, 4, (9, 7), dtype=np.uint8)
    found = rng.integers(0, 4, (9, 7), dtype=np.uint8)
    true[0] = IGNORED
    counts = confusion(true, found, 4)
    for a in range(4):
        for b in range(4):
            assert counts[a, b] == sum(true[y, x] == a and found[y, x] == b for y in range(1, 9) for x in range(7))
    assert counts.sum() == 8 * 7


def test_a_class_on_neither_side_has_no_iou_and_one_never_found_has_0() -> None:
    counts = np.array([[5, 1, 0], [2, 0, 0], [0, 0, 0]])
    values = iou(counts)
    assert values[0] == pytest.approx(5 / 8)
    assert values[1] == 0
    assert math.isnan(values[2])


def test_an_unreadable_image_is_not_counted(figures: Path, make_true_cache: Any, tmp_path: Path) -> None:
    out = make_true_cache("sysu", figures, tmp_path / "masks.h5", unreadable=["cam1/0001/0001.jpg"])
    scores = score_masks(MaskCache(out))
    assert scores.images == {"visible": 35, "infrared": 18}
    assert scores.mean("visible") == 1.0


def test_the_table_says_what_was_compared_and_json_is_strict(masks: Path) -> None:
    scores = score_masks(MaskCache(masks))
    text = "\n".join(scores.lines())
    assert "IoU in per cent in person7, all pixels of 36 visible, 18 infrared images" in text
    assert f"{100 * scores.mean('visible'):.1f}" in text

    def refuse(constant: str) -> float:
        raise AssertionError(f"{constant} is no JSON")

    result = CliRunner().invoke(main, ["masks", "score", str(masks), "--json"])
    assert result.exit_code == 0, result.output
    read = json.loads(result.stdout, parse_constant=refuse)
    assert read["mIoU"]["infrared"] == pytest.approx(scores.mean("infrared"))
    assert list(read["IoU"]["visible"]) == list(scores.classes)


def test_a_cache_elsewhere_is_scored_with_root(perfect: Path, figures: Path, tmp_path: Path) -> None:
    shutil.copy(perfect, tmp_path / "masks.h5")
    shutil.copytree(perfect.with_suffix(".shards"), tmp_path / "masks.shards")
    with pytest.raises(MissingError, match="which is not there; give --root"):
        score_masks(MaskCache(tmp_path / "masks.h5"))
    with pytest.raises(MissingError, match="only simulated data sets"):
        score_masks(MaskCache(tmp_path / "masks.h5"), root=tmp_path)
    assert score_masks(MaskCache(tmp_path / "masks.h5"), root=figures).mean("visible") == 1.0


def test_labels_of_another_set_need_a_scheme(make_cache: Any, figures: Path) -> None:
    names = ("cam1/0001/0001.jpg", "cam3/0001/0001.jpg")
    cache = make_cache("lip", names)
    with pytest.raises(InputError, match=r"holds lip classes, the truth is in person7 classes: give --scheme"):
        score_masks(cache, root=figures)
    assert score_masks(cache, "reid4", figures).scheme == "reid4"


def test_a_label_map_that_is_gone_is_named(figures: Path, make_true_cache: Any, tmp_path: Path) -> None:
    root = shutil.copytree(figures, tmp_path / "SYSU-MM01")
    out = make_true_cache("sysu", root, tmp_path / "masks.h5")
    (root / label_name("cam4/0005/0001.jpg")).unlink()
    with pytest.raises(MissingError, match=r"cam4/0005/0001.* is missing"):
        score_masks(MaskCache(out))
