"""A run keeps the part scheme that it was trained with, whatever becomes of the scheme's file."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from parsing.cache.index import shard_folder
from parsing.errors import InputError
from pipelines.recipes.reading import Recipe
from pipelines.retrieval.evaluate import evaluate, evaluate_runs
from pipelines.runs.scheme import read_scheme
from pipelines.training.config import TrainConfig
from pipelines.training.train import train

SCHEME = """
name = "halves"
parts = ["top", "bottom"]
[person7]
top = ["head", "upper", "arms"]
bottom = ["lower", "legs", "feet"]
"""
EDITED = SCHEME.replace('"arms"]', '"arms", "bag"]').replace('"bottom"', '"below"').replace("bottom", "below")


def test_an_edited_scheme_file_changes_no_run_that_it_trained(
    masks: Path, tiny_recipe: Callable[..., Recipe], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "halves.toml"
    file.write_text(SCHEME)
    recipe, run = tiny_recipe(f"data.scheme={file}"), tmp_path / "run"
    train(TrainConfig(masks, run, recipe, device="cpu"))
    longer = tiny_recipe(f"data.scheme={file}", "train.epochs=3")
    whole = shutil.copytree(run, tmp_path / "whole")
    train(TrainConfig(masks, whole, longer, device="cpu", resume=True))
    before = evaluate(run, device="cpu").parts
    assert before is not None
    assert "other parts" not in capsys.readouterr().err

    file.write_text(EDITED)
    note = f"{file} has other parts now than {run} was trained with; those of {run / 'scheme.toml'} are used"
    after = evaluate(run, device="cpu").parts
    assert f"note: {note}\n" in capsys.readouterr().err
    assert after == before
    train(TrainConfig(masks, run, longer, device="cpu", resume=True))
    assert note in capsys.readouterr().err
    assert (run / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()

    other = tmp_path / "other"
    train(TrainConfig(masks, other, tiny_recipe(f"data.scheme={file}", "train.epochs=3", "seed=1"), device="cpu"))
    with pytest.raises(InputError, match=r"differ in .*the parts of their scheme"):
        evaluate_runs([run, other], device="cpu")
    for content in ("no scheme", None):
        file.unlink() if content is None else file.write_text(content)
        scheme, said = read_scheme(run, str(file))
        assert (scheme.parts, bool(said)) == (("top", "bottom"), content is not None)


def test_an_evaluation_is_not_lost_with_the_masks_of_the_training(
    figures: Path, finished: Path, masks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = shutil.copytree(finished, tmp_path / "run")
    here = tmp_path / masks.name
    shutil.copy(masks, here)  # without its folder
    text = (run / "run.json").read_text()
    old = next(line for line in text.splitlines() if '"masks":' in line)
    (run / "run.json").write_text(text.replace(old, f' "masks": "../{here.name}",'))
    result = evaluate(run, root=figures, device="cpu")
    assert result.parts is None
    assert (run / "evaluation.json").is_file()
    said = (
        f"note: the parts are not compared with the masks of the training: {shard_folder(here).resolve()} is not there"
    )
    assert said in capsys.readouterr().err
