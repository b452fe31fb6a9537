"""Tables of results: every score with its deviation, in four formats."""

import csv

import pytest

from pipelines.runs import FORMATS
from pipelines.runs.scores import FIGURES, Result
from pipelines.runs.tables import format_table, write_table


def make_result(trials: int = 10, **changes: float) -> Result:
    figures = dict(zip(FIGURES, (0.5, 0.6, 0.7, 0.8, 0.45, 0.3), strict=True)) | changes
    return Result(
        "all-single", gallery_rule="seeded", trials=trials, queries=9, gallery=6,
        cmc={k: figures[f"Rank-{k}"] for k in (1, 5, 10, 20)}, mAP=figures["mAP"], mINP=figures["mINP"],
        deviations={name: 0.01 * n for n, name in enumerate(FIGURES, 1)}, chance_rank1=0.1, chance_map=0.2,
        reranked=False,
    )  # fmt: skip


def test_text_has_a_deviation_beside_each_score() -> None:
    head, line = format_table([make_result()])
    assert line.split() == [
        "all-single", "50.00±1.00", "70.00±3.00", "80.00±4.00", "45.00±5.00", "30.00±6.00", "10.00/20.00",
    ]  # fmt: skip
    assert head.split()[:6] == ["protocol", "Rank-1", "Rank-10", "Rank-20", "mAP", "mINP"]
    assert len(line) <= 80


def test_one_trial_has_no_deviation() -> None:
    assert format_table([make_result(trials=1)])[1].split()[1] == "50.00"


def test_formats_have_the_same_scores() -> None:
    rows = [("a & b_c", make_result())]
    assert set(FORMATS) == {"text", "md", "latex", "csv"}
    assert write_table(rows, "md")[-1] == (
        "| a & b_c | 50.00 ± 1.00 | 70.00 ± 3.00 | 80.00 ± 4.00 | 45.00 ± 5.00 | 30.00 ± 6.00 |"
    )
    latex = write_table(rows, "latex")
    assert latex[4] == (
        r"a \& b\_c & 50.00 $\pm$ 1.00 & 70.00 $\pm$ 3.00 & 80.00 $\pm$ 4.00 & 45.00 $\pm$ 5.00 & 30.00 $\pm$ 6.00 \\"
    )
    assert (latex[0], latex[-1]) == (r"\begin{tabular}{lrrrrr}", r"\end{tabular}")
    head, line = csv.reader(write_table(rows, "csv", "method"))
    found = dict(zip(head, line, strict=True))
    assert found["method"] == "a & b_c"
    assert (float(found["Rank-5"]), float(found["Rank-5 deviation"])) == pytest.approx((60, 2))
    assert (found["trials"], found["runs"], float(found["chance mAP"])) == ("10", "1", 20)
