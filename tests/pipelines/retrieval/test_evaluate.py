"""`cscl evaluate`: the figures are those of the stored embeddings, and say what they were measured on."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import pipelines.retrieval.evaluate
from cli import main
from cscl.ranking import rank
from data.loading.images import load_image
from data.loading.transforms import normalise
from data.registry import open_data_set
from parsing.errors import InputError, MissingError
from pipelines.recipes.reading import Recipe
from pipelines.retrieval.evaluate import Evaluation, evaluate, evaluate_runs
from pipelines.runs.embed import embed
from pipelines.runs.folder import load_model
from pipelines.training.config import TrainConfig
from pipelines.training.train import train


@pytest.fixture(scope="module")
def evaluated(finished: Path) -> Evaluation:
    return evaluate(finished, device="cpu")


def test_the_figures_are_those_of_the_stored_embeddings(evaluated: Evaluation, finished: Path, figures: Path) -> None:
    with np.load(finished / "embeddings.npz", allow_pickle=False) as stored:
        features = dict(zip(stored["names"].tolist(), stored["embeddings"].astype(np.float64), strict=True))
    protocols = open_data_set("sysu", figures).protocols()
    assert [r.protocol for r in evaluated.results] == [p.name for p in protocols]
    for protocol, result in zip(protocols, evaluated.results, strict=True):
        trials = []
        for trial in protocol.trials:
            distances = np.array(
                [[1 - features[q.name] @ features[g.name] for g in trial.gallery] for q in trial.query]
            )
            hidden = np.array([[q.camera == 3 and g.camera == 2 for g in trial.gallery] for q in trial.query])
            probes, others = ([r.identity for r in side] for side in (trial.query, trial.gallery))
            trials.append(rank(distances, probes, others, hidden, deduplicated=True))
        for k in (1, 5, 10, 20):
            assert result.cmc[k] == pytest.approx(np.mean([t.rank(k) for t in trials]), abs=1e-9)
        assert result.mAP == pytest.approx(np.mean([t.mAP for t in trials]), abs=1e-9)
        assert result.mINP == pytest.approx(np.mean([t.mINP for t in trials]), abs=1e-9)
        assert (result.trials, result.queries) == (10, len(protocol.trials[0].query))


def test_an_embedding_is_what_the_network_answers_for_the_image(
    evaluated: Evaluation, finished: Path, figures: Path
) -> None:
    embedder = load_model(finished)
    assert embedder.size == (64, 32)
    with np.load(finished / "embeddings.npz", allow_pickle=False) as stored:
        names, embeddings = stored["names"].tolist(), stored["embeddings"]
    assert np.linalg.norm(embeddings, axis=1) == pytest.approx(1, abs=1e-5)
    for name in (names[0], names[-1]):
        image = load_image(figures / name, (64, 32))[None]
        infrared = torch.tensor([name.startswith(("cam3", "cam6"))])
        with torch.inference_mode():
            expected = embedder.network.embed(normalise(image), infrared)[0].numpy()
        assert expected == pytest.approx(embeddings[names.index(name)], abs=1e-5)
    test = {r.name for r in open_data_set("sysu", figures).images if r.identity in (7, 8, 9)}
    assert set(names) == test


def test_table_and_json_name_what_the_figures_were_measured_on(evaluated: Evaluation, finished: Path) -> None:
    written = json.loads((finished / "evaluation.json").read_text())
    queries = written.pop("queries")
    assert written == json.loads(json.dumps(evaluated.to_json()))
    assert queries.keys() == {r.protocol for r in evaluated.results}
    assert written["simulated"] is True
    assert written["data_set"] == "sysu"
    about = written["about"]
    assert (about["method"], about["selection"], about["epoch"], about["pretrained"]) == ("cscl", "last", 2, "street")
    assert about["masks"] == json.loads((finished / "run.json").read_text())["fingerprint"]
    assert about["checkpoint"] == hashlib.sha256((finished / "model.safetensors").read_bytes()).hexdigest()
    assert (about["seed"], about["flip"], about["reranking"]) == (0, True, None)
    assert about["feature"] == "[f_g ; f_fg ; v_q f_q] after the necks"
    assert about["distance"] == "cosine distance of what both images show"
    for result in written["results"]:
        assert result["seeds"] == list(range(10))
        assert (result["gallery_rule"], result["trials"], result["reranked"]) == ("seeded", 10, False)
        assert 0 < result["chance_rank1"] < 1
    text = "\n".join(evaluated.lines())
    for said in (
        "sysu (simulated data)", "method cscl", "selection last", "epoch 2", "all-single", "indoor-multi", "10 trials",
        "galleries seeded", "not re-ranked", "chance", "mINP", about["distance"], "per cent",
        "flip averaged", "after the necks", about["masks"][:12], about["checkpoint"][:12],
    ):  # fmt: skip
        assert said in text, said
    row = next(line for line in evaluated.lines() if line.startswith("all-single")).split()
    figures, deviations = evaluated.results[0].figures, evaluated.results[0].deviations
    for cell, name in ((row[1], "Rank-1"), (row[4], "mAP")):
        value, deviation = cell.split("±")
        assert float(value) == pytest.approx(100 * figures[name], abs=0.005)
        assert float(deviation) == pytest.approx(100 * deviations[name], abs=0.005)


def test_a_moved_run_finds_its_images_by_root_and_says_how_it_was_selected(
    run_copy: Path, figures: Path, evaluated: Evaluation
) -> None:
    info = json.loads((run_copy / "run.json").read_text())
    (run_copy / "run.json").write_text(json.dumps(info | {"selection": "val", "epoch": 1}))
    with pytest.raises(MissingError, match="which is not there; give --root"):
        evaluate(run_copy, device="cpu")
    found = evaluate(run_copy, root=figures, protocols=["indoor-single"], device="cpu")
    assert found.results == tuple(r for r in evaluated.results if r.protocol == "indoor-single")
    assert "selection val, epoch 1" in found.lines()[0]
    assert (found.about["selection"], found.about["epoch"]) == ("val", 1)


def test_reranked_figures_say_so(
    other_layouts: dict[str, tuple[Path, Path]], tiny_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    recipe = tiny_recipe("train.epochs=1", "train.steps=1")
    run = train(TrainConfig(other_layouts["llcm"][1], tmp_path / "run", recipe, device="cpu"))
    plain = evaluate(run, device="cpu")
    found = evaluate(run, rerank=True, device="cpu")
    files = {name: json.loads((run / f"{name}.json").read_text()) for name in ("evaluation", "evaluation-reranked")}
    assert files["evaluation"]["results"][0]["mAP"] == plain.results[0].mAP
    assert files["evaluation-reranked"]["results"][0]["mAP"] == found.results[0].mAP
    assert files["evaluation-reranked"]["about"]["reranking"] == {"k1": 20, "k2": 6, "lambda": 0.3}
    assert all(r.reranked for r in found.results)
    (line,) = (line for line in found.lines() if "re-ranked" in line)
    assert "re-ranked (k-reciprocal, k1 20 k2 6 lambda 0.3)" in line
    assert "not re-ranked" not in line


def test_the_command_prints_the_protocols_asked_for_as_json(
    run_copy: Path, figures: Path, evaluated: Evaluation, tmp_path: Path
) -> None:
    command = ["evaluate", "--run", str(run_copy), "--root", str(figures), "--protocol", "all-single"]
    result = CliRunner().invoke(main, [*command, "--device", "cpu", "--json"])
    assert result.exit_code == 0, result.output
    assert [r["protocol"] for r in json.loads(result.stdout)["results"]] == ["all-single"]
    assert json.loads(result.stdout)["results"][0]["mAP"] == evaluated.results[0].mAP
    baseline = tmp_path / "baseline.json"
    shutil.copy(run_copy / "evaluation.json", baseline)
    result = CliRunner().invoke(main, [*command, "--device", "cpu", "--no-flip", "--baseline", str(baseline)])
    assert result.exit_code == 0, result.output
    assert "no flip" in result.output
    assert "they differ in flip: False, True" in result.output
    assert json.loads((run_copy / "evaluation.json").read_text())["about"]["flip"] is False
    own = ["--baseline", str(run_copy / "evaluation.json")]  # without flip; this evaluation writes it anew
    result = CliRunner().invoke(main, [*command, "--device", "cpu", *own])
    assert result.exit_code == 0, result.output
    assert "they differ in flip: True, False" in result.output


def test_runs_of_several_splits_are_averaged_over_both_directions(
    other_layouts: dict[str, tuple[Path, Path]], tiny_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    cache, short = other_layouts["regdb"][1], ("train.epochs=1", "train.steps=1")
    runs = []
    for split in (1, 2):
        recipe = tiny_recipe(*short, f"data.split={split}")
        runs.append(train(TrainConfig(cache, tmp_path / f"{split}", recipe, device="cpu")))
    out = tmp_path / "both.json"
    mean = evaluate_runs(runs, out, device="cpu")
    each = [json.loads((run / "evaluation.json").read_text()) for run in runs]
    assert [r.protocol for r in mean.results] == ["visible-to-thermal", "thermal-to-visible"]
    for number, result in enumerate(mean.results):
        assert result.mAP == pytest.approx(np.mean([e["results"][number]["mAP"] for e in each]))
        assert result.runs == 2
    assert mean.about["split"] == [1, 2]
    assert mean.about["checkpoint"] == [e["about"]["checkpoint"] for e in each]
    assert mean.about["method"] == "cscl"
    assert "split 1 2" in mean.lines()[0]
    assert any("mean of 2 runs" in line for line in mean.lines())
    again = evaluate_runs(runs, baseline=out, device="cpu")
    assert again.comparison is not None
    assert again.comparison.differs == ()
    assert all(d.difference == 0 for d in again.comparison.differences)
    with pytest.raises(InputError, match="given twice"):
        evaluate_runs([runs[0], runs[0]])
    with pytest.raises(InputError, match="given twice"):
        evaluate_runs([runs[0], tmp_path / "2" / ".." / runs[0].name])
    with pytest.raises(InputError, match=r"copy and .*1 have the same weights: they are copies of one run"):
        evaluate_runs([*runs, shutil.copytree(runs[0], tmp_path / "copy")])
    recipe = tiny_recipe(*short, "data.split=1", "seed=1")
    runs.append(train(TrainConfig(cache, tmp_path / "other", recipe, device="cpu")))
    kept = json.loads((runs[-1] / "run.json").read_text())
    moved = os.path.relpath(shutil.copytree(other_layouts["regdb"][0], tmp_path / "images"), runs[-1])
    for change, said in (
        ({"root": moved}, f"other is of the images in {tmp_path / 'images'}, .* --root names one folder for all"),
        ({"fingerprint": "0" * 64}, "differ in the masks; only seeds and splits are averaged"),
        ({"images_hash": "0" * 64}, r"other and .*1 differ in the training images; only seeds and splits"),
        ({"records_hash": "0" * 64}, "differ in the training images; only seeds and splits are averaged"),
        ({"masks_hash": "0" * 64}, "differ in the masks; only seeds and splits are averaged"),
        ({"init": {"run": "../x", "weights": "1" * 64}}, "differ in the run that they started from"),
    ):
        (runs[-1] / "run.json").write_text(json.dumps(kept | change))
        with pytest.raises(InputError, match=said):
            evaluate_runs(runs)
    (runs[-1] / "run.json").write_text(json.dumps(kept | {"root": moved}))
    options: dict[str, Any] = {"root": tmp_path / "images", "protocols": ["visible-to-thermal"], "device": "cpu"}
    assert evaluate_runs(runs[1:], **options).results[0].runs == 2
    (runs[-1] / "run.json").write_text(json.dumps(kept))
    file = runs[-1] / "recipe.toml"
    file.write_text(file.read_text().replace("learning_rate = 0.002", "learning_rate = 0.5"))
    with pytest.raises(InputError, match=r"differ in train\.learning_rate; only seeds and splits"):
        evaluate_runs(runs)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--protocol", "all-double"], "--protocol all-double: sysu has all-single, all-multi, indoor-single"),
        (["--device", "abacus"], "--device abacus"),
        (["--gallery", "official", "--permutations", "nowhere.mat"], "nowhere.mat"),
        (["--permutations", __file__], "draws official galleries alone; give --gallery official too"),
        (["--permutations", __file__, "--gallery", "seeded"], "give --gallery official too"),
        (["--figure-format", "pdf"], "--figure-format pdf: give --figures too"),
        (["--format", "csv", "--json"], "--format csv --json: give one of them"),
        (["--rerank"], "--rerank: all-single cannot be re-ranked"),
    ],
)
def test_what_the_user_gets_wrong_ends_with_code_2(finished: Path, options: list[str], said: str) -> None:
    result = CliRunner().invoke(main, ["evaluate", "--run", str(finished), *options])
    assert result.exit_code == 2
    assert said in result.stderr
    assert result.stderr.strip().splitlines()[-1].startswith("cscl: ")


def test_a_folder_that_is_no_finished_run_is_refused(run_copy: Path, figures: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"is no run: it holds no run\.json"):
        evaluate(tmp_path, device="cpu")
    (run_copy / "model.safetensors").unlink()
    with pytest.raises(MissingError, match=r"holds no model\.safetensors"):
        evaluate(run_copy, root=figures, device="cpu")


@pytest.mark.parametrize("kind", ["cut", "foreign", "other version"])
def test_weights_that_are_not_ours_are_refused(run_copy: Path, figures: Path, kind: str) -> None:
    file = run_copy / "model.safetensors"
    said = "was not written by `cscl train`"
    if kind == "cut":
        file.write_bytes(file.read_bytes()[:-100])
        said = "is no whole safetensors file"
    else:
        metadata: dict[str, Any] = {} if kind == "foreign" else {"cscl": json.dumps({"format": 0})}
        save_file({"a": torch.zeros(2)}, file, metadata)
    with pytest.raises(InputError, match=said):
        load_model(run_copy)


def test_a_run_that_is_not_finished_is_said_to_be_and_not_averaged(
    finished: Path, run_copy: Path, figures: Path, masks: Path, tiny_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    info = json.loads((run_copy / "run.json").read_text())
    (run_copy / "run.json").write_text(json.dumps(info | {"epoch": 1, "finished": False}))
    command = ["evaluate", str(run_copy), "--root", str(figures), "--protocol", "all-single", "--device", "cpu"]
    result = CliRunner().invoke(main, [*command, "--json"])
    assert result.exit_code == 0, result.output
    assert f"note: {run_copy}: its training is not finished: epoch 1 of 2" in result.stderr
    assert json.loads(result.stdout)["about"]["finished"] is False
    (run_copy / "run.json").write_text(json.dumps(info))
    result = CliRunner().invoke(main, [*command, "--json"])
    assert "not finished" not in result.stderr
    assert "finished" not in json.loads(result.stdout)["about"]
    other = train(TrainConfig(masks, tmp_path / "other", tiny_recipe("seed=1"), device="cpu"))
    info = json.loads((other / "run.json").read_text())
    (other / "run.json").write_text(json.dumps(info | {"finished": False}))
    with pytest.raises(InputError, match="other: not finished, so that a mean would be of other lengths"):
        evaluate_runs([finished, other], device="cpu")


def test_weights_written_while_a_run_is_evaluated_are_not_those_of_its_result(
    run_copy: Path, figures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by a training that goes on: the result has the hash of the weights that were loaded."""
    weights = run_copy / "model.safetensors"
    used = hashlib.sha256(weights.read_bytes()).hexdigest()

    def embed_late(*args: Any, **options: Any) -> torch.Tensor:
        weights.write_bytes(b"of a later epoch")
        return embed(*args, **options)

    monkeypatch.setattr(pipelines.retrieval.evaluate, "embed", embed_late)
    result = evaluate(run_copy, root=figures, protocols=["all-single"], device="cpu")
    assert result.about["checkpoint"] == used


