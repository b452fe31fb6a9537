"""List the parsers with their label sets, their licences and the state of their weights (`cscl parser list`)."""

from dataclasses import asdict, dataclass
from typing import Any

from parsing.labels import LABEL_SETS
from parsing.parsers.registry import BACKENDS, Backend, known_models


@dataclass(frozen=True)
class ParserRow:
    """One parser.

    Attributes:
        weights: `here`, `not here`, or `yours` for a file that the user gives.
        needs: an extra of the package; empty for none.
    """

    name: str
    labels: str
    classes: tuple[str, ...]
    input: str
    licence: str
    source: str
    weights: str
    needs: str = ""


@dataclass(frozen=True)
class ParserList:
    """All parsers, for `cscl parser list`."""

    rows: tuple[ParserRow, ...]

    def to_json(self) -> list[dict[str, Any]]:
        """Return all values as strings and lists."""
        return [asdict(row) for row in self.rows]

    def lines(self) -> list[str]:
        """Return a table, then licence and source of each."""
        cells = [("parser", "label set", "classes", "input", "weights", "")]
        cells += [
            (r.name, r.labels, str(len(r.classes) or "-"), r.input, r.weights, r.needs and f"needs {r.needs}")
            for r in self.rows
        ]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        table = ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in cells]
        sources = [f"{r.name}: {r.licence}; {r.source}" for r in self.rows]
        sets = [f"{s.name}: {', '.join(s.classes)}" for s in LABEL_SETS.values()]
        return [*table, "", "licences and sources", *sources, "", "label sets", *sets]


def list_parsers() -> ParserList:
    """Return all parsers; the package and the download cache are read, nothing is downloaded."""
    places = [backend for backend in BACKENDS if ":" in backend.form]
    named = [backend for backend in BACKENDS if ":" not in backend.form]
    return ParserList(tuple(map(_row, (*named, *known_models(), *places))))


def _row(backend: Backend) -> ParserRow:
    size = backend.input
    return ParserRow(
        name=backend.form,
        labels=backend.labels,
        classes=LABEL_SETS[backend.labels].classes if backend.labels in LABEL_SETS else (),
        input=size if isinstance(size, str) else f"{size[0]}x{size[1]}",
        licence=backend.licence,
        source=backend.source,
        weights=backend.weights(),
        needs=backend.needs,
    )
