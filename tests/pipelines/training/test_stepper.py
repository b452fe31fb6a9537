"""The network, optimiser and loss of a training: compiled or not it is the same, and its state goes between devices."""

from collections.abc import Callable, Iterator
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins import MixedPrecision
from torch import Tensor

from cscl.model import CSCL
from pipelines.benchmarks.steps import draw_batch
from pipelines.recipes.reading import Recipe
from pipelines.training.optimiser import make_optimiser, restore_optimiser
from pipelines.training.stepper import Stepper

MakeRecipe = Callable[..., Recipe]


@pytest.fixture
def dynamo(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """torch.compile that traces as it always does, and then computes with plain operations: no compiler is needed."""
    import torch._dynamo as dynamo

    dynamo.reset()
    dynamo.utils.counters.clear()
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    yield dynamo
    dynamo.reset()


def make(recipe: Recipe, done: dict[str, Any] | None = None, scale: float | None = None) -> Stepper:
    """A stepper on a CPU; with a `scale` of gradients in float16 and with a scaler, as in 16-mixed on CUDA."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = CSCL(recipe.model.config(8, 4, ()))
    scaler = None if scale is None else torch.amp.GradScaler("cpu", init_scale=scale)
    plugins = None if scaler is None else MixedPrecision("16-mixed", "cpu", scaler)
    return Stepper(recipe, fabric=Fabric(accelerator="cpu", devices=1, plugins=plugins), model=model, done=done)


def step(stepper: Stepper, count: int) -> list[dict[str, Tensor]]:
    batch = draw_batch(stepper.recipe)
    return [stepper(batch, alpha=0.5, factor=0.1)[0] for _ in range(count)]


@pytest.mark.parametrize("method", ["cscl", pytest.param("agw", marks=pytest.mark.slow)])
def test_a_compiled_network_is_one_graph_and_trains_as_the_plain_one(
    tiny_recipe: MakeRecipe, method: str, dynamo: Any
) -> None:
    changes = ("model.backbone=resnet18", "model.part_dim=16")
    plain = make(tiny_recipe(*changes, method=method))
    compiled = make(tiny_recipe(*changes, "train.compile=true", method=method))
    expected, found = step(plain, 2), step(compiled, 2)
    assert dynamo.utils.counters["stats"]["unique_graphs"] == 1
    assert not dynamo.utils.counters["graph_break"]
    for one, other in zip(found, expected, strict=True):
        for name, value in other.items():
            torch.testing.assert_close(one[name], value, rtol=1e-3, atol=1e-4)
    assert compiled.model.state_dict().keys() == plain.model.state_dict().keys()


@pytest.mark.parametrize("kind", ["sgd", "adamw"])
def test_a_state_of_a_fused_optimiser_goes_into_a_plain_one_and_back(tiny_recipe: MakeRecipe, kind: str) -> None:
    recipe = tiny_recipe(f"train.optimiser={kind}", "model.backbone=resnet18", method="baseline")
    stepper = make(recipe)
    step(stepper, 1)
    for here, there in ((False, True), (True, False)):
        saving = make_optimiser(stepper.model, recipe.train, fused=here)
        saving.step()
        loading = make_optimiser(stepper.model, recipe.train, fused=there)
        restore_optimiser(loading, saving.state_dict())
        assert {group["fused"] for group in loading.param_groups} == {there or None}
        before = [p.clone() for p in stepper.model.parameters()]
        loading.step()
        assert any(not torch.equal(p, b) for p, b in zip(stepper.model.parameters(), before, strict=True))
        for parameter, state in saving.state.items():
            for name, value in state.items():
                assert loading.state[parameter][name].dtype == value.dtype, name


def test_a_stepper_that_goes_on_from_a_saved_state_does_the_same_steps(tiny_recipe: MakeRecipe) -> None:
    recipe = tiny_recipe("model.backbone=resnet18")
    whole = make(recipe)
    step(whole, 1)
    done = {
        "model": {k: v.clone() for k, v in whole.model.state_dict().items()},
        "optimiser": {k: v for k, v in whole.optimiser.state_dict().items()},
    }
    resumed = make(recipe, done)
    (one,), (other,) = step(whole, 1), step(resumed, 1)
    assert {name: float(v) for name, v in one.items()} == {name: float(v) for name, v in other.items()}


def test_in_16_mixed_gradients_that_overflow_halve_the_scale_and_leave_the_weights(tiny_recipe: MakeRecipe) -> None:
    stepper = make(tiny_recipe("train.accumulate=2"), scale=2.0**14)
    batch, overflows = draw_batch(stepper.recipe), 0
    for _ in range(14):
        before = {name: p.clone() for name, p in stepper.model.named_parameters()}
        terms, others = stepper(batch, alpha=0.5, factor=0.1)
        assert bool(torch.isfinite(terms["total"]))
        moved = any(not torch.equal(p, before[name]) for name, p in stepper.model.named_parameters())
        assert moved == bool(torch.isfinite(others["gradient"]))
        if moved:
            break
        overflows += 1
        assert float(others["scale"]) == 2.0 ** (14 - overflows)
    assert moved
    assert overflows
    single = make(tiny_recipe("train.accumulate=2"))
    assert float(others["gradient"]) == pytest.approx(float(single(batch, 0.5, 0.1)[1]["gradient"]), rel=0.1)


def test_the_scale_of_16_mixed_is_saved_and_other_precisions_go_on_without(tiny_recipe: MakeRecipe) -> None:
    recipe = tiny_recipe()
    stepper = make(recipe, scale=2.0**20)
    step(stepper, 2)
    done = stepper.state()
    assert done["scaler"]["scale"] == 2.0**18
    assert make(recipe, done, scale=2.0**5).state()["scaler"]["scale"] == 2.0**18
    plain = make(recipe, done)
    assert set(plain.state()) == {"model", "optimiser"}
    assert make(recipe, plain.state(), scale=2.0**5).state()["scaler"]["scale"] == 2.0**5


@pytest.mark.parametrize(("precision", "fused"), [("16-mixed", False), ("bf16-mixed", True)])
def test_the_optimiser_is_fused_on_cuda_but_not_under_a_scaler(
    tiny_recipe: MakeRecipe, monkeypatch: pytest.MonkeyPatch, precision: Any, fused: bool
) -> None:
    """Lightning refuses to limit the gradients of a fused one that a scaler has scaled."""
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", torch.backends.cudnn.benchmark)
    recipe = tiny_recipe("model.backbone=resnet18")
    kind = MixedPrecision(precision, "cpu")
    fabric: Any = SimpleNamespace(
        device=torch.device("cuda"), world_size=1, strategy=SimpleNamespace(precision=kind), setup=lambda *given: given
    )
    stepper = Stepper(recipe, fabric=fabric, model=CSCL(recipe.model.config(8, 4, ())))
    assert {bool(group["fused"]) for group in stepper.optimiser.param_groups} == {fused}
