"""The optimiser of the shipped recipes for a GPU, shortened in steps but not in rates, trains a small network."""

import json
import statistics
from pathlib import Path
from typing import Any

import pytest

from cscl.pam import G_BOUNDS
from cscl.pooling import GEM_BOUNDS
from pipelines.recipes.reading import read_recipe
from pipelines.training.config import TrainConfig
from pipelines.training.train import train

SHORT = (
    "model.backbone=resnet18", "model.pretrained=false", "model.part_dim=32", "data.size=[64, 32]", "augment.padding=3",
    "train.identities=4", "train.images=2", "train.steps=10", "train.epochs=8", "train.warmup=1",
    "train.milestones=[2, 5]",
)  # fmt: skip
"""80 steps: 10 of warm-up, the rate divided by ten after 20 and after 50."""


@pytest.fixture(
    scope="module",
    params=["cscl", pytest.param("regdb", marks=pytest.mark.slow), pytest.param("llcm", marks=pytest.mark.slow)],
)
def rows(request: pytest.FixtureRequest, masks: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    run = tmp_path_factory.mktemp("short") / "run"
    recipe = read_recipe(Path(request.param), SHORT)
    train(TrainConfig(masks, run, recipe, device="cpu"))
    return [json.loads(line) for line in (run / "metrics.jsonl").open()]


def test_losses_fall_and_no_parsing_head_diverges(rows: list[dict[str, Any]]) -> None:
    def mean(name: str, part: slice) -> float:
        return float(statistics.mean(row[name] for row in rows[part]))

    assert len(rows) == 80
    for name, share in (("total", 0.9), ("id", 0.9), ("parsing", 0.97)):  # a network from scratch parses little so soon
        assert mean(name, slice(-10, None)) < share * mean(name, slice(0, 5)), name
    assert max(row["parsing"] for row in rows[20:]) < 1.5 * mean("parsing", slice(0, 5))


def test_scalars_learn_slowly_and_stay_in_their_bounds(rows: list[dict[str, Any]]) -> None:
    for name, start, (low, high), far in (
        *((f"g{stage}", 0.0, G_BOUNDS, 0.5) for stage in (2, 3, 4)), ("p", 3.0, GEM_BOUNDS, 1.0),
    ):  # fmt: skip
        values = [row[name] for row in rows if name in row]
        if not values:  # the recipe has this module off
            continue
        assert all(low <= value <= high for value in values)
        assert max(abs(value - start) for value in values) < far, name
        assert len(set(values)) > 40, f"{name} does not learn"


def test_guidance_has_ended_when_the_rate_first_falls(rows: list[dict[str, Any]]) -> None:
    falls = next(n for n in range(11, 80) if rows[n]["lr"] < 0.5 * rows[n - 1]["lr"])
    assert rows[0]["alpha"] == 1
    assert rows[0]["guide"] > 0.5
    assert all(row["alpha"] == 0 for row in rows[falls:])
    assert all(0 < row["visibility"] <= 1 for row in rows)
