from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from parsing import InputError, MissingError, label_set
from parsing.importing import read_label_png

LIP = label_set("lip")


def write(path: Path, values: np.ndarray, palette: bool = False) -> Path:
    image = Image.fromarray(values)
    if palette:
        image.putpalette([v for n in range(256) for v in (255 - n, 3, n)])
    image.save(path)
    return path


@pytest.mark.parametrize("palette", [True, False])
def test_palette_and_grey_values_are_the_classes(tmp_path: Path, palette: bool) -> None:
    values = np.random.default_rng(0).integers(0, 20, (30, 20), dtype=np.uint8)
    file = write(tmp_path / "a.png", values, palette)
    assert np.array_equal(read_label_png(file, LIP, (30, 20)), values)
    assert np.array_equal(read_label_png(file, LIP, (15, 10)), values[1::2, 1::2])


def test_few_colours_stored_in_fewer_bits_come_back(tmp_path: Path) -> None:
    values = np.tile(np.array([[0, 1]], np.uint8), (4, 4))
    image = Image.fromarray(values)
    image.putpalette([0, 0, 0, 255, 0, 0])
    image.save(tmp_path / "a.png", bits=1)
    assert np.array_equal(read_label_png(tmp_path / "a.png", LIP, (4, 8)), values)


def test_ignored_pixels_stay_and_unknown_values_are_refused(tmp_path: Path) -> None:
    values = np.array([[0, 255], [19, 5]], np.uint8)
    assert np.array_equal(read_label_png(write(tmp_path / "a.png", values), LIP, (2, 2)), values)
    with pytest.raises(InputError, match=r"a.png has the value 19, but label set 'atr' has the classes 0 to 17"):
        read_label_png(tmp_path / "a.png", label_set("atr"), (2, 2))


def test_colours_other_files_and_no_file_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="mode RGB"):
        read_label_png(write(tmp_path / "rgb.png", np.zeros((4, 4, 3), np.uint8)), LIP, (4, 4))
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(InputError, match="no readable mask"):
        read_label_png(tmp_path / "text.png", LIP, (4, 4))
    with pytest.raises(MissingError, match=r"no mask .*gone.png"):
        read_label_png(tmp_path / "gone.png", LIP, (4, 4))
