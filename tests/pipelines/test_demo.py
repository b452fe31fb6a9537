"""`cscl demo`: its page from a small run, what it refuses to replace, and (slow) the whole of it."""

import json
import re
import resource
from pathlib import Path

import pytest
from click.testing import CliRunner
from support.browser import check_layout

from cli import main
from parsing.cache.reader import MaskCache
from parsing.errors import InputError
from pipelines.demo import PROTOCOL, _page, demo
from pipelines.masks.score import score_masks
from pipelines.retrieval.evaluate import evaluate


def test_the_page_shows_every_stage_and_says_that_it_is_a_simulation(
    figures: Path, masks: Path, finished: Path, tmp_path: Path
) -> None:
    evaluation, scores = evaluate(finished, device="cpu"), score_masks(MaskCache(masks))
    # the training run has no validation, so its curves are of losses alone
    page = _page(tmp_path, root=figures, masks=masks, run=finished, evaluation=evaluation, scores=scores, minutes=1.5)
    html = page.read_text(encoding="utf-8")
    assert page == tmp_path / "index.html"
    assert {p.name for p in (tmp_path / "pictures").iterdir()} == {
        "images.png", "masks.png", "curves.png", "rankings.png",
    }  # fmt: skip
    assert len(re.findall("data:image/(?:png|jpeg);base64,", html)) == 4
    result = next(r for r in evaluation.results if r.protocol == PROTOCOL)
    for said in (f"{100 * result.cmc[1]:.1f} %", f"{100 * result.mAP:.1f} %", f"{100 * scores.mean('infrared'):.1f}"):
        assert said in html
    text = re.sub(r"\s+", " ", html)
    for said in ("drawn by code", "10 seeded trials", "not re-ranked", "1.5 minutes", "all-multi", "chance"):
        assert said in text, said
    for command in ("data make pedestrians", "parse --dataset sysu", "train --masks", "evaluate "):
        assert f"cscl {command}" in text


@pytest.mark.browser
def test_the_layout_fits_desktop_and_phone(figures: Path, masks: Path, finished: Path, tmp_path: Path) -> None:
    evaluation, scores = evaluate(finished, device="cpu"), score_masks(MaskCache(masks))
    page = _page(tmp_path, root=figures, masks=masks, run=finished, evaluation=evaluation, scores=scores, minutes=1.5)
    check_layout(page, tmp_path)


@pytest.mark.parametrize("made", ["folder", "file"])
def test_what_is_no_demo_is_left_alone(tmp_path: Path, made: str) -> None:
    out = tmp_path / "mine"
    if made == "folder":
        out.mkdir()
        (out / "thesis.tex").write_text("years of work")
    else:
        out.write_text("years of work")
    with pytest.raises(InputError, match="holds something else than a demo; give another --out"):
        demo(out)
    assert (out / "thesis.tex" if made == "folder" else out).read_text() == "years of work"
    assert CliRunner().invoke(main, ["demo", "--out", str(out)]).exit_code == 2


def processor_seconds() -> float:
    """Used so far by this process and the ones it waited for; unlike the clock's, other programs add nothing to it."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


@pytest.mark.slow
def test_the_whole_demo_runs_in_minutes_and_is_far_above_chance(tmp_path: Path) -> None:
    out = tmp_path / "demo"
    out.mkdir()
    (out / "demo.json").write_text("{}")
    (out / "left from an older demo").write_text("")
    began = processor_seconds()
    said = demo(out)
    assert {p.name for p in out.iterdir()} == {
        "demo.json", "SYSU-MM01", "sysu_masks.h5", "sysu_masks.shards", "run", "pictures", "index.html",
    }  # fmt: skip
    assert said.page == out / "index.html"
    assert str(said.page) in said.lines()[-1]
    evaluation = json.loads((out / "run" / "evaluation.json").read_text())
    result = next(r for r in evaluation["results"] if r["protocol"] == PROTOCOL)
    assert result["cmc"]["1"] > 3 * result["chance_rank1"]
    assert result["mAP"] > 2 * result["chance_map"]
    assert processor_seconds() - began < 5 * 60 * 2, "five minutes on two cores"
