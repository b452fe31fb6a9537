"""The table of parts: attention inside the mask, its labels' IoU, the visibility's AUC, against loops and by hand."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cscl.spam import mask_distribution
from data.registry import open_data_set
from parsing import CacheWriter
from parsing.cache.reader import MaskCache
from parsing.errors import InputError
from parsing.image_sizes import find_other_image
from parsing.schemes import part_scheme
from pipelines.recipes.reading import Recipe
from pipelines.retrieval.evaluate import evaluate
from pipelines.retrieval.part_table import PartRow, PartTable, _make_row, average_parts, compute_auc, measure_parts
from pipelines.runs.folder import load_model
from pipelines.training.config import TrainConfig
from pipelines.training.train import train


def test_the_auc_is_the_share_of_pairs_in_order() -> None:
    rng = np.random.default_rng(0)
    scores, positive = rng.integers(0, 4, 40) / 3, rng.random(40) < 0.4
    pairs = [(a > b) + (a == b) / 2 for a in scores[positive] for b in scores[~positive]]
    assert compute_auc(scores, positive) == pytest.approx(np.mean(pairs))
    assert compute_auc(scores, np.ones(40, bool)) is None
    assert compute_auc(scores, np.zeros(40, bool)) is None


def test_the_table_equals_a_loop_over_images_and_parts(finished: Path, figures: Path, masks: Path) -> None:
    embedder, cache, scheme = load_model(finished), MaskCache(masks), part_scheme("reid4")
    records = open_data_set("sysu", figures).images[::7]
    table = measure_parts(embedder, records=records, root=figures, cache=cache, scheme=scheme, batch_size=3)
    assert table is not None
    assert (table.images, table.grid, table.masks) == (len(records), (4, 2), cache.fingerprint)
    labels = torch.from_numpy(np.stack([cache.part_labels(r.name, scheme) for r in records])).long()
    assert labels.shape[1:] == embedder.size
    for q, row in enumerate(table.rows):
        inside, ideal, seen, shown, absent, both, either = [], [], [], [], [], 0, 0
        for record, mask in zip(records, labels, strict=True):
            image = embedder.pixels(Image.open(figures / record.name))[None]
            with torch.inference_mode():
                parts = embedder.parts(image, torch.tensor([record.modality == "infrared"]))
            p, m = parts.attention[0, q + 1], mask_distribution(mask[None], 4, (4, 2))[0, q + 1]
            shown.append(float(m.mean()) >= embedder.network.config.tau)
            absent.append(not (mask == q + 1).any())
            seen.append(float(parts.visibility[0, q]))
            if shown[-1]:
                inside.append(float((p * m).sum() / p.sum()))
                ideal.append(float((m * m).sum() / m.sum()))
            finer = torch.nn.functional.interpolate(parts.attention, size=(64, 32), mode="bilinear").argmax(1)[0]
            both += int(((finer == q + 1) & (mask == q + 1)).sum())
            either += int(((finer == q + 1) | (mask == q + 1)).sum())
        assert row.part == scheme.parts[q]
        assert row.images == sum(shown)
        assert row.inside == pytest.approx(np.mean(inside), rel=1e-3)
        assert row.ideal == pytest.approx(np.mean(ideal), rel=1e-3)
        assert row.iou == pytest.approx(both / either, abs=1e-3)
        assert row.auc == compute_auc(np.array(seen), np.array(shown))
        clear = [(v, s) for v, s, a in zip(seen, shown, absent, strict=True) if s or a]
        assert row.auc_absent == compute_auc(np.array([v for v, _ in clear]), np.array([s for _, s in clear]))


def test_a_scheme_of_another_number_of_parts_is_refused(finished: Path, figures: Path, masks: Path) -> None:
    records = open_data_set("sysu", figures).images[:3]
    with pytest.raises(InputError, match="'reid5' has 5 parts, but the network was trained on 4"):
        measure_parts(load_model(finished), records, figures, MaskCache(masks), part_scheme("reid5"))


def test_evaluate_writes_the_table_of_the_runs_own_masks(finished: Path, masks: Path) -> None:
    found = evaluate(finished, protocols=["all-single"], device="cpu")
    assert found.parts is not None
    assert found.parts.masks == MaskCache(masks).fingerprint
    written = json.loads((finished / "evaluation.json").read_text())["parts"]
    assert [row["part"] for row in written["rows"]] == ["head", "upper", "lower", "feet"]
    assert written["mIoU"] == pytest.approx(np.mean([row["iou"] for row in written["rows"]]))
    assert any(line.startswith("part ") and "AUC" in line for line in found.lines())


def test_masks_of_other_images_are_not_taken_for_these(
    finished: Path, figures: Path, masks: Path, tmp_path: Path
) -> None:
    """Two data sets in one layout have the same names: only the images' sizes tell them apart."""
    other = shutil.copytree(figures, tmp_path / "SYSU-MM01")
    for file in other.glob("cam*/*/*.jpg"):
        with Image.open(file) as picture:
            picture.resize((picture.width + 1, picture.height)).save(file)
    assert evaluate(finished, other, ["all-single"], device="cpu").parts is None
    with pytest.raises(InputError, match=r"masks.h5 belongs to other images: cam.* has another size in"):
        evaluate(finished, other, ["all-single"], masks=masks, device="cpu")


