"""The log of a training run: metrics.jsonl with one row per step, and the same values for TensorBoard and others."""

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

from parsing.errors import CsclError

from ..recipes.reading import Recipe
from .loggers import MakeLogger, TensorBoard, tag_values
from .provenance import write_file


class RunLog:
    """Append rows to the log of a run after its first `start` rows.

    Rows after these are dropped: they are of steps that a resumed run does again.

    Args:
        run: folder of the run.
        recipe: of the run.
        start: number of rows to keep.
        loggers: make the loggers beside TensorBoard.

    Raises:
        CsclError: if the log has fewer rows, or one of them is damaged.
    """

    def __init__(self, run: Path, recipe: Recipe, start: int, loggers: Sequence[MakeLogger] = ()) -> None:
        metrics = run / "metrics.jsonl"
        lines = metrics.read_bytes().splitlines(keepends=True) if metrics.exists() else []
        if len(lines) < start:
            raise CsclError(f"{metrics} has {len(lines)} rows, but the run has done {start} steps; restore the file")
        try:
            rows = [json.loads(line) for line in lines[:start]]
            if not all(isinstance(row, dict) for row in rows):
                raise ValueError("a row is no object")
        except ValueError as error:
            raise CsclError(f"{metrics} is damaged: {error}; restore the file") from error
        write_file(metrics, b"".join(lines[:start]))
        with ExitStack() as opened:  # a logger that cannot be made leaves no other one open
            self._file = opened.enter_context(metrics.open("a", encoding="utf-8", buffering=1))  # people watch it
            self._loggers = []
            for make in (TensorBoard, *loggers):
                logger = make(run, recipe, rows)
                opened.callback(logger.close)
                self._loggers.append(logger)
            self._opened = opened.pop_all()

    def __enter__(self) -> "RunLog":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._opened.close()

    def write_row(self, values: Mapping[str, Any]) -> None:
        """Write the values of a step; `step` and `epoch` among them are not plotted."""
        self._file.write(json.dumps(values) + "\n")
        tagged = tag_values(values)
        for logger in self._loggers:
            logger.write(values["step"], tagged)

    def sync(self) -> None:
        """Write all rows to the disk, so that no training state is ahead of its log after a power failure."""
        os.fsync(self._file.fileno())
