"""`cscl benchmark`: every part gives rows, the ratio first; evaluators are compared before they are timed."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from cli import main
from parsing.errors import CsclError, MissingError
from pipelines.benchmarks import evaluate
from pipelines.benchmarks.images import benchmark_images
from pipelines.benchmarks.measure import compare_sides
from pipelines.benchmarks.parts import PARTS
from pipelines.benchmarks.run import MEASURES, describe_row, markdown

PEER = """
import numpy as np
def eval_sysu(distances, query_ids, gallery_ids, query_cameras, gallery_cameras):
    return np.full(20, {rank1}), {precision}, {penalty}
"""


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"QUERIES": 40, "GALLERY": 30, "PEOPLE": 10, "TRIALS": 2}.items():
        monkeypatch.setattr(evaluate, name, value)


def test_every_part_is_measured() -> None:
    assert tuple(MEASURES) == PARTS


def test_the_ratio_says_how_many_times_as_fast_ours_is() -> None:
    row = compare_sides(
        "x",
        seconds={"a": [1.0, 2.0, 4.0], "b": [3.0, 4.0, 40.0]},
        ours="a",
        theirs="b",
        count=10,
        unit="per second",
        other="the other",
    )
    assert (row.ours, row.theirs, row.ratio, row.least, row.most) == (5.0, 2.5, 3.0, 2.0, 10.0)
    assert describe_row(row.to_json()).startswith("3.00 times (2.00 to 10.00) the other: x, 5 against 2.5 per second")


@pytest.mark.usefixtures("small")
def test_json_and_table_have_the_rows_of_the_parts_that_were_asked_for() -> None:
    done = CliRunner().invoke(main, ["benchmark", "evaluate", "read", "--runs", "1", "--masks", "9", "--json"])
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    assert {part: len(rows) for part, rows in result["rows"].items()} == {"evaluate": 1, "read": 1}
    assert result["machine"]["torch"]
    table = list(markdown(result))
    assert [line.split(" | ")[0] for line in table[2:4]] == ["| evaluate", "| read"]


def test_images_of_a_folder_are_parsed(tmp_path: Path) -> None:
    for number in range(3):
        Image.fromarray(np.full((40, 20, 3), 60 * number, np.uint8)).save(tmp_path / f"{number}.jpg")
    done = CliRunner().invoke(main, ["benchmark", "parse", "--images", str(tmp_path), "--runs", "1", "--json"])
    assert done.exit_code == 0, done.output
    rows = json.loads(done.stdout)["rows"]["parse"]
    assert [(row["other"], row["ratio"] > 0) for row in rows] == [
        ("the network alone", True), ("one image at a time to PNG", True)
    ] * 2  # fmt: skip
    assert sorted(p.name for p in tmp_path.iterdir()) == ["0.jpg", "1.jpg", "2.jpg"]


def test_few_images_are_drawn_too() -> None:
    with benchmark_images(None, 2) as (root, names):
        assert len(names) == 2
        assert all((root / name).is_file() for name in names)


def test_a_folder_without_images_and_a_peer_without_evaluator_are_refused(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["benchmark", "parse", "--images", str(tmp_path)])
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
    with pytest.raises(MissingError, match=r"no eval_metrics\.py"):
        evaluate.measure(1, tmp_path)


@pytest.mark.usefixtures("small")
def test_the_evaluator_of_a_peer_runs_and_must_agree(tmp_path: Path) -> None:
    right = evaluate._ours(evaluate._trial(0))
    values = dict(zip(("rank1", "precision", "penalty"), map(float, right), strict=True))
    (tmp_path / "eval_metrics.py").write_text(PEER.format(**values))
    assert [row.other for row in evaluate.measure(1, tmp_path)] == [
        "a NumPy loop over the queries", "AGW's eval_sysu"
    ]  # fmt: skip
    (tmp_path / "eval_metrics.py").write_text(PEER.format(**values | {"precision": 0.0}))
    with pytest.raises(CsclError, match="evaluators disagree"):
        evaluate.measure(1, tmp_path)
