"""Images as tensors: at the size asked for, of any depth, and a bad file named."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from data.loading.depth import has_deep_images
from data.loading.images import load_image
from data.readers.folder import Folder
from parsing.images import UnreadableImageError, read_image

COLOURS = {"a.png": (250, 10, 20), "deep/b.png": (5, 200, 100), "c.png": (0, 0, 255)}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, colour in COLOURS.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (13, 29), colour).save(tmp_path / name)
    return tmp_path


@pytest.mark.parametrize("name", COLOURS)
def test_an_image_has_three_channels_in_the_order_of_rgb(root: Path, name: str) -> None:
    image = load_image(root / name, (16, 8))
    assert image.shape == (3, 16, 8)
    assert image.dtype == torch.uint8
    assert [int(v) for v in image[:, 3, 5]] == list(COLOURS[name])


def test_height_comes_before_width_and_pixels_keep_their_place(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 10, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "x.png")
    assert np.array_equal(load_image(tmp_path / "x.png", (20, 10)).permute(1, 2, 0).numpy(), pixels)
    doubled = load_image(tmp_path / "x.png", (40, 20))
    assert doubled.shape == (3, 40, 20)
    shrunk = doubled.unflatten(2, (10, 2)).unflatten(1, (20, 2)).float().mean((2, 4)).permute(1, 2, 0).numpy()
    assert np.corrcoef(shrunk.ravel(), pixels.ravel())[0, 1] > 0.9


@pytest.mark.parametrize("content", [None, b"", b"\xff\xd8\xff\xe0 no picture"])
def test_an_unreadable_image_is_named(root: Path, content: bytes | None) -> None:
    if content is not None:
        (root / "bad.jpg").write_bytes(content)
    with pytest.raises(UnreadableImageError, match=r"bad\.jpg"):
        load_image(root / "bad.jpg", (16, 8))


def test_sixteen_bits_are_loaded_as_they_are_parsed(tmp_path: Path) -> None:
    values = (29315 + 10 * np.arange(200).reshape(20, 10)).astype(np.uint16)
    Image.fromarray(values).save(tmp_path / "x.png")
    loaded = load_image(tmp_path / "x.png", (20, 10)).permute(1, 2, 0).numpy()
    assert np.array_equal(loaded, read_image(tmp_path / "x.png"))
    assert len(np.unique(loaded)) > 150


@pytest.mark.parametrize("deep", [None, "infrared/anna/c2/1.png", "infrared/ben/c3/2.png"])
def test_the_first_readable_image_of_each_camera_tells_its_depth(tmp_path: Path, deep: str | None) -> None:
    names = [
        f"{light}/{who}/c{c}/{n}.png"
        for light in ("visible", "infrared")
        for who, c in (("anna", 2), ("ben", 3))
        for n in (1, 2)
    ]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((4, 3), np.uint16 if name == deep else np.uint8)).save(tmp_path / name)
    (tmp_path / "infrared/ben/c3/1.png").write_bytes(b"damaged")
    assert has_deep_images(Folder(tmp_path)) == (deep is not None)


def test_without_cameras_every_image_tells_its_depth(tmp_path: Path) -> None:
    for name, kind in (("anna/1.png", np.uint8), ("anna/2.jpg", np.uint8), ("ben/1.png", np.uint16)):
        for light in ("visible", "infrared"):
            (tmp_path / light / name).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.zeros((4, 3), kind)).save(tmp_path / light / name)
    assert {image.camera for image in Folder(tmp_path).images} == {0}
    assert has_deep_images(Folder(tmp_path))
