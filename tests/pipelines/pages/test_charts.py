"""Charts: a panel for each logged quantity, wrong lines of a file are named, CMC curves of any length."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.axes
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image
from support.limits import NEVER_WRITTEN
from support.places import ROOT

import pipelines.pages.charts
from parsing.errors import InputError, MissingError
from pipelines.pages.charts import cmc_curve, curves, embedding_map
from pipelines.pages.style import FORMATS, FigureFormat


def size(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        assert image.format == "PNG"
        assert len(np.unique(np.asarray(image))) > 2
        return image.size


def rows(steps: int = 30) -> list[dict[str, Any]]:
    """Metrics of a short run; accuracy now and then, a loss that once was not finite."""
    logged = [{"step": s, "epoch": s // 10, "total": 5.0 / (s + 1), "lr": 0.1, "note": "x"} for s in range(steps)]
    logged[3]["total"] = float("nan")
    logged[9]["rank1"] = logged[-1]["rank1"] = 0.25
    return logged


def test_a_file_and_its_rows_draw_the_same(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows()), encoding="utf-8")
    a, b = curves(file, tmp_path / "new" / "a.png"), curves(rows(), tmp_path / "b.png")
    assert size(a) == size(b)
    with Image.open(a) as one, Image.open(b) as other:
        assert np.array_equal(np.asarray(one), np.asarray(other))


def test_each_logged_quantity_has_its_panel(tmp_path: Path) -> None:
    one = size(curves([{"step": 1, "total": 2.0}], tmp_path / "one.png"))
    three = size(curves([{"step": 1, "total": 2.0, "id": 1.0, "lr": 0.1}], tmp_path / "three.png"))
    four = size(curves([{"step": 1, "total": 2.0, "id": 1.0, "lr": 0.1, "mAP": 0.5}], tmp_path / "four.png"))
    assert three == pytest.approx((3 * one[0], one[1]), abs=2)
    assert four == pytest.approx((three[0], 2 * three[1]), abs=2)
    off = [{"step": s, "total": 2.0, "icm": 0.0} for s in range(3)]
    assert size(curves(off, tmp_path / "off.png")) == one, "a loss that is off has no chart"


def catch_figure(monkeypatch: pytest.MonkeyPatch, draw: Callable[[], Path]) -> Figure:
    """Return the figure that `draw` would save."""
    caught: list[Figure] = []

    def save(figure: Figure, out_png: Path, _: str = "png") -> Path:
        figure.draw_without_rendering()
        caught.append(figure)
        return out_png

    monkeypatch.setattr(pipelines.pages.charts, "save_figure", save)
    draw()
    return caught[0]


def test_titles_legends_and_lines_of_the_curves_lie_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logged = [
        {"step": s, "total": 9.0, "id": 1.0, "triplet": 2.0, "lr": 3e-4, "lr_new": 3e-3, "rank1": 0.99, "mAP": 0.98,
         "mINP": 0.97}
        for s in range(1, 40)
    ]  # fmt: skip
    figure = catch_figure(monkeypatch, lambda: curves(logged, tmp_path / "a.png"))
    shown = [ax for ax in figure.axes if ax.get_visible()]
    assert [ax.get_title() for ax in shown] == [
        "total loss", "id loss", "triplet loss", "learning rate (1e-3)", "accuracy (%)"
    ]  # fmt: skip
    boxes = []
    for ax in shown:
        inner, title = ax.get_window_extent(), ax.title.get_window_extent()
        if legend := ax.get_legend():
            box = legend.get_window_extent()
            assert box.y0 >= inner.y1 - 1
            assert title.y0 >= box.y1 - 2
        outer = ax.get_tightbbox()
        assert outer is not None
        boxes.append(outer)
    for i, one in enumerate(boxes):
        for other in boxes[:i]:
            assert not one.overlaps(other)


def test_a_cmc_has_ticks_at_the_ranks_of_the_tables_and_its_legend_below(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cmcs = {name: np.linspace(0.93, 1, 30) for name in ("indoor-single", "indoor-multi", "all-single", "all-multi")}
    figure = catch_figure(monkeypatch, lambda: cmc_curve(cmcs, tmp_path / "a.png"))
    (ax,) = figure.axes
    assert ax.get_xticks().tolist() == [1, 5, 10, 20]
    assert ax.get_ylim()[0] == 80
    (legend,) = figure.legends
    assert legend.get_window_extent().y1 <= ax.get_window_extent().y0
    assert legend.get_window_extent().x0 >= 0
    assert legend.get_window_extent().x1 <= figure.bbox.x1
    assert len({line.get_color() for line in ax.lines}) == len({line.get_linestyle() for line in ax.lines}) == 4


def test_the_map_names_every_colour_and_mark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    identities, infrared = np.repeat(np.arange(10), 4), np.tile([False, True], 20)
    figure = catch_figure(
        monkeypatch,
        lambda: embedding_map(rng.normal(size=(40, 6)), identities, infrared, tmp_path / "a.png", people=3),
    )
    (legend,) = figure.legends
    names = [text.get_text() for text in legend.get_texts()]
    assert names == ["visible", "infrared", "joins their centers", "person 0", "person 4", "person 9", "other people"]


@pytest.mark.parametrize("kind", FORMATS[1:])
def test_charts_as_pdf_and_svg_are_as_wide_as_a_column_and_the_same_again(tmp_path: Path, kind: FigureFormat) -> None:
    drawn = [
        cmc_curve({"CSCL": [0.5, 1]}, tmp_path / f"{name}.png", figure_format=kind).with_suffix(f".{kind}").read_bytes()
        for name in "ab"
    ]
    assert drawn[0] == drawn[1]
    width = re.search(rb"MediaBox *\[ *0 0 ([0-9.]+)" if kind == "pdf" else rb'width="([0-9.]+)pt"', drawn[0])
    assert width
    assert float(width[1]) == pytest.approx(3.5 * 72)


def test_charts_leave_no_global_state(tmp_path: Path) -> None:
    before = dict(matplotlib.rcParams)
    curves(rows(), tmp_path / "a.png")
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2 is no JSON"),
        ("[1]", "line 2 must be an object"),
        ('{"step": "3"}', "line 2 must be an object"),
    ],
)
def test_a_line_that_is_no_metrics_is_named(tmp_path: Path, line: str, message: str) -> None:
    file = tmp_path / "metrics.jsonl"
    file.write_text('{"step": 0, "total": 1.0}\n' + line + "\n", encoding="utf-8")
    with pytest.raises(InputError, match=message):
        curves(file, tmp_path / "a.png")


def test_metrics_that_cannot_be_drawn_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="no metrics at"):
        curves(tmp_path / "none.jsonl", tmp_path / "a.png")
    with pytest.raises(InputError, match="in 1 rows"):
        curves([{"step": 1, "epoch": 0, "total": float("nan")}], tmp_path / "a.png")
    with pytest.raises(InputError, match=r"rank1 must lie in \[0, 1\], got 35"):
        curves([{"step": 1, "rank1": 35.0}], tmp_path / "a.png")


def test_cmc_curves_of_any_length_and_name_are_drawn(tmp_path: Path) -> None:
    long, short = np.linspace(0.2, 1, 96), np.linspace(0.5, 1, 3)
    drawn = cmc_curve({"CSCL": long, "AGW $\\frac$ <b>": short}, tmp_path / "cmc.png")
    one = cmc_curve({"CSCL": long}, tmp_path / "one.png")
    assert size(drawn)[0] == size(one)[0]
    assert size(drawn)[1] > size(one)[1], "a line of the legend more"


@pytest.mark.parametrize(
    ("cmcs", "message"),
    [
        ({}, "at least one curve"),
        ({"a": [35.2, 60.0]}, r"CMC of 'a' must be \(K,\) numbers in \[0, 1\]"),
        ({"a": [float("nan")]}, "CMC of 'a'"),
        ({"a": []}, "CMC of 'a'"),
        ({"a": 0.5}, "CMC of 'a'"),
    ],
)
def test_what_is_no_cmc_is_refused(tmp_path: Path, cmcs: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        cmc_curve(cmcs, tmp_path / "a.png")


def test_a_map_of_embeddings_shows_people_in_their_modalities_and_is_the_same_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    identities = np.repeat(np.arange(12), 4)
    infrared = np.tile([False, False, True, True], 12)
    embeddings = rng.normal(size=(12, 6))[identities] + infrared[:, None] * 0.5
    drawn: list[tuple[np.ndarray, np.ndarray]] = []
    scatter = matplotlib.axes.Axes.scatter

    def noted(axes: matplotlib.axes.Axes, x: np.ndarray, y: np.ndarray, **options: Any) -> Any:
        drawn.append((x, y))
        return scatter(axes, x, y, **options)

    monkeypatch.setattr(matplotlib.axes.Axes, "scatter", noted)
    first = embedding_map(embeddings, identities=identities, infrared=infrared, out_png=tmp_path / "a.png").read_bytes()
    points = np.concatenate([np.stack([x, y], 1) for x, y in drawn if len(x)])
    assert len(points) == 48, "every image is drawn once"
    centered = embeddings - embeddings.mean(0)
    _, lengths, _ = np.linalg.svd(centered)
    assert (points**2).sum(0) == pytest.approx(lengths[:2] ** 2)
    assert (
        embedding_map(embeddings, identities=identities, infrared=infrared, out_png=tmp_path / "b.png").read_bytes()
        == first
    )
    with pytest.raises(InputError, match="at least 3 images, got 2"):
        embedding_map(embeddings[:2], identities=identities[:2], infrared=infrared[:2], out_png=tmp_path / "c.png")
    embedding_map(np.ones((4, 6)), identities=np.full(4, -1), infrared=np.zeros(4, bool), out_png=tmp_path / "d.png")


def test_a_home_that_cannot_be_written_is_no_warning() -> None:
    environment = {name: value for name, value in os.environ.items() if name not in ("MPLCONFIGDIR", "XDG_CONFIG_HOME")}
    done = subprocess.run(
        [sys.executable, "-c", "import pipelines.pages.charts"], capture_output=True, text=True, check=True,
        env={**environment, "HOME": str(NEVER_WRITTEN / "home"), "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.stderr == ""
