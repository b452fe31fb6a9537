"""Pictures of masks: colours where they belong, whole images, errors that say what is wrong."""

from pathlib import Path

import numpy as np
import pytest
from support.pictures import BLUE, pixels, plain, where

from parsing.errors import InputError
from parsing.labels import IGNORED, LABEL_SETS, label_set
from pipelines.pages.sheets import (
    MaskItem,
    mask_sheet,
    overlay,
    palette,
)

PERSON7 = label_set("person7").classes


@pytest.mark.parametrize("name", LABEL_SETS)
def test_every_class_of_a_label_set_has_a_colour_of_its_own(name: str) -> None:
    classes = LABEL_SETS[name].classes
    assert len(np.unique(palette(classes), axis=0)) == len(classes)


def test_the_largest_label_set_still_has_distinct_colours() -> None:
    classes = ["background", *map(str, range(IGNORED - 2))]
    assert len(np.unique(palette(classes), axis=0)) == len(classes)


def test_a_person7_class_keeps_its_colour_in_every_label_set() -> None:
    known = dict(zip(PERSON7, palette(PERSON7).tolist(), strict=True))
    other = ["background", "tail", "bag", "wing", "head"]
    found = dict(zip(other, palette(other).tolist(), strict=True))
    assert found["bag"] == known["bag"]
    assert found["head"] == known["head"]
    assert found["background"] == [0, 0, 0]


def test_overlay_tints_parts_and_leaves_background_and_ignored_pixels() -> None:
    labels = np.zeros((16, 8), dtype=np.int64)
    labels[4:12] = PERSON7.index("lower")
    labels[14:] = IGNORED
    image = plain()
    shown = overlay(image, labels, PERSON7)
    assert shown.dtype == np.uint8
    assert shown.shape == image.shape
    assert (shown[:4] == image[:4]).all()
    assert (shown[14:] == image[14:]).all()
    lower = palette(PERSON7)[PERSON7.index("lower")].astype(float)
    assert (shown[4] == lower).all()  # the outline is opaque
    inside = shown[6:10].astype(float)
    assert (np.abs(inside - lower) < np.abs(image[6:10] - lower)).all()
    assert (image == plain()).all()


def test_overlay_stretches_a_smaller_mask_to_the_image() -> None:
    labels = np.array([[0, 1], [0, 1]])
    shown = overlay(
        plain(), labels=labels, classes=PERSON7, colours=np.array([[0, 0, 0]] + [[255, 0, 0]] * 7, dtype=np.uint8)
    )
    assert (shown[:, :4] == BLUE).all()
    assert (shown[:, 4] == (255, 0, 0)).all()


