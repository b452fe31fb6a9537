"""`cscl reproduce`: tables of both kinds of figures, work that is not done twice, an estimate."""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import pipelines.reproduce.run
from cli import main
from data.registry import open_data_set
from parsing.errors import CsclError, InputError
from parsing.parsers.registry import ParserSpec
from pipelines.reproduce.estimate import count_workers
from pipelines.reproduce.plan import DATA_SETS, ROWS, ReproduceConfig, plan
from pipelines.reproduce.published import read_entries, read_published
from pipelines.reproduce.run import reproduce
from pipelines.retrieval.evaluate import evaluate
from pipelines.training.train import train

TINY = (
    "data.size=[64,32]", "train.epochs=1", "train.steps=1", "train.identities=2", "train.images=2", "train.warmup=0",
    "model.part_dim=16",
)  # fmt: skip


def tiny_config(name: str, root: Path, masks: Path | None, out: Path, **options: Any) -> ReproduceConfig:
    return ReproduceConfig(
        name, root=root, masks=masks, out=out, recipe=Path("small"), changes=TINY, device="cpu", **options
    )


@pytest.mark.parametrize("name", DATA_SETS)
def test_published_figures_have_sources_and_protocols_that_exist(
    name: str, figures: Path, other_layouts: dict[str, tuple[Path, Path]]
) -> None:
    root = figures if name == "sysu" else other_layouts[name][0]
    protocols = {protocol.name for protocol in open_data_set(name, root).protocols()}
    found = read_published(name)
    assert found
    for one in found:
        assert one.figures.keys() <= protocols
        assert all(10 < value < 100 for pair in one.figures.values() for value in pair)
    if name == "sysu":
        assert next(one for one in found if one.method == "CSCL").figures == {"all-single": (75.72, 72.08)}


def test_every_published_figure_names_its_publication() -> None:
    """A citation has authors, where it appeared and the year; a misspelt data set would lose its figures in silence."""
    for one in read_entries():
        assert {"method", "source"} < one.keys() <= {"method", "source", "note", *DATA_SETS}
        assert one["method"]
        assert re.match(r"[A-Z]\w+ (et al\.|and [A-Z]\w+), [A-Z].* (19|20)\d\d\b", one["source"])
    (deen,) = (one for one in read_published("llcm") if one.method == "DEEN")
    assert "unconfirmed which direction" in deen.source, "the page says what is not certain"


def test_a_row_made_longer_is_guided_until_the_same_epoch(tmp_path: Path) -> None:
    config = ReproduceConfig("llcm", out=tmp_path, rows=("cscl",))
    (before,) = plan(config)
    before.run.mkdir(parents=True)
    (before.run / "recipe.toml").write_text(before.recipe.to_toml())
    (longer,) = plan(replace(config, changes=("train.epochs=500",)))
    ends = [one.recipe.train.guided * one.recipe.train.epochs for one in (before, longer)]
    assert ends[0] > 0
    assert ends[1] == pytest.approx(ends[0])
    assert longer.recipe.train.epochs == 500


def test_the_tables_need_every_split_of_regdb_and_the_ablation_on_sysu() -> None:
    regdb = plan(ReproduceConfig("regdb"))
    assert [(one.row, one.recipe.data.split) for one in regdb] == [
        (row, split) for row in ("agw", "baseline", "cscl") for split in range(1, 11)
    ]
    assert len({one.run for one in regdb}) == 30
    sysu = {one.row: one.recipe for one in plan(ReproduceConfig("sysu", seeds=(0, 1)))}
    assert list(sysu) == list(ROWS)
    assert (sysu["cscl"].title, sysu["baseline"].title) == ("cscl", "baseline")
    assert (sysu["pam"].model.pam, sysu["pam"].model.spam, sysu["icm"].loss.icm) == (True, False, 0.5)
    assert sysu["agw"].train.epochs == 81
    with pytest.raises(InputError, match="--row pam2: choose from agw"):
        plan(ReproduceConfig("sysu", rows=("pam2",)))


def test_a_parser_beside_a_cache_that_exists_is_refused(figures: Path, masks: Path) -> None:
    command = ["reproduce", "--dataset", "sysu", "--root", str(figures), "--masks", str(masks), "--dry-run"]
    for given in (["--parser", "onnx:x.onnx"], ["--weights", str(masks)], ["--narrow"]):
        result = CliRunner().invoke(main, [*command, *given])
        assert result.exit_code == 2, given
        assert "this cache is used as it is" in result.stderr, result.stderr
    for given, said in ((["--workers", "2"], "nothing is parsed"), (["--seeds", "1"], "--set seed=5: --seeds")):
        result = CliRunner().invoke(main, [*command, *given, *(["--set", "seed=5"] if "--seeds" in given else [])])
        assert (result.exit_code, said in result.stderr) == (2, True), result.stderr


