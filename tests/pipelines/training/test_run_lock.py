"""A run's folder is written to by one process at a time."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from parsing.cache.lock import LockedError, hold_lock
from pipelines.recipes.reading import Recipe
from pipelines.training.config import TrainConfig
from pipelines.training.train import train


def test_a_run_that_somebody_trains_is_not_trained_by_another(
    masks: Path, tiny_recipe: Callable[..., Recipe], finished: Path, tmp_path: Path
) -> None:
    run = shutil.copytree(finished, tmp_path / "run")
    before = sorted((file.name, file.stat().st_mtime_ns) for file in run.rglob("*"))
    with hold_lock(run, "cscl train", folder=run.parent):
        for resume in (True, False):
            with pytest.raises(LockedError, match=r"run is being written to by cscl train, process \d+ on"):
                train(TrainConfig(masks, run, tiny_recipe(), resume=resume, device="cpu"))
    assert sorted((file.name, file.stat().st_mtime_ns) for file in run.rglob("*")) == before
    assert not run.with_name("run.lock").exists()