def test_images_whose_size_the_cache_does_not_know_are_not_called_others(figures: Path, tmp_path: Path) -> None:
    records = open_data_set("sysu", figures).train()[:2]
    with CacheWriter(tmp_path / "m.h5", labels="person7", size=(16, 8), parser="mine", root=figures) as cache:
        cache.add(records[0].name, np.zeros((16, 8), np.uint8))
        cache.add(records[1].name, np.zeros((16, 8), np.uint8), source_size=(1, 1))
    found = MaskCache(tmp_path / "m.h5")
    assert find_other_image([records[0].name], figures, found) is None
    assert find_other_image([record.name for record in records], figures, found) == records[1].name


def test_a_network_without_its_own_parsing_has_no_table(
    masks: Path, tiny_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    recipe = tiny_recipe(
        "train.epochs=1", "train.steps=1", "model.part_pooling=stripes", "loss.parsing=0", "model.pam=false"
    )
    run = train(TrainConfig(masks, tmp_path / "stripes", recipe, device="cpu"))
    assert evaluate(run, protocols=["all-single"], device="cpu").parts is None


def test_the_second_auc_leaves_out_images_that_show_a_little_of_the_part() -> None:
    area, visibility, any_value = np.array([0, 0.005, 0.02, 0.05]), np.array([0.6, 0.9, 0.7, 0.8]), np.zeros(4)
    row = _make_row(
        "feet", inside=any_value, ideal=any_value, area=area, visibility=visibility, counts=np.array([1, 2]), tau=0.01
    )
    assert (row.auc, row.auc_absent) == (0.5, 1.0)


def test_several_tables_are_averaged_without_what_they_do_not_have() -> None:
    def table(inside: float, auc: float | None) -> PartTable:
        return PartTable(
            (
                PartRow(
                    "head", images=5, inside=inside, ideal=0.5, iou=0.4, auc=auc, auc_absent=auc, visibility=(1.0, None)
                ),
            ),
            grid=(4, 2),
            images=6,
            masks="m",
        )

    mean = average_parts([table(0.2, None), table(0.4, 0.9)])
    assert mean is not None
    assert mean.rows[0].inside == pytest.approx(0.3)
    assert (mean.rows[0].auc, mean.rows[0].visibility) == (0.9, (1.0, None))
    assert mean.rows[0].auc_absent == 0.9
    assert mean.rows[0].ratio == pytest.approx(0.6)
    assert average_parts([]) is None