def test_ours_stand_beside_the_published_and_nothing_is_done_twice(
    other_layouts: dict[str, tuple[Path, Path]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, masks = other_layouts["regdb"]
    config = tiny_config("regdb", root=root, masks=masks, out=tmp_path / "out", rows=("baseline",), splits=(1, 2))
    calls = 0

    def stopped_at_the_second(*given: Any) -> Path:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise KeyboardInterrupt
        return train(*given)

    monkeypatch.setattr(pipelines.reproduce.run, "train", stopped_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        reproduce(config)
    done = reproduce(config)
    assert calls == 3, "the first run is not trained again"
    page, text = done.page.read_text(), (tmp_path / "out" / "results.md").read_text()
    assert "| RLE | 92.8 | 88.6 |  | Tan et al., NeurIPS 2024 |" in text
    (ours,) = done.results.values()
    cell = f"{100 * ours[0].cmc[1]:.2f} ± {100 * ours[0].deviations['Rank-1']:.2f}"
    assert f"| baseline (ours) | {cell} |" in text
    for said in ("is a reconstruction", "simulated", cell, "Tan et al.", "mean of 2 runs", "never on test data"):
        assert said in page, said
        assert said in text, said
    written = json.loads((tmp_path / "out" / "results.json").read_text())
    assert written["rows"]["baseline"][0]["runs"] == 2

    def not_again(*_: Any, **__: Any) -> None:
        raise AssertionError("done twice")

    monkeypatch.setattr(pipelines.reproduce.run, "train", not_again)
    monkeypatch.setattr(pipelines.reproduce.run, "evaluate", not_again)
    again = reproduce(config)
    assert again.results.keys() == done.results.keys()
    for one, other in zip(ours, again.results["baseline"], strict=True):
        assert one == other


def test_an_evaluation_of_other_images_protocols_or_options_is_done_again(
    other_layouts: dict[str, tuple[Path, Path]], tmp_path: Path
) -> None:
    root, masks = other_layouts["regdb"]
    config = tiny_config("regdb", root=root, masks=masks, out=tmp_path / "out", rows=("baseline",), splits=(1, 2))
    done = reproduce(config)
    runs = sorted((tmp_path / "out" / "runs").iterdir())
    other = shutil.copytree(root, tmp_path / "other")
    visible = sorted(file for file in (other / "Visible").rglob("*.*") if file.is_file())
    for file, next_one in zip(visible[::2], visible[1::2], strict=False):
        shutil.copy(next_one, file)

    def edit(change: Callable[[dict[str, Any]], Any]) -> None:
        file = runs[1] / "evaluation.json"
        found = json.loads(file.read_text())
        change(found)
        file.write_text(json.dumps(found))

    for spoil in (
        lambda: evaluate(runs[0], other, device="cpu"),
        lambda: evaluate(runs[1], root, protocols=["thermal-to-visible"], device="cpu"),
        lambda: evaluate(runs[0], root, flip=False, device="cpu"),
        lambda: edit(lambda found: found["results"][0].update(mAP=0.99, trials_hash="")),
        lambda: edit(lambda found: found["about"].update(checkpoint="0" * 64)),
        lambda: edit(lambda found: found["queries"].clear()),
    ):
        spoil()
        assert reproduce(config).results == done.results


def test_a_run_of_other_images_or_masks_is_not_taken_for_one_of_these(
    other_layouts: dict[str, tuple[Path, Path]], tmp_path: Path
) -> None:
    root, masks = other_layouts["regdb"]
    options: dict[str, Any] = {"masks": masks, "out": tmp_path / "out", "rows": ("baseline",), "splits": (1,)}
    reproduce(tiny_config("regdb", root=root, **options))
    other = shutil.copytree(root, tmp_path / "other")
    with pytest.raises(CsclError, match=r"trained on the images in .*, not on those in .*other; give another --out"):
        reproduce(tiny_config("regdb", root=other, **options))
    file = tmp_path / "out" / "runs" / "baseline-split1-seed0" / "run.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"fingerprint": "0" * 64}))
    with pytest.raises(CsclError, match=r"trained with other masks than those of .*; give another --out"):
        reproduce(tiny_config("regdb", root=root, **options))


def test_a_real_data_set_with_other_counts_is_not_reproduced(figures: Path, tmp_path: Path) -> None:
    with pytest.raises(CsclError, match=r"differs from the published sysu in .*`cscl data check"):
        pipelines.reproduce.run._check_counts("sysu", figures, simulated=False)


def test_an_estimate_divides_the_parsing_by_the_gpus_that_auto_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    """And not by the cores of their machine, which do not parse then."""
    auto = ReproduceConfig("sysu", parser=ParserSpec(device="auto"))
    monkeypatch.setattr("torch.get_num_threads", lambda: 16)
    assert count_workers(replace(auto, parser=ParserSpec(device="cpu"))) == 16
    monkeypatch.setattr("pipelines.reproduce.estimate.find_device", lambda name: "cuda")
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert [count_workers(replace(auto, workers=workers)) for workers in (None, 0, 3)] == [2, 1, 3]


def test_a_dry_run_says_how_long_and_leaves_nothing(
    other_layouts: dict[str, tuple[Path, Path]], tmp_path: Path, tiny_recipe: Callable[..., Any]
) -> None:
    root, masks = other_layouts["llcm"]
    out = tmp_path / "out"
    changes = [word for change in TINY for word in ("--set", change)]
    command = ["reproduce", "--dataset", "llcm", "--root", str(root), "--masks", str(masks), "--out", str(out)]
    result = CliRunner().invoke(
        main,
        [*command, "--recipe", "small", *changes, "--row", "cscl", "--seeds", "0-2", "--device", "cpu", "--dry-run"],
    )
    assert result.exit_code == 0, result.output
    assert "train cscl" in result.stdout
    assert "3 steps" in result.stdout
    assert result.stdout.splitlines()[-1].startswith("in all")
    assert not out.exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", DATA_SETS)
def test_a_simulated_set_of_each_layout_goes_through_from_images_to_page(
    name: str, figures: Path, other_layouts: dict[str, tuple[Path, Path]], tmp_path: Path
) -> None:
    root = figures if name == "sysu" else other_layouts[name][0]
    done = reproduce(
        tiny_config(
            name, root=root, masks=None, out=tmp_path / "out", splits=(1, 2) if name == "regdb" else (), workers=0
        )
    )
    rows = [row for row in ROWS.values() if name == "sysu" or not row.ablation]
    assert list(done.results) == [row.title for row in rows]
    assert (tmp_path / "out" / f"{name}_masks.h5").is_file()
