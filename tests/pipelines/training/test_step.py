"""One step: the gradients are those of L on the whole batch, in however many pieces and processes it is computed."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from lightning_fabric import Fabric
from safetensors.torch import load_file, save_file
from support.places import ROOT
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from cscl.losses import label_targets
from cscl.model import CSCL
from cscl.spam import mask_distribution
from cscl.total_loss import TotalLoss
from data.loading.transforms import normalise
from pipelines.recipes.reading import Recipe
from pipelines.training.batch_norm import SharedBatchNorm, SharedHeadNorm, share_batch_norm
from pipelines.training.config import TrainConfig
from pipelines.training.step import take_gradients
from pipelines.training.train import train

MakeRecipe = Callable[..., Recipe]


@pytest.fixture
def double(monkeypatch: pytest.MonkeyPatch) -> None:
    """Float64 also where the code says float32, so that agreement is not hidden by rounding."""
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)


def one_process(precision: str = "64-true") -> Fabric:
    return Fabric(accelerator="cpu", devices=1, precision=precision)  # type: ignore[arg-type]


def network(recipe: Recipe) -> CSCL:
    """Four people, four parts; PAM's scalars have left 0, so that all of it has gradients."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = CSCL(recipe.model.config(4, 4, ()))
    for name, value in model.state_dict().items():
        if name.endswith(".g"):
            value.fill_(0.3)
    return model


def batch(pieces: int = 1) -> dict[str, Tensor]:
    """Four people, two visible and two infrared images each, in pieces of whole people."""
    rng = torch.Generator().manual_seed(1)
    made = {
        "images": torch.randint(0, 256, (16, 3, 64, 32), generator=rng, dtype=torch.uint8),
        "part_labels": torch.randint(0, 5, (16, 64, 32), generator=rng, dtype=torch.uint8),
        "infrared": torch.arange(16) >= 8,
        "identities": torch.arange(16) % 8 // 2,
        "confidence": torch.rand(16, generator=rng),
    }
    made["part_labels"][:, :8] = 255
    order = torch.arange(16).view(2, pieces, -1).transpose(0, 1).flatten()
    return {name: value[order] for name, value in made.items()}


def plain(model: CSCL, recipe: Recipe, alpha: float) -> dict[str, Tensor]:
    """The terms of L for the batch at once, backward through the network and the losses together."""
    b = batch()
    masks = mask_distribution(b["part_labels"].long(), 4, (4, 2)) if recipe.model.spam else None
    guide = alpha * (b["confidence"] >= recipe.train.guide_confidence) if recipe.model.spam else None
    output = model(normalise(b["images"]), b["infrared"], masks, guide)
    targets = label_targets(b["part_labels"]) if output.parsing_logits else None
    terms = TotalLoss(recipe.loss)(output, b["identities"], b["infrared"], targets, b["confidence"])
    terms["total"].backward()
    return terms


def gradients(model: CSCL) -> dict[str, Tensor]:
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def assert_alike(found: dict[str, Tensor], expected: dict[str, Tensor], within: float = 1e-6) -> None:
    """Each as long as the other, to a share of the longest one."""
    assert expected.keys() <= found.keys()
    scale = max(float(g.norm()) for g in expected.values())
    for name, value in expected.items():
        assert float((found[name] - value).norm()) <= within * scale, name


@pytest.mark.parametrize(
    ("method", "pieces"), [("cscl", 1), ("cscl", 4), pytest.param("agw", 2, marks=pytest.mark.slow), ("baseline", 2)]
)
@pytest.mark.usefixtures("double")
def test_gradients_in_pieces_are_those_of_the_batch_at_once(tiny_recipe: MakeRecipe, method: str, pieces: int) -> None:
    recipe = tiny_recipe(f"train.accumulate={pieces}", "train.identities=4", method=method)
    model, fabric = network(recipe).double().eval(), one_process()
    expected = plain(model, recipe, alpha=0.4)
    reference = {name: g.clone() for name, g in gradients(model).items()}
    model.zero_grad()
    wrapped = fabric.setup_module(model)
    terms, told = take_gradients(
        wrapped, criterion=TotalLoss(recipe.loss), batch=batch(pieces), alpha=0.4, recipe=recipe, fabric=fabric
    )
    for name, value in terms.items():
        torch.testing.assert_close(value, expected[name].detach(), rtol=1e-6, atol=1e-6)
    assert_alike(gradients(model), reference)
    assert 0 <= told["accuracy"] <= 1
    assert told.keys() == ({"accuracy", "guided", "visibility"} if method == "cscl" else {"accuracy"})
    if method == "cscl":
        guided = float((batch()["confidence"] >= recipe.train.guide_confidence).float().mean())
        assert 0 < guided < 1
        assert float(told["guided"]) == pytest.approx(guided)


@pytest.mark.parametrize("least", [0.0, 0.5])
def test_a_mask_of_no_confidence_does_not_guide(tiny_recipe: MakeRecipe, least: float) -> None:
    """`data.min_confidence` sets the confidence of masks to 0, also where all others guide."""
    # without the parsing loss, whose classes are balanced by the pixels of all masks
    recipe = tiny_recipe(f"train.guide_confidence={least}", "train.identities=4", "loss.parsing=0")
    fabric, found = one_process("32-true"), []
    for label in (0, 3):
        model = network(recipe).eval()
        given = batch()
        given["confidence"][:6] = 0
        given["part_labels"][:6] = label
        terms, told = take_gradients(
            fabric.setup_module(model), TotalLoss(recipe.loss), batch=given, alpha=0.4, recipe=recipe, fabric=fabric
        )
        found.append((terms["total"], gradients(model)))
        guiding = (given["confidence"] >= least) & (given["confidence"] > 0)
        assert float(told["guided"]) == pytest.approx(float(guiding.float().mean()))
    torch.testing.assert_close(found[0][0], found[1][0])
    assert_alike(found[0][1], found[1][1])


