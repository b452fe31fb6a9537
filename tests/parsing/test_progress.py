"""Bars: lines without a terminal, a moving bar on one."""

import io
from typing import Any

import pytest

from parsing.progress import SECONDS, Bar


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def run_bar(file: io.StringIO, seconds: float, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return what a bar of 40 steps writes, each of which takes `seconds`."""
    clock = Clock()
    monkeypatch.setattr("time.time", clock)
    monkeypatch.setattr("tqdm.std.time", clock, raising=False)
    bar: Any = Bar(total=40, desc="work", file=file, disable=False)
    bar._time = clock
    bar.start_t = bar.last_print_t = clock()
    for _ in range(40):
        clock.now += seconds
        bar.update()
    bar.set_postfix(rate="low")
    bar.close()
    return file.getvalue()


def test_without_a_terminal_a_bar_is_lines_at_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    said = run_bar(io.StringIO(), 1.0, monkeypatch)
    assert "\r" not in said
    assert said.endswith("\n")
    lines = said.splitlines()
    assert 3 <= len(lines) <= 2 + 40 / SECONDS
    assert len(set(lines)) == len(lines)
    assert all(line.startswith("work:") for line in lines)
    assert "40/40" in lines[-1]


def test_without_a_terminal_short_work_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run_bar(io.StringIO(), 0.01, monkeypatch) == ""


def test_on_a_terminal_the_bar_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    assert run_bar(Terminal(), 1.0, monkeypatch).count("\r") > 10
