"""`cscl train` end to end on a tiny drawn data set: its files, its log, resuming bit for bit, what it refuses."""

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import fields, replace
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file

from cli import main
from cscl.model import CSCL
from data.registry import open_data_set
from parsing.cache.reader import MaskCache
from parsing.errors import CsclError, InputError, MissingError
from parsing.parsers.registry import ParserSpec
from pipelines.masks.info import info as masks_info
from pipelines.parse.run import ParseConfig, parse
from pipelines.recipes.reading import Recipe, read_recipe
from pipelines.retrieval.evaluate import evaluate
from pipelines.runs.folder import load_model
from pipelines.runs.provenance import RunInfo, open_images, read_run
from pipelines.training.config import TrainConfig
from pipelines.training.train import train
from pipelines.training.validation import Validation

MakeRecipe = Callable[..., Recipe]


def rows(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def start(masks: Path, run: Path, recipe: Recipe, **options: Any) -> Path:
    return train(TrainConfig(masks, run, recipe, device="cpu", **options))


def test_a_run_leaves_its_files_and_says_what_it_was_trained_on(
    finished: Path, masks: Path, figures: Path, tiny_recipe: MakeRecipe
) -> None:
    names = {"recipe.toml", "run.json", "metrics.jsonl", "model.safetensors", "state-00000004.pt", "tensorboard"}
    names |= {"train.log"}
    assert {p.name for p in finished.iterdir()} >= names
    assert not list(finished.rglob("*.part"))
    recipe, info = read_run(finished)
    cache = MaskCache(masks)
    assert recipe == tiny_recipe()
    assert (info.data_set, info.fingerprint, info.label_set) == ("sysu", cache.fingerprint, "person7")
    assert (info.identities, info.selection, info.epoch) == (6, "last", 2)
    assert list(info.people) == ["1", "2", "3", "4", "5", "6"]
    assert info.people_hash == hashlib.sha256(b"1\n2\n3\n4\n5\n6").hexdigest()
    assert open_images(finished, info, None).root.resolve() == figures.resolve()
    assert (finished / info.masks).resolve() == masks.resolve()
    model = load_model(finished).network
    assert not model.training
    assert model.config.identities == 6
    assert model.config.parts == 4


def test_run_json_records_each_start(finished: Path, run_copy: Path, masks: Path, tiny_recipe: MakeRecipe) -> None:
    info = read_run(finished)[1]
    (session,) = info.sessions
    assert (session["device"], session["precision"], session["processes"]) == ("cpu", "32-true", 1)
    assert session["threads"] == torch.get_num_threads()
    assert session["steps"] == [0, 4]
    assert session["seconds"] > 0
    assert {name: session["versions"][name] for name in ("torch", "pillow")} == {
        n: version(n) for n in ("torch", "pillow")
    }
    assert datetime.fromisoformat(session["started"]).tzinfo is not None
    assert session["command"]
    assert info.finished
    (run_copy / "state-00000004.pt").unlink()
    start(masks, run_copy, tiny_recipe(), resume=True)
    resumed = read_run(run_copy)[1]
    assert [s["steps"] for s in resumed.sessions] == [[0, 4], [2, 4]]
    assert resumed.sessions[0] == session
    assert replace(resumed, sessions=info.sessions, root=info.root, masks=info.masks) == info


def test_a_run_without_its_new_facts_is_read_and_continued(
    run_copy: Path, masks: Path, tiny_recipe: MakeRecipe
) -> None:
    """As an earlier version wrote it."""
    file = run_copy / "run.json"
    old = json.loads(file.read_text())
    for name in ("people_hash", "records_hash", "sessions", "init", "finished"):
        del old[name]
    file.write_text(json.dumps(old))
    (run_copy / "state-00000004.pt").unlink()
    start(masks, run_copy, tiny_recipe(), resume=True)
    assert [s["steps"] for s in read_run(run_copy)[1].sessions] == [[2, 4]]


def test_every_step_has_a_row_whose_total_is_the_weighted_sum(finished: Path, tiny_recipe: MakeRecipe) -> None:
    found, loss = rows(finished), tiny_recipe().loss
    assert [(r["step"], r["epoch"]) for r in found] == [(1, 1), (2, 1), (3, 2), (4, 2)]
    assert [r["alpha"] for r in found] == [1.0, 0.5, 0.0, 0.0]
    for row in found:
        weighted = (
            loss.identity * row["id"] + loss.triplet * row["triplet"] + loss.parsing * row["parsing"]
            + loss.shown * row["shown"] + loss.division * row["division"] + loss.icm * row["icm"]
        )  # fmt: skip
        assert row["total"] == pytest.approx(weighted, rel=1e-5)
        assert min(row[name] for name in ("id", "triplet", "parsing", "shown", "division")) > 0
        assert 0 <= row["accuracy"] <= 1


def test_training_moves_the_weights_of_every_part(finished: Path, tiny_recipe: MakeRecipe) -> None:
    trained = load_file(finished / "model.safetensors")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(tiny_recipe().seed)
        fresh = CSCL(tiny_recipe().model.config(6, 4, load_model(finished).network.config.flipped)).state_dict()
    assert trained.keys() == fresh.keys()
    moved = {key.split(".")[0] for key in trained if not torch.equal(trained[key], fresh[key])}
    assert moved >= {"backbone", "pam", "spam", "neck"}


def test_two_runs_give_the_same_bytes(finished: Path, masks: Path, tiny_recipe: MakeRecipe, tmp_path: Path) -> None:
    torch.rand(3)
    before = torch.get_rng_state()
    again = start(masks, tmp_path / "again", tiny_recipe())
    for name in ("metrics.jsonl", "model.safetensors", "recipe.toml"):
        assert (again / name).read_bytes() == (finished / name).read_bytes(), name
    assert torch.equal(torch.get_rng_state(), before)


def test_a_second_run_into_the_same_folder_is_refused(run_copy: Path, masks: Path, tiny_recipe: MakeRecipe) -> None:
    before = {p: p.read_bytes() for p in run_copy.rglob("*") if p.is_file()}
    with pytest.raises(InputError, match="already holds a run; give --resume"):
        start(masks, run_copy, tiny_recipe())
    assert {p: p.read_bytes() for p in run_copy.rglob("*") if p.is_file()} == before


def test_what_cannot_start_leaves_no_run_behind(masks: Path, tiny_recipe: MakeRecipe, tmp_path: Path) -> None:
    run = tmp_path / "run"
    for options, said in (({"device": "abacus"}, "--device abacus"), ({"precision": "7"}, "--precision 7")):
        with pytest.raises(InputError, match=said) as caught:
            train(TrainConfig(masks, run, tiny_recipe(), **options))  # type: ignore[arg-type]
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match=r"needs 70 identities, but only 6 .*train\.identities"):
        start(masks, run, tiny_recipe("train.identities=70"))
    with pytest.raises(MissingError, match="there is no such file"):
        start(masks, run, tiny_recipe("model.pretrained=none.pth"))
    with pytest.raises(InputError, match="no part scheme 'reid7'"):
        start(masks, run, tiny_recipe("data.scheme=reid7"))
    with pytest.raises(MissingError, match=r"--resume: .* holds no run"):
        start(masks, run, tiny_recipe(), resume=True)
    assert not run.exists()
    run.write_text("a file")
    with pytest.raises(InputError, match="is a file"):
        start(masks, run, tiny_recipe())


