"""Where the values of each step go beside metrics.jsonl: TensorBoard, Weights & Biases, or a logger of your own."""

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from parsing.errors import InputError, first_line

from ..recipes.reading import Recipe
from .provenance import write_file

GROUPS = {
    **dict.fromkeys(("total", "id", "triplet", "parsing", "shown", "division", "icm"), "loss"),
    **dict.fromkeys(("rank1", "mAP"), "val"),
}
"""Group of a value by its name; all others are `state`."""


class Logger(Protocol):
    """Takes the values of each step of a training."""

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Take the values of a step, counted from 1, by tag: `loss/total`, `val/mAP`, `state/lr`."""

    def close(self) -> None:
        """End the log, also after an error."""


MakeLogger = Callable[[Path, Recipe, list[dict[str, Any]]], Logger]
"""Make a logger from the run's folder, its recipe and the rows of metrics.jsonl so far, which a resumed run keeps."""


def tag_values(row: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers of a row of metrics.jsonl by tag, without `step` and `epoch`."""
    return {
        f"{GROUPS.get(key, 'state')}/{key}": value
        for key, value in row.items()
        if key not in ("step", "epoch") and isinstance(value, int | float)
    }


class TensorBoard:
    """Write event files into the folder tensorboard/ of a run.

    A run that was killed within an epoch logged steps that are done again. TensorBoard would warn of them: the files
    are then written anew from `rows`.
    """

    def __init__(self, run: Path, recipe: Recipe, rows: list[dict[str, Any]]) -> None:
        from torch.utils.tensorboard import SummaryWriter

        folder, mark = run / "tensorboard", run / "tensorboard" / "steps.json"
        known = _read_steps(mark)
        if known != len(rows):
            for file in folder.glob("events.out.tfevents.*"):
                file.unlink()
        folder.mkdir(exist_ok=True)
        self._writer, self._mark, self._steps = SummaryWriter(str(folder)), mark, len(rows)
        mark.unlink(missing_ok=True)  # until `close`, nobody knows how many steps the files hold
        for step, row in enumerate(rows if known != len(rows) else (), 1):
            self.write(step, tag_values(row))

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Write the values of a step."""
        for tag, value in values.items():
            self._writer.add_scalar(tag, value, step)
        self._steps = step

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()
        write_file(self._mark, json.dumps(self._steps).encode())


def _read_steps(mark: Path) -> int | None:
    """Return the number of steps in the event files; None if it is not known."""
    try:
        found = json.loads(mark.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, int) else None


class Wandb:
    """Log to Weights & Biases, the package `wandb`, under its own settings (WANDB_MODE=offline, WANDB_PROJECT, ...).

    A resumed run goes on in the same run there; its identifier lies in the file `wandb-id` of the run's folder.

    Raises:
        InputError: if wandb is not installed or refuses to start.
    """

    def __init__(self, run: Path, recipe: Recipe, rows: list[dict[str, Any]]) -> None:
        try:
            import wandb
        except ImportError as error:
            raise InputError("--logger wandb: the package wandb is not installed; pip install 'cscl[wandb]'") from error
        mark = run / "wandb-id"
        options: dict[str, Any] = {"id": mark.read_text(encoding="utf-8").strip()} if mark.is_file() else {}
        try:
            self._run = wandb.init(
                name=run.name, dir=str(run), config=asdict(recipe), resume="allow" if options else None, **options
            )
        except Exception as error:  # wandb raises anything: no network, no account
            raise InputError(f"--logger wandb: {first_line(error)}; WANDB_MODE=offline needs no account") from error
        write_file(mark, f"{self._run.id}\n".encode())

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Log the values of a step."""
        self._run.log(dict(values), step=step)

    def close(self) -> None:
        """Finish the run there."""
        self._run.finish()


OFFERED: dict[str, MakeLogger] = {"wandb": Wandb}
"""Loggers beside TensorBoard, by the name that `--logger` takes."""


def find_logger(name: str) -> MakeLogger:
    """Return what makes the logger `name`: one of OFFERED, or `MODULE:NAME` of an importable module.

    A module may lie in the folder in which the command runs.

    Raises:
        InputError: if there is none.
    """
    if name in OFFERED:
        return OFFERED[name]
    module, colon, attribute = name.partition(":")
    if not colon:
        raise InputError(
            f"--logger {name}: give {', '.join(OFFERED)}, or MODULE:NAME of a class such as those of "
            "pipelines.runs.loggers"
        )
    try:
        with _working_folder_searched():
            make: MakeLogger = getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise InputError(f"--logger {name}: {first_line(error)}") from error
    return make


@contextmanager
def _working_folder_searched() -> Iterator[None]:
    """Search modules in the working folder too, after all others: it may have a package of any name."""
    here = str(Path.cwd())
    sys.path.append(here)
    try:
        yield
    finally:
        if sys.path[-1:] == [here]:
            sys.path.pop()
