"""`--init RUN`: weights of another run, new classifiers, people of both kept out of a test."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from cscl.model import CSCL
from parsing.errors import InputError
from parsing.files import file_hash
from pipelines.recipes.reading import Recipe
from pipelines.retrieval.evaluate import evaluate
from pipelines.runs.folder import load_model
from pipelines.runs.provenance import read_run
from pipelines.training.config import TrainConfig
from pipelines.training.initial import load_initial_weights
from pipelines.training.train import train

MakeRecipe = Callable[..., Recipe]


def test_tensors_of_the_same_shape_are_copied_and_others_kept(finished: Path, tiny_recipe: MakeRecipe) -> None:
    theirs = load_file(finished / "model.safetensors")
    model = CSCL(tiny_recipe().model.config(9, 4, ()))
    fresh = {key: value.clone() for key, value in model.state_dict().items()}
    assert load_initial_weights(model, finished) == ["spam", "neck.classifier"]
    for key, value in model.state_dict().items():
        source = theirs[key] if theirs[key].shape == value.shape else fresh[key]
        assert torch.equal(value, source), key
    baseline = CSCL(tiny_recipe(method="baseline").model.config(9, 4, ()))
    assert load_initial_weights(baseline, finished) == ["neck.classifier"]
    with pytest.raises(InputError, match=r"backbone is another one than model\.backbone = resnet18"):
        load_initial_weights(CSCL(tiny_recipe("model.backbone=resnet18").model.config(9, 4, ())), finished)


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
