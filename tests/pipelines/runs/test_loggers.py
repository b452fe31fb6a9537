"""TensorBoard and other loggers: grouped tags, one value per step also after a resume, no warning."""

import json
import logging
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.summary.writer import event_file_writer

from parsing.errors import CsclError, InputError
from pipelines.recipes.reading import Recipe
from pipelines.runs.log import RunLog
from pipelines.runs.loggers import find_logger, tag_values

MakeRecipe = Callable[..., Recipe]


@pytest.fixture(autouse=True)
def number_event_files_from_0(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let files of one second be read in the order of writing.

    Their names end in the number of files that the process has made, and TensorBoard reads 10 before 9.
    """
    monkeypatch.setattr(event_file_writer, "_global_uid", event_file_writer.AtomicCounter(0))


def write(run: Path, recipe: Recipe, start: int, steps: range, value: float, **options: Any) -> None:
    with RunLog(run, recipe, start, **options) as log:
        for step in steps:
            log.write_row({"step": step, "epoch": 1, "total": value, "lr": 0.1, "mAP": 0.5})


def read_board(run: Path, caplog: pytest.LogCaptureFixture) -> dict[str, list[tuple[int, float]]]:
    """Return the values of each tag as TensorBoard reads them, which must not warn."""
    with caplog.at_level(logging.WARNING):
        found = EventAccumulator(str(run / "tensorboard"), size_guidance={"scalars": 0}).Reload()
    assert not caplog.records, caplog.text
    return {tag: [(e.step, e.value) for e in found.Scalars(tag)] for tag in found.Tags()["scalars"]}


def test_tags_are_grouped(finished: Path, caplog: pytest.LogCaptureFixture) -> None:
    found = read_board(finished, caplog)
    assert set(found) >= {"loss/total", "loss/id", "loss/parsing", "state/lr", "state/accuracy", "state/g2", "state/p"}
    rows = [json.loads(line) for line in (finished / "metrics.jsonl").read_text().splitlines()]
    assert [step for step, _ in found["loss/total"]] == [r["step"] for r in rows]
    assert [value for _, value in found["loss/total"]] == pytest.approx([r["total"] for r in rows])
    assert set(tag_values({"step": 1, "epoch": 1, "mAP": 0.5, "lr": 1, "name": "x"})) == {"val/mAP", "state/lr"}


@pytest.mark.parametrize("kept", [4, 3, 0])
def test_a_resumed_run_has_each_step_once_and_no_warning(
    tiny_recipe: MakeRecipe, tmp_path: Path, caplog: pytest.LogCaptureFixture, kept: int
) -> None:
    write(tmp_path, tiny_recipe(), 0, range(1, 5), 1.0)
    write(tmp_path, tiny_recipe(), kept, range(kept + 1, 7), 2.0)
    expected = [(step, 1.0 if step <= kept else 2.0) for step in range(1, 7)]
    assert read_board(tmp_path, caplog)["loss/total"] == expected
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 6


def test_a_killed_run_has_each_step_once_and_no_warning(
    tiny_recipe: MakeRecipe, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path, tiny_recipe(), 0, range(1, 5), 1.0)
    (tmp_path / "tensorboard" / "steps.json").unlink()  # written at the end, which a killed process does not reach
    (tmp_path / "tensorboard" / "mine.txt").write_text("kept")
    write(tmp_path, tiny_recipe(), 3, range(4, 7), 2.0)
    assert read_board(tmp_path, caplog)["loss/total"] == [(s, 1.0 if s <= 3 else 2.0) for s in range(1, 7)]
    assert (tmp_path / "tensorboard" / "mine.txt").read_text() == "kept"


@pytest.mark.parametrize("line", ["[1]", "{", "3"])
def test_a_damaged_log_is_named(tiny_recipe: MakeRecipe, tmp_path: Path, line: str) -> None:
    (tmp_path / "metrics.jsonl").write_text(f"{line}\n{{}}\n")
    with pytest.raises(CsclError, match=r"metrics\.jsonl is damaged: "):
        RunLog(tmp_path, tiny_recipe(), 1)


class Kept:
    """A logger of a test's own."""

    values: ClassVar[list[tuple[int, Mapping[str, float]]]] = []
    closed: ClassVar[int] = 0

    def __init__(self, run: Path, recipe: Recipe, rows: list[dict[str, Any]]) -> None:
        self.values.clear()

    def write(self, step: int, values: Mapping[str, float]) -> None:
        self.values.append((step, values))

    def close(self) -> None:
        type(self).closed += 1


def test_a_logger_of_ones_own_gets_every_step(
    tiny_recipe: MakeRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "own_module", SimpleNamespace(Kept=Kept))
    before = Kept.closed
    write(tmp_path, tiny_recipe(), 0, range(1, 3), 1.0, loggers=[find_logger("own_module:Kept")])
    assert Kept.values == [(step, {"loss/total": 1.0, "state/lr": 0.1, "val/mAP": 0.5}) for step in (1, 2)]
    assert Kept.closed == before + 1


def test_a_logger_may_lie_in_the_working_folder_and_hides_nothing_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command `cscl` does not search that folder; a repository there may have a `data/` of its own."""
    (tmp_path / "logger_beside.py").write_text("from parsing import MaskCache\n\n\nclass Mine: ...\n", encoding="utf-8")
    (tmp_path / "json.py").write_text("raise RuntimeError\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place not in ("", str(tmp_path))])
    before = list(sys.path)
    mine: Any = find_logger("logger_beside:Mine")
    theirs: Any = find_logger("json:loads")
    assert (mine.__name__, theirs) == ("Mine", json.loads)
    assert sys.path == before


class FakeWandb:
    """The part of wandb that is used; `runs` has the values by identifier."""

    def __init__(self) -> None:
        self.runs: dict[str, list[tuple[int, dict[str, float]]]] = {}
        self.started: list[dict[str, Any]] = []

    def init(self, **options: Any) -> Any:
        self.started.append(options)
        number = options.get("id", f"id{len(self.runs)}")
        values = self.runs.setdefault(number, [])
        return SimpleNamespace(
            id=number, log=lambda given, step: values.append((step, given)), finish=lambda: values.append((-1, {}))
        )


@pytest.mark.slow
def test_wandb_itself_logs_offline_and_goes_on(
    tiny_recipe: MakeRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    write(tmp_path, tiny_recipe(), 0, range(1, 3), 1.0, loggers=[find_logger("wandb")])
    write(tmp_path, tiny_recipe(), 2, range(3, 4), 2.0, loggers=[find_logger("wandb")])
    identifier = (tmp_path / "wandb-id").read_text().strip()
    logs = list((tmp_path / "wandb").glob(f"offline-run-*-{identifier}/*.wandb"))
    assert logs
    assert all(b"loss/total" in log.read_bytes() for log in logs)


def test_wandb_gets_tags_and_config_and_goes_on_in_its_run(
    tiny_recipe: MakeRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = FakeWandb()
    monkeypatch.setitem(sys.modules, "wandb", fake)
    run = tmp_path / "runs" / "mine"
    run.mkdir(parents=True)
    write(run, tiny_recipe(), 0, range(1, 3), 1.0, loggers=[find_logger("wandb")])
    write(run, tiny_recipe(), 2, range(3, 4), 2.0, loggers=[find_logger("wandb")])
    first, second = fake.started
    assert (first["name"], first["dir"], first["config"]["train"]["epochs"]) == ("mine", str(run), 2)
    assert "id" not in first
    assert (second["id"], second["resume"]) == ("id0", "allow")
    assert [step for step, _ in fake.runs["id0"]] == [1, 2, -1, 3, -1]
    assert fake.runs["id0"][0][1]["loss/total"] == 1.0


def test_a_logger_that_is_not_there_is_refused_in_a_line(
    tiny_recipe: MakeRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, said in (("wanb", "give wandb, or MODULE:NAME"), ("no_such:x", "No module named"), ("os:x", "has no")):
        with pytest.raises(InputError, match=said):
            find_logger(name)
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(InputError, match=r"wandb is not installed; pip install 'cscl\[wandb\]'"):
        write(tmp_path, tiny_recipe(), 0, range(0), 1.0, loggers=[find_logger("wandb")])
