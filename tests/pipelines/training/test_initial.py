"""`--init RUN`: weights of another run, new classifiers, people of both kept out of a test."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file
from support.stops import stopped_before_batch

from cli import main
from cscl.model import CSCL
from parsing.errors import InputError
from parsing.files import file_hash
from pipelines.recipes.reading import Recipe
from pipelines.retrieval.evaluate import evaluate
from pipelines.runs.folder import load_model, save_info
from pipelines.runs.provenance import read_run
from pipelines.training.batches import Batches
from pipelines.training.config import TrainConfig
from pipelines.training.initial import load_initial_weights
from pipelines.training.train import train

MakeRecipe = Callable[..., Recipe]


def test_tensors_of_the_same_shape_are_copied_and_others_kept(finished: Path, tiny_recipe: MakeRecipe) -> None:
    theirs = load_file(finished / "model.safetensors")
    model = CSCL(tiny_recipe().model.config(9, 4, ()))
    fresh = {key: value.clone() for key, value in model.state_dict().items()}
    info = read_run(finished)[1]
    assert load_initial_weights(model, finished, info) == ["classifiers"]
    for key, value in model.state_dict().items():
        source = theirs[key] if theirs[key].shape == value.shape else fresh[key]
        assert torch.equal(value, source), key
    baseline = CSCL(tiny_recipe(method="baseline").model.config(9, 4, ()))
    assert load_initial_weights(baseline, finished, info) == ["classifiers"]
    with pytest.raises(InputError, match=r"backbone is another one than model\.backbone = resnet18"):
        load_initial_weights(CSCL(tiny_recipe("model.backbone=resnet18").model.config(9, 4, ())), finished, info)


@pytest.mark.parametrize("other", [{}, {"people_hash": "other"}, {"data_set": "regdb"}, {"people_hash": ""}], ids=str)
def test_classifiers_are_copied_for_the_same_people_only(run_copy: Path, other: dict[str, Any]) -> None:
    """As many other people, as in another split of RegDB, have classifiers of the same shape."""
    info, theirs = read_run(run_copy)[1], load_model(run_copy).network
    save_info(run_copy, replace(info, **other))  # a run of an earlier version has no hash
    with torch.random.fork_rng(devices=[]):
        model = CSCL(theirs.config)
    fresh = {key: value.clone() for key, value in model.state_dict().items()}
    left = load_initial_weights(model, run_copy, info)
    assert left == (["classifiers"] if other else [])
    for key, value in model.state_dict().items():
        source = fresh if other and key.endswith(".classifier.weight") else theirs.state_dict()
        assert torch.equal(value, source[key]), key


def test_a_run_starts_from_another_and_says_so(
    other_layouts: dict[str, tuple[Path, Path]], tiny_recipe: MakeRecipe, tmp_path: Path
) -> None:
    short, cache = ("train.epochs=1", "train.steps=1"), other_layouts["regdb"][1]
    first = train(TrainConfig(cache, tmp_path / "first", tiny_recipe(*short), device="cpu"))
    frozen = tiny_recipe(*short, "data.split=2", "train.learning_rate=1e-12", "model.pretrained=gone.pth")
    second = train(TrainConfig(cache, tmp_path / "second", frozen, init=first, device="cpu"))
    before, after = (load_model(run).network.state_dict() for run in (first, second))
    key = "backbone.layers.0.0.conv_dw.weight"
    key = key if key in before else next(k for k in before if k.startswith("backbone.") and before[k].ndim == 4)
    assert torch.allclose(before[key], after[key], atol=1e-6)
    info = read_run(second)[1]
    assert info.init == {"run": "../first", "weights": file_hash(first / "model.safetensors")}
    assert set(info.people) > set(read_run(first)[1].people)
    with pytest.raises(InputError, match="was trained on"):  # people to test in split 2 that the first run has seen
        evaluate(second, device="cpu")
    with pytest.raises(InputError, match="--init: a resumed run goes on from its own weights"):
        train(TrainConfig(cache, second, frozen, init=first, resume=True, device="cpu"))


def test_a_run_killed_before_its_first_checkpoint_begins_from_the_other_run_again(
    finished: Path, masks: Path, tiny_recipe: MakeRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, run = shutil.copytree(finished, tmp_path / "first"), tmp_path / "run"
    recipe = tiny_recipe("train.epochs=1", "train.learning_rate=1e-3", "seed=1", "train.guided=0")
    whole = train(TrainConfig(masks, tmp_path / "whole", recipe, init=first, device="cpu"))

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Batches, "__getitem__", killed)
        with pytest.raises(KeyboardInterrupt):
            train(TrainConfig(masks, run, recipe, init=first, device="cpu"))
    other = first / "model.safetensors"
    weights = other.read_bytes()
    for wrong in (lambda: other.write_bytes(weights + b" "), other.unlink):
        wrong()
        with pytest.raises(InputError, match=f"{run} has no checkpoint yet, and {first}, .* no longer has these"):
            train(TrainConfig(masks, run, recipe, resume=True, device="cpu"))
    other.write_bytes(weights)
    train(TrainConfig(masks, run, recipe, resume=True, device="cpu"))
    for name in ("metrics.jsonl", "model.safetensors"):
        assert (run / name).read_bytes() == (whole / name).read_bytes(), name
    assert read_run(run)[1].init == read_run(whole)[1].init


def test_runs_of_a_series_that_have_begun_go_on_and_the_others_begin_from_the_other_run(
    finished: Path, masks: Path, tiny_recipe: MakeRecipe, tmp_path: Path
) -> None:
    (tmp_path / "tiny.toml").write_text(tiny_recipe().to_toml())
    command = ["train", "--masks", str(masks), "--recipe", str(tmp_path / "tiny.toml"), "--device", "cpu"]
    command += ["--init", str(finished), "--seeds", "1-2", "--run"]
    assert CliRunner().invoke(main, [*command, str(tmp_path / "whole")]).exit_code == 0
    with stopped_before_batch(2):  # in its second epoch
        assert CliRunner().invoke(main, [*command, str(tmp_path / "runs")]).exit_code == 130
    result = CliRunner().invoke(main, [*command, str(tmp_path / "runs"), "--resume"])
    assert result.exit_code == 0, result.stderr
    for name in ("sysu-tiny-seed1", "sysu-tiny-seed2"):
        run, whole = tmp_path / "runs" / name, tmp_path / "whole" / name
        assert (run / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes(), name
        assert read_run(run)[1].init == read_run(whole)[1].init