def test_each_image_enters_the_running_statistics_once_and_norms_see_their_piece(tiny_recipe: MakeRecipe) -> None:
    recipe = tiny_recipe("train.accumulate=2", "train.identities=4")
    model, fabric = network(recipe).train(), one_process("32-true")
    other = network(recipe).train()
    take_gradients(
        fabric.setup_module(model),
        criterion=TotalLoss(recipe.loss),
        batch=batch(2),
        alpha=0.4,
        recipe=recipe,
        fabric=fabric,
    )
    b = batch(2)
    for rows in (slice(0, 8), slice(8, 16)):
        masks = mask_distribution(b["part_labels"][rows].long(), 4, (4, 2))
        other(normalise(b["images"][rows]), b["infrared"][rows], masks, 0.4 * (b["confidence"][rows] >= 0.5))
    for name, value in other.named_buffers():
        torch.testing.assert_close(dict(model.named_buffers())[name], value)


def test_a_term_that_is_left_out_gives_its_head_zeros(tiny_recipe: MakeRecipe) -> None:
    recipe = tiny_recipe(*(f"loss.{n}=0" for n in ("identity", "triplet", "parsing", "shown", "division", "icm")))
    model, fabric = network(recipe).train(), one_process("32-true")
    terms, _ = take_gradients(
        fabric.setup_module(model),
        criterion=TotalLoss(recipe.loss),
        batch=batch(),
        alpha=0.4,
        recipe=recipe,
        fabric=fabric,
    )
    assert float(terms["total"]) == 0
    learns = {name for name, p in model.named_parameters() if p.requires_grad}
    assert gradients(model).keys() == learns
    assert not any(bool(g.any()) for g in gradients(model).values())


TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
FABRIC_RUN = (str(Path(sys.executable).with_name("fabric")), "run", "--accelerator", "cpu", "--devices", "2")


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_norms_shared_by_processes_keep_names_values_and_activations(tiny_recipe: MakeRecipe, device: str) -> None:
    model, given = network(tiny_recipe()).eval(), torch.randn(2, 3, 64, 32)
    infrared = torch.tensor([True, False])
    before, state = model.embed(given, infrared), {k: v.clone() for k, v in model.state_dict().items()}
    share_batch_norm(model, torch.device(device))  # neither kind needs its device, or other processes, to evaluate
    kind = torch.nn.SyncBatchNorm if device == "cuda" else SharedBatchNorm
    assert {type(m) for m in model.modules() if isinstance(m, _BatchNorm)} == {kind, SharedHeadNorm}
    assert model.state_dict().keys() == state.keys()
    assert all(torch.equal(v, state[k]) for k, v in model.state_dict().items())
    assert torch.equal(model.embed(given, infrared), before)


@pytest.mark.parametrize(
    "launcher", [pytest.param(TORCHRUN, id="torchrun"), pytest.param(FABRIC_RUN, id="fabric", marks=pytest.mark.slow)]
)
def test_two_processes_compute_what_one_does(
    launcher: tuple[str, ...], masks: Path, tiny_recipe: MakeRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tiny_recipe("train.identities=4", "train.epochs=1", "data.select=val", "train.steps=2")
    (tmp_path / "recipe.toml").write_text(recipe.to_toml())
    save_file(batch(), tmp_path / "batch.safetensors")
    save_file(network(recipe).state_dict(), tmp_path / "model.safetensors")
    script = [str(ROOT / "tests" / "support" / "two_processes.py"), str(tmp_path), str(masks)]
    script.append("cpu" if launcher is TORCHRUN else "auto")
    there = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [*launcher, *script],
        env=os.environ | {"PYTHONPATH": there, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]

    # One step: terms, gradients and, with the norms over both processes, running statistics.
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    for pieces, training in ((1, True), (2, False)):
        model, fabric = network(recipe).double().train(training), one_process()
        terms, _ = take_gradients(
            fabric.setup_module(model),
            criterion=TotalLoss(recipe.loss),
            batch=batch(),
            alpha=0.4,
            recipe=recipe,
            fabric=fabric,
        )
        for rank in (0, 1):
            found = load_file(tmp_path / f"{rank}-{pieces}.safetensors")
            for name, value in terms.items():
                torch.testing.assert_close(found[f"term.{name}"], value, rtol=1e-6, atol=1e-6)
            assert_alike({k[9:]: v for k, v in found.items() if k.startswith("gradient.")}, gradients(model))
            for name, value in model.named_buffers():
                torch.testing.assert_close(found[f"buffer.{name}"], value, rtol=1e-6, atol=1e-6)

    monkeypatch.undo()

    # A run: the first process alone wrote it, and it is the run of one process.
    whole = train(TrainConfig(masks, tmp_path / "whole", recipe, device="cpu"))
    logs = [[json.loads(line) for line in (r / "metrics.jsonl").open()] for r in (tmp_path / "run", whole)]
    assert [row["step"] for row in logs[0]] == [1, 2]
    for found_row, row in zip(*logs, strict=True):
        assert found_row.keys() == row.keys()
        for name in ("total", "id", "triplet", "parsing", "division", "icm"):
            assert found_row[name] == pytest.approx(row[name], rel=1e-4 if row["step"] == 1 else 2e-2), name
    assert {p.name for p in (tmp_path / "run").iterdir()} == {p.name for p in whole.iterdir()}
    assert load_file(tmp_path / "run" / "model.safetensors").keys() == load_file(whole / "model.safetensors").keys()