def test_a_damaged_run_json_is_named(run_copy: Path) -> None:
    (run_copy / "run.json").write_text('{"data_set": "sysu"')
    with pytest.raises(InputError, match=r"run\.json cannot be read"):
        evaluate(run_copy, device="cpu")


def test_a_table_is_printed_even_if_the_run_cannot_be_written(run_copy: Path, figures: Path, tmp_path: Path) -> None:
    (run_copy / "evaluation.json").unlink(missing_ok=True)
    (run_copy / "evaluation.json").mkdir()
    command = [
        "evaluate",
        "--run",
        str(run_copy),
        "--root",
        str(figures),
        "--device",
        "cpu",
        "--protocol",
        "all-single",
    ]
    lost = CliRunner().invoke(main, command, catch_exceptions=False)
    assert lost.exit_code == 1
    assert "all-single" in lost.stdout
    said = f"{run_copy / 'evaluation.json'} could not be written: Is a directory"
    assert lost.stderr.splitlines()[-1] == f"cscl: {said}; give --out FILE in a folder that can be written"
    kept = CliRunner().invoke(main, [*command, "--out", str(tmp_path / "kept.json")], catch_exceptions=False)
    assert kept.exit_code == 0
    assert f"note: {said}" in kept.stderr
    assert json.loads((tmp_path / "kept.json").read_text())["results"]


