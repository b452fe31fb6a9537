"""A training whose masks teach nothing does not start."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from cli import main
from data.records import Record
from data.registry import open_data_set
from parsing import InputError, MaskCache
from pipelines.masks.importing import ImportConfig, import_masks
from pipelines.training.usable_masks import check_usable

NAMES = ("cam1/0001/0001.jpg", "cam3/0001/0001.jpg")
RECORDS = (
    Record(NAMES[0], identity=1, camera=1, modality="visible"),
    Record(NAMES[1], identity=1, camera=3, modality="infrared"),
)


@pytest.mark.parametrize("nobody", [0, 255])
def test_masks_without_a_part_are_refused(make_cache: Callable[..., MaskCache], nobody: int) -> None:
    cache = make_cache("lip", NAMES)
    parts = torch.full((2, 8, 4), nobody, dtype=torch.uint8)
    with pytest.raises(InputError, match=r"none of the 2 training masks shows a part of reid4.*cscl masks info"):
        check_usable(cache, records=RECORDS, parts=parts, confidence=torch.ones(2), scheme="reid4")
    parts[1, 0, 0] = 1
    (note,) = check_usable(cache, records=RECORDS, parts=parts, confidence=torch.ones(2), scheme="reid4")
    assert "no visible mask shows a part" in note
    parts[0, 0, 0] = 1
    assert check_usable(cache, records=RECORDS, parts=parts, confidence=torch.ones(2), scheme="reid4") == ()
    with pytest.raises(InputError, match=r"min_confidence; the best of them has 0\.90"):
        check_usable(cache, records=RECORDS, parts=parts, confidence=torch.zeros(2), scheme="reid4")


def test_train_refuses_a_cache_of_nobody_in_one_line(tiny_figures: Path, tmp_path: Path) -> None:
    """Bags are no part of reid4."""
    for image in open_data_set("sysu", tiny_figures).images:
        file = (tmp_path / "masks" / image.name).with_suffix(".png")
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((60, 30), 7, np.uint8)).save(file)
    config = ImportConfig(
        tmp_path / "masks",
        labels="person7",
        dataset="sysu",
        root=tiny_figures,
        out=tmp_path / "m.h5",
        size=(64, 32),
        fit="stretch",
    )
    masks = str(import_masks(config).path)
    changes = "data.size=[64,32] train.identities=2 train.images=2 model.part_dim=16 model.pretrained=false"
    small = [f"--set={change}" for change in changes.split()]
    told = CliRunner().invoke(
        main, ["train", "--masks", masks, "--run", str(tmp_path / "run"), "--device", "cpu", *small]
    )
    assert told.exit_code == 2
    assert "shows a part of reid4" in told.stderr.splitlines()[-1]
    assert not (tmp_path / "run").exists()
