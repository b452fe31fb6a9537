"""What numbers and colours of foreign label PNGs mean, and that no doubt about it passes in silence."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from parsing import InputError, label_set
from parsing.importers.label_png import read_label_png
from parsing.importers.label_values import Reading, parse_values, read_labels, understand
from parsing.importers.palettes import Palette, list_palettes, voc_colours
from parsing.labels import LabelSet

LIP, STREET = label_set("lip"), label_set("person7")
VOC = np.array(voc_colours(), np.uint8).reshape(256, 3)
VALUES = np.random.default_rng(0).integers(0, 20, (30, 20), dtype=np.uint8)


def write(path: Path, values: np.ndarray, palette: np.ndarray | None = None) -> Path:
    image = Image.fromarray(values)
    if palette is not None:
        image.putpalette(palette.astype(np.uint8).ravel().tolist())
    image.save(path)
    return path


def reordered(values: np.ndarray, palette: np.ndarray, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """The same picture with its palette in another order, as an editor writes it."""
    order = np.random.default_rng(seed).permutation(256)
    moved = np.empty_like(palette)
    moved[order] = palette
    return order[values].astype(np.uint8), moved


def understood(files: Sequence[Path], labels: LabelSet = LIP, **options: object) -> tuple[Reading, list[np.ndarray]]:
    pngs = [read_label_png(file) for file in files]
    where = {key: file for file, png in zip(files, pngs, strict=True) for key in png.keys}
    reading = understand(where, labels, **options)  # type: ignore[arg-type]
    return reading, [reading.of(png) for png in pngs]


@pytest.mark.parametrize("palette", [None, VOC, np.arange(256)[:, None].repeat(3, 1)], ids=["grey", "voc", "ramp"])
def test_numbers_are_the_classes_without_a_word(tmp_path: Path, palette: np.ndarray | None) -> None:
    values = VALUES.copy()
    values[0, 0] = 255
    assert read_labels(write(tmp_path / "a.png", values, palette), LIP)[1] == ()
    assert np.array_equal(read_labels(tmp_path / "a.png", LIP)[0], values)


def test_a_reordered_known_palette_is_read_by_colour_and_said(tmp_path: Path) -> None:
    values = VALUES.copy()
    values[0, 0] = 255
    for name, palette in (("voc", VOC), ("ramp", np.arange(256)[:, None].repeat(3, 1))):
        here = VALUES if name == "ramp" else values  # white may be a class: it is ignored by its number alone
        file = write(tmp_path / f"{name}.png", *reordered(here, palette))
        reading, (found,) = understood([file])
        assert np.array_equal(found, here)
        assert "classes read by colour" in reading.notes[0]
        assert reading.by != "numbers"
        as_numbers, (other,) = understood([write(tmp_path / "b.png", here, VOC)], numbers=True)
        assert np.array_equal(other, here)
        assert as_numbers.notes == ()


def test_rgb_masks_in_a_known_palette_are_read_by_colour(tmp_path: Path) -> None:
    for palette in list_palettes(LIP):
        colours = np.zeros((256, 3), np.uint8)
        for colour, number in palette.classes.items():
            colours[number] = colour
        reading, (found,) = understood([write(tmp_path / "a.png", colours[VALUES])])
        assert np.array_equal(found, VALUES)
        assert reading.notes == (f"colours of RGB masks (the first is {tmp_path / 'a.png'}) read as {palette.name}",)
        assert reading.by == palette.name
    with pytest.raises(InputError, match=r"has the colour \(5, 85, 200\), which is of no palette known for lip"):
        read_labels(write(tmp_path / "a.png", np.full((2, 2, 3), (5, 85, 200), np.uint8)), LIP)
    with pytest.raises(InputError, match="of no palette known for person7"):  # VOC's colour of class 19
        read_labels(write(tmp_path / "a.png", np.full((2, 2, 3), VOC[19], np.uint8)), STREET)


def test_numbers_of_one_colour_are_its_class_in_a_label_map_and_else_their_own(tmp_path: Path) -> None:
    palette = np.zeros((256, 3), np.uint8)
    palette[5:8] = (255, 0, 0), (255, 0, 0), (0, 255, 0)
    file = write(tmp_path / "a.png", np.array([[0, 5, 6, 7]], np.uint8), palette)
    given = Palette("labelmap.txt", {(0, 0, 0): 0, (255, 0, 0): 1, (0, 255, 0): 2})
    reading, (found,) = understood([file], given=given)
    assert found.tolist() == [[0, 1, 1, 2]]
    assert reading.by == "labelmap.txt"
    with pytest.raises(InputError, match=r"has the colour \(0, 255, 0\), which is of no class of lip in labelmap"):
        understood([file], given=Palette("labelmap.txt", {(0, 0, 0): 0, (255, 0, 0): 1}))
    assert understood([file])[1][0].tolist() == [[0, 5, 6, 7]]


def test_all_files_together_decide_what_palette_it_is(tmp_path: Path) -> None:
    """Green alone is class 2 of VOC and 12 of LIP's tools."""
    lip = list_palettes(LIP)[1]
    colours = np.array(list(lip.classes), np.uint8)
    skirt = np.array([[0, 12]], np.uint8)
    files = [write(tmp_path / "a.png", colours[skirt]), write(tmp_path / "b.png", colours[VALUES])]
    assert np.array_equal(understood(files)[1][0], skirt)


