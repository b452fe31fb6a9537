"""The optimiser's groups, and the learning rates over training."""

import math
from collections.abc import Callable

import pytest
import torch

from cscl.model import CSCL
from pipelines.recipes.reading import Recipe, TrainRecipe
from pipelines.training.optimiser import classify_parameters, compute_rate_factor, make_optimiser


@pytest.mark.parametrize("name", ["sgd", "adamw"])
@pytest.mark.parametrize("decay", ["matrices", "all"])
def test_every_weight_is_in_one_group_with_its_rate_and_decay(
    tiny_recipe: Callable[..., Recipe], name: str, decay: str
) -> None:
    recipe = tiny_recipe(
        f"train.optimiser={name}", "train.learning_rate=0.2", "train.backbone_rate=0.1", "train.module_rate=0.5",
        "train.scalar_rate=0.01", "train.weight_decay=0.03", f"train.decay={decay}",
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        model = CSCL(recipe.model.config(3, 4, ()))
    groups = make_optimiser(model, recipe.train).param_groups
    of = {id(p): group for group in groups for p in group["params"]}
    trained = [(key, p) for key, p in model.named_parameters() if p.requires_grad]
    assert sum(len(group["params"]) for group in groups) == len(of) == len(trained)
    for key, parameter in trained:
        group = of[id(parameter)]
        rate = 0.2  # necks and their classifiers
        if key.startswith("backbone."):
            rate = 0.02
        elif key.endswith(".g") or key == "pool.p":
            rate = 0.002
        elif "neck" not in key:
            rate = 0.1
        assert group["base"] == pytest.approx(rate), key
        decayed = parameter.ndim > 0 and (decay == "all" or parameter.ndim > 1)
        assert group["weight_decay"] == (0.03 if decayed else 0), key
    kinds = [kind for kind, _ in classify_parameters(model)]
    assert kinds.count("scalar") == 4
    assert kinds.count("neck") == 2 * (1 + 1 + 4)


def test_the_step_schedule_warms_up_and_divides_by_ten_at_its_milestones() -> None:
    recipe = TrainRecipe(epochs=80, warmup=10, schedule="step", milestones=(20, 50))
    factors = [compute_rate_factor(recipe, epoch) for epoch in range(80)]
    assert factors[:10] == sorted(factors[:10])
    assert factors[0] == pytest.approx(0.001)
    assert factors[10:20] == [1.0] * 10
    assert factors[20:50] == pytest.approx([0.1] * 30)
    assert factors[50:] == pytest.approx([0.01] * 30)


def test_a_warm_up_by_the_epoch_is_agws() -> None:
    recipe = TrainRecipe(epochs=80, warmup=10, warmup_by="epoch", schedule="step", milestones=(20, 50))
    assert [compute_rate_factor(recipe, e) for e in (0, 0.99, 1, 8.5, 9, 15)] == pytest.approx(
        [0.1, 0.1, 0.2, 0.9, 1, 1]
    )


def test_the_cosine_falls_from_1_to_0() -> None:
    recipe = TrainRecipe(epochs=8, warmup=0, schedule="cosine")
    for epoch in (0, 1.5, 4, 8):
        assert compute_rate_factor(recipe, epoch) == pytest.approx((1 + math.cos(math.pi * epoch / 8)) / 2)
    assert compute_rate_factor(recipe, 0) == 1
    assert compute_rate_factor(recipe, 4) == pytest.approx(0.5)
    assert compute_rate_factor(recipe, 8) == pytest.approx(0)
