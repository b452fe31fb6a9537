"""The style of all figures: fonts, colours that colour-blind readers tell apart, widths of a paper's columns."""

import io
from pathlib import Path
from typing import Any, Literal

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from .pictures import write_picture

FigureFormat = Literal["png", "pdf", "svg"]
FORMATS: tuple[FigureFormat, ...] = ("png", "pdf", "svg")
COLUMN, PAGE = 3.5, 7.16
"""Widths of one column and of a page of two columns, in inches."""
DPI = 220
LINES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000")
"""Colours of Okabe and Ito, without yellow, which is too pale for a line on white."""
DASHES = ("-", "--", "-.", ":")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
STYLE: dict[Any, Any] = {
    "font.family": ["DejaVu Sans"],
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "axes.linewidth": 0.7,
    "lines.linewidth": 1.3,
    "lines.markersize": 3.5,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e3e3e3",
    "grid.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "pdf.fonttype": 42,  # fonts as TrueType, which publishers ask for
    "svg.fonttype": "path",  # looks the same on a machine without the font
    "svg.hashsalt": "cscl",  # the same figure is the same file
}
"""For `matplotlib.rc_context`, so that the user's own settings are left alone."""


def make_figure(across: int, down: int, size: tuple[float, float]) -> tuple[Figure, list[Axes]]:
    """Return a figure of its own, without pyplot's global state, and its axes; `size` is the whole, in inches."""
    figure = Figure(figsize=size, dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, list(figure.subplots(down, across, squeeze=False).flat)


def draw_legend(figure: Figure, ax: Axes, columns: int = 1) -> None:
    """Draw the legend of `ax` below the axes, where it hides no line; `$` in a name starts no formula."""
    handles, labels = ax.get_legend_handles_labels()
    legend = figure.legend(handles, labels, loc="outside lower center", ncols=columns)
    for text in legend.get_texts():
        text.set_parse_math(False)


def save_figure(figure: Figure, out_png: Path, figure_format: FigureFormat = "png") -> Path:
    """Write a figure as PNG and, for another format, as that beside it; return the path of the PNG."""
    write_picture(out_png, encode_figure(figure, "png"))
    if figure_format != "png":
        write_picture(out_png.with_suffix(f".{figure_format}"), encode_figure(figure, figure_format))
    return out_png


def encode_figure(figure: Figure, figure_format: FigureFormat) -> io.BytesIO:
    """Return a figure as a file, without the date, so that the same figure is the same file."""
    file = io.BytesIO()
    dated = {"pdf": "CreationDate", "svg": "Date"}.get(figure_format)
    figure.savefig(file, format=figure_format, metadata={dated: None} if dated else None)
    return file
