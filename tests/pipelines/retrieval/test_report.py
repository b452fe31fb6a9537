"""`cscl evaluate --figures`: every picture is drawn, shows this run's own figures, and the page holds them all."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from support.browser import check_layout

import pipelines.retrieval.report
from cli import main
from cscl.similarity import compute_similarity
from data.registry import open_data_set
from pipelines.pages.charts import cmc_curve
from pipelines.pages.rankings import RankedRow
from pipelines.pages.style import FigureFormat
from pipelines.retrieval.evaluate import evaluate
from pipelines.retrieval.report import draw_rankings
from pipelines.runs.folder import load_model
from pipelines.runs.scores import score


def test_the_command_draws_a_page_of_every_figure(
    run_copy: Path, figures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    curves: dict[str, tuple[float, ...]] = {}

    def drawn(cmcs: dict[str, tuple[float, ...]], png: Path, figure_format: FigureFormat) -> Path:
        curves.update(cmcs)
        return cmc_curve(cmcs, png, figure_format=figure_format)

    monkeypatch.setattr(pipelines.retrieval.report, "cmc_curve", drawn)
    protocol = ("--protocol", "indoor-single", "--protocol", "all-single")
    command = ["evaluate", "--run", str(run_copy), "--root", str(figures), *protocol, "--figures",
               "--figure-format", "svg", "--device", "cpu"]  # fmt: skip
    result = CliRunner().invoke(main, command, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    out = run_copy / "figures"
    written = result.stdout.splitlines()[-1]
    assert written.startswith(f"written: {run_copy / 'evaluation.json'}, ")
    assert written.endswith(f", {out / 'index.html'}")
    pictures = {f"{name}.{kind}" for name in ("cmc", "rankings", "embeddings", "attention", "curves")
                for kind in ("png", "svg")}  # fmt: skip
    assert {p.name for p in out.iterdir()} == {"index.html", *pictures}
    html = (out / "index.html").read_text(encoding="utf-8")
    assert len(re.findall("data:image/(?:png|jpeg);base64,", html)) == 5
    for said in ("Simulated data.", "all-single", "10 trials", "not re-ranked", "selection last"):
        assert said in html, said
    row = next(line for line in result.stdout.splitlines() if line.startswith("indoor-single")).split()
    assert 100 * curves["indoor-single"][0] == pytest.approx(float(row[1].partition("±")[0]), abs=0.005)
    assert 100 * curves["indoor-single"][9] == pytest.approx(float(row[2].partition("±")[0]), abs=0.005)
    assert len(curves["all-single"]) == 20
    assert (np.diff(curves["all-single"]) >= 0).all()
    for png in out.glob("*.png"):
        with Image.open(png) as picture:
            assert min(picture.size) > 400


@pytest.mark.browser
def test_the_layout_fits_desktop_and_phone(run_copy: Path, figures: Path, tmp_path: Path) -> None:
    evaluate(run_copy, root=figures, figures=True, device="cpu")
    check_layout(run_copy / "figures" / "index.html", tmp_path)


def test_rankings_are_in_the_order_of_the_distances_and_hide_what_the_protocol_hides(
    finished: Path, figures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    protocol = next(p for p in open_data_set("sysu", figures).protocols() if p.name == "all-single")
    rng = np.random.default_rng(5)
    names = {r.name for t in protocol.trials for r in (*t.query, *t.gallery)}
    embedder = load_model(finished)
    features = {name: rng.normal(size=embedder.dim) for name in sorted(names)}
    seen: list[RankedRow] = []

    def noted(rows: list[RankedRow], png: Path, **_: Any) -> Path:
        seen.extend(rows)
        return png

    monkeypatch.setattr(pipelines.retrieval.report, "draw_ranked_gallery", noted)
    draw_rankings(tmp_path / "r.png", embedder=embedder, root=figures, protocol=protocol, features=features)
    trial = protocol.trials[0]
    assert len(seen) == 6
    for row in seen:
        query = next(r for r in trial.query if r.name == row.query.name)
        allowed = [g for g in trial.gallery if not (query.camera == 3 and g.camera == 2)]
        rows = np.stack([features[g.name] for g in allowed])
        order = np.argsort(-compute_similarity(features[query.name][None], rows, embedder.blocks)[0])[:10]
        assert [shot.name for shot in row.gallery] == [allowed[i].name for i in order]
        assert all(shot.attention is None for shot in row.gallery)


def test_the_curve_begins_with_the_ranks_of_the_table(figures: Path) -> None:
    protocol = open_data_set("sysu", figures).protocols()[0]
    rng = np.random.default_rng(6)
    names = sorted({r.name for t in protocol.trials for r in (*t.query, *t.gallery)})
    result = score(protocol, {name: rng.normal(size=9) for name in names})
    assert [result.curve[k - 1] for k in (1, 5, 10, 20)] == [result.cmc[k] for k in (1, 5, 10, 20)]
