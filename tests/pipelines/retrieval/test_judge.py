"""`cscl score`: features of anybody's method get the figures that `cscl evaluate` gives them."""

import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from cli import main
from cscl.ranking import rank
from data.registry import open_data_set
from parsing.errors import InputError, MissingError
from pipelines.retrieval.evaluate import Evaluation, evaluate
from pipelines.retrieval.features import read_blocks, read_features
from pipelines.retrieval.judge import Judgement, score_features
from pipelines.runs.scores import list_needed_records


@pytest.fixture
def images(figures: Path) -> list[str]:
    return [image.name for image in open_data_set("sysu", figures).images]


def drawn(names: list[str], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((len(names), 7)) * 3


def figures_of(result: Judgement | Evaluation) -> list[float]:
    return [v for r in result.results for v in (*r.figures.values(), *r.deviations.values(), r.chance_map)]


def test_the_stored_embeddings_of_a_run_score_as_the_run(finished: Path, figures: Path) -> None:
    expected = evaluate(finished, root=figures, device="cpu")
    names, rows = read_features([finished / "embeddings.npz"])
    blocks = read_blocks([finished / "embeddings.npz"])
    found = score_features(rows, "sysu", root=figures, names=names, blocks=blocks)
    assert [r.protocol for r in found.results] == [r.protocol for r in expected.results]
    assert figures_of(found) == pytest.approx(figures_of(expected), rel=1e-6)
    assert found.about["distance"] == expected.about["distance"] == "cosine distance of what both images show"
    against = score_features(
        rows, "sysu", root=figures, names=names, blocks=blocks, baseline=finished / "evaluation.json"
    )
    assert against.comparison is not None
    assert all(abs(d.difference) < 1e-6 for d in against.comparison.differences)


def test_lengths_of_features_that_do_not_fit_are_refused(images: list[str], figures: Path, tmp_path: Path) -> None:
    one, other, none = (tmp_path / f"{name}.npz" for name in ("one", "other", "none"))
    rows = drawn(images)
    np.savez(one, names=images, features=rows, blocks=[3, 4])
    np.savez(other, names=images, features=rows, blocks=[4, 3])
    np.savez(none, names=images, features=rows)
    assert (read_blocks([one, one]), read_blocks([none])) == ((3, 4), ())
    for files in ([one, other], [one, none]):
        with pytest.raises(InputError, match="the lengths of one network's features"):
            read_blocks(files)
    np.savez(other, names=images, features=rows, blocks=[3, 3])
    result = CliRunner().invoke(main, ["score", str(other), "--dataset", "sysu", "--root", str(figures)])
    assert (result.exit_code, result.stderr) == (2, "cscl: features of 3 + 3 values do not make up 7\n")


def test_features_without_names_are_refused_where_programs_sort_the_paths_differently(tmp_path: Path) -> None:
    """`sorted(Path.glob())` has anna before anna-2, and `sorted` of the texts after it: `-` comes before `/`."""
    for modality, count in (("visible", 1), ("infrared", 2)):
        for who in ("anna", "anna-2", "ben"):
            (tmp_path / modality / who).mkdir(parents=True)
            for number in range(count if who == "anna" else 1):
                Image.new("RGB", (4, 8)).save(tmp_path / modality / who / f"{number}.png")
    (tmp_path / "test_id.txt").write_text("anna\nanna-2\nben\n")
    paths = sorted(path for path in tmp_path.glob("*/*/*.png"))
    rows = np.stack([np.eye(3)[["anna", "anna-2", "ben"].index(path.parent.name)] for path in paths])
    by_names = score_features(rows, "folder", root=tmp_path, names=[str(path) for path in paths])
    assert by_names.results[0].mAP == 1
    with pytest.raises(InputError, match=r"sort paths such as infrared/anna-2/0\.png and .* differently.* give names"):
        score_features(rows, "folder", root=tmp_path)


def test_figures_are_those_of_each_trial_ranked_by_cosine(figures: Path, images: list[str]) -> None:
    rows = drawn(images)
    data_set = open_data_set("sysu", figures)
    result = score_features(rows, data_set, names=images, protocols=["all-single"])
    (protocol,) = (p for p in data_set.protocols() if p.name == "all-single")
    of = {name: row / np.linalg.norm(row) for name, row in zip(images, rows, strict=True)}
    trials = []
    for trial in protocol.trials:
        query, gallery = (np.stack([of[r.name] for r in side]) for side in (trial.query, trial.gallery))
        one, other = (np.array([r.identity for r in side]) for side in (trial.query, trial.gallery))
        trials.append(rank(1 - query @ gallery.T, one, other, protocol.skip(trial)).mAP)
    assert result.results[0].mAP == pytest.approx(np.mean(trials))


def test_names_may_be_absolute_and_rows_in_any_order_or_without_names_in_sorted_order(
    figures: Path, images: list[str]
) -> None:
    rows = drawn(images)
    expected = figures_of(score_features(rows, "sysu", root=figures, names=images))
    order = np.random.default_rng(1).permutation(len(images))
    paths = [f"/somewhere/else/{images[n]}" for n in order]
    assert figures_of(score_features(5 * rows[order], "sysu", root=figures, names=paths)) == pytest.approx(expected)
    assert figures_of(score_features(rows, "sysu", root=figures)) == expected
    needed = sorted(list_needed_records(open_data_set("sysu", figures).protocols()))
    of_needed = rows[[images.index(name) for name in needed]]
    assert len(needed) < len(images)
    assert figures_of(score_features(of_needed, "sysu", root=figures)) == expected


def write(folder: Path, **arrays: Any) -> Path:
    file = folder / "method.npz"
    np.savez(file, **arrays)
    return file


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda n, f: {"names": n[1:], "features": f[1:]}, ""),
        (lambda n, f: {"names": n[:9], "features": f[:9]}, "images of the protocols have no feature"),
        (lambda n, f: {"names": n[:9], "features": f}, "9 names for 54 features"),
        (lambda n, f: {"features": f[:9]}, "9 features without names; sysu"),
        (
            lambda n, f: {"names": n, "features": f * (np.arange(len(f)) != 3)[:, None]},
            "feature 3 is not finite or all 0",
        ),
        (lambda n, f: {"names": [*n, n[0]], "features": np.concatenate([f, f[1:2]])}, "has two features"),
        (lambda n, f: {"names": np.arange(len(n)), "features": f}, "names are text"),
        (lambda n, f: {"names": n, "scores": f}, "has no array features"),
        (lambda n, f: {"names": n, "features": f[:, 0]}, "features are numbers"),
        (lambda n, f: {"names": n, "features": f[0, 0]}, "features are numbers (N, D), got float64 ()"),
        (lambda n, f: {"names": n, "features": np.array([{}] * len(n), object)}, "is no .npz or .npy"),
    ],
)
def test_files_that_cannot_be_scored_end_with_code_2(
    change: Any, said: str, figures: Path, images: list[str], tmp_path: Path
) -> None:
    file = write(tmp_path, **change(images, drawn(images)))
    result = CliRunner().invoke(main, ["score", str(file), "--dataset", "sysu", "--root", str(figures)])
    assert result.exit_code == (2 if said else 0), result.output
    assert said in result.stderr


