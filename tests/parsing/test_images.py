"""Reading images: every mode and depth comes out as upright RGB; what is no picture is refused with its reason."""

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from parsing.images import UnreadableImageError, image_suffixes, is_deep, orientation, read_image, turn_array

RAMP = np.random.default_rng(0).integers(0, 255, (12, 7, 3), dtype=np.uint8)


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def test_a_colour_png_comes_back_as_it_was(tmp_path: Path) -> None:
    Image.fromarray(RAMP).save(tmp_path / "a.png")
    assert np.array_equal(read_image(tmp_path / "a.png"), RAMP)


def test_grey_is_repeated_over_the_channels(tmp_path: Path) -> None:
    Image.fromarray(RAMP[..., 0]).save(tmp_path / "a.png")
    assert np.array_equal(read_image(tmp_path / "a.png"), np.repeat(RAMP[..., :1], 3, axis=2))


@pytest.mark.parametrize("kind", ["png", "big-endian tif", "float tif", "Celsius", "share"])
def test_more_than_eight_bits_are_stretched_between_two_percentiles(tmp_path: Path, kind: str) -> None:
    band = 29315 + 1500 * np.arange(64 * 32).reshape(64, 32) / (64 * 32 - 1)  # a thermal camera's narrow band
    band[3, 4], band[5, 6] = 0, 65535  # a dead and a hot pixel
    values = {
        "png": band.astype(np.uint16),
        "big-endian tif": band.astype(">u2"),
        "float tif": band.astype(np.float32),
        "Celsius": (band / 100 - 273).astype(np.float32),
        "share": (band / 65535).astype(np.float32),
    }[kind]
    path = tmp_path / ("a.png" if kind == "png" else "a.tif")
    Image.fromarray(values).save(path)
    read = read_image(path)
    assert (read.shape, read.dtype) == ((64, 32, 3), np.dtype("uint8"))
    assert is_deep(path)
    assert len(np.unique(read)) > 250
    low, high = np.percentile(band, (0.5, 99.5))
    assert np.abs(read[..., 0] - ((band - low) / (high - low) * 255).clip(0, 255)).max() <= 1


def test_an_image_of_one_value_and_one_of_no_numbers_are_black(tmp_path: Path) -> None:
    for name, value in (("a.tif", 36.5), ("b.tif", np.nan)):
        Image.fromarray(np.full((4, 3), value, np.float32)).save(tmp_path / name)
        assert not read_image(tmp_path / name).any()


def test_pixels_without_a_number_do_not_change_the_others(tmp_path: Path) -> None:
    values = np.linspace(20, 38, 64 * 32, dtype=np.float32).reshape(64, 32)
    values[0] = np.nan
    Image.fromarray(values).save(tmp_path / "a.tif")
    read = read_image(tmp_path / "a.tif")[..., 0]
    assert not read[0].any()
    assert len(np.unique(read[1:])) > 250


def test_sixteen_bits_that_hold_eight_stay_as_they_are(tmp_path: Path) -> None:
    Image.fromarray(RAMP[..., 0].astype(np.uint16)).save(tmp_path / "a.png")
    Image.fromarray(RAMP[..., 0]).save(tmp_path / "b.png")
    assert [is_deep(tmp_path / name) for name in ("a.png", "b.png")] == [True, False]
    assert np.array_equal(read_image(tmp_path / "a.png")[..., 0], RAMP[..., 0])


def test_a_palette_is_looked_up(tmp_path: Path) -> None:
    image = Image.fromarray(np.arange(84, dtype=np.uint8).reshape(12, 7) % 3, "P")
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    image.save(tmp_path / "a.png", transparency=b"\x00\xff\x80")
    read = read_image(tmp_path / "a.png")
    assert read[0, :3].tolist() == [[255, 0, 0], [0, 255, 0], [0, 0, 255]]


def test_a_cmyk_jpeg_is_converted(tmp_path: Path) -> None:
    Image.new("CMYK", (7, 12), (0, 255, 255, 0)).save(tmp_path / "a.jpg")
    red, green, blue = read_image(tmp_path / "a.jpg")[6, 3].tolist()
    assert red > 200
    assert max(green, blue) < 60


def test_an_exif_turned_jpeg_is_put_upright(tmp_path: Path) -> None:
    image = Image.new("RGB", (20, 10))
    image.paste((255, 255, 255), (0, 0, 10, 10))  # left half white
    exif = Image.Exif()
    exif[0x0112] = 6  # turn a quarter clockwise to show
    image.save(tmp_path / "a.jpg", exif=exif)
    read = read_image(tmp_path / "a.jpg")
    assert read.shape == (20, 10, 3)
    assert np.min(read[:8]) > 200
    assert np.max(read[12:]) < 60


