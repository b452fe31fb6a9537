"""Pictures of rankings: frames for right and wrong images, whole names, the same as PNG, PDF and SVG."""

import re
from pathlib import Path

import numpy as np
import pytest
from support.pictures import BLUE, Colour, pixels, plain, where

from parsing.errors import InputError
from pipelines.pages.canvas import wrap_text
from pipelines.pages.rankings import RIGHT, UNKNOWN, WRONG, RankedImage, RankedRow, draw_ranked_gallery
from pipelines.pages.sheets import palette
from pipelines.pages.style import FORMATS, FigureFormat


def frames(picture: np.ndarray, colour: Colour) -> np.ndarray:
    """Left edges of the frames of this colour: columns of it that are as tall as an image."""
    tall = (picture == colour).all(axis=-1).sum(axis=0) > 160
    return np.flatnonzero(tall & ~np.roll(tall, 1))[::2]


def test_ranking_frames_right_wrong_and_unknown_images(tmp_path: Path) -> None:
    gallery = [
        RankedImage(plain(), 7, 1),
        RankedImage(plain(), 3, 2),
        RankedImage(plain(), identity=-1, camera=4, name="who.jpg"),
        RankedImage(plain(), 7, 5),
    ]
    picture = pixels(
        draw_ranked_gallery(
            [RankedRow(RankedImage(plain(), identity=7, camera=3, name="query.jpg"), gallery)], tmp_path / "r.png"
        )
    )
    right, wrong, unknown = (frames(picture, colour) for colour in (RIGHT, WRONG, UNKNOWN))
    assert len(right) == 2
    assert len(wrong) == len(unknown) == 1
    assert right[0] < wrong[0] < unknown[0] < right[1]
    assert len(np.unique(np.diff([right[0], wrong[0], unknown[0], right[1]]))) == 1
    query = where(picture, BLUE)
    assert query[:, 1].min() < right[0]


def test_ranking_shows_no_more_than_its_top_and_rows_below_each_other(tmp_path: Path) -> None:
    row = RankedRow(RankedImage(plain(), 1), [RankedImage(plain(), 1)] + [RankedImage(plain(), 2)] * 14)
    narrow = pixels(draw_ranked_gallery([row], tmp_path / "a.png", top=6))
    assert len(frames(narrow, WRONG)) == 5
    full = pixels(draw_ranked_gallery([row, row], tmp_path / "b.png"))
    assert len(frames(full, WRONG)) == 9
    assert full.shape[0] > narrow.shape[0] + 160


def test_nothing_is_coloured_if_no_query_is_known(tmp_path: Path) -> None:
    row = RankedRow(RankedImage(plain(), -1), [RankedImage(plain(), -1), RankedImage(plain(), 4)])
    picture = pixels(draw_ranked_gallery([row], tmp_path / "a.png"))
    assert not len(frames(picture, UNKNOWN))
    assert not any(len(where(picture, colour)) for colour in (RIGHT, WRONG))
    known = RankedRow(RankedImage(plain(), 4), row.gallery)
    beside = pixels(draw_ranked_gallery([row, known], tmp_path / "b.png"))
    assert len(frames(beside[: picture.shape[0] - 10], UNKNOWN)) == 2
    assert len(where(beside, RIGHT)) > 0
    assert not len(where(beside, WRONG)), "the legend names only what is shown"


def test_a_ranking_with_attention_shows_it_below_each_image_with_a_legend(tmp_path: Path) -> None:
    shares = np.zeros((2, 2, 1))
    shares[1] = 1
    seen = RankedImage(plain(height=168, width=84), similarity=0.5, attention=shares, name="a.jpg")
    unseen = RankedImage(plain(height=168, width=84))
    without = pixels(draw_ranked_gallery([RankedRow(unseen, [unseen])], tmp_path / "a.png"))
    found = pixels(draw_ranked_gallery([RankedRow(unseen, [seen, unseen])], tmp_path / "b.png", parts=("head",)))
    assert found.shape[0] > without.shape[0] + 168
    head = palette(("background", "head"))[1].astype(int)
    tinted = np.round(0.25 * np.array(BLUE) + 0.75 * head).astype(np.uint8)
    assert len(where(found, tinted)) == 84 * 168
    assert len(where(found, palette(("background", "head"))[1])) > 100  # the legend
    assert len(where(found, BLUE)) == 3 * 84 * 168


def test_rankings_of_nothing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="at least one query"):
        draw_ranked_gallery([], tmp_path / "a.png")
    with pytest.raises(InputError, match="at least one query"):
        draw_ranked_gallery([RankedRow(RankedImage(plain()), [])], tmp_path / "a.png")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("text", ["cam1/0011/0007.jpg", "x" * 60, "a b", "", "a very_long-name/with/every kind.jpg"])
def test_names_are_wrapped_whole(text: str) -> None:
    lines = wrap_text(text, 60, 12)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    assert wrap_text("cam1/0011/0007.jpg", 84, 12) == ["cam1/0011/", "0007.jpg"]


def test_names_stand_whole_below_the_images_and_make_room_for_themselves(tmp_path: Path) -> None:
    def row(name: str) -> RankedRow:
        return RankedRow(RankedImage(plain(), 1, name=name), [RankedImage(plain(), 1, name=name)])

    short = pixels(draw_ranked_gallery([row("a.jpg")], tmp_path / "a.png"))
    long = pixels(draw_ranked_gallery([row("folder/" * 8 + "a.jpg")], tmp_path / "b.png", figure_format="svg"))
    assert long.shape[0] >= short.shape[0] + 15 * 4


@pytest.mark.parametrize("kind", FORMATS[1:])
def test_a_ranking_as_pdf_or_svg_stands_beside_the_png_and_is_the_same_again(
    tmp_path: Path, kind: FigureFormat
) -> None:
    rows = [RankedRow(RankedImage(plain(), 1, name="q$x$.jpg"), [RankedImage(plain(), 1), RankedImage(plain(), 2)])]
    drawn = []
    for name in ("a", "b"):
        png = draw_ranked_gallery(rows, tmp_path / f"{name}.png", figure_format=kind)
        drawn.append(png.with_suffix(f".{kind}").read_bytes())
    assert drawn[0] == drawn[1]
    if kind == "pdf":
        assert drawn[0].startswith(b"%PDF-")
        box = re.search(rb"/MediaBox *\[ *0 0 ([0-9.]+)", drawn[0])
    else:
        assert drawn[0].count(b"<image") == 3
        assert b"#005ab5" in drawn[0], "the frame of the right image"
        assert b"#dc3220" in drawn[0], "the frame of the wrong image"
        box = re.search(rb'<svg [^>]*width="([0-9.]+)pt"', drawn[0])
    assert box
    assert float(box[1]) <= 72 * 7.17, "no wider than a page"
