"""The log of a training run: metrics.jsonl with one row per step, and the same values for TensorBoard."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from torch.utils.tensorboard import SummaryWriter

from parsing.errors import CsclError

from .provenance import write_file


class RunLog:
    """Append rows to the log of a run after its first `start` rows.

    Rows after these are dropped: they are of steps that a resumed run does again.

    Raises:
        CsclError: if the log has fewer rows.
    """

    def __init__(self, run: Path, start: int) -> None:
        metrics = run / "metrics.jsonl"
        rows = metrics.read_bytes().splitlines(keepends=True) if metrics.exists() else []
        if len(rows) < start:
            raise CsclError(f"{metrics} has {len(rows)} rows, but the run has done {start} steps; restore the file")
        write_file(metrics, b"".join(rows[:start]))
        self._file = metrics.open("a", encoding="utf-8", buffering=1)  # flush every row: people watch it
        self._board = SummaryWriter(str(run / "tensorboard"), purge_step=start)

    def __enter__(self) -> "RunLog":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._file.close()
        self._board.close()

    def write_row(self, values: Mapping[str, Any]) -> None:
        """Write the values of a step; `step` and `epoch` among them are not plotted."""
        self._file.write(json.dumps(values) + "\n")
        for name, value in values.items():
            if name not in ("step", "epoch"):
                self._board.add_scalar(name, value, values["step"])

    def sync(self) -> None:
        """Write all rows to the disk, so that no training state is ahead of its log after a power failure."""
        os.fsync(self._file.fileno())
