"""`cscl benchmark`: its parts, and their result as text, JSON and a page of the documentation."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from parsing.errors import InputError

from ..parse.preload import worker_environment
from .machine import describe_machine
from .measure import Row, run_apart
from .parts import PARTS

EXTRACTOR = "simple_extractor.py"
"""In a checkout of SCHP."""


@dataclass(frozen=True)
class BenchmarkConfig:
    """What `cscl benchmark` is asked for.

    Attributes:
        parts: names of `PARTS`.
        images: folder with images to parse; None for drawn ones.
        count: images to parse.
        masks: masks to read.
        runs: of each side.
        peers: checkouts of AGW and of SCHP.
        device: on which `train` computes.
    """

    parts: tuple[str, ...]
    images: Path | None = None
    count: int = 240
    masks: int = 2000
    runs: int = 5
    peers: tuple[Path, ...] = ()
    device: str = "auto"


@dataclass(frozen=True)
class Benchmarks:
    """Rows by part, and the machine that they are of."""

    machine: Mapping[str, Any]
    rows: Mapping[str, Sequence[Row]]

    def to_json(self) -> dict[str, Any]:
        return {
            "machine": dict(self.machine),
            "rows": {p: [r.to_json() for r in rows] for p, rows in self.rows.items()},
        }

    def lines(self) -> list[str]:
        each = [f"{part:10s} {describe_row(row.to_json())}" for part, rows in self.rows.items() for row in rows]
        return [*each, f"medians; {format_machine(self.machine)}"]


def _parse(config: BenchmarkConfig) -> list[Row]:
    arguments = config.images, config.count, config.runs
    with worker_environment():
        rows: list[Row] = run_apart(import_module(f"{__package__}.parse").measure, *arguments)
        if (peer := find_peer(config.peers, "parse")) is not None:
            rows += run_apart(import_module(f"{__package__}.extractor").measure, *arguments, peer)
    return rows


MEASURES: Mapping[str, Callable[[BenchmarkConfig], list[Row]]] = {
    "parse": _parse,
    "read": lambda c: import_module(f"{__package__}.read").measure(c.masks, c.runs),
    "train": lambda c: import_module(f"{__package__}.train").measure(c.runs, find_peer(c.peers, "train"), c.device),
    "evaluate": lambda c: import_module(f"{__package__}.evaluate").measure(c.runs, find_peer(c.peers, "evaluate")),
    "start": lambda c: import_module(f"{__package__}.start").measure(c.masks, c.runs),
}
"""What measures each part of `PARTS`."""


def find_peer(peers: Sequence[Path], part: str) -> Path | None:
    """Return the first checkout that a part runs: of SCHP for `parse`, of AGW for `train` and `evaluate`."""
    for peer in peers:
        if part in (("parse",) if (peer / EXTRACTOR).is_file() else ("train", "evaluate")):
            return peer
    return None


def run_benchmarks(config: BenchmarkConfig) -> Benchmarks:
    """Measure the parts one after the other.

    Raises:
        InputError: if no part runs one of the checkouts.
    """
    parts = config.parts or PARTS
    for peer in config.peers:
        if all(find_peer([peer], part) is None for part in parts):
            raise InputError(f"--peer {peer}: `parse` runs a checkout of SCHP, `train` and `evaluate` one of AGW")
    return Benchmarks(describe_machine(), {part: MEASURES[part](config) for part in parts})


def describe_row(row: Mapping[str, Any]) -> str:
    """Return a row as a line, the ratio first."""
    if row["ratio"] is None:
        return f"{row['what']}: {row['ours']:.2f} {row['unit']} ({row['runs']} runs)"
    return (
        f"{row['ratio']:.2f} times ({row['least']:.2f} to {row['most']:.2f}) {row['other']}: {row['what']}, "
        f"{row['ours']:.4g} against {row['theirs']:.4g} {row['unit']}"
    )


def format_machine(machine: Mapping[str, Any]) -> str:
    """Return the machine and the versions in one line."""
    versions = ", ".join(f"{k} {machine[k]}" for k in machine if k not in ("processor", "cores", "gpu", "load"))
    return (
        f"{machine['processor']}, {machine['cores']} cores, {machine['gpu'] or 'no GPU'}, load {machine['load']}; "
        f"{versions}"
    )


def markdown(result: Mapping[str, Any]) -> Iterable[str]:
    """Yield the lines of the table in docs/benchmarks.md from the JSON of a result."""
    yield "| part | what | beside | times | ours | theirs | unit |"
    yield "|" + " --- |" * 7
    for part, rows in result["rows"].items():
        for row in rows:
            ratio = "" if row["ratio"] is None else f"**{row['ratio']:.2f}** ({row['least']:.2f} to {row['most']:.2f})"
            theirs = "" if row["theirs"] is None else f"{row['theirs']:.4g}"
            cells = (part, row["what"], row["other"], ratio, f"{row['ours']:.4g}", theirs, row["unit"])
            yield f"| {' | '.join(cells)} |"
    runs = [row["runs"] for rows in result["rows"].values() for row in rows]
    count = f"{max(runs)}" if min(runs) == max(runs) else f"{min(runs)} to {max(runs)}"
    yield ""
    yield f"Medians of {count} runs by turns. {format_machine(result['machine'])}."