def test_transparency_is_dropped(tmp_path: Path) -> None:
    alpha = np.full((12, 7, 1), 0, np.uint8)
    Image.fromarray(np.concatenate([RAMP, alpha], 2)).save(tmp_path / "a.png")
    assert np.array_equal(read_image(tmp_path / "a.png"), RAMP)


def test_a_file_that_is_no_picture_is_refused_by_name(tmp_path: Path) -> None:
    for name, content in {"empty.jpg": b"", "text.jpg": b"no picture\n" * 50, "page.png": b"<html></html>"}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UnreadableImageError, match=name):
            read_image(tmp_path / name)
    with pytest.raises(UnreadableImageError, match=r"none\.jpg: no such file"):
        read_image(tmp_path / "none.jpg")
    (tmp_path / "folder.jpg").mkdir()
    with pytest.raises(UnreadableImageError, match=r"folder\.jpg"):
        read_image(tmp_path / "folder.jpg")


@pytest.mark.parametrize("ending", ["jpg", "png", "bmp"])
def test_a_truncated_picture_is_refused(tmp_path: Path, ending: str) -> None:
    whole = tmp_path / f"whole.{ending}"
    Image.fromarray(RAMP.repeat(8, 0).repeat(8, 1)).save(whole)
    content = whole.read_bytes()
    cut = tmp_path / f"cut.{ending}"
    for share in (0.02, 0.3, 0.7):
        cut.write_bytes(content[: int(share * len(content))])
        with pytest.raises(UnreadableImageError, match="cut"):
            read_image(cut)


def test_a_header_that_claims_a_huge_picture_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    (tmp_path / "bomb.png").write_bytes(content)
    with pytest.raises(UnreadableImageError, match=r"bomb\.png.*pixels"):
        read_image(tmp_path / "bomb.png")
    smaller = content.replace(header, struct.pack(">IIBBBBB", 12000, 12000, 8, 2, 0, 0, 0))
    (tmp_path / "large.png").write_bytes(smaller)
    with pytest.raises(UnreadableImageError, match=r"large\.png"):
        read_image(tmp_path / "large.png")


@pytest.mark.parametrize("ending", ["jpg", "png", "bmp"])
def test_damaged_bytes_give_a_picture_or_our_error_and_nothing_else(tmp_path: Path, ending: str) -> None:
    whole = tmp_path / f"whole.{ending}"
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = Image.fromarray(RAMP.repeat(3, 0))
    if ending == "bmp":
        picture.save(whole)
    else:
        picture.save(whole, exif=exif)
    content = np.frombuffer(whole.read_bytes(), np.uint8)
    rng = np.random.default_rng(0)
    for _ in range(150):
        damaged = content.copy()
        places = rng.integers(2, min(len(content), 200), rng.integers(1, 6))
        damaged[places] = rng.integers(0, 256, len(places))
        whole.write_bytes(damaged.tobytes())
        try:
            read = read_image(whole)
        except UnreadableImageError:
            continue
        assert read.dtype == np.uint8
        assert read.ndim == 3
        assert min(read.shape[:2]) > 0


@pytest.mark.parametrize("ending", [".tif", ".tiff", ".webp", ".gif", ".jp2", ".png", ".jpg", ".bmp"])
def test_every_ending_that_is_listed_is_read(tmp_path: Path, ending: str) -> None:
    assert ending in image_suffixes()
    Image.new("RGB", (6, 8), (200, 40, 40)).save(tmp_path / f"x{ending}")
    assert read_image(tmp_path / f"x{ending}").shape == (8, 6, 3)


def test_what_pillow_names_but_does_not_decode_is_not_listed() -> None:
    assert not image_suffixes() & {".h5", ".hdf", ".grib", ".bufr", ".mpg", ".eps", ".pdf", ".txt"}


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize(("ending", "options"), [("png", {}), ("tif", {}), ("tif", {"compression": "tiff_lzw"})])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_orientation_tells_what_reading_does_without_reading(
    tmp_path: Path, turn: int, ending: str, options: dict[str, Any], kind: type
) -> None:
    stored: np.ndarray = np.arange(6, dtype=kind).reshape(2, 3)
    exif = Image.Exif()
    exif[0x0112] = turn
    path = tmp_path / f"a.{ending}"
    Image.fromarray(stored).save(path, exif=exif, **options)
    assert orientation(path) == ((2, 3), turn)
    assert np.array_equal(turn_array(stored.astype(np.uint8), turn), read_image(path)[..., 0])


def test_an_orientation_that_does_not_exist_is_none(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 77
    Image.new("L", (3, 2)).save(tmp_path / "a.png", exif=exif)
    assert orientation(tmp_path / "a.png") == ((2, 3), 1)
    (tmp_path / "a.png").write_text("no picture")
    for name in ("a.png", "gone.png"):
        with pytest.raises(UnreadableImageError):
            orientation(tmp_path / name)
