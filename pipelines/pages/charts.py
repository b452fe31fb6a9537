"""Draw charts as PNG: losses, rates and accuracy over the steps of a run, CMC curves, shares by group, embeddings."""

import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray

from parsing.errors import InputError, MissingError

from .pictures import write_picture

LOSSES = ("total", "id", "triplet", "parsing", "division", "icm")
ACCURACIES = {"rank1": "Rank-1", "mAP": "mAP", "mINP": "mINP"}

_LINES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000")
_DASHES = ("-", "--", "-.", ":")
Rows = Sequence[Mapping[str, Any]]


def curves(metrics: Path | Rows, out_png: Path) -> Path:
    """Draw one small chart per loss, one of the learning rates and one of the accuracy, over the steps.

    Args:
        metrics: JSON-lines file, or its rows. A row has `step`, and any of LOSSES, of the keys that begin with `lr`,
            and of ACCURACIES, which are in [0, 1]. Keys may be missing in some rows; other keys are ignored.

    Raises:
        InputError: if nothing can be drawn, or a line is no JSON object with a step.
    """
    rows = _read(metrics) if isinstance(metrics, Path) else metrics
    keys = {key for row in rows for key, value in row.items() if _is_number(value)}
    losses = [name for name in LOSSES if name in keys]
    rates = sorted(key for key in keys if key.startswith("lr"))
    accuracies = [key for key in ACCURACIES if key in keys]
    panels = len(losses) + bool(rates) + bool(accuracies)
    if not panels:
        raise InputError(f"no losses, learning rates or accuracies to draw in {len(rows)} rows of metrics")
    across = min(3, panels)
    figure, axes = _figure(across, -(-panels // across), (4.0, 2.7))
    free = iter(axes)
    for name in losses:
        ax = next(free)
        steps, values = _read_series(rows, name)
        ax.plot(steps, values, color="#b8c4cc", linewidth=0.8)
        # Noisy steps hide a trend, so a mean over a twentieth of the run is drawn on top.
        width = max(1, len(values) // 20)
        ax.plot(*(_moving_mean(x, width) for x in (steps, values)), color=_LINES[0], linewidth=1.6)
        ax.set_title(f"{name} loss")
    if rates:
        ax = next(free)
        for i, key in enumerate(rates):
            ax.plot(*_read_series(rows, key), color=_LINES[i % len(_LINES)], label=key)
        ax.set_title("learning rate")
        ax.set_ylim(bottom=0)
        if len(rates) > 1:
            _draw_legend(ax)
    if accuracies:
        ax = next(free)
        for i, key in enumerate(accuracies):
            steps, values = _read_series(rows, key)
            if values.size and not 0 <= values.min() <= values.max() <= 1:
                raise InputError(f"{key} must lie in [0, 1], got {values.min():g} to {values.max():g}")
            ax.plot(
                steps,
                100 * values,
                _DASHES[i],
                marker="o",
                markersize=3,
                color=_LINES[i],
                label=ACCURACIES[key],
            )
        ax.set_title("accuracy (%)")
        ax.set_ylim(0, 100)
        _draw_legend(ax)
    for ax in axes[:panels]:
        ax.set_xlabel("step")
    for ax in axes[panels:]:
        ax.set_visible(False)
    return _save_figure(figure, out_png)


def cmc_curve(cmcs: Mapping[str, ArrayLike], out_png: Path, ranks: int = 20) -> Path:
    """Draw CMC curves (K,) in [0, 1] by name, up to Rank-`ranks` or their own end, with Rank-1 in the legend."""
    drawn = {name: np.asarray(cmc, dtype=np.float64) for name, cmc in cmcs.items()}
    for name, cmc in drawn.items():
        if cmc.ndim != 1 or not cmc.size or not ((cmc >= 0) & (cmc <= 1)).all():
            raise InputError(f"the CMC of {name!r} must be (K,) numbers in [0, 1], got {cmc.ravel()[:3]}")
    if not drawn or ranks < 1:
        raise InputError("a CMC chart needs at least one curve and one rank")
    figure, (ax,) = _figure(1, 1, (5.6, 3.8))
    for i, (name, cmc) in enumerate(drawn.items()):
        k = np.arange(1, min(ranks, len(cmc)) + 1)
        label = f"{name} (Rank-1 {100 * cmc[0]:.1f} %)"
        colour, dashes = _LINES[i % len(_LINES)], _DASHES[i // len(_LINES) % len(_DASHES)]
        ax.plot(k, 100 * cmc[: len(k)], dashes, marker="o", markersize=3, label=label, color=colour)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_xlabel("rank k")
    ax.set_ylabel("queries with a match in the first k (%)")
    ax.set_ylim(0, 101)
    _draw_legend(ax, "lower right")
    return _save_figure(figure, out_png)


def histograms(values: Mapping[str, ArrayLike], out_png: Path, quantity: str, bins: int = 40) -> Path:
    """Return how the values (N,) in [0, 1] of each group are spread: one line of bins a group, in % of its values.

    quantity: what the values are. The legend has each group's median; a group without values is left out.
    """
    figure, (ax,) = _figure(1, 1, (6.4, 3.2))
    drawn = {name: np.asarray(v, dtype=np.float64) for name, v in values.items() if np.size(v)}
    if not drawn:
        raise InputError(f"there is no {quantity} to draw")
    for i, (name, group) in enumerate(drawn.items()):
        if not ((group >= 0) & (group <= 1)).all():
            raise InputError(f"{quantity} of {name!r} must lie in [0, 1], got {group.min():g} to {group.max():g}")
        counts, edges = np.histogram(group, bins, (0, 1))
        label = f"{name}, {len(group):,} (median {np.median(group):.2f})"
        line, dashes = _LINES[i % len(_LINES)], _DASHES[i % len(_DASHES)]
        shares = 100 * counts / len(group)
        ax.stairs(shares, edges, color=line, linestyle=dashes, linewidth=1.6, label=label)
        ax.stairs(shares, edges, color=line, fill=True, alpha=0.15)
    ax.set_xlim(0, 1)
    ax.set_xlabel(quantity)
    ax.set_ylabel("% of masks")
    _draw_legend(ax)
    return _save_figure(figure, out_png)


def bars(names: Sequence[str], shares: Mapping[str, ArrayLike], out_png: Path, quantity: str) -> Path:
    """Draw horizontal bars, for each name one per group, of shares (C,) in [0, 1], as per cent; none for NaN."""
    groups = {name: np.nan_to_num(np.asarray(v, dtype=np.float64)) for name, v in shares.items()}
    if not groups or not names or any(v.shape != (len(names),) for v in groups.values()):
        raise InputError(f"bars need a share a name: {len(names)} names, {[v.shape for v in groups.values()]} shares")
    height = 0.8 / len(groups)
    figure, (ax,) = _figure(1, 1, (6.4, 1.0 + 0.17 * len(names) * (len(groups) + 0.5)))
    for i, (name, values) in enumerate(groups.items()):
        middle = np.arange(len(names)) + (i - (len(groups) - 1) / 2) * height
        ax.barh(middle, 100 * values, height, color=_LINES[i % len(_LINES)], label=name)
    ax.set_yticks(np.arange(len(names)), names)
    for text in ax.get_yticklabels():
        text.set_parse_math(False)
    ax.invert_yaxis()
    ax.grid(visible=False, axis="y")
    ax.set_xlim(0, 100)
    ax.set_xlabel(quantity)
    figure.legend(*ax.get_legend_handles_labels(), frameon=False, fontsize=8, loc="outside upper right", ncols=2)
    return _save_figure(figure, out_png)


def embedding_map(
    embeddings: NDArray[np.floating], identities: NDArray[np.integer], infrared: NDArray[np.bool_], out_png: Path,
    people: int = 8,
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
    chosen = known[np.unique(np.linspace(0, len(known) - 1, min(people, len(known))).round().astype(int))]
    figure, (ax,) = _figure(1, 1, (6.4, 5.2))
    for light, marker, name in ((False, "o", "visible"), (True, "^", "infrared")):
        others = points[(infrared == light) & ~np.isin(identities, chosen)]
        ax.scatter(others[:, 0], others[:, 1], s=10, marker=marker, color="#c8c8c8", zorder=2)
        ax.scatter([], [], marker=marker, color="#555555", label=name)
    for i, identity in enumerate(chosen):
        colour = f"C{i}"
        both = [points[(identities == identity) & (infrared == light)] for light in (False, True)]
        for part, marker in zip(both, "o^", strict=True):
            ax.scatter(
                part[:, 0], part[:, 1], s=26, marker=marker, color=colour, edgecolors="white", linewidths=0.4, zorder=4
            )
        if all(len(part) for part in both):
            ax.plot(*np.stack([part.mean(0) for part in both]).T, color=colour, linewidth=1.2, zorder=3)
        ax.scatter([], [], marker="s", color=colour, label=f"id {identity}")
    ax.set_xlabel(f"first principal axis ({shares[0]:.0f} % of the variance)")
    ax.set_ylabel(f"second principal axis ({shares[1]:.0f} %)")
    ax.set_aspect("equal", adjustable="datalim")
    figure.legend(*ax.get_legend_handles_labels(), frameon=False, fontsize=8, loc="outside right upper")
    return _save_figure(figure, out_png)


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


def _figure(across: int, down: int, size: tuple[float, float]) -> tuple[Figure, list[Axes]]:
    """Return a figure of its own, without pyplot's global state, and its axes; size in inches each."""
    figure = Figure(figsize=(across * size[0], down * size[1]), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = list(figure.subplots(down, across, squeeze=False).flat)
    for ax in axes:
        ax.grid(color="#e3e3e3")
        ax.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _draw_legend(ax: Axes, place: Literal["best", "lower right"] = "best") -> None:
    """Draw a legend that shows `$` in names as it is, not as the start of a formula."""
    for text in ax.legend(frameon=False, fontsize=8, loc=place).get_texts():
        text.set_parse_math(False)


def _save_figure(figure: Figure, out_png: Path) -> Path:
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return write_picture(out_png, file)