def test_a_network_that_answers_nan_ends_in_one_line(run_copy: Path, figures: Path) -> None:
    file = run_copy / "model.safetensors"
    with safe_open(file, "pt") as stored:
        header = stored.metadata()
    state = load_file(file)
    name = next(key for key in state if key.startswith("neck") and key.endswith("running_mean"))
    save_file(state | {name: torch.full_like(state[name], float("nan"))}, file, header)
    result = CliRunner().invoke(main, ["evaluate", str(run_copy), "--root", str(figures), "--device", "cpu"])
    assert result.exit_code == 1
    assert "is not finite: its training has diverged, or its weights are damaged" in result.stderr.splitlines()[-1]


def test_masks_that_nothing_can_be_compared_with_are_said_to_be_unused(
    run_copy: Path, figures: Path, masks: Path, tiny_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    recipe = tiny_recipe("train.epochs=1", "train.steps=1", method="baseline")
    run = train(TrainConfig(masks, tmp_path / "baseline", recipe, device="cpu"))
    command = ["evaluate", str(run), "--protocol", "all-single", "--device", "cpu"]
    result = CliRunner().invoke(main, [*command, "--masks", str(masks)])
    assert result.exit_code == 0, result.output
    assert f"note: nothing is compared with --masks {masks}: the network has no part attention" in result.stderr
    assert "--masks" not in CliRunner().invoke(main, command).stderr
    command[1] = str(run_copy)
    result = CliRunner().invoke(main, [*command, "--root", str(figures), "--masks", str(masks)])
    assert "SPAM" in result.stdout
    assert "--masks" not in result.stderr