def test_nobody_is_advised_to_load_a_pickle(figures: Path, tmp_path: Path) -> None:
    (tmp_path / "features.mat").write_bytes(b"MATLAB 5.0 MAT-file")
    words = ["score", str(tmp_path / "features.mat"), "--dataset", "sysu", "--root", str(figures)]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 2
    assert "is no .npz or .npy of numbers and text; write np.savez" in result.stderr


def test_results_are_compared_and_query_and_gallery_may_be_two_files(
    figures: Path, images: list[str], tmp_path: Path
) -> None:
    rows, files = drawn(images), []
    for part, infrared in (("query", True), ("gallery", False)):
        chosen = [n for n, name in enumerate(images) if (name[:4] in ("cam3", "cam6")) == infrared]
        files.append(str(tmp_path / f"{part}.npz"))
        np.savez(files[-1], names=[images[n] for n in chosen], embeddings=rows[chosen].astype(np.float16))
    np.save(tmp_path / "other.npy", drawn(images, 1))
    common = ["--dataset", "sysu", "--root", str(figures), "--protocol", "all-single", "--protocol", "indoor-single"]
    one, two = tmp_path / "one.json", tmp_path / "two.json"
    first = CliRunner().invoke(main, ["score", *files, *common, "--out", str(one), "--name", "mine"])
    assert first.exit_code == 0, first.output
    assert "sysu (simulated data): mine" in first.stdout
    assert "10 trials, galleries seeded, 7 numbers per image, cosine distance, not re-ranked" in first.stdout
    options = [str(tmp_path / "other.npy"), *common, "--baseline", str(one), "--out", str(two), "--json"]
    second = CliRunner().invoke(main, ["score", *options])
    said = json.loads(second.stdout)
    assert said["about"]["method"] == "other"
    a, b = (json.loads(file.read_text())["results"] for file in (two, one))
    differences = {(d["protocol"], d["measure"]): d["difference"] for d in said["comparison"]["differences"]}
    assert differences["all-single", "mAP"] == pytest.approx(a[0]["mAP"] - b[0]["mAP"])


