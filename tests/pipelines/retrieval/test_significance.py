"""Two results beside each other: the differences, their paired interval, and what is not comparable."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from parsing.errors import InputError, MissingError
from pipelines.retrieval.significance import MEASURES, Comparison, compare, format_result, read_baseline, read_result
from pipelines.runs.scores import RANKS, PerQuery, Result, average_results

ABOUT: dict[str, Any] = {"seed": 0, "reranking": None}


def result(values: np.ndarray, rule: str = "seeded", prefix: str = "q") -> Result:
    """One protocol whose queries scored `values` (Nq, 3); four queries a person."""
    names = tuple(f"{prefix}{n:04d}" for n in range(len(values)))
    identities = np.arange(len(values)) // 4
    mean = values.mean(0)
    figures = dict.fromkeys(RANKS, float(mean[0]))
    return Result(
        "all-single", rule, 10, len(values), 9, figures, float(mean[1]), float(mean[2]), {}, 0.1, 0.1, False,
        per_query=PerQuery(names, identities, values, np.ones(len(values))),
    )  # fmt: skip


def stored(folder: Path, one: Result, about: dict[str, Any] | None = None) -> Path:
    file = folder / "evaluation.json"
    file.write_text(format_result({"about": about or ABOUT, "results": [one.to_json()]}, [one]))
    return file


def scores(seed: int, people: int = 60) -> np.ndarray:
    return np.random.default_rng(seed).random((4 * people, 3))


def against(folder: Path, mine: np.ndarray, theirs: np.ndarray) -> Comparison:
    return compare([result(mine)], ABOUT, read_baseline(stored(folder, result(theirs))))


def test_a_result_file_gives_back_what_each_query_scored(tmp_path: Path) -> None:
    one = result(scores(0))
    read = read_result(stored(tmp_path, one))
    assert read["about"] == ABOUT
    assert one.per_query is not None
    assert tuple(read["queries"]["all-single"]["names"]) == one.per_query.names
    assert np.array_equal(np.array([read["queries"]["all-single"][m] for m in MEASURES]).T, one.per_query.values)


def test_the_interval_is_that_of_people_drawn_again_for_both_results_together(tmp_path: Path) -> None:
    theirs = scores(1)
    gain = np.repeat(np.random.default_rng(2).normal(0.05, 0.2, (60, 3)), 4, axis=0)  # alike within a person
    found = against(tmp_path, theirs + gain, theirs)
    rng = np.random.default_rng(9)
    for column, difference in enumerate(found.differences):
        assert difference.measure == MEASURES[column]
        assert difference.difference == pytest.approx(gain[:, column].mean())
        means = [gain[::4, column][rng.integers(0, 60, 60)].mean() for _ in range(4000)]
        low, high = np.quantile(means, [0.025, 0.975])
        assert (difference.low, difference.high) == pytest.approx((low, high), abs=0.006)
    # Pairing: the scores vary by far more than the gain, which an interval of two separate means would show.
    assert found.differences[0].high - found.differences[0].low < 0.15


def test_a_constant_gain_is_beyond_chance_and_noise_is_not(tmp_path: Path) -> None:
    theirs = scores(3)
    steady = against(tmp_path, theirs + 0.01, theirs)
    assert all(d.beyond_chance and d.low == pytest.approx(0.01) for d in steady.differences)
    noise = against(tmp_path, theirs + np.repeat([0.2, -0.2] * 30, 4)[:, None], theirs)
    assert all(not d.beyond_chance and d.low < -0.02 < 0.02 < d.high for d in noise.differences)
    assert "0 is inside" in noise.lines()[1]
    same = against(tmp_path, theirs, theirs)
    assert all((d.difference, d.low, d.high) == (0, 0, 0) for d in same.differences)


def test_the_same_comparison_gives_the_same_interval(tmp_path: Path) -> None:
    assert against(tmp_path, scores(6), scores(7)) == against(tmp_path, scores(6), scores(7))


def test_one_person_alone_gives_no_interval_and_nothing_beyond_chance(tmp_path: Path) -> None:
    found = against(tmp_path, scores(0, 1), scores(1, 1))
    assert all(d.low == d.difference == d.high != 0 for d in found.differences)
    assert not any(d.beyond_chance for d in found.differences)
    assert all(line.endswith("no interval: all queries show one person") for line in found.lines()[1:])


def test_what_else_differs_is_said(tmp_path: Path) -> None:
    file = stored(tmp_path, result(scores(0)), {"seed": 1, "reranking": {"k1": 20}})
    found = compare([result(scores(0))], ABOUT, read_baseline(file))
    assert found.differs == ("reranking: None, {'k1': 20}", "seed: 0, 1")
    assert any("differ in seed: 0, 1" in line for line in found.lines())
    assert json.loads(json.dumps(found.to_json()))["differs"] == list(found.differs)


def test_other_galleries_and_people_are_refused_and_other_images_are_said(tmp_path: Path) -> None:
    one = replace(result(scores(0)), trials_hash="1" * 64, images_hash="2" * 64)
    file = stored(tmp_path, one)
    assert compare([one], ABOUT, read_baseline(file)).differs == ()
    said = r"all-single has other galleries, or other people in them; give a result of the same"
    for other in (replace(one, trials_hash="3" * 64), replace(one, gallery=8)):
        with pytest.raises(InputError, match=said):
            compare([other], ABOUT, read_baseline(file))
    other = replace(one, images_hash="3" * 64)
    assert compare([other], ABOUT, read_baseline(file)).differs == ("images: 333333333333..., 222222222222...",)
    other = replace(one, trials_hash="", images_hash="")  # as in results of versions that did not record them
    assert compare([other], ABOUT, read_baseline(file)).differs == (
        "galleries: not stated, 111111111111...", "images: not stated, 222222222222...",
    )  # fmt: skip


def test_what_differs_in_one_protocol_alone_names_it(tmp_path: Path) -> None:
    ours = [result(scores(0)), replace(result(scores(1)), protocol="all-multi", runs=2)]
    theirs = [replace(one, trials=trials, runs=1) for one, trials in zip(ours, (1, 10), strict=True)]
    file = tmp_path / "evaluation.json"
    file.write_text(format_result({"about": {}, "results": [one.to_json() for one in theirs]}, theirs))
    found = compare(ours, {"init": "runs/a"}, read_baseline(file))
    assert found.differs == ("init: runs/a, not stated", "trials of all-single: 10, 1", "runs of all-multi: 2, 1")
    found = compare([replace(one, reranked=True) for one in theirs], {}, read_baseline(file))
    assert found.differs == ("reranked: True, False",)


def test_other_galleries_queries_and_protocols_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="its galleries are drawn by 'official', this result by 'seeded'"):
        compare([result(scores(0))], ABOUT, read_baseline(stored(tmp_path, result(scores(0), "official"))))
    with pytest.raises(InputError, match="all-single has other queries"):
        compare([result(scores(0))], ABOUT, read_baseline(stored(tmp_path, result(scores(0), prefix="x"))))
    file = stored(tmp_path, result(scores(0)))
    file.write_text(file.read_text().replace("all-single", "indoor-multi"))
    with pytest.raises(InputError, match="has no all-single, but indoor-multi"):
        compare([result(scores(0))], ABOUT, read_baseline(file))


@pytest.mark.parametrize("content", ["", "[]", '{"about": {}, "results": []}', "\x00"])
def test_a_file_that_is_no_result_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "evaluation.json").write_text(content)
    with pytest.raises(InputError, match="--baseline"):
        read_baseline(tmp_path / "evaluation.json")
    with pytest.raises(MissingError, match="there is no"):
        read_baseline(tmp_path / "none.json")


def queries(read: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = read["queries"]["all-single"]
    return found


@pytest.mark.parametrize(
    "damage",
    [
        lambda read: queries(read)["mAP"].pop(),
        lambda read: queries(read)["identities"].pop(),
        lambda read: queries(read).update(mAP=[float("nan")] * 240),
        lambda read: queries(read).update(weights=[1.0] * 239),
        lambda read: queries(read).update(weights=[0.0] * 240),
        lambda read: queries(read).update(identities=[10**30] * 240),
        lambda read: queries(read).update(names=list(range(240))),
        lambda read: queries(read).update(names="q" * 240),
        lambda read: read["queries"].update({"all-single": None}),
        lambda read: read["queries"].pop("all-single"),
        lambda read: read.update(queries=[]),
        lambda read: read.update(about=[1]),
        lambda read: read.update(results=None),
        lambda read: read.update(results={"a": 1}),
        lambda read: read["results"][0].pop("protocol"),
    ],
)
def test_a_damaged_result_is_refused_in_one_line(tmp_path: Path, damage: Callable[[dict[str, Any]], Any]) -> None:
    file = stored(tmp_path, result(scores(0)))
    read = json.loads(file.read_text())
    damage(read)
    file.write_text(json.dumps(read))
    with pytest.raises(InputError, match=r"^--baseline .* is damaged: .*; evaluate that run again$"):
        read_baseline(file)


def test_a_result_of_a_version_that_wrote_less_is_compared(tmp_path: Path) -> None:
    file = stored(tmp_path, result(scores(0)))
    read = json.loads(file.read_text())
    del queries(read)["weights"]
    read["results"] = [{"protocol": "all-single", "gallery_rule": "seeded", "trials": 10}]
    file.write_text(json.dumps(read))
    found = compare([result(scores(0))], ABOUT, read_baseline(file))
    assert all(d.difference == 0 for d in found.differences)


def test_the_difference_is_that_of_the_figures_where_queries_count_differently(tmp_path: Path) -> None:
    def over_splits(seed: int) -> Result:
        """Two runs that share half of their people, as two splits of RegDB do."""
        values = scores(seed, 30)
        one, other = (result(values[some]) for some in (slice(0, 80), slice(40, 120)))
        assert other.per_query is not None
        assert one.per_query is not None
        shifted = replace(
            other.per_query,
            names=tuple(f"q{n:04d}" for n in range(40, 120)),
            identities=other.per_query.identities + 10,
        )
        return average_results([one, replace(other, per_query=shifted)])

    mine, theirs = over_splits(0), over_splits(1)
    found = compare([mine], ABOUT, read_baseline(stored(tmp_path, theirs)))
    expected = [getattr(mine, name) - getattr(theirs, name) for name in ("mAP", "mINP")]
    assert [d.difference for d in found.differences] == pytest.approx([mine.cmc[1] - theirs.cmc[1], *expected])
