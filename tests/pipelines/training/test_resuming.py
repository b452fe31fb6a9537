"""A run that is stopped, killed or damaged and resumed: the same bytes as one that went through."""

import json
import math
import multiprocessing
import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from lightning_fabric import Fabric
from lightning_fabric.plugins import MixedPrecision
from PIL import Image
from support.caches import edit
from support.stops import stopped_before_batch

import pipelines.training.loop
from cli import main
from data.simulators.layouts import label_name
from parsing.cache.index import shard_folder
from parsing.cache.reader import MaskCache
from parsing.errors import CsclError, InputError
from pipelines.recipes.reading import Recipe
from pipelines.runs.provenance import read_run
from pipelines.training.batches import Batches
from pipelines.training.config import TrainConfig
from pipelines.training.train import train

MakeRecipe = Callable[..., Recipe]


def rows(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def start(masks: Path, run: Path, recipe: Recipe, **options: Any) -> Path:
    return train(TrainConfig(masks, run, recipe, device="cpu", **options))


def test_a_run_that_is_stopped_anywhere_and_resumed_gives_the_same_bytes(
    finished: Path, masks: Path, tiny_recipe: MakeRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, recipe = tmp_path / "run", tiny_recipe()
    with stopped_before_batch(3), pytest.raises(KeyboardInterrupt):
        start(masks, run, recipe)
    assert len(rows(run)) == 3
    assert read_run(run)[1].epoch == 1

    def stopped_before_saving(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    for what in ("save_model", "save_state"):
        with monkeypatch.context() as patch:
            patch.setattr(pipelines.training.loop, what, stopped_before_saving)
            with pytest.raises(KeyboardInterrupt):
                start(masks, run, recipe, resume=True)
    start(masks, run, recipe, resume=True)
    for name in ("metrics.jsonl", "model.safetensors"):
        assert (run / name).read_bytes() == (finished / name).read_bytes(), name
    assert read_run(run)[1].epoch == 2


def test_a_run_stopped_before_its_first_checkpoint_begins_again(
    finished: Path, masks: Path, tiny_recipe: MakeRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(pipelines.training.loop, "save_model", stopped)
        with pytest.raises(KeyboardInterrupt):
            start(masks, tmp_path / "run", tiny_recipe())
    assert len(rows(tmp_path / "run")) == 2
    start(masks, tmp_path / "run", tiny_recipe(), resume=True)
    assert (tmp_path / "run" / "metrics.jsonl").read_bytes() == (finished / "metrics.jsonl").read_bytes()


def test_resuming_a_finished_run_changes_nothing(run_copy: Path, masks: Path, tiny_recipe: MakeRecipe) -> None:
    before = {name: (run_copy / name).read_bytes() for name in ("metrics.jsonl", "model.safetensors", "recipe.toml")}
    start(masks, run_copy, tiny_recipe(), resume=True)
    assert {name: (run_copy / name).read_bytes() for name in before} == before


def test_resuming_with_another_recipe_or_other_masks_is_refused(
    run_copy: Path, masks: Path, figures: Path, tiny_recipe: MakeRecipe, make_true_cache: Any, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"--resume: .*recipe\.toml differs from this command"):
        start(masks, run_copy, tiny_recipe("train.learning_rate=0.5"), resume=True)
    other = make_true_cache("sysu", figures, tmp_path / "masks.h5")
    with pytest.raises(InputError, match=r"--resume: .* was trained on other masks than those of .*masks\.h5"):
        start(other, run_copy, tiny_recipe(), resume=True)


def write_ids(root: Path, **people: str) -> None:
    """Write the lists of people of SYSU-MM01, such as `val`."""
    for part, numbers in people.items():
        (root / "exp" / f"{part}_id.txt").write_text(f"{numbers}\n")


@pytest.mark.parametrize("change", ["shot", "person", "unreadable"])
def test_resuming_with_other_images_or_people_is_refused(
    finished: Path,
    masks: Path,
    figures: Path,
    tiny_recipe: MakeRecipe,
    make_true_cache: Any,
    tmp_path: Path,
    change: str,
) -> None:
    """The fingerprint of a cache is that of its parser, and says nothing of its images."""
    root = shutil.copytree(figures, tmp_path / "SYSU-MM01")
    if change == "person":
        write_ids(root, val="7", test="6,8,9")
    cache = make_true_cache("sysu", root, tmp_path / "masks.h5")
    run = start(cache, tmp_path / "run", tiny_recipe())
    (run / "state-00000004.pt").unlink()
    image = next(root.glob("cam1/0001/*.jpg"))
    if change == "shot":
        shutil.copy(image, image.with_name("0099.jpg"))
        label = root / label_name(image.relative_to(root).as_posix())
        shutil.copy(label, label.with_name("0099.png"))
    elif change == "person":
        write_ids(root, val="6", test="7,8,9")
    lacking = [image.relative_to(root).as_posix()] if change == "unreadable" else []
    make_true_cache("sysu", root, cache, unreadable=lacking)
    what = "people" if change == "person" else "images"
    before = {file.name: file.read_bytes() for file in run.iterdir() if file.is_file()}
    with pytest.raises(
        InputError, match=f"--resume: {run} was trained on other {what} than those that {cache} now has"
    ):
        start(cache, run, tiny_recipe(), resume=True)
    assert {file.name: file.read_bytes() for file in run.iterdir() if file.is_file()} == before
    old = json.loads((run / "run.json").read_text())
    for key in ("records_hash", "images_hash", "masks_hash"):  # as an earlier version: that compares the people alone
        del old[key]
    (run / "run.json").write_text(json.dumps(old))
    if change == "person":
        with pytest.raises(InputError, match="was trained on other people"):
            start(cache, run, tiny_recipe(), resume=True)
    else:
        assert rows(start(cache, run, tiny_recipe(), resume=True))[-1]["step"] == 4


@pytest.fixture
def begun(figures: Path, masks: Path, tiny_recipe: MakeRecipe, tmp_path: Path) -> tuple[Path, Path, Path]:
    """Cache and images of its own, and a run on them that lacks its last epoch."""
    root = shutil.copytree(figures, tmp_path / figures.name)
    shutil.copytree(masks.with_suffix(".shards"), tmp_path / "sysu_masks.shards")
    cache = Path(shutil.copy(masks, tmp_path / masks.name))
    run = start(cache, tmp_path / "run", tiny_recipe())
    (run / "state-00000004.pt").unlink()
    return cache, root, run


def test_resuming_with_other_images_of_the_same_names_is_refused(
    begun: tuple[Path, Path, Path], tiny_recipe: MakeRecipe
) -> None:
    cache, root, run = begun
    image, other = sorted(root.glob("cam1/000[12]/*.jpg"))[:2]
    with Image.open(image) as one, Image.open(other) as two:
        two.resize(one.size).save(image)
    before = {file.name: file.read_bytes() for file in run.iterdir() if file.is_file()}
    for _ in range(2):  # the decoded images of before are not there, and those of now are
        with pytest.raises(InputError, match=f"was trained on other images in {root}, of the same names; restore"):
            start(cache, run, tiny_recipe(), resume=True)
    assert {file.name: file.read_bytes() for file in run.iterdir() if file.is_file()} == before


def test_resuming_with_other_masks_of_the_same_parser_is_refused(
    begun: tuple[Path, Path, Path], tiny_recipe: MakeRecipe
) -> None:
    cache, root, run = begun
    number = MaskCache(cache).number(next(root.glob("cam1/0001/*.jpg")).relative_to(root).as_posix())
    with edit(shard_folder(cache) / "00000.h5") as shard:
        shard["labels"][number] = 0
    with pytest.raises(InputError, match=f"was trained on other masks in {cache}, of the same names; restore"):
        start(cache, run, tiny_recipe(), resume=True)


def test_a_copy_of_the_images_is_gone_on_with(
    begun: tuple[Path, Path, Path], finished: Path, tiny_recipe: MakeRecipe, tmp_path: Path
) -> None:
    cache, root, run = begun
    copied = tmp_path / "elsewhere" / root.name
    shutil.copytree(root, copied, copy_function=shutil.copyfile)  # with other times
    start(cache, run, tiny_recipe(), resume=True, root=copied)
    for name in ("metrics.jsonl", "model.safetensors"):
        assert (run / name).read_bytes() == (finished / name).read_bytes()


def test_a_truncated_state_falls_back_to_the_one_before_and_says_so(
    run_copy: Path, finished: Path, masks: Path, tiny_recipe: MakeRecipe, capsys: pytest.CaptureFixture[str]
) -> None:
    last, before = run_copy / "state-00000004.pt", run_copy / "state-00000002.pt"
    last.write_bytes(last.read_bytes()[:-1000])
    start(masks, run_copy, tiny_recipe(), resume=True)
    assert "state-00000004.pt cannot be read" in (said := capsys.readouterr().err)
    assert "going on from the state before, step 2" in said
    for name in ("metrics.jsonl", "model.safetensors"):
        assert (run_copy / name).read_bytes() == (finished / name).read_bytes(), name
    assert torch.load(last, weights_only=True)["step"] == 4
    last.write_bytes(last.read_bytes()[:1000])
    torch.save({"model": {}}, before)
    with pytest.raises(CsclError, match=r"state-00000004\.pt cannot be read .*; .*2\.pt is no training state .*remove"):
        start(masks, run_copy, tiny_recipe(), resume=True)


def test_a_run_in_16_mixed_survives_overflows_and_resumes_with_its_scale(
    masks: Path, tiny_recipe: MakeRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a CPU, by a stand-in for CUDA's."""

    def make_scaled(*_: str) -> Fabric:
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**13)
        return Fabric(accelerator="cpu", devices=1, plugins=[MixedPrecision("16-mixed", "cpu", scaler)])

    monkeypatch.setattr("pipelines.training.train.make_fabric", make_scaled)
    recipe = tiny_recipe("train.steps=3", "train.learning_rate=1e-4")
    whole = start(masks, tmp_path / "whole", recipe)
    gradients = [row["gradient"] for row in rows(whole)]
    assert not math.isfinite(gradients[0])
    assert math.isfinite(gradients[-1])
    assert rows(whole)[-1]["scale"] < 2.0**13
    run = shutil.copytree(whole, tmp_path / "run")
    (run / "state-00000006.pt").unlink()
    start(masks, run, recipe, resume=True)
    for name in ("metrics.jsonl", "model.safetensors"):
        assert (run / name).read_bytes() == (whole / name).read_bytes(), name


@pytest.mark.parametrize(
    ("row", "sound"),
    [
        ({"total": 1.0, "gradient": 2.0}, True),
        ({"total": 1.0, "gradient": math.inf}, False),
        ({"total": math.nan, "gradient": 2.0, "scale": 8.0}, False),
        ({"total": 1.0, "gradient": math.nan, "scale": 1.0}, True),
        ({"total": 1.0, "gradient": math.nan, "scale": 0.5}, False),
    ],
)
def test_a_gradient_may_overflow_while_its_scale_can_be_lowered(row: dict[str, float], sound: bool) -> None:
    assert pipelines.training.loop._is_sound(row) == sound


def test_a_resumed_run_says_that_its_precision_changes(
    run_copy: Path, masks: Path, tiny_recipe: MakeRecipe, capsys: pytest.CaptureFixture[str]
) -> None:
    longer = tiny_recipe("train.epochs=3", "train.guided=0.2")
    start(masks, run_copy, longer, resume=True, precision="bf16-mixed")
    assert "note: goes on in bf16-mixed after 32-true; --precision 32-true keeps that" in capsys.readouterr().err
    start(masks, run_copy, longer, resume=True, precision="bf16-mixed")
    assert "--precision" not in capsys.readouterr().err


def test_two_states_are_kept_and_none_from_further_on(run_copy: Path, masks: Path, tiny_recipe: MakeRecipe) -> None:
    assert [p.name for p in sorted(run_copy.glob("state*"))] == ["state-00000002.pt", "state-00000004.pt"]
    (run_copy / "state-00000004.pt").unlink()
    for step in (1, 3, 9):
        (run_copy / f"state-{step:08d}.pt").write_bytes(b"broken")
    start(masks, run_copy, tiny_recipe(), resume=True)
    assert [p.name for p in sorted(run_copy.glob("state*"))] == ["state-00000003.pt", "state-00000004.pt"]


def test_a_log_that_lacks_rows_is_not_gone_on_with(run_copy: Path, masks: Path, tiny_recipe: MakeRecipe) -> None:
    (run_copy / "metrics.jsonl").write_text("{}\n")
    with pytest.raises(CsclError, match=r"metrics\.jsonl has 1 rows, but the run has done 4 steps"):
        start(masks, run_copy, tiny_recipe(), resume=True)


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_ends_the_step_saves_it_and_says_how_to_go_on(
    finished: Path, masks: Path, tiny_recipe: MakeRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, fetch = tmp_path / "run", Batches.__getitem__
    (tmp_path / "recipe.toml").write_text(tiny_recipe().to_toml())

    def signalled_at_step_3(batches: Batches, step: int) -> dict[str, torch.Tensor]:
        if step == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return fetch(batches, step)

    command = ["train", "--masks", str(masks), "--run", str(run), "--device", "cpu", "--precision", "32-true"]
    with monkeypatch.context() as patch:
        patch.setattr(Batches, "__getitem__", signalled_at_step_3)
        result = CliRunner().invoke(main, [*command, "--recipe", str(tmp_path / "recipe.toml")])
    assert result.exit_code == 130
    again = f"cscl train --masks {masks} --run {run} --resume --device cpu --precision 32-true"
    assert f"cscl: stopped after step 3 of 4, which is saved; `{again}` continues" in result.stderr
    assert len(rows(run)) == 3
    assert (run / "state-00000003.pt").is_file()
    assert CliRunner().invoke(main, [*command, "--resume"]).exit_code == 0
    for name in ("metrics.jsonl", "model.safetensors"):
        assert (run / name).read_bytes() == (finished / name).read_bytes(), name


@pytest.mark.parametrize(("epochs", "steps", "kills"), [(2, 2, 2), pytest.param(4, 5, 8, marks=pytest.mark.slow)])
def test_a_run_killed_at_random_steps_leaves_the_same_bytes(
    masks: Path, tiny_recipe: MakeRecipe, tmp_path: Path, epochs: int, steps: int, kills: int
) -> None:
    recipe = tiny_recipe(f"train.epochs={epochs}", f"train.steps={steps}", "model.pam=false")
    whole, run = start(masks, tmp_path / "whole", recipe), tmp_path / "run"
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(["pipelines.training.train"])
    rng = random.Random(7)
    for target in sorted(rng.sample(range(1, epochs * steps), kills)):
        config = TrainConfig(masks, run, recipe, resume=run.exists(), device="cpu")
        process = server.Process(target=train, args=(config,))
        process.start()
        while process.is_alive() and rows_there(run) < target:
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 0.1))
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
    start(masks, run, recipe, resume=True)
    for name in ("metrics.jsonl", "model.safetensors"):
        assert (run / name).read_bytes() == (whole / name).read_bytes(), name


def rows_there(run: Path) -> int:
    """Whole rows of a log that is being written."""
    return (run / "metrics.jsonl").read_bytes().count(b"\n") if (run / "metrics.jsonl").exists() else 0