def test_splits_reranking_and_missing_files_are_checked(figures: Path, images: list[str], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--split 2: sysu has the splits 1 to 1"):
        score_features(drawn(images), "sysu", root=figures, split=2)
    with pytest.raises(InputError, match="--rerank: all-single cannot be re-ranked"):
        score_features(drawn(images), "sysu", root=figures, rerank=True)
    with pytest.raises(InputError, match="--protocol all-double: sysu has all-single"):
        score_features(drawn(images), "sysu", root=figures, protocols=["all-double"])
    with pytest.raises(MissingError, match="no features"):
        read_features([tmp_path / "none.npz"])


def test_a_data_set_without_a_query_is_refused_by_what_is_missing(figures: Path, tmp_path: Path) -> None:
    root = shutil.copytree(figures, tmp_path / "SYSU-MM01")
    for identity in (root / "exp/test_id.txt").read_text().strip().split(","):
        for camera in (3, 6):
            shutil.rmtree(root / f"cam{camera}/{int(identity):04d}", ignore_errors=True)
    names = [image.name for image in open_data_set("sysu", root).images]
    with pytest.raises(InputError, match=r"sysu: all-single has 0 queries and .* `cscl data check --dataset sysu`"):
        score_features(drawn(names), "sysu", root=root, names=names)


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """HITSZ-VCM with two people, a tracklet of twelve frames each in either modality."""
    words, rows = [], []
    for number, (person, modality) in enumerate([(503, 1), (504, 1), (503, 2), (504, 2)]):
        rows.append(f"{modality} {12 * number + 1} {12 * number + 12} {person} {number + 1}")
        folder = tmp_path / "VCM" / f"{person:04d}" / ("ir" if modality == 1 else "rgb") / f"D{number + 1}"
        folder.mkdir(parents=True)
        for frame in range(12):
            (folder / f"{frame}.jpg").touch()
            words.append(f"{person:04d}M{modality}D{number + 1}T1F{frame}.jpg")
    (tmp_path / "VCM/0001/rgb/D1").mkdir(parents=True)
    (tmp_path / "VCM/0001/rgb/D1/1.jpg").touch()
    lists = {"train": ["0001M2D1T1F1.jpg"], "test": words}
    for half, lines in lists.items():
        (tmp_path / f"VCM/{half}_name.txt").write_text("\n".join(lines))
    (tmp_path / "VCM/track_test_info.txt").write_text("\n".join(rows))
    (tmp_path / "VCM/query_IDX.txt").write_text("1 2")
    return tmp_path / "VCM"


def test_tracklets_are_scored_by_features_of_frames_or_of_their_own(video: Path) -> None:
    data_set = open_data_set("hitsz", video)
    tracks = [t for trial in data_set.protocols()[0].trials for t in (*trial.query, *trial.gallery)]
    needed = sorted({image.name for track in tracks for image in track.images})
    rows = dict(zip(needed, drawn(needed), strict=True))
    by_frame = score_features(list(rows.values()), data_set, names=needed)
    assert [r.protocol for r in by_frame.results] == ["infrared-to-visible", "visible-to-infrared"]
    assert (by_frame.results[0].queries, by_frame.results[0].gallery) == (2, 2)
    unit = {name: row / np.linalg.norm(row) for name, row in rows.items()}
    own = [np.mean([unit[image.name] for image in track.images], 0) for track in tracks]
    by_track = score_features(own, data_set, names=[f"/elsewhere/{track.name}" for track in tracks])
    assert figures_of(by_track) == pytest.approx(figures_of(by_frame))
    flipped = score_features([own[n] for n in (1, 0, 2, 3)], data_set, names=[track.name for track in tracks])
    assert figures_of(flipped) != pytest.approx(figures_of(by_frame))
    with pytest.raises(InputError, match="of the protocols have no feature"):
        score_features(own[1:], data_set, names=[track.name for track in tracks[1:]])


def test_a_file_whose_arrays_are_none_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as file:
        file.writestr("features", "no array")
    with pytest.raises(InputError, match="has no array features"):
        read_features([tmp_path / "a.npz"])
