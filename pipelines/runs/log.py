"""The log of a training run: metrics.jsonl, one row a step, and the same for TensorBoard."""

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
    """Goes on after `start` rows and drops what was logged after them; CsclError if there are fewer."""

    def __init__(self, run: Path, start: int) -> None:
        metrics = run / "metrics.jsonl"
        rows = metrics.read_bytes().splitlines(keepends=True) if metrics.exists() else []
        if len(rows) < start:
            raise CsclError(f"{metrics} has {len(rows)} rows, but the run has done {start} steps; give back the file")
        write_file(metrics, b"".join(rows[:start]))
        self._file = metrics.open("a", encoding="utf-8", buffering=1)  # every row at once: others follow it
        self._board = SummaryWriter(str(run / "tensorboard"), purge_step=start)

    def __enter__(self) -> "RunLog":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._file.close()
        self._board.close()

    def row(self, values: Mapping[str, Any]) -> None:
        """Log a step."""
        self._file.write(json.dumps(values) + "\n")
        for name, value in values.items():
            if name not in ("step", "epoch"):
                self._board.add_scalar(name, value, values["step"])

    def sync(self) -> None:
        """On the disk, before a checkpoint counts on it."""
        os.fsync(self._file.fileno())
