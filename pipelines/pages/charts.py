"""Draw charts: losses, rates and accuracy over the steps of a run, CMC curves, shares by group, embeddings.

Each is written as PNG, and with `figure_format` as PDF or SVG beside it, in the style of `style.py`.
"""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray

from parsing.errors import InputError, MissingError

from .style import (
    COLUMN,
    DASHES,
    LINES,
    MARKERS,
    PAGE,
    STYLE,
    FigureFormat,
    draw_legend,
    make_figure,
    save_figure,
)

LOSSES = ("total", "id", "triplet", "parsing", "shown", "division", "icm")
ACCURACIES = {"rank1": "Rank-1", "mAP": "mAP", "mINP": "mINP"}
TICKS = (1, 5, 10, 20)
"""Ranks that are named on the axis of a CMC curve, those of the tables."""

Rows = Sequence[Mapping[str, Any]]


@matplotlib.rc_context(STYLE)
def curves(metrics: Path | Rows, out_png: Path, figure_format: FigureFormat = "png") -> Path:
    """Draw one small chart per loss, one of the learning rates and one of the accuracy, over the steps.

    Args:
        metrics: JSON-lines file, or its rows. A row has `step`, and any of LOSSES, of the keys that begin with `lr`,
            and of ACCURACIES, which are in [0, 1]. Keys may be missing in some rows; other keys are ignored. A loss
            that is 0 in every row is off and has no chart.
        out_png: file to write.
        figure_format: format to write beside the PNG.

    Raises:
        InputError: if nothing can be drawn, or a line is no JSON object with a step.
    """
    rows = _read(metrics) if isinstance(metrics, Path) else metrics
    keys = {key for row in rows for key, value in row.items() if _is_number(value)}
    losses = [name for name in LOSSES if name in keys and _read_series(rows, name)[1].any()]
    rates = sorted(key for key in keys if key.startswith("lr"))
    accuracies = [key for key in ACCURACIES if key in keys]
    panels = len(losses) + bool(rates) + bool(accuracies)
    if not panels:
        raise InputError(f"no losses, learning rates or accuracies to draw in {len(rows)} rows of metrics")
    across = min(3, panels)
    down = -(-panels // across)
    figure, axes = make_figure(across, down, (PAGE / 3 * across, 1.75 * down))
    free = iter(axes)
    for name in losses:
        ax = next(free)
        steps, values = _read_series(rows, name)
        # Noisy steps hide a trend, so a mean over a twentieth of the run is drawn on top.
        width = max(1, len(values) // 20)
        if width > 1:
            ax.plot(steps, values, color="#b8c4cc", linewidth=0.6)
        ax.plot(*(_moving_mean(x, width) for x in (steps, values)), color=LINES[0])
        ax.set_title(f"{name} loss")
    if rates:
        ax = next(free)
        series = {key: _read_series(rows, key) for key in rates}
        # The power of ten stands in the title, since at the end of the axis it hides the legend.
        power = math.floor(math.log10(max(float(np.max(values)) for _, values in series.values()) or 1))
        for i, (key, (steps, values)) in enumerate(series.items()):
            ax.plot(steps, values / 10.0**power, DASHES[i % len(DASHES)], color=LINES[i % len(LINES)], label=key)
        title = f"learning rate (1e{power})"
        ax.set_title(title)
        ax.set_ylim(bottom=0)
        if len(rates) > 1:
            _draw_legend_above(ax, title)
    if accuracies:
        ax = next(free)
        for i, key in enumerate(accuracies):
            steps, values = _read_series(rows, key)
            if values.size and not 0 <= np.min(values) <= np.max(values) <= 1:
                raise InputError(f"{key} must lie in [0, 1], got {np.min(values):g} to {np.max(values):g}")
            ax.plot(steps, 100 * values, DASHES[i], marker=MARKERS[i], color=LINES[i], label=ACCURACIES[key],
                markevery=max(1, len(values) // 10))  # fmt: skip
        ax.set_ylim(0, 102)
        _draw_legend_above(ax, "accuracy (%)")
    for ax in axes[max(0, panels - across) : panels]:  # the last of each column: one label does for all above it
        ax.set_xlabel("step")
    last = max(float(row["step"]) for row in rows)
    for ax in axes[:panels]:
        ax.set_xlim(0, 1.02 * max(last, 1))
        ax.locator_params(axis="x", nbins=5)
    for ax in axes[panels:]:
        ax.set_visible(False)
    return save_figure(figure, out_png, figure_format)


@matplotlib.rc_context(STYLE)
def cmc_curve(
    cmcs: Mapping[str, ArrayLike], out_png: Path, ranks: int = 20, figure_format: FigureFormat = "png"
) -> Path:
    """Draw CMC curves (K,) in [0, 1] by name, up to Rank-`ranks` or their own end, with Rank-1 in the legend.

    The axis of the shares begins at a multiple of 10 below the lowest value, so that curves near 100 % lie apart.
    """
    drawn = {name: np.asarray(cmc, dtype=np.float64) for name, cmc in cmcs.items()}
    for name, cmc in drawn.items():
        if cmc.ndim != 1 or not cmc.size or not ((cmc >= 0) & (cmc <= 1)).all():
            raise InputError(f"the CMC of {name!r} must be (K,) numbers in [0, 1], got {cmc.ravel()[:3]}")
    if not drawn or ranks < 1:
        raise InputError("a CMC chart needs at least one curve and one rank")
    figure, (ax,) = make_figure(1, 1, (COLUMN, 2.4 + 0.13 * len(drawn)))
    for i, (name, cmc) in enumerate(drawn.items()):
        k = np.arange(1, min(ranks, len(cmc)) + 1)
        label = f"{name} (Rank-1 {100 * cmc[0]:.1f} %)"
        ax.plot(
            k, 100 * cmc[: len(k)], DASHES[i % len(DASHES)], marker=MARKERS[i % len(MARKERS)], label=label,
            color=LINES[i % len(LINES)], markevery=[t - 1 for t in TICKS if t <= len(k)], clip_on=False,
        )  # fmt: skip
    ends = [t for t in TICKS if t <= ranks]
    ax.set_xticks(ends, [str(t) for t in ends])
    ax.set_xlim(0.5, ranks + 0.5)
    lowest = 100 * min(float(np.min(cmc[: max(1, ranks)])) for cmc in drawn.values())
    bottom = max(0, min(80, 10 * math.floor(lowest / 10)))
    ax.set_ylim(bottom, 100 + (100 - bottom) / 50)
    ax.yaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 5, 10], integer=True))
    ax.set_xlabel("rank k")
    ax.set_ylabel("queries with a match\nin the first k (%)")
    draw_legend(figure, ax)
    return save_figure(figure, out_png, figure_format)


@matplotlib.rc_context(STYLE)
def histograms(values: Mapping[str, ArrayLike], out_png: Path, quantity: str, bins: int = 40) -> Path:
    """Draw how the values (N,) in [0, 1] of each group are spread: one line of bins per group, in % of its values.

    quantity: what the values are. The legend has each group's median; a group without values is left out.
    """
    figure, (ax,) = make_figure(1, 1, (COLUMN, 2.5))
    drawn = {name: np.asarray(v, dtype=np.float64) for name, v in values.items() if np.size(v)}
    if not drawn:
        raise InputError(f"there is no {quantity} to draw")
    for i, (name, group) in enumerate(drawn.items()):
        if not ((group >= 0) & (group <= 1)).all():
            raise InputError(f"{quantity} of {name!r} must lie in [0, 1], got {np.min(group):g} to {np.max(group):g}")
        counts, edges = np.histogram(group, bins, (0, 1))
        label = f"{name}, {len(group):,} (median {np.median(group):.2f})"
        line, dashes = LINES[i % len(LINES)], DASHES[i % len(DASHES)]
        shares = 100 * counts / len(group)
        ax.stairs(shares, edges, color=line, linestyle=dashes, linewidth=1.3, label=label)
        ax.stairs(shares, edges, color=line, fill=True, alpha=0.15)
    ax.set_xlim(0, 1)
    ax.set_xlabel(quantity)
    ax.set_ylabel("% of masks")
    draw_legend(figure, ax)
    return save_figure(figure, out_png)


@matplotlib.rc_context(STYLE)
def bars(names: Sequence[str], shares: Mapping[str, ArrayLike], out_png: Path, quantity: str) -> Path:
    """Draw horizontal bars, for each name one per group, of shares (C,) in [0, 1], as per cent; none for NaN."""
    groups = {name: np.nan_to_num(np.asarray(v, dtype=np.float64)) for name, v in shares.items()}
    if not groups or not names or any(v.shape != (len(names),) for v in groups.values()):
        raise InputError(f"bars need a share a name: {len(names)} names, {[v.shape for v in groups.values()]} shares")
    height = 0.8 / len(groups)
    figure, (ax,) = make_figure(1, 1, (COLUMN, 0.8 + 0.1 * len(names) * (len(groups) + 0.5)))
    for i, (name, values) in enumerate(groups.items()):
        middle = np.arange(len(names)) + (i - (len(groups) - 1) / 2) * height
        ax.barh(middle, 100 * values, height, color=LINES[i % len(LINES)], label=name)
    ax.set_yticks(np.arange(len(names)), names)
    for text in ax.get_yticklabels():
        text.set_parse_math(False)
    ax.invert_yaxis()
    ax.grid(visible=False, axis="y")
    ax.set_xlim(0, 100)
    ax.set_xlabel(quantity)
    draw_legend(figure, ax, columns=2)
    return save_figure(figure, out_png)


@matplotlib.rc_context(STYLE)
def embedding_map(
    embeddings: NDArray[np.floating], identities: NDArray[np.integer], infrared: NDArray[np.bool_], out_png: Path,
    people: int = len(LINES), figure_format: FigureFormat = "png",
) -> Path:  # fmt: skip
    """Draw embeddings (N, D) on their two principal axes: circles are visible, triangles infrared images.

    Args:
        people: number of identities to colour, at equal distances in the list of all; a line joins the centers of the
            two modalities of each. The others are grey.

    Raises:
        InputError: for fewer than 3 images, whose principal axes would mean nothing.
    """
    if len(embeddings) < 3:
        raise InputError(f"a map of embeddings needs at least 3 images, got {len(embeddings)}")
    centered = np.asarray(embeddings, np.float64) - np.mean(embeddings, 0)
    _, lengths, axes = np.linalg.svd(centered, full_matrices=False)
    # The sign of an axis is free: the largest loading is made positive, so that machines agree.
    signs = np.sign(axes[np.arange(2), np.abs(axes[:2]).argmax(1)])
    points = centered @ (axes[:2] * signs[:, None]).T
    shares = 100 * lengths[:2] ** 2 / max(float((lengths**2).sum()), np.finfo(float).tiny)
    known = np.unique(identities[identities >= 0])
    people = min(people, len(LINES), len(known))
    chosen = known[np.unique(np.linspace(0, len(known) - 1, people).round().astype(int))]
    figure, (ax,) = make_figure(1, 1, (COLUMN, 3.2))
    others = ~np.isin(identities, chosen)
    for light, marker, name in ((False, "o", "visible"), (True, "^", "infrared")):
        grey = points[(infrared == light) & others]
        ax.scatter(grey[:, 0], grey[:, 1], s=6, marker=marker, color="#c8c8c8", linewidths=0, zorder=2)
        ax.scatter([], [], s=14, marker=marker, color="#555555", linewidths=0, label=name)
    if len(chosen):
        ax.plot([], [], color="#555555", linewidth=1, label="joins their centers")
    for i, identity in enumerate(chosen):
        colour = LINES[i]
        both = [points[(identities == identity) & (infrared == light)] for light in (False, True)]
        for part, marker in zip(both, "o^", strict=True):
            ax.scatter(
                part[:, 0], part[:, 1], s=14, marker=marker, color=colour, edgecolors="white", linewidths=0.3, zorder=4
            )
        if all(len(part) for part in both):
            ax.plot(*np.stack([part.mean(0) for part in both]).T, color=colour, linewidth=1, zorder=3)
        ax.scatter([], [], s=14, marker="s", color=colour, linewidths=0, label=f"person {identity}")
    if others.any():
        ax.scatter([], [], s=14, marker="s", color="#c8c8c8", linewidths=0, label="other people")
    ax.set_xlabel(f"first principal axis ({shares[0]:.0f} % of the variance)")
    ax.set_ylabel(f"second principal axis ({shares[1]:.0f} %)")
    ax.set_aspect("equal", adjustable="datalim")
    draw_legend(figure, ax, columns=3)
    return save_figure(figure, out_png, figure_format)


def _draw_legend_above(ax: Axes, title: str) -> None:
    """Draw a legend in one line between the title and the axes, where it hides no line."""
    legend = ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=4, borderpad=0.2, columnspacing=1)
    for text in legend.get_texts():
        text.set_parse_math(False)
    ax.set_title(title, pad=15)


def _read(path: Path) -> Rows:
    """Return the rows of a JSON-lines file; InputError names the line that is none."""
    if not path.is_file():
        raise MissingError(f"no metrics at {path}; a training run writes them")
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise InputError(f"{path} line {number} is no JSON: {error.msg}") from error
        if not isinstance(row, dict) or not _is_number(row.get("step")):
            raise InputError(f"{path} line {number} must be an object with a number `step`, got {line[:60]}")
        rows.append(row)
    return rows


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _read_series(rows: Rows, key: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return steps and values of the rows in which the value is a finite number."""
    pairs = [(row["step"], row[key]) for row in rows if _is_number(row.get(key))]
    steps, values = np.array(pairs, dtype=np.float64).T
    return steps, values


def _moving_mean(values: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    return np.convolve(values, np.full(width, 1 / width), mode="valid")
