"""What a training prints and writes into train.log: one line per epoch, notes, and on a terminal a bar."""

import sys
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from tqdm import tqdm

from parsing.progress import Bar, is_terminal

from ..recipes.reading import Recipe

QUIET, NORMAL, VERBOSE = -1, 0, 1
TERMS = ("id", "triplet", "parsing", "shown", "division", "icm")
"""Terms of the loss in the order in which a line names them; one that is 0 in the whole epoch is left out."""
BAR = "{desc} {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}]"
"""Format of the bar, with epoch and loss first: in a narrow terminal tqdm shortens the bar and cuts the end."""


class Progress:
    """Print and record how a training goes.

    Everything goes into train.log, each line with its time; `verbosity` decides what is printed: VERBOSE a line per
    step too, NORMAL a line per epoch and notes, QUIET nothing. Lines before `open` are kept for the file.

    Args:
        verbosity: one of the three.
        first: whether this process speaks; of several only the first one does.
    """

    def __init__(self, verbosity: int = NORMAL, first: bool = True) -> None:
        self.verbosity, self._first = verbosity, first
        self._file: IO[str] | None = None
        self._before: list[str] = []
        self._bar: Bar | None = None

    def open(self, file: Path) -> None:
        """Append to `file` from now on, beginning with the lines so far."""
        if self._first:
            self._file = file.open("a", encoding="utf-8", buffering=1)
            self._file.writelines(self._before)

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()
        if error is not None:
            self._record(f"stopped: {str(error) or (kind and kind.__name__)}")
        if self._file is not None:
            self._file.close()

    def say(self, text: str) -> None:
        """Print and record a line, unless QUIET."""
        self._tell(text, NORMAL)

    def note(self, text: str) -> None:
        """Print and record a note for the user."""
        self._tell(f"note: {text}", NORMAL)

    def detail(self, facts: Mapping[str, Any]) -> None:
        """Record facts, and print them if VERBOSE."""
        self._tell(", ".join(f"{key} {_format_fact(value)}" for key, value in facts.items()), VERBOSE)

    def begin(self, recipe: Recipe, steps: int, start: int) -> None:
        """Begin to count.

        Args:
            recipe: of the run.
            steps: number of steps per epoch.
            start: number of steps that are done already.
        """
        self._recipe, self._steps, self._total, self._start = recipe, steps, recipe.train.epochs * steps, start
        self._rows: list[Mapping[str, Any]] = []
        self._began = self._epoch_began = time.monotonic()
        shown = self._first and self.verbosity >= NORMAL and is_terminal(sys.stderr)
        if shown:
            self._bar = Bar(total=self._total, initial=start, bar_format=BAR, desc=f"train {recipe.method}")

    def step(self, row: Mapping[str, Any]) -> None:
        """Count a step with its values, as in metrics.jsonl; if it ends an epoch, say how the epoch was."""
        self._rows.append(row)
        number, epoch = row["step"], row["epoch"]
        if self._bar is not None:
            self._bar.set_description_str(
                f"epoch {epoch}/{self._recipe.train.epochs} loss {row['total']:.3f}", refresh=False
            )
            self._bar.update()
        if self.verbosity >= VERBOSE:
            self._tell(f"step {number}/{self._total}  {_format_values(row)}  lr {row['lr']:.3g}", VERBOSE)
        if number % self._steps == 0:
            self.say(self._describe_epoch())
            self._rows, self._epoch_began = [], time.monotonic()

    def _describe_epoch(self) -> str:
        """Return the line about the epoch that has just ended: means over its steps in this session."""
        last, count, now = self._rows[-1], len(self._rows), time.monotonic()
        mean = {key: sum(row[key] for row in self._rows) / count for key in ("total", *TERMS, "accuracy")}
        epochs, number = self._recipe.train.epochs, last["step"]
        images = 2 * self._recipe.train.identities * self._recipe.train.images * count
        pace = (now - self._began) / (number - self._start)
        parts = [
            f"epoch {last['epoch']:{len(str(epochs))}d}/{epochs}",
            _format_values(mean),
            f"accuracy {mean['accuracy']:.3f}",
            f"lr {last['lr']:.3g}",
            f"{images / max(now - self._epoch_began, 1e-9):.1f} images/s",
        ]
        if "rank1" in last:
            parts.append(f"validation Rank-1 {100 * last['rank1']:.2f} mAP {100 * last['mAP']:.2f}")
        left = (self._total - number) * pace
        parts.append(f"ETA {format_duration(left)}" if left else f"took {format_duration(now - self._began)}")
        return "  ".join(parts)

    def _tell(self, text: str, least: int) -> None:
        if self._first and self.verbosity >= least:
            tqdm.write(text, file=sys.stderr)
        self._record(text)

    def _record(self, text: str) -> None:
        line = f"{datetime.now().astimezone().isoformat(' ', 'seconds')}  {text}\n"
        if self._file is None:
            self._before.append(line)
        else:
            self._file.write(line)


def _format_values(values: Mapping[str, Any]) -> str:
    """Return loss and terms, the loss first."""
    return "  ".join([f"loss {values['total']:.3f}", *(f"{name} {values[name]:.3f}" for name in TERMS if values[name])])


def _format_fact(value: Any) -> str:
    return " ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, Mapping) else str(value)


def format_duration(seconds: float) -> str:
    """Return a duration as hours:minutes:seconds.

    >>> format_duration(3723.4)
    '1:02:03'
    """
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"
