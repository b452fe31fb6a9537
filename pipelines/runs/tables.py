"""Tables of results: plain text, Markdown, LaTeX and CSV, each with the deviation of every score."""

import csv
import io
from collections.abc import Callable, Sequence

from . import Format
from .scores import FIGURES, Result

SHOWN = ("Rank-1", "Rank-10", "Rank-20", "mAP", "mINP")
"""Scores of a table that people read; CSV has all of FIGURES."""
Rows = Sequence[tuple[str, Result]]
"""Results with the name of each row."""


def format_table(results: Sequence[Result]) -> list[str]:
    """Return the table of the results as text, one line per protocol, in per cent."""
    return _write_text([(r.protocol, r) for r in results])


def write_table(rows: Rows, kind: Format, first: str = "protocol") -> list[str]:
    """Return a table in per cent as lines.

    A score is followed by its standard deviation over the trials, or over the runs if there are several; with one
    trial of one run there is none.

    Args:
        rows: results with their names.
        kind: format.
        first: heading of the names.
    """
    writers: dict[Format, Callable[[Rows, str], list[str]]] = {
        "text": _write_text, "md": _write_markdown, "latex": _write_latex, "csv": _write_csv,
    }  # fmt: skip
    return writers[kind](rows, first)


def _has_deviations(rows: Rows) -> bool:
    return any(result.trials > 1 or result.runs > 1 for _, result in rows)


def _cells(result: Result, sign: str) -> list[str]:
    """Return the scores as text, with `sign` before the deviation if it is not empty."""
    found = []
    for name in SHOWN:
        deviation = f"{sign}{100 * result.deviations[name]:.2f}" if sign else ""
        found.append(f"{100 * result.figures[name]:.2f}{deviation}")
    return found


def _write_text(rows: Rows, first: str = "protocol") -> list[str]:
    cells = [_cells(result, "±" if _has_deviations(rows) else "") for _, result in rows]
    chances = [f"{100 * r.chance_rank1:.2f}/{100 * r.chance_map:.2f}" for _, r in rows]
    width = max(len(text) for text in (first, *(name for name, _ in rows)))
    wide = max(7, *(len(cell) for row in cells for cell in row))
    head = f"{first:{width}s} " + " ".join(f"{name:>{wide}s}" for name in SHOWN) + "  chance Rank-1/mAP"
    lines = [
        f"{name:{width}s} " + " ".join(f"{cell:>{wide}s}" for cell in row) + f"  {chance}"
        for (name, _), row, chance in zip(rows, cells, chances, strict=True)
    ]
    return [head, *lines]


def _write_markdown(rows: Rows, first: str) -> list[str]:
    sign = " ± " if _has_deviations(rows) else ""
    lines = [f"| {' | '.join([name, *_cells(result, sign)])} |" for name, result in rows]
    return [f"| {' | '.join([first, *SHOWN])} |", "| --- |" + " ---: |" * len(SHOWN), *lines]


def _write_latex(rows: Rows, first: str) -> list[str]:
    sign = r" $\pm$ " if _has_deviations(rows) else ""
    return [
        rf"\begin{{tabular}}{{l{'r' * len(SHOWN)}}}",
        r"\hline",
        " & ".join([first, *SHOWN]) + r" \\",
        r"\hline",
        *(" & ".join([_escape_latex(name), *_cells(result, sign)]) + r" \\" for name, result in rows),
        r"\hline",
        r"\end{tabular}",
    ]


def _escape_latex(text: str) -> str:
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    return "".join(special.get(c, f"\\{c}" if c in "&%$#_{}" else c) for c in text)


def _write_csv(rows: Rows, first: str) -> list[str]:
    """Return one line per row with everything, deviations in columns of their own."""
    written = io.StringIO()
    lines = csv.writer(written, lineterminator="\n")
    deviations = [f"{name} deviation" for name in FIGURES]
    lines.writerow([first, *FIGURES, *deviations, "trials", "runs", "chance Rank-1", "chance mAP"])
    for name, result in rows:
        scores = (*result.figures.values(), *(result.deviations[figure] for figure in FIGURES))
        chances = (result.chance_rank1, result.chance_map)
        lines.writerow([
            name, *(f"{100 * v:.4f}" for v in scores), result.trials, result.runs, *(f"{100 * v:.4f}" for v in chances),
        ])  # fmt: skip
    return written.getvalue().splitlines()
