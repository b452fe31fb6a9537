"""Scoring a parser on photographs: each spectrum and width, a right answer scores 1, the sheet shows every spectrum."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from support.limits import NEVER_WRITTEN

from cli import main
from data.photographs.crops import SPECTRA, cut_plain_crop, load, misplace_box
from data.photographs.library import Photos
from parsing.errors import InputError
from parsing.labels import IGNORED, label_set
from parsing.parsers.registry import ParserSpec, find_parser
from pipelines.masks.score import Tally, iou
from pipelines.parsers.score import score_parser


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five photographs to score of people in stripes."""
    root = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for name in ("photos", "parts"):
        (root / name).mkdir()
    for number in range(6):
        labels = np.zeros((96, 64), np.uint8)
        for part, rows in enumerate(np.array_split(np.arange(8, 90), 7), start=1):
            labels[rows, 20:44] = part
        image = rng.integers(0, 256, (8, 3))[labels] + rng.normal(0, 12, (96, 64, 3))
        Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(root / "photos" / f"p{number}.jpg")
        Image.fromarray(labels).save(root / "parts" / f"p{number}.png")
    ids = [f"p{n}" for n in range(6)]
    meta = {"parts": list(label_set("person7").classes), "train": ids[:1], "val": ids[1:]}
    (root / "meta.json").write_text(json.dumps(meta))
    return root


def test_every_spectrum_is_scored_whole_and_at_each_width(photos: Path) -> None:
    scores = score_parser(photos, ParserSpec(), size=(64, 32), widths=(16, 8))
    assert list(scores.iou) == [*SPECTRA, *(f"{s} {w}" for w in (16, 8) for s in SPECTRA)]
    assert scores.images == 5
    assert all(0 <= v <= 1 for values in scores.iou.values() for v in values)
    again = score_parser(photos, ParserSpec(), size=(64, 32), widths=(16, 8))
    assert again == scores
    fewer = score_parser(photos, ParserSpec(), size=(64, 32))
    assert all(fewer.iou[s] == scores.iou[s] for s in SPECTRA)  # widths change nothing else


def test_misplaced_boxes_are_scored_beside_the_whole_person(photos: Path) -> None:
    size, errors = (64, 32), (0.1, 0.35)
    scores = score_parser(photos, ParserSpec(), size=size, box_errors=errors)
    conditions = [f"{s} {error} % off" for error in (10, 35) for s in SPECTRA]
    assert list(scores.iou) == [*SPECTRA, *conditions]
    assert scores == score_parser(photos, ParserSpec(), size=size, box_errors=errors)
    fewer = score_parser(photos, ParserSpec(), size=size)
    assert all(fewer.iou[s] == scores.iou[s] for s in SPECTRA)  # errors change nothing else
    parser, tally, library = find_parser(ParserSpec()), Tally(8), Photos(photos)
    for number, name in enumerate(library.val):
        photo = load(library, name, size[0])
        assert photo is not None
        box = misplace_box(photo.box, errors[1], np.random.default_rng((0, number, 4)))
        image, truth = cut_plain_crop(
            photo, size=size, spectrum="colour", rng=np.random.default_rng((0, number, 0)), box=box
        )
        probabilities, _ = parser.parse(parser.prepare(image)[None], [size], size)
        tally.add(truth, probabilities[0].argmax(0).byte().numpy(), 1)
    assert scores.iou["colour 35 % off"] == pytest.approx(tuple(iou(tally.pixels)), abs=2e-3)
    head, *rows, _, legend = scores.lines()[1:]
    assert legend.startswith("off: ")
    assert {len(head), *map(len, rows)} == {len(head)}
    assert not any(line.startswith("off: ") for line in fewer.lines())
    for error in (0, 0.4):
        with pytest.raises(InputError, match=r"a box error is a share"):
            score_parser(photos, ParserSpec(), box_errors=[error])