@pytest.mark.parametrize(
    ("image", "labels", "message"),
    [
        (plain()[..., 0], np.zeros((16, 8), dtype=np.uint8), r"\(H, W, 3\) uint8"),
        (plain().astype(float), np.zeros((16, 8), dtype=np.uint8), r"\(H, W, 3\) uint8"),
        (plain(), np.full((16, 8), 8), r"classes 0..7 or 255; got \(16, 8\) with \[8\]"),
        (plain(), np.zeros(8, dtype=np.uint8), r"must be \(h, w\)"),
    ],
)
def test_overlay_refuses_what_is_no_image_or_no_class(image: np.ndarray, labels: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        overlay(image, labels, PERSON7)


def test_sheet_holds_each_image_beside_its_overlay_and_a_legend(tmp_path: Path) -> None:
    head = np.full((16, 8), PERSON7.index("head"), dtype=np.uint8)
    items = [
        MaskItem(plain((0, 0, 99)), labels=head, modality="visible", caption="first.jpg"),
        MaskItem(plain((0, 99, 0)), head, "infrared"),
        MaskItem(plain((99, 0, 0)), head, "visible"),
    ]
    picture = pixels(mask_sheet(items, tmp_path / "new" / "sheet.png", PERSON7))
    first, second, third = (where(picture, c) for c in ((0, 0, 99), (99, 0, 0), (0, 99, 0)))
    assert len(first) == len(second) == len(third) == 96 * 192
    assert first[:, 1].max() < second[:, 1].min()  # one modality side by side
    assert first[:, 0].max() < third[:, 0].min()  # the next one below
    y, x = first[0]
    tint = overlay(plain((0, 0, 99)), head, PERSON7)[8, 4]
    assert (picture[y + 50, x + 150] == tint).all()
    legend = picture[third[:, 0].max() :]
    assert all(len(where(legend, colour)) > 100 for colour in palette(PERSON7)[1:])


def test_the_truth_stands_between_image_and_mask(tmp_path: Path) -> None:
    head, feet = (np.full((16, 8), PERSON7.index(part), np.uint8) for part in ("head", "feet"))
    item = MaskItem(plain(), labels=feet, modality="grey", truth=head)
    picture = pixels(mask_sheet([item], tmp_path / "sheet.png", PERSON7, height=144))
    y, x = where(picture, BLUE)[0]
    step = 72 + 2
    for place, labels in ((1, head), (2, feet)):
        assert (picture[y + 40, x + place * step + 20] == overlay(plain(), labels, PERSON7)[8, 4]).all()
    assert len(where(picture, BLUE)) == 144 * 72


def test_long_legends_wrap_and_nothing_is_cut_off(tmp_path: Path) -> None:
    classes = label_set("goliath").classes
    item = MaskItem(
        plain(),
        labels=np.zeros((4, 4), dtype=np.uint8),
        modality="visible",
        caption="a/very/long/path/" * 9 + "0001.jpg",
    )
    picture = pixels(mask_sheet([item], tmp_path / "sheet.png", classes))
    assert all(len(where(picture, colour)) > 100 for colour in palette(classes)[1:])
    assert (picture[:, -1] == 255).all()


def test_pictures_of_nothing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="at least one image"):
        mask_sheet([], tmp_path / "a.png", PERSON7)
    assert not list(tmp_path.iterdir())


def test_probabilities_tint_by_as_much_as_they_say() -> None:
    classes = ("background", "head", "feet")
    shares = np.zeros((3, 4, 2))
    shares[0], shares[1, :2], shares[2, 2:] = [[1, 0]] * 4, [[0, 1]] * 2, [[0, 1]] * 2
    shown = overlay(plain(height=64, width=32), shares, classes).astype(int)
    assert (shown[:, 0] == BLUE).all()
    head, feet = palette(classes)[1:].astype(int)
    for row, colour in ((4, head), (60, feet)):
        assert np.abs(shown[row, -1] - (0.25 * np.array(BLUE) + 0.75 * colour)).max() <= 1
    with pytest.raises(InputError, match="labels must be"):
        overlay(plain(), shares, ("background", "head"))


def test_a_picture_that_a_full_disk_does_not_take_leaves_nothing_under_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space"):
        mask_sheet([MaskItem(plain(), np.zeros((16, 8), np.uint8), "a")], tmp_path / "x.png", PERSON7)
    assert not list(tmp_path.iterdir())


def test_images_keep_their_shape_without_bars_beside_them(tmp_path: Path) -> None:
    nothing = np.zeros((4, 4), np.uint8)
    items = [
        MaskItem(plain(height=30, width=9), nothing, "visible"),
        MaskItem(plain(height=30, width=15), nothing, "a"),
    ]
    picture = pixels(mask_sheet(items, tmp_path / "sheet.png", PERSON7))
    narrow = where(picture, BLUE)
    first = narrow[narrow[:, 0] < 34 + 12 + 192]
    assert len(first) == pytest.approx(2 * 192 * 192 * 9 / 30, rel=0.02)
    grey = (picture[..., 0] == picture[..., 1]) & (picture[..., 0] > 200) & (picture[..., 0] < 250)
    assert grey[60:200].sum() == 0, "the place that an image leaves free is white"
