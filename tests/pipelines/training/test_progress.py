"""What a training says: loss first, one line per epoch, within 80 columns on a terminal; all of it in train.log."""

import io
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.recipes.reading import Recipe
from pipelines.training.progress import NORMAL, QUIET, VERBOSE, Progress, format_duration

MakeRecipe = Callable[..., Recipe]
STAMP = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\S*  ")


def row(step: int, total: float = 12.5, **values: float) -> dict[str, Any]:
    terms = {"id": 5.0, "triplet": 1.25, "parsing": 0.0, "shown": 0.0, "division": 0.0, "icm": 0.0}
    return {"step": step, "epoch": (step + 1) // 2, "total": total, **terms, "lr": 0.02, "accuracy": 0.5} | values


def follow(recipe: Recipe, verbosity: int, log: Path, first: bool = True) -> None:
    """Follow a run of two epochs of two steps, the second with a validation."""
    with Progress(verbosity, first) as progress:
        progress.note("before the file is there")
        progress.open(log)
        progress.begin(recipe, steps=2, start=0)
        for step, values in enumerate(({"total": 12.0}, {"total": 13.0}, {}, {"rank1": 0.25, "mAP": 0.125}), 1):
            progress.step(row(step, **values))


def test_an_epoch_is_one_line_with_the_loss_first(
    tiny_recipe: MakeRecipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    follow(tiny_recipe(), NORMAL, tmp_path / "train.log")
    said = capsys.readouterr().err
    assert "\r" not in said
    note, first, second = said.splitlines()
    assert note == "note: before the file is there"
    assert first.startswith("epoch 1/2  loss 12.500  id 5.000  triplet 1.250  accuracy 0.500  lr 0.02  ")
    assert re.search(r"  [\d.]+ images/s  ETA \d:\d\d:\d\d$|  took 0:00:00$", first)
    assert "parsing" not in first, "a term that is off is left out"
    assert "validation Rank-1 25.00 mAP 12.50" in second
    logged = (tmp_path / "train.log").read_text()
    assert [STAMP.sub("", line) for line in logged.splitlines()] == [note, first, second]


def test_quiet_prints_nothing_and_verbose_every_step(
    tiny_recipe: MakeRecipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    follow(tiny_recipe(), QUIET, tmp_path / "quiet.log")
    assert capsys.readouterr().err == ""
    assert (tmp_path / "quiet.log").read_text().count("epoch ") == 2
    follow(tiny_recipe(), VERBOSE, tmp_path / "verbose.log")
    assert [line for line in capsys.readouterr().err.splitlines() if line.startswith("step ")][2] == (
        "step 3/4  loss 12.500  id 5.000  triplet 1.250  lr 0.02"
    )
    follow(tiny_recipe(), VERBOSE, tmp_path / "second.log", first=False)
    assert capsys.readouterr().err == ""
    assert not (tmp_path / "second.log").exists()


def test_on_80_columns_the_bar_shows_epoch_and_loss(
    tiny_recipe: MakeRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setattr("pipelines.training.progress.Bar", lambda **given: _bar(given, screen))
    follow(tiny_recipe(), NORMAL, tmp_path / "train.log")
    bars = [state for state in screen.getvalue().split("\r") if "|" in state]
    assert any(state.startswith("epoch 2/2 loss 12.500 100%|") for state in bars)
    assert all(len(state.strip()) <= 80 for state in bars)


def _bar(given: dict[str, Any], screen: io.StringIO) -> Any:
    from parsing.progress import Bar

    return Bar(**given, file=screen, disable=False, ncols=80, mininterval=0)


def test_the_reason_of_a_stop_is_logged(tmp_path: Path) -> None:
    progress = Progress(QUIET)
    progress.open(tmp_path / "train.log")
    progress.__exit__(ValueError, ValueError("the disk is full"), None)
    assert (tmp_path / "train.log").read_text().endswith("  stopped: the disk is full\n")


def test_a_duration_has_hours() -> None:
    assert [format_duration(s) for s in (0, 59.6, 3600, 100000)] == ["0:00:00", "0:01:00", "1:00:00", "27:46:40"]
