"""Training on a GPU: near a CPU's and float32's, resumed with exact options, compiled, by two processes on one card."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file
from support.places import ROOT

from cli import main
from cscl.model import CSCL
from pipelines.benchmarks.steps import draw_batch
from pipelines.recipes.reading import Recipe
from pipelines.retrieval.evaluate import evaluate
from pipelines.training import stepper
from pipelines.training.config import TrainConfig
from pipelines.training.processes import make_fabric
from pipelines.training.train import train

MakeRecipe = Callable[..., Recipe]
STEPS = {"cpu": 6, "cuda": 50}
TERMS = ("total", "id", "triplet", "parsing", "shown", "division")
CALM = ("train.learning_rate=1e-4", "train.epochs=1")
"""So slow that rounding does not grow: another kernel then gives nearly the same training."""


def start(masks: Path, run: Path, recipe: Recipe, device: str, **options: Any) -> list[dict[str, Any]]:
    train(TrainConfig(masks, run, recipe, device=device, **options))
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def assert_near(found: list[dict[str, Any]], expected: list[dict[str, Any]], first: float, later: float) -> None:
    """Every term is near; in the first step to `first` of its value, then to `later`."""
    assert [row["step"] for row in found] == [row["step"] for row in expected]
    for one, other in zip(found, expected, strict=True):
        assert one.keys() == other.keys()
        assert (one["lr"], one["alpha"]) == (other["lr"], other["alpha"])
        for name in TERMS:
            within = first if one["step"] == 1 else later
            assert one[name] == pytest.approx(other[name], rel=within, abs=0.02), (one["step"], name)


def test_steps_in_bf16_are_near_those_in_float32_and_those_of_a_cpu(
    masks: Path, tiny_recipe: MakeRecipe, device: str, tmp_path: Path
) -> None:
    recipe = tiny_recipe(*CALM, f"train.steps={STEPS[device]}")
    single = start(masks, run=tmp_path / "single", recipe=recipe, device=device, precision="32-true")
    half = start(masks, run=tmp_path / "half", recipe=recipe, device=device, precision="bf16-mixed")
    assert len(half) == STEPS[device]
    assert_near(half, single, first=0.05, later=0.2)
    short = tiny_recipe(*CALM, "train.steps=3")
    assert_near(
        start(masks, run=tmp_path / "there", recipe=short, device=device, precision="32-true"),
        start(masks, run=tmp_path / "cpu", recipe=short, device="cpu"),
        first=0.01,
        later=0.1,
    )


def test_a_run_in_16_mixed_learns_and_resumes_with_its_scale(
    masks: Path, tiny_recipe: MakeRecipe, device: str, tmp_path: Path
) -> None:
    if device == "cpu":
        pytest.skip("needs CUDA; tests/pipelines/training/test_resuming.py has a stand-in")
    recipe = tiny_recipe("train.learning_rate=1e-4", "train.steps=20")
    whole = start(masks, run=tmp_path / "whole", recipe=recipe, device=device, precision="16-mixed")
    single = start(masks, run=tmp_path / "single", recipe=recipe, device=device, precision="32-true")
    assert all(np.isfinite(row["total"]) for row in whole)
    assert np.isfinite(whole[-1]["gradient"])
    assert whole[0]["total"] == pytest.approx(single[0]["total"], rel=0.05)
    shutil.copytree(tmp_path / "whole", tmp_path / "run")
    (tmp_path / "run" / "state-00000040.pt").unlink()
    resumed = start(masks, run=tmp_path / "run", recipe=recipe, device=device, precision="16-mixed", resume=True)
    assert [row["scale"] for row in resumed] == [row["scale"] for row in whole]


@pytest.mark.parametrize("kind", ["sgd", "adamw"])
def test_a_resumed_run_has_the_options_and_nearly_the_losses_of_one_that_went_through(
    masks: Path, tiny_recipe: MakeRecipe, device: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    seen: list[list[dict[str, Any]]] = []
    step = stepper.Stepper.__call__

    def noted(self: stepper.Stepper, *given: Any, **named: Any) -> Any:
        result = step(self, *given, **named)
        seen.append([{k: v for k, v in group.items() if k != "params"} for group in self.optimiser.param_groups])
        return result

    monkeypatch.setattr(stepper.Stepper, "__call__", noted)
    recipe = tiny_recipe("train.learning_rate=1e-4", f"train.optimiser={kind}")
    whole = start(masks, run=tmp_path / "whole", recipe=recipe, device=device)
    options, seen[:] = list(seen), []
    shutil.copytree(tmp_path / "whole", tmp_path / "run")
    (tmp_path / "run" / "state-00000004.pt").unlink()
    resumed = start(masks, run=tmp_path / "run", recipe=recipe, device=device, resume=True)
    assert seen == options[2:]
    assert resumed[:2] == whole[:2]
    if device == "cpu":
        assert resumed == whole
    assert_near(resumed, whole, first=0.05, later=0.1)


def test_a_state_goes_to_another_device_and_back(
    masks: Path, tiny_recipe: MakeRecipe, device: str, tmp_path: Path
) -> None:
    recipe = tiny_recipe("train.learning_rate=1e-4", "train.epochs=3", "train.steps=1")
    whole = start(masks, run=tmp_path / "run", recipe=recipe, device=device, precision="32-true")
    for there in ("cpu", device):
        newest = max((tmp_path / "run").glob("state-*.pt"))
        newest.unlink()
        found = start(masks, run=tmp_path / "run", recipe=recipe, device=there, resume=True, precision="32-true")
        assert_near(found, whole, first=0.05, later=0.1)


def test_a_compiled_network_trains_as_the_plain_one(
    masks: Path, tiny_recipe: MakeRecipe, device: str, tmp_path: Path
) -> None:
    changes = (*CALM, "train.steps=3", "model.backbone=resnet18", "model.pretrained=false")
    method = "baseline" if device == "cpu" else "cscl"  # a C++ compiler needs minutes for the whole network
    recipes = (tiny_recipe(*changes, method=method), tiny_recipe(*changes, "train.compile=true", method=method))
    plain, compiled = (
        start(masks, run=tmp_path / name, recipe=recipe, device=device, precision="32-true")
        for name, recipe in zip(("plain", "compiled"), recipes, strict=True)
    )
    assert_near(compiled, plain, first=0.01, later=0.1)
    names = [load_file(tmp_path / run / "model.safetensors").keys() for run in ("plain", "compiled")]
    assert names[0] == names[1]


def test_two_processes_on_one_card_train_as_one(
    masks: Path, tiny_recipe: MakeRecipe, device: str, tmp_path: Path
) -> None:
    recipe = tiny_recipe(*CALM, "train.steps=3", "train.identities=4")
    (tmp_path / "recipe.toml").write_text(recipe.to_toml())
    whole = start(masks, run=tmp_path / "whole", recipe=recipe, device=device, precision="32-true")
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "cscl"]
    options = ["--recipe", tmp_path / "recipe.toml", "--run", tmp_path / "run", "--device", device]
    command = [*launcher, "--", "train", "--masks", masks, *options, "--precision", "32-true"]
    there = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    variables = os.environ | {"PYTHONPATH": there, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "0"}
    done = subprocess.run([str(word) for word in command], env=variables, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    found = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert_near(found, whole, first=0.01, later=0.1)


@pytest.mark.parametrize("method", ["cscl", "agw"])
def test_no_operation_of_a_step_waits_for_the_device(tiny_recipe: MakeRecipe, device: str, method: str) -> None:
    recipe = tiny_recipe(method=method)
    fabric = make_fabric(device, "auto")
    with torch.random.fork_rng(devices=[]):
        step = stepper.Stepper(recipe, fabric, CSCL(recipe.model.config(8, 4, ())))
    batch = {name: value.to(fabric.device) for name, value in draw_batch(recipe).items()}
    step(batch, alpha=0.5, factor=0.1)  # kernels are chosen and workspaces made
    if device == "cuda":
        torch.cuda.set_sync_debug_mode("error")
    try:
        terms, others = step(batch, alpha=0.5, factor=0.1)
    finally:
        if device == "cuda":
            torch.cuda.set_sync_debug_mode("default")
    assert {value.device.type for value in (*terms.values(), *others.values())} == {device}
    assert all(bool(torch.isfinite(value)) for value in terms.values())


def test_a_full_card_ends_the_training_in_one_line(
    masks: Path, tiny_recipe: MakeRecipe, device: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "recipe.toml").write_text(tiny_recipe().to_toml())
    command = [
        "train",
        "--masks",
        str(masks),
        "--recipe",
        str(tmp_path / "recipe.toml"),
        "--run",
        str(tmp_path / "run"),
    ]
    if device == "cuda":
        torch.cuda.empty_cache()
        total = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_allocated() + 32 * 2**20) / total)
    else:

        def full(*_: object, **__: object) -> None:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 EiB.\nMore lines")

        monkeypatch.setattr(stepper, "take_gradients", full)
    try:
        result = CliRunner().invoke(main, [*command, "--device", device])
    finally:
        if device == "cuda":
            torch.cuda.set_per_process_memory_fraction(1.0)
    assert result.exit_code == 1, result.output
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith(f"cscl: the memory of --device {device} does not hold the training (CUDA out of memory")
    assert last.endswith("--set train.accumulate=2 sends a batch through the network in 2 pieces")
    assert "Traceback" not in result.stderr


def test_evaluation_search_and_export_after_a_training_there(
    figures: Path, masks: Path, tiny_recipe: MakeRecipe, device: str, tmp_path: Path
) -> None:
    pytest.importorskip("onnxruntime", reason='needs pip install "cscl[onnx]"')
    run = tmp_path / "run"
    start(
        masks,
        run=run,
        recipe=tiny_recipe("train.learning_rate=1e-4", "data.select=val", "data.evaluate_every=1"),
        device=device,
    )
    there, here = (evaluate(run, device=name).results for name in (device, "cpu"))
    for one, other in zip(there, here, strict=True):
        assert one.mAP == pytest.approx(other.mAP, abs=0.02)
    query = next(figures.glob("cam3/*/*.jpg"))
    for command in (
        ["search", "--run", run, "--query", query, "--gallery", figures / "cam1", "--device", device, "--json"],
        ["export", "--run", run, "--out", tmp_path / "model.onnx", "--json"],
    ):
        result = CliRunner().invoke(main, [str(word) for word in command])
        assert result.exit_code == 0, result.output