def test_an_unknown_palette_is_taken_by_number_with_a_note(tmp_path: Path) -> None:
    palette = np.random.default_rng(3).integers(1, 255, (256, 3))
    reading, (found,) = understood([write(tmp_path / "a.png", VALUES, palette)])
    assert np.array_equal(found, VALUES)
    assert "are of no palette known for lip: its numbers are taken as classes" in reading.notes[0]
    assert understood([tmp_path / "a.png"], numbers=True)[0].notes == ()


def test_black_and_white_are_no_colours_unless_white_is_the_background(tmp_path: Path) -> None:
    values = np.tile(np.array([[0, 1]], np.uint8), (4, 4))
    black_first, white_first = np.array([[0] * 3, [255] * 3]), np.array([[255] * 3, [0] * 3])
    reading, (found,) = understood([write(tmp_path / "a.png", values, black_first)])
    assert np.array_equal(found, values)
    assert reading.notes == ()
    reading, _ = understood([write(tmp_path / "b.png", values, white_first)])
    assert "0 (255, 255, 255) as background" in reading.notes[0]


def test_unknown_palettes_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    palette = np.random.default_rng(3).integers(1, 255, (256, 3))
    order = np.array([1, 0, *range(2, 256)])
    files = [write(tmp_path / "a.png", VALUES, palette), write(tmp_path / "b.png", VALUES, palette[order])]
    with pytest.raises(InputError, match=r"is .* in the palette of .*a.png and .* in that of .*b.png.*--numbers"):
        understood(files)
    assert np.array_equal(understood(files, numbers=True)[1][1], VALUES)


def test_few_colours_stored_in_fewer_bits_come_back(tmp_path: Path) -> None:
    values = np.tile(np.array([[0, 1]], np.uint8), (4, 4))
    image = Image.fromarray(values)
    image.putpalette([0, 0, 0, 128, 0, 0])
    image.save(tmp_path / "a.png", bits=1)
    assert np.array_equal(read_labels(tmp_path / "a.png", LIP)[0], values)


def test_grey_repeated_over_three_channels_is_its_number(tmp_path: Path) -> None:
    values = np.array([[0, 255], [19, 5]], np.uint8)
    assert np.array_equal(read_labels(write(tmp_path / "a.png", np.dstack([values] * 3)), LIP)[0], values)


def test_numbers_that_are_no_class_are_refused(tmp_path: Path) -> None:
    values = np.array([[0, 255], [19, 5]], np.uint8)
    with pytest.raises(
        InputError, match=r"a.png has the value 19, but label set 'atr' has the classes 0 to 17; .*19=hat"
    ):
        read_labels(write(tmp_path / "a.png", values), label_set("atr"))
    Image.fromarray(np.array([[257, 0]], np.uint16)).save(tmp_path / "b.png")
    with pytest.raises(InputError, match="has the value 257"):
        read_labels(tmp_path / "b.png", LIP)


def test_values_say_which_class_a_number_is(tmp_path: Path) -> None:
    own = LabelSet("own", ("background", "person"))
    said = parse_values(["128-255=person", "1-127=0", "300=ignored"], own)
    file = write(tmp_path / "a.png", np.array([[0, 100, 128, 255]], np.uint8))
    assert understood([file], own, values=said)[1][0].tolist() == [[0, 0, 1, 1]]
    assert parse_values([], own) is None
    inverted = parse_values(["0=1", "255=0"], own)
    assert understood([write(file, np.array([[0, 255]], np.uint8))], own, values=inverted)[1][0].tolist() == [[1, 0]]


@pytest.mark.parametrize(
    ("texts", "complaint"),
    [
        (["255"], "is not NUMBER=CLASS, as 255=hat"),
        (["red=1"], "is not NUMBER=CLASS"),
        (["255=dog"], "has no class 'dog'"),
        (["255=20"], "classes 0 to 19"),
        (["9-3=1"], "said twice, or the range is empty"),
        (["0-9=1", "9=2"], "said twice"),
    ],
)
def test_values_that_say_nothing_are_refused(texts: list[str], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        parse_values(texts, LIP)
