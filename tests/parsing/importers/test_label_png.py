"""Label PNGs of every mode that holds numbers or flat colours; what is none is refused in one line."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from parsing.errors import InputError, MissingError
from parsing.importers.label_png import Key, read_label_png

VALUES = np.array([[0, 1, 1], [0, 3, 1]], np.uint8)


def numbers(path: Path) -> np.ndarray:
    png = read_label_png(path)
    return np.array([key.number for key in png.keys])[png.pixels]


@pytest.mark.parametrize("mode", ["L", "P", "I;16", "LA"])
def test_numbers_come_back_from_every_mode(tmp_path: Path, mode: str) -> None:
    image = Image.fromarray(VALUES.astype(np.uint16) if mode == "I;16" else VALUES)
    if mode == "P":
        image.putpalette([9] * 768)
    image = image if mode in ("P", "I;16") else image.convert(mode)
    image.save(tmp_path / "a.png")
    assert np.array_equal(numbers(tmp_path / "a.png"), VALUES)
    assert read_label_png(tmp_path / "a.png").size == (2, 3)


def test_one_bit_is_zero_and_one(tmp_path: Path) -> None:
    Image.fromarray(VALUES > 0).save(tmp_path / "a.png")
    assert np.array_equal(numbers(tmp_path / "a.png"), VALUES > 0)


@pytest.mark.parametrize("bits", [2, 4])
def test_grey_of_few_bits_is_not_scaled_to_eight(tmp_path: Path, bits: int) -> None:
    """Pillow answers 17 for the number 1 of four bits, and 17 is a class too."""
    rows = b"\0" + bytes([0b00011100]) if bits == 2 else b"\0" + bytes([0x01, 0x30])  # 0 1 3
    header = struct.pack(">IIBBBBB", 3, 1, bits, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    (tmp_path / "a.png").write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks)
    )
    assert numbers(tmp_path / "a.png").tolist() == [[0, 1, 3]]


def test_numbers_above_eight_bits_do_not_wrap_around(tmp_path: Path) -> None:
    Image.fromarray(np.array([[257, 512]], np.uint16)).save(tmp_path / "a.png")
    assert numbers(tmp_path / "a.png").tolist() == [[257, 512]]


def test_a_palette_is_told_with_its_numbers_and_rgb_by_colours_alone(tmp_path: Path) -> None:
    image = Image.fromarray(VALUES)
    image.putpalette([5, 6, 7, 10, 20, 30, 1, 1, 1, 250, 0, 0])
    image.save(tmp_path / "p.png")
    image.convert("RGB").save(tmp_path / "rgb.png")
    assert read_label_png(tmp_path / "p.png").keys == (Key(0, (5, 6, 7)), Key(1, (10, 20, 30)), Key(3, (250, 0, 0)))
    png = read_label_png(tmp_path / "rgb.png")
    assert {key.colour for key in png.keys} == {(5, 6, 7), (10, 20, 30), (250, 0, 0)}
    assert np.array_equal(np.array([key.colour for key in png.keys])[png.pixels], np.array(image.convert("RGB")))


def test_a_mask_is_upright_by_its_own_orientation(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(VALUES).save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(numbers(tmp_path / "a.png"), np.rot90(VALUES, -1))


def test_what_is_no_label_map_is_refused(tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 255, (30, 30, 3), dtype=np.uint8)
    Image.fromarray(picture).save(tmp_path / "photo.png")
    with pytest.raises(InputError, match=r"photo.png has \d+ colours: a picture"):
        read_label_png(tmp_path / "photo.png")
    Image.fromarray(np.dstack([VALUES] * 4)).save(tmp_path / "alpha.png")
    with pytest.raises(InputError, match="see-through"):
        read_label_png(tmp_path / "alpha.png")
    Image.fromarray(picture).convert("CMYK").save(tmp_path / "cmyk.tif")
    with pytest.raises(InputError, match="of mode CMYK"):
        read_label_png(tmp_path / "cmyk.tif")
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(InputError, match="no readable mask"):
        read_label_png(tmp_path / "text.png")
    with pytest.raises(MissingError, match=r"no mask .*gone.png"):
        read_label_png(tmp_path / "gone.png")


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_what_is_stored_as_jpeg_is_refused_whatever_its_name(tmp_path: Path, mode: str) -> None:
    image = Image.fromarray(np.repeat(VALUES, 8, 0)).convert(mode)
    image.save(tmp_path / "jpeg.png", "JPEG")
    image.save(tmp_path / "jpeg2000.png", "JPEG2000")
    image.save(tmp_path / "jpeg.tif", compression="jpeg")
    for file in tmp_path.iterdir():
        with pytest.raises(InputError, match=rf"^{file} is stored as JPEG, .*; save label maps as PNG"):
            read_label_png(file)
    image.save(tmp_path / "a.tif", compression="tiff_lzw")
    image.save(tmp_path / "a.png")
    assert read_label_png(tmp_path / "a.tif").keys == read_label_png(tmp_path / "a.png").keys
