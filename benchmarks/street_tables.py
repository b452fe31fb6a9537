"""Tables and figure of benchmarks/street_ablation.py, from its finished trainings."""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from scipy.stats import bootstrap
from street_rows import FORMER, HARDEST, LEVELS, PROTOCOL, ROWS, TEST, TRAIN

from cscl.config import ModelOptions
from data.simulators.collage.levels import DIFFICULTIES
from pipelines.pages.style import DASHES, LINES, MARKERS, PAGE, STYLE, draw_legend, make_figure, save_figure

Runs = Mapping[tuple[str, int], dict[str, Any]]
"""Finished trainings of one recipe by row and seed."""


def make_table(done: Runs, epochs: int, names: Sequence[str]) -> list[str]:
    """Markdown: a line for each of the rows that has a training, then what the figures are."""
    every = [one for one in done.values() if one["row"] in names]
    if not every:
        return ["No training is done yet."]
    missing = [name for name in names if not find_row(done, name)]
    chance = every[0]["levels"][HARDEST]["chance"]
    return [
        *_make_score_lines(done, names),
        "",
        "mAP in per cent, mean over the seeds (lowest to highest), by the largest error of the box's edges; chance has "
        f"{100 * chance[1]:.1f} and Rank-1 {100 * chance[0]:.1f}. The last column is the difference in mAP to another "
        f"row over the seeds that both have, with a 95 % interval (paired bootstrap over the {TEST} test people; "
        "another seed moves both). Simulated data (`collage`, "
        f"{TRAIN} people to train and {TEST} to test, one image a camera; in training every image has a level of its "
        f"own), SYSU-MM01's {PROTOCOL} protocol, 10 seeded trials, cosine "
        "distance of what both images show, flip averaged, not re-ranked. Recipe "
        f"`small`, {epochs} epochs of 50 steps of 32 images, last weights; no test person selected anything, and none "
        "was in the parser's training. "
        f"{describe_origin(every)}" + (f" Not trained yet: {', '.join(missing)}." if missing else ""),
    ]


def make_other_table(done: Runs, trained: str) -> list[str]:
    """Markdown: the rows that were trained otherwise than by today's recipe; `trained` says how."""
    if not done:
        return []
    return [
        f"Trained otherwise: {trained}.",
        "",
        *_make_score_lines(done, (*ROWS, *FORMER)),
        "",
        "Columns as above, but embeddings are compared by one cosine, f_g and f_fg as long as a visible part. "
        f"{_describe_ratios(done)}{describe_origin(list(done.values()))}",
    ]


def _describe_ratios(done: Runs) -> str:
    """Return a sentence on how much of the ideal share of attention lies inside each part, over all levels."""
    tables = [one["levels"][level]["parts"] for one in find_row(done, "recipe") for level in LEVELS]
    if not tables:
        return ""
    said = []
    for q, row in enumerate(tables[0]["rows"]):
        inside, ideal = (sum(table["rows"][q][name] for table in tables) for name in ("inside", "ideal"))
        said.append(f"{row['part']} {100 * inside / ideal:.0f}")
    height, width = tables[0]["grid"]
    return f"Of its attention, at {height}x{width}, the recipe has {', '.join(said)} % of the ideal inside its parts. "


def describe_origin(runs: Sequence[Mapping[str, Any]]) -> str:
    """The masks and machines of trainings and, if there are several, how many states of the code they are of."""
    masks = {one["masks"]: one["mask_iou"] for one in runs if "mask_iou" in one}
    told = [
        f"{name[:12]} (mIoU with the true ones {', '.join(f'{m} {100 * v:.1f}' for m, v in iou.items())})"
        for name, iou in masks.items()
    ]
    codes, machines = {one["code"] for one in runs}, sorted({one["machine"] for one in runs})
    states = f" The rows are of {len(codes)} states of the code." if len(codes) > 1 else ""
    return f"Masks of the built-in parser: {', '.join(told)}. Machine: {'; '.join(machines)}.{states}"


