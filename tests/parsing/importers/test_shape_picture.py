"""Pictures of a body's shape: from a half on a pixel is of the person, photographs are refused."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from parsing.errors import InputError, MissingError
from parsing.importers.shape_picture import read_shape_picture
from parsing.labels import label_set

PERSON = label_set("person")


@pytest.mark.parametrize("ending", ["jpg", "bmp", "png", "webp"])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_grey_from_a_half_on_is_the_person(tmp_path: Path, ending: str, mode: str) -> None:
    grey = np.zeros((40, 24), np.uint8)
    grey[8:32, 8:16], grey[32:, :] = 255, 90
    Image.fromarray(grey).convert(mode).save(tmp_path / f"a.{ending}", quality=95)
    read = read_shape_picture(tmp_path / f"a.{ending}", PERSON)
    found = np.array([key.number for key in read.keys])[read.pixels]
    assert (found != (grey > 127)).mean() < 0.02  # JPEG and WebP blur


def test_what_is_no_shape_is_refused(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 24, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.jpg")
    with pytest.raises(InputError, match=r"a\.jpg has colours: a photograph"):
        read_shape_picture(tmp_path / "a.jpg", PERSON)
    with pytest.raises(InputError, match=r"label set lip has 19 classes; give --labels person"):
        read_shape_picture(tmp_path / "a.jpg", label_set("lip"))
    with pytest.raises(MissingError, match="no mask"):
        read_shape_picture(tmp_path / "none.jpg", PERSON)
    (tmp_path / "b.jpg").write_bytes(b"nothing")
    with pytest.raises(InputError, match="no readable picture"):
        read_shape_picture(tmp_path / "b.jpg", PERSON)


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32])
def test_more_than_eight_bits_are_refused(tmp_path: Path, dtype: type) -> None:
    Image.fromarray(np.array([[0, 300], [40000, 65535]], dtype)).save(tmp_path / "a.tif")
    with pytest.raises(InputError, match=r"^\S*a\.tif has more than 8 bits, .*; save it as grey from 0 to 255"):
        read_shape_picture(tmp_path / "a.tif", PERSON)