def test_a_part_is_scored_apart_and_one_without_photographs_is_refused(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no photograph in test"):
        score_parser(photos, ParserSpec(), "test")
    meta = json.loads((photos / "meta.json").read_text())
    for name in ("photos", "parts"):
        (tmp_path / name).symlink_to(photos / name)
    meta["val"], meta["test"] = meta["val"][:2], meta["val"][2:]
    (tmp_path / "meta.json").write_text(json.dumps(meta))
    scores = score_parser(tmp_path, ParserSpec(), "test", size=(64, 32))
    assert (scores.subset, scores.images) == ("test", 3)


def test_a_border_leaves_out_what_lies_near_another_class(photos: Path) -> None:
    size = (64, 32)
    inner, library = ParserSpec(), Photos(photos)
    counted = score_parser(photos, inner, size=size, border=2)
    tally = Tally(8)
    parser = find_parser(inner)
    for number, name in enumerate(library.val):
        photo = load(library, name, size[0])
        assert photo is not None
        image, truth = cut_plain_crop(photo, size=size, spectrum="colour", rng=np.random.default_rng((0, number, 0)))
        probabilities, _ = parser.parse(parser.prepare(image)[None], [size], size)
        kept = truth.copy()
        for row, column in np.ndindex(size):
            near = truth[max(row - 2, 0) : row + 3, max(column - 2, 0) : column + 3]
            kept[row, column] = truth[row, column] if (near == truth[row, column]).all() else IGNORED
        assert 0 < (kept == IGNORED).mean() < 1
        tally.add(kept, probabilities[0].argmax(0).byte().numpy(), 1)
    assert counted.iou["colour"] == pytest.approx(tuple(iou(tally.pixels)), abs=1e-3)  # one image at a time or four
    assert "within 2 of another true class left out" in counted.lines()[0]
    with pytest.raises(InputError, match=r"--border 64: no pixel"):
        score_parser(photos, inner, size=size, border=64)


def test_the_command_prints_json_and_draws_a_sheet(photos: Path, tmp_path: Path) -> None:
    sheet = tmp_path / "sheet.png"
    asked = ["parser", "score", "--photos", str(photos), "--width", "16", "--scheme", "reid4", "--sheet", str(sheet)]
    done = CliRunner().invoke(main, [*asked, "--json"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert set(told["iou"]["colour 16"]) == {"background", "head", "upper", "lower", "feet"}
    assert told["mIoU"]["grey"] == pytest.approx(np.mean(list(told["iou"]["grey"].values())))
    with Image.open(sheet) as picture:
        assert min(picture.size) > 200


def test_what_a_score_does_not_have_is_null_in_json(photos: Path) -> None:
    """Of a single photograph there is no rank correlation; NaN is no JSON."""
    told = score_parser(photos, ParserSpec(), subset="train", size=(64, 32)).to_json()
    assert told["rho"] == dict.fromkeys(SPECTRA)
    json.dumps(told["iou"], allow_nan=False)


def test_a_tally_counts_pixels_together_and_images_apart() -> None:
    truth = np.array([[0, 1], [1, 2]], np.uint8)
    tally = Tally(3)
    assert tally.add(truth, truth, 0.9) == 1
    assert tally.add(truth, np.array([[0, 1], [2, 2]], np.uint8), 0.5) == pytest.approx((1 + 0.5 + 0.5) / 3)
    assert tally.add(truth, np.zeros((2, 2), np.uint8), 0.1) == pytest.approx(0.25 / 3)
    assert tally.pixels.sum() == 12
    assert np.diag(tally.pixels).tolist() == [3, 3, 2]
    assert tally.rho == pytest.approx(1)
    alike = Tally(3)
    alike.add(truth, truth, 0.9)
    assert np.isnan(alike.rho)


@pytest.mark.skipif(not NEVER_WRITTEN.is_dir(), reason="needs a folder that nobody can write to")
def test_scores_are_printed_though_the_sheet_cannot_be_written(photos: Path) -> None:
    asked = ["parser", "score", "--photos", str(photos), "--sheet", str(NEVER_WRITTEN / "sheet.png")]
    done = CliRunner().invoke(main, asked)
    assert done.exit_code == 1
    assert "near-infrared" in done.stdout
    assert done.stderr.splitlines()[-1].startswith("cscl: /proc/sheet.png cannot be written: ")
