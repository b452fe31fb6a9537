"""Series of runs over splits and seeds, and the names of runs."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli import main
from parsing.errors import InputError
from pipelines.recipes.reading import Recipe, read_recipe
from pipelines.runs.provenance import read_run
from pipelines.training.series import name_run, plan_runs, read_numbers


def test_numbers_are_read_as_ranges_and_lists() -> None:
    assert read_numbers("1-3", "--seeds") == (1, 2, 3)
    assert read_numbers("7, 0,2-3", "--seeds") == (7, 0, 2, 3)
    for wrong in ("", "1-", "a", "3-1", "1,1", "-1", "0-99999", "1-3,2"):
        with pytest.raises(InputError, match=r"--seeds "):
            read_numbers(wrong, "--seeds")


@pytest.mark.parametrize(
    ("data_set", "source", "method", "changes", "splits", "name"),
    [
        ("sysu", None, None, [], 1, "sysu-cscl-seed0"),
        ("sysu", None, "baseline", ["seed=3"], 1, "sysu-baseline-seed3"),
        ("sysu", "small", None, [], 1, "sysu-small-seed0"),
        ("sysu", "small", "agw", [], 1, "sysu-small-agw-seed0"),
        ("sysu", "agw", None, [], 1, "sysu-agw-seed0"),
        ("regdb", "regdb", None, ["data.split=7"], 10, "regdb-cscl-split7-seed0"),
    ],
)
def test_a_run_is_named_by_data_recipe_split_and_seed(
    data_set: str, source: str | None, method: str | None, changes: list[str], splits: int, name: str
) -> None:
    file = None if source is None else Path(source)
    recipe = read_recipe(file, changes, method)
    assert name_run(data_set, recipe=recipe, source=file, method=method, splits=splits) == name


def test_a_split_that_is_not_there_is_refused() -> None:
    for data_set, split, said in (("sysu", 2, "sysu has the splits 1 to 1, and no 2"), ("regdb", 11, "1 to 10")):
        with pytest.raises(InputError, match=said):
            plan_runs(data_set, recipe=None, method=None, changes=[], splits=(split,), seeds=(), run=None, resume=False)


def test_what_a_series_sets_for_each_run_is_not_set_for_all() -> None:
    for change, splits, seeds in (("seed=5", (), (0, 1)), ("data.split = 3", (1, 2), ())):
        with pytest.raises(InputError, match=f"--set {change}: --s.* says it of each run"):
            plan_runs(
                "regdb", recipe=None, method=None, changes=[change], splits=splits, seeds=seeds, run=None, resume=False
            )
    plan_runs("regdb", recipe=None, method=None, changes=["seed=5"], splits=(1,), seeds=(), run=None, resume=False)


@pytest.mark.parametrize(
    ("begun", "recipe", "method", "refused"),
    [
        ("sysu-small-seed1", None, None, True),
        ("sysu-small-baseline-seed0", None, "baseline", True),
        ("sysu-small-seed0", None, "baseline", False),
        ("sysu-small-seed0", "agw", None, False),  # another recipe, which is given
        ("sysu-small-seed2", None, None, False),  # not of these seeds
        ("sysu-cscl-seed1", None, None, False),  # of this series
        ("regdb-small-seed0", None, None, False),
    ],
)
def test_a_series_to_continue_that_has_not_begun_beside_one_of_another_recipe_is_refused(
    tmp_path: Path, begun: str, recipe: str | None, method: str | None, refused: bool
) -> None:
    (tmp_path / begun).mkdir()
    (tmp_path / begun / "recipe.toml").write_text(read_recipe(None, ["seed=1"]).to_toml())

    def plan(resume: bool) -> None:
        source = None if recipe is None else Path(recipe)
        plan_runs(
            "sysu", recipe=source, method=method, changes=[], splits=(), seeds=(0, 1), run=tmp_path, resume=resume
        )

    plan(resume=False)
    if not refused:
        plan(resume=True)
        return
    with pytest.raises(InputError, match=f"--resume: {tmp_path} holds no run of this series, but {begun}; give the"):
        plan(resume=True)


@pytest.mark.parametrize(("recipe", "method"), [(None, None), ("cscl", None), (None, "cscl"), ("cscl", "baseline")])
def test_a_longer_run_is_guided_until_the_same_epoch_also_where_the_command_repeats_its_recipe(
    tmp_path: Path, recipe: str | None, method: str | None
) -> None:
    source = None if recipe is None else Path(recipe)
    (tmp_path / "recipe.toml").write_text(read_recipe(source, [], method).to_toml())

    def plan(*changes: str) -> Recipe:
        ((_, made),) = plan_runs(
            "sysu", recipe=source, method=method, changes=changes, splits=(), seeds=(), run=tmp_path, resume=True
        )
        return made

    before = plan().train
    ends = before.guided * before.epochs
    for epochs in (120, 120, 160):  # the second is the same command again
        made = plan(f"train.epochs={epochs}")
        assert made.train.guided * epochs == pytest.approx(ends)
        assert made.method == (method or "cscl")
        (tmp_path / "recipe.toml").write_text(made.to_toml())
    assert plan("train.epochs=200", "train.guided=0.05").train.guided == 0.05


def test_splits_and_seeds_are_trained_continued_and_evaluated_together(
    other_layouts: dict[str, tuple[Path, Path]], tmp_path: Path
) -> None:
    given = ["data.size=[64,32]", "train.epochs=1", "train.steps=1", "train.identities=2", "train.images=2"]
    changes = [word for change in given for word in ("--set", change)]
    command = ["train", "--masks", str(other_layouts["regdb"][1]), "--run", str(tmp_path), "--device", "cpu"]
    series = [*command, "--recipe", "small", "--method", "baseline", *changes, "--splits", "1,2"]
    names = [f"regdb-small-baseline-split{split}-seed0" for split in (1, 2)]
    first = CliRunner().invoke(main, [*series[:-1], "2"])
    assert first.exit_code == 0, first.output
    untouched = (tmp_path / names[1] / "run.json").read_bytes()
    refused = CliRunner().invoke(main, series)
    assert refused.exit_code == 2
    assert f"{names[1]} already holds a run" in refused.stderr
    assert not (tmp_path / names[0]).exists(), "nothing starts if one cannot"
    both = CliRunner().invoke(main, [*series, "--resume"])
    assert both.exit_code == 0, both.output
    assert f"{names[1]}: finished" in both.stderr
    assert (tmp_path / names[1] / "run.json").read_bytes() == untouched
    assert f"2 runs trained; `cscl evaluate {tmp_path / names[0]} {tmp_path / names[1]}` averages" in both.stdout
    assert [read_run(tmp_path / name)[0].data.split for name in names] == [1, 2]
    out = tmp_path / "mean.json"
    runs = [str(tmp_path / name) for name in names]
    result = CliRunner().invoke(main, ["evaluate", *runs, "--device", "cpu", "--format", "md", "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[0] == "| protocol | Rank-1 | Rank-10 | Rank-20 | mAP | mINP |"
    assert " ± " in result.stdout
    assert f"written: {runs[0]}/evaluation.json" in result.stderr
    assert str(out) in result.stderr
    found = json.loads(out.read_text())
    assert found["about"]["split"] == [1, 2]
    assert set(found["results"][0]["deviations"]) >= {"Rank-1", "mAP", "mINP"}
