"""`--resume` with more epochs: what is done stays, the schedule goes on as said."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import pipelines.training.train
from cli import main
from parsing.errors import InputError
from pipelines.recipes.reading import Recipe, read_recipe
from pipelines.runs.folder import save_info
from pipelines.runs.provenance import read_run
from pipelines.training.batches import Batches
from pipelines.training.config import TrainConfig
from pipelines.training.lengthen import describe_changes, read_resumed_recipe
from pipelines.training.series import is_finished
from pipelines.training.train import train

MakeRecipe = Callable[..., Recipe]


def rows(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_a_finished_run_is_lengthened(run_copy: Path, masks: Path, figures: Path) -> None:
    before, log = rows(run_copy), run_copy / "train.log"
    command = ["train", "--masks", str(masks), "--run", str(run_copy), "--resume", "--device", "cpu"]
    result = CliRunner().invoke(main, [*command, "--set", "train.epochs=3"])
    assert result.exit_code == 0, result.output
    assert "note: train.epochs: 2 -> 3 changes after 2 epochs; what is done stays as it is" in result.stderr
    assert "the cosine now reaches 0 at epoch 3 instead of 2; the next step has the rate" in result.stderr
    assert "the rate rises again" in result.stderr
    found = rows(run_copy)
    assert found[:4] == before
    assert [r["epoch"] for r in found[4:]] == [3, 3]
    recipe, info = read_run(run_copy)
    assert (recipe.train.epochs, info.epoch, info.finished) == (3, 3, True)
    assert recipe.train.guided * 3 == pytest.approx(1), "the guidance ends at the same epoch"
    assert [s["steps"] for s in info.sessions] == [[0, 4], [4, 6]]
    assert info.sessions[1]["changes"]["train.epochs"] == [2, 3]
    assert "train.epochs: 2 -> 3" in log.read_text()
    again = CliRunner().invoke(main, [*command, "--set", "train.epochs=2"])
    assert again.exit_code == 2
    assert "train.epochs = 2, but 3 epochs are done; give at least 3" in again.stderr


def test_a_run_made_longer_and_killed_before_its_next_save_is_not_finished(
    run_copy: Path, masks: Path, tiny_recipe: MakeRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    longer = tiny_recipe("train.epochs=3", f"train.guided={1 / 3}")
    config = TrainConfig(masks, run_copy, longer, resume=True, device="cpu")
    assert is_finished(run_copy, tiny_recipe())

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    for where, name in ((pipelines.training.train, "write_file"), (Batches, "__getitem__")):
        with monkeypatch.context() as patch:
            patch.setattr(where, name, killed)
            with pytest.raises(KeyboardInterrupt):
                train(config)
        assert not is_finished(run_copy, longer), name
        assert not is_finished(run_copy, tiny_recipe()), "the recipe is the former one after the first kill"
    train(config)
    assert is_finished(run_copy, longer)
    assert rows(run_copy)[-1]["step"] == 6


def test_a_run_killed_while_it_is_made_longer_is_finished_again_as_it_was(
    run_copy: Path, masks: Path, tiny_recipe: MakeRecipe
) -> None:
    """Its run.json says that it is not finished, but all steps of its recipe are done."""
    info = read_run(run_copy)[1]
    save_info(run_copy, replace(info, finished=False))
    train(TrainConfig(masks, run_copy, tiny_recipe(), resume=True, device="cpu"))
    assert is_finished(run_copy, tiny_recipe())
    assert read_run(run_copy)[1].epoch == info.epoch


def test_steps_to_come_are_those_of_a_long_run_with_a_step_schedule(
    masks: Path, tiny_recipe: MakeRecipe, tmp_path: Path
) -> None:
    fixed = ("train.schedule=step", "train.milestones=[2]", "train.guided=0", "model.pam=false")
    short, whole = (tiny_recipe(*fixed, f"train.epochs={epochs}", "train.steps=1") for epochs in (1, 2))
    run = train(TrainConfig(masks, tmp_path / "run", short, device="cpu"))
    train(TrainConfig(masks, run, whole, resume=True, device="cpu"))
    once = train(TrainConfig(masks, tmp_path / "once", whole, device="cpu"))
    for name in ("metrics.jsonl", "model.safetensors", "recipe.toml"):
        assert (run / name).read_bytes() == (once / name).read_bytes(), name


def test_other_keys_are_refused_by_name(run_copy: Path, masks: Path, tiny_recipe: MakeRecipe) -> None:
    wrong = TrainConfig(masks, run_copy, tiny_recipe("loss.icm=0.5", "train.epochs=9"), resume=True, device="cpu")
    with pytest.raises(InputError, match=r"differs from this command in loss\.icm; only train\.epochs, .* may change"):
        train(wrong)


def test_a_shipped_recipe_is_lengthened_although_its_guidance_ends_at_the_first_milestone(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text(read_recipe().to_toml())
    recipe = read_resumed_recipe(tmp_path, ["train.epochs=120", "train.milestones=[20, 50, 100]"])
    assert recipe.train.guided * 120 == pytest.approx(20)
    lines = describe_changes(read_recipe(), after=recipe, done=80 * 7, steps=7)
    assert lines[0].startswith("train.epochs: 80 -> 120, train.milestones: [20, 50] -> [20, 50, 100] changes after 80")
    assert "the rate falls at epoch 100" in lines[1]
    assert len(lines) == 2, "neither rate nor guidance of the next step changes"
    given = read_resumed_recipe(tmp_path, ["train.epochs=120", "train.guided=0.1"])
    assert "the masks guide SPAM until epoch 12 instead of 20" in describe_changes(
        read_recipe(), after=given, done=7, steps=7
    )


@pytest.mark.parametrize("changes", [(), ("train.epochs=3",)], ids=["as it is", "longer"])
def test_a_run_from_before_the_first_version_is_resumed(run_copy: Path, masks: Path, changes: tuple[str, ...]) -> None:
    """Its recipe has `train.guided` in epochs, a whole number."""
    recipe = run_copy / "recipe.toml"
    text = recipe.read_text()
    assert "guided = 0.5\n" in text
    recipe.write_text(text.replace("guided = 0.5\n", "guided = 1\n"))
    found = CliRunner().invoke(
        main, ["train", "--masks", str(masks), "--run", str(run_copy), "--resume", "--device", "cpu"]
        + [word for change in changes for word in ("--set", change)],
    )  # fmt: skip
    assert found.exit_code == 0, found.output
    after = read_run(run_copy)[0].train
    assert after.guided * after.epochs == pytest.approx(1)