def _make_score_lines(done: Runs, names: Sequence[str]) -> list[str]:
    boxes = [f"{level}, {100 * DIFFICULTIES[level].box_error:.0f} %" for level in LEVELS]
    lines = [
        f"| row | seeds | {' | '.join(boxes)} | Rank-1, {HARDEST} | {HARDEST} against |",
        "| --- |" + " --- |" * (len(LEVELS) + 3),
    ]
    for name in names:
        runs = find_row(done, name)
        if not runs:
            continue
        against = FORMER.get(name) or ROWS[name].against
        cells = [format_spread([one["levels"][level]["mAP"] for one in runs]) for level in LEVELS]
        cells.append(format_spread([one["levels"][HARDEST]["Rank-1"] for one in runs]))
        lines.append(f"| {name} | {len(runs)} | {' | '.join(cells)} | {compare_rows(done, name, against)} |")
    return lines


def make_part_table(done: Runs, name: str) -> list[str]:
    """Markdown: the parts of a row at the easiest level, the hardest, and over all: means over levels and seeds."""
    runs = [one for one in find_row(done, name) if "parts" in one["levels"][HARDEST]]
    if not runs:
        return []
    columns = {
        "inside": "inside",
        "ideal": "ideal",
        "ratio": "",
        "IoU": "iou",
        "AUC of v": "auc",
        "absent": "auc_absent",
    }
    lines = [f"| part of `{name}`, level | {' | '.join(columns)} |", "| --- |" + " --- |" * len(columns)]
    for where, levels in ((LEVELS[0], LEVELS[:1]), (HARDEST, (HARDEST,)), ("all levels", LEVELS)):
        for number, row in enumerate(runs[0]["levels"][HARDEST]["parts"]["rows"]):
            each = [one["levels"][level]["parts"]["rows"][number] for one in runs for level in levels]
            cells = {label: average([r[key] for r in each]) for label, key in columns.items() if key}
            if len(levels) > 1:  # of all images together, not the mean of such: in `make_visibility_table`
                cells |= {"AUC of v": "-", "absent": "-"}
            cells["ratio"] = f"{100 * sum(r['inside'] for r in each) / sum(r['ideal'] for r in each):.0f}"
            lines.append(f"| {row['part']}, {where} | {' | '.join(cells[label] for label in columns)} |")
    lines += [
        "",
        "Attention of SPAM on test people against their true masks, in per cent, mean over the seeds (and levels). "
        "Inside: the share of a part's attention that lies inside the part; ideal: the same of the true mask at the "
        "attention's grid; IoU: of the attention's labels; AUC: of the visibility v for whether the true mask shows "
        f"the part, which is where it covers {100 * ModelOptions().tau:.0f} % of the image; absent: the same against "
        "the images whose true mask has no pixel of it. The images of all levels together are not rated by v here; the "
        "next table does that for images of mixed levels.",
    ]
    return [
        *lines,
        *make_mixed_table([one["mixed"] for one in runs if "mixed" in one]),
        *make_occlusion_table([one["occlusion"] for one in runs if "occlusion" in one]),
        *make_guided_table([one for one in runs if "guided" in one], name),
    ]


def make_mixed_table(found: Sequence[Mapping[str, Any]]) -> list[str]:
    """Markdown: the network's parts beside the masks that it learns from, on the same images."""
    if not found:
        return []
    names = {"ratio": "ratio", "auc": "AUC", "absent": "AUC, absent"}
    columns = [f"{who} {name}" for name in names.values() for who in ("network's", "masks'")]
    measured = sum(all("ratio" in row for row in one.values()) for one in found)
    lines = ["", f"| part, mixed levels | {' | '.join(columns)} |", "| --- |" + " --- |" * len(columns)]
    for part in found[0]:
        cells = [
            average([one[part][name][who] for one in found if name in one[part]]) for name in names for who in (0, 1)
        ]
        lines.append(f"| {part} | {' | '.join(cells)} |")
    return [
        *lines,
        "",
        "The network's parts beside the built-in parser's masks that it learns from, both against the true masks, on "
        "the test people's images of mixed levels. Ratio: inside of ideal, of the attention and of the parser's mask "
        "at the attention's grid. AUC: of v, and of the area that the part has in the parser's mask."
        + (f" Ratios of {measured} of the {len(found)} trainings." if measured < len(found) else ""),
    ]


FEWEST = 10
"""Images that hide a part, below which no AUC is shown."""