def test_a_loss_that_is_no_number_stops_the_run_with_its_batch_saved(
    masks: Path, figures: Path, tiny_recipe: MakeRecipe, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    with pytest.raises(
        CsclError, match=r"step \d: the loss or its gradient is not finite .*lower train\.learning_rate"
    ) as caught:
        start(masks, run, tiny_recipe("train.learning_rate=1e30", "train.optimiser=sgd"))
    file = run / "failed-batch.safetensors"
    assert str(file) in str(caught.value)
    with safe_open(file, "pt") as stored:
        about = json.loads(stored.metadata()["cscl"])
        batch = {key: stored.get_tensor(key) for key in stored.keys()}  # noqa: SIM118
    assert about["step"] == len(rows(run)) + 1
    assert batch["images"].shape == (8, 3, 64, 32)
    people = {r.name: r for r in open_data_set("sysu", figures).train()}
    numbers = sorted({r.identity for r in people.values()})
    shown = [people[name] for name in about["images"]]
    assert [numbers.index(r.identity) for r in shown] == batch["identities"].tolist()
    assert [r.modality == "infrared" for r in shown] == batch["infrared"].tolist()


def test_agw_has_no_parts_and_no_losses_of_parts(masks: Path, tiny_recipe: MakeRecipe, tmp_path: Path) -> None:
    run = start(masks, tmp_path / "agw", tiny_recipe("train.epochs=1", method="agw"))
    for row in rows(run):
        assert (row["parsing"], row["division"], row["icm"]) == (0, 0, 0)
        assert row["total"] == pytest.approx(row["id"] + row["triplet"], rel=1e-6)
    model = load_model(run).network
    assert model.spam is None
    assert len(model.pam) == 0
    assert len(model.backbone.non_local) > 0


def test_val_keeps_the_epoch_that_scores_best_on_people_it_did_not_train(
    masks: Path, tiny_recipe: MakeRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    validated: list[set[int]] = []
    biases: list[torch.Tensor] = []

    def scripted(self: Validation, model: CSCL) -> dict[str, float]:
        validated.append({r.identity for r in self.records})
        biases.append(model.neck.classifier.weight.detach().clone())
        return {"rank1": (0.1, 0.4, 0.3)[len(biases) - 1], "mAP": 0.2}

    monkeypatch.setattr(Validation, "__call__", scripted)
    recipe = tiny_recipe("data.select=val", "data.evaluate_every=1", "train.epochs=3", "train.steps=1")
    run = start(masks, tmp_path / "val", recipe)
    info = read_run(run)[1]
    assert (info.epoch, info.selection, info.identities) == (2, "val", 5)
    assert validated == [{6}] * 3
    assert [row["rank1"] for row in rows(run)] == [0.1, 0.4, 0.3]
    assert torch.equal(load_model(run).network.neck.classifier.weight, biases[1])


def test_val_really_scores_when_it_is_due(
    other_layouts: dict[str, tuple[Path, Path]], tiny_recipe: MakeRecipe, tmp_path: Path
) -> None:
    recipe = tiny_recipe("data.select=val", "data.evaluate_every=2", "train.epochs=3", "train.steps=1")
    run = start(other_layouts["regdb"][1], tmp_path / "val", recipe)
    assert [sorted({"rank1", "mAP"} & row.keys()) for row in rows(run)] == [[], ["mAP", "rank1"], ["mAP", "rank1"]]
    best = max(rows(run)[1:], key=lambda row: row["rank1"] + row["mAP"])
    assert read_run(run)[1].epoch == best["epoch"]
    assert read_run(run)[1].identities == 4


@pytest.mark.parametrize("name", ["regdb", "llcm"])
def test_other_layouts_train_and_evaluate(
    other_layouts: dict[str, tuple[Path, Path]], tiny_recipe: MakeRecipe, tmp_path: Path, name: str
) -> None:
    root, cache = other_layouts[name]
    run = start(cache, tmp_path / "run", tiny_recipe("train.epochs=1", "train.steps=1"))
    assert read_run(run)[1].identities == len({r.identity for r in open_data_set(name, root).train()})
    result = evaluate(run, device="cpu")
    assert [r.protocol for r in result.results] == [p.name for p in open_data_set(name, root).protocols()]
    assert all(0 < r.mAP <= 1 for r in result.results)
    assert result.data_set == name


def test_a_cache_of_another_data_set_is_refused(
    other_layouts: dict[str, tuple[Path, Path]], figures: Path, tiny_recipe: MakeRecipe, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"regdb: .* looks like sysu"):
        start(other_layouts["regdb"][1], tmp_path / "run", tiny_recipe(), root=figures)
    assert not (tmp_path / "run").exists()


def test_masks_of_other_images_of_the_same_names_are_refused(
    masks: Path, figures: Path, tiny_recipe: MakeRecipe, tmp_path: Path
) -> None:
    """An image that was replaced after parsing, or the images of another data set in the same layout."""
    other = shutil.copytree(figures, tmp_path / "SYSU-MM01")
    name = open_data_set("sysu", other).train()[3].name
    with Image.open(other / name) as picture:
        picture.resize((picture.width + 1, picture.height)).save(other / name)
    with pytest.raises(InputError, match=f"{name} has another size than the image of that name in .*--root"):
        start(masks, tmp_path / "run", tiny_recipe(), root=other)
    assert not (tmp_path / "run").exists()


def test_a_cache_without_a_data_set_says_how_to_import_it(
    figures: Path, tiny_recipe: MakeRecipe, tmp_path: Path
) -> None:
    masks = str(tmp_path / "a.h5")
    command = ["masks", "import", str(figures / "labels"), "--from", "png", "--labels", "person7", "--out", masks]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 0, result.output
    with pytest.raises(InputError, match=r"a\.h5 was imported without a data set.* again with --dataset, one of sysu"):
        start(Path(masks), tmp_path / "run", tiny_recipe())
    assert not (tmp_path / "run").exists()


def test_training_images_without_a_mask_are_told_and_left_out(
    figures: Path, tiny_recipe: MakeRecipe, make_true_cache: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    listed = open_data_set("sysu", figures).train()
    cache = make_true_cache("sysu", figures, tmp_path / "masks.h5", unreadable=[listed[3].name, listed[5].name])
    start(cache, tmp_path / "run", tiny_recipe("train.epochs=1", "train.steps=1"))
    said = f"note: 2 of the {len(listed)} training images have no mask in {cache} and are left out: {listed[3].name}"
    assert said in capsys.readouterr().err


def test_a_split_that_the_data_set_does_not_have_is_refused(
    masks: Path, tiny_recipe: MakeRecipe, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"data.split = 2: sysu has the splits 1 to 1"):
        start(masks, tmp_path / "run", tiny_recipe("data.split=2"))


def test_an_image_without_a_mask_ends_the_command_with_its_name(
    figures: Path, make_true_cache: Any, tmp_path: Path
) -> None:
    lacking = ("cam1/0001/0001.jpg", "cam3/0002/0001.jpg")
    cache = make_true_cache("sysu", figures, tmp_path / "masks.h5", images=lambda r: r.name not in lacking)
    result = CliRunner().invoke(
        main, ["train", "--masks", str(cache), "--run", str(tmp_path / "r"), "--recipe", "small"]
    )
    assert result.exit_code == 2
    assert "has no mask of cam1/0001/0001.jpg and 1 more; run `cscl parse" in result.output
    assert not (tmp_path / "r").exists()


def test_a_cache_that_is_moved_with_its_images_still_works(
    figures: Path, make_true_cache: Any, tiny_recipe: MakeRecipe, tmp_path: Path
) -> None:
    old, new = tmp_path / "old", tmp_path / "far" / "new"
    shutil.copytree(figures, old / "SYSU-MM01")
    make_true_cache("sysu", old / "SYSU-MM01", old / "masks.h5")
    new.parent.mkdir()
    old.rename(new)
    run = start(new / "masks.h5", new / "run", tiny_recipe("train.epochs=1", "train.steps=1"))
    info = read_run(run)[1]
    assert open_images(run, info, None).root == new / "SYSU-MM01"
    new.rename(old)
    assert open_images(old / "run", info, None).root == old / "SYSU-MM01"
    (tmp_path / "link").symlink_to(old / "run")
    assert open_images(tmp_path / "link", info, None).root == old / "SYSU-MM01"


def test_the_command_trains_resumes_and_says_what_comes_next(
    other_layouts: dict[str, tuple[Path, Path]], tmp_path: Path
) -> None:
    run = str(tmp_path / "run")
    changes = ["data.size=[64,32]", "train.epochs=1", "train.steps=1", "train.identities=2", "train.images=2"]
    command = ["train", "--masks", str(other_layouts["llcm"][1]), "--run", run, "--device", "cpu"]
    given = [word for change in changes for word in ("--set", change)]
    result = CliRunner().invoke(main, [*command, "--recipe", "small", "--method", "agw", *given])
    assert result.exit_code == 0, result.output
    assert f"cscl evaluate {run}" in result.output
    assert read_recipe(Path(run) / "recipe.toml").method == "agw"
    assert CliRunner().invoke(main, [*command, "--resume"]).exit_code == 0
    assert CliRunner().invoke(main, [*command, "--recipe", "small"]).exit_code == 2


def test_run_json_holds_no_absolute_path(finished: Path) -> None:
    values = json.loads((finished / "run.json").read_text())
    assert set(values) == {f.name for f in fields(RunInfo)}
    assert not any(str(value).startswith("/") for value in values.values())


@pytest.fixture
def own(figures: Path, tmp_path: Path, tiny_weights: Path) -> ParseConfig:
    """Pictures of the people p1 to p4 in both modalities, below two days, and how to parse them."""
    root = tmp_path / "own"
    for light, camera in (("visible", 1), ("infrared", 3)):
        for person in range(1, 5):
            place = root / light / f"day{person % 2}" / f"p{person}"
            place.mkdir(parents=True)
            for picture in sorted(figures.glob(f"cam{camera}/*/*.jpg"))[person : person + 2]:
                shutil.copy(picture, place / f"{picture.parent.name}.jpg")
    return ParseConfig(
        "folder", root=root, out=tmp_path / "own.h5", parser=ParserSpec(weights=tiny_weights), size=(64, 32), workers=0,
        pattern="*/{identity}/*",
    )  # fmt: skip


def test_people_trained_on_are_not_tested(
    own: ParseConfig, tiny_recipe: MakeRecipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert own.root is not None
    parse(own)
    recipe = tiny_recipe("train.epochs=1", "train.steps=1", "data.min_confidence=0")
    run = start(own.index, tmp_path / "run", recipe)
    assert (
        f"note: nobody is held out for a test; write the names of the people to test, one per line, into {own.root}"
        in (capsys.readouterr().err)
    )
    assert list(read_run(run)[1].people) == ["p1", "p2", "p3", "p4"]
    (own.root / "test_id.txt").write_text("p3\np4\n")
    with pytest.raises(InputError, match=r"was trained on 2 of the 2 people to test \(p3, p4\)"):
        evaluate(run, device="cpu")
    assert not (run / "evaluation.json").exists()
    (own.root / "visible/day1/aaron").mkdir()  # renumbers everybody, renames nobody
    shutil.copy(next((own.root / "visible").rglob("*.jpg")), own.root / "visible/day1/aaron/1.jpg")
    with pytest.raises(InputError, match=r"\(p3, p4\)"):
        evaluate(run, device="cpu")
    moved = shutil.copytree(own.root, tmp_path / "moved")
    assert evaluate(run, moved, device="cpu").results
    assert f"to test (p3, p4), if {moved} shows the same people" in capsys.readouterr().err


def test_the_pattern_of_a_cache_is_kept_by_its_runs(own: ParseConfig, tiny_recipe: MakeRecipe, tmp_path: Path) -> None:
    masks = own
    assert own.root is not None
    (own.root / "test_id.txt").write_text("p4\n")
    parse(masks)
    run = start(masks.index, tmp_path / "run", tiny_recipe("train.epochs=1", "train.steps=1", "data.min_confidence=0"))
    info = read_run(run)[1]
    assert (info.pattern, info.identities) == ("*/{identity}/*", 3)
    assert [r.protocol for r in evaluate(run, device="cpu").results] == ["infrared-to-visible"]
    report = masks_info(MaskCache(masks.index))
    assert report.pattern == "*/{identity}/*"
    assert "people by --pattern */{identity}/*" in report.lines()[1]


def test_people_of_one_modality_are_told_and_left_out_of_the_scores(
    own: ParseConfig, tiny_recipe: MakeRecipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert own.root is not None
    for name in ("p2", "p4"):
        shutil.rmtree(own.root / "visible/day0" / name)
    (own.root / "test_id.txt").write_text("p3\np4\n")
    parse(own)
    run = start(
        own.index,
        tmp_path / "run",
        tiny_recipe("train.epochs=1", "train.steps=1", "train.identities=1", "data.min_confidence=0"),
    )
    said = capsys.readouterr().err
    assert "note: 1 of the 2 people are seen in one modality alone and are not trained on: p2\n" in said
    result = evaluate(run, device="cpu")
    (one,) = result.results
    assert 0 < one.unmatched < one.queries
    assert f"note: {one.unmatched} of the {one.queries} queries of infrared-to-visible are left out" in str(
        result.lines()
    )
    (own.root / "test_id.txt").write_text("p4\n")
    with pytest.raises(InputError, match="infrared and 0 visible"):
        evaluate(run, device="cpu")