def make_occlusion_table(found: Sequence[Mapping[str, Any]]) -> list[str]:
    """Markdown: how well v tells whether a part is hidden, of the people who have it."""
    if not found:
        return []
    lines = ["", f"| part, {HARDEST} | people | images that hide it | AUC of v | absent |", "| --- |" + " --- |" * 4]
    for part, one in found[0].items():
        if one["hide"] >= FEWEST:
            cells = [average([row[part][name] for row in found]) for name in ("auc", "absent")]
            lines.append(f"| {part} | {one['people']} | {one['hide']} | {' | '.join(cells)} |")
    return [
        *lines,
        "",
        f"v under occlusion at the hardest level, mean over {len(found)} trainings: of the people whose true masks "
        "show the part where the box fits, does v tell the images that show it from those that hide it? Absent: from "
        f"those without a pixel of it. Parts that fewer than {FEWEST} images hide are left out.",
    ]


def make_guided_table(runs: Sequence[Mapping[str, Any]], name: str) -> list[str]:
    """Markdown: mAP of the same trained networks if other maps than their attention guide the pooling at test."""
    if not runs:
        return []
    lines = ["", f"| `{name}` at test pools under | {' | '.join(LEVELS)} |", "| --- |" + " --- |" * len(LEVELS)]
    own = {level: [one["levels"][level]["mAP"] for one in runs] for level in LEVELS}
    others = {
        f"{who} masks": {level: [one["guided"][level][key] for one in runs] for level in LEVELS}
        for key, who in (("parser", "the built-in parser's"), ("true", "true"))
    }
    for what, found in {"its attention": own, **others}.items():
        lines.append(f"| {what} | {' | '.join(format_spread(found[level]) for level in LEVELS)} |")
    return [
        *lines,
        "",
        f"mAP in per cent, mean over {len(runs)} trainings (lowest to highest), as in the first table; masks guide "
        "with alpha = 1. The true masks of all images of a simulated person are one annotation, which no parser has.",
    ]


def average(values: Sequence[float | None]) -> str:
    """Per cent, over those that are known."""
    known = [v for v in values if v is not None]
    return f"{100 * statistics.mean(known):.1f}" if known else "-"


def find_row(done: Runs, name: str) -> list[dict[str, Any]]:
    return [one for (row, _), one in sorted(done.items()) if row == name]


def compare_rows(done: Runs, name: str, other: str) -> str:
    """mAP at the hardest level minus that of another row, over the seeds of both, and its interval over the people."""
    seeds = [seed for row, seed in done if row == name and (other, seed) in done]
    if not seeds:
        return ""
    each = [
        [done[row, seed]["levels"][HARDEST]["people"][who] - done[other, seed]["levels"][HARDEST]["people"][who]
         for who in done[row, seed]["levels"][HARDEST]["people"]]
        for row, seed in ((name, seed) for seed in seeds)
    ]  # fmt: skip
    values = np.mean(each, 0)
    interval = bootstrap(
        (values,), np.mean, n_resamples=2000, method="percentile", random_state=np.random.default_rng(0)
    ).confidence_interval
    return f"{other}: {100 * values.mean():+.1f} [{100 * interval.low:+.1f}, {100 * interval.high:+.1f}]"


@matplotlib.rc_context(STYLE)
def draw_figure(done: Runs, png: Path) -> None:
    """mAP against the size of the box error, with the lowest and highest seed."""
    drawn, (axes,) = make_figure(1, 1, (PAGE, 4.4))
    errors = [100 * DIFFICULTIES[level].box_error for level in LEVELS]
    rows = ("baseline", "six global heads", "stripes", "recipe")
    for name, mark, colour, dashes in zip(rows, MARKERS, LINES, DASHES, strict=False):
        runs = find_row(done, name)
        if runs:
            values = np.array([[100 * one["levels"][level]["mAP"] for level in LEVELS] for one in runs])
            mean = values.mean(0)
            label = f"{'CSCL' if name == 'recipe' else name} ({len(runs)} seed{'s' * (len(runs) > 1)})"
            axes.errorbar(
                errors,
                mean,
                [mean - values.min(0), values.max(0) - mean],
                marker=mark,
                color=colour,
                linestyle=dashes,
                capsize=3,
                label=label,
            )
    axes.set_xlabel("largest error of the box's edges, per cent of the person")
    axes.set_ylabel("mAP, per cent")
    axes.set_title("Simulated people: misaligned and hidden")
    axes.set_ylim(bottom=0)
    draw_legend(drawn, axes, columns=2)
    save_figure(drawn, png)


def format_spread(values: Sequence[float]) -> str:
    mean, low, high = (100 * v for v in (statistics.mean(values), min(values), max(values)))
    return f"{mean:.1f} ({low:.1f} to {high:.1f})" if len(values) > 1 else f"{mean:.1f}"
