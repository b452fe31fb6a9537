"""What pre_process_sysu.py and RegDBData of jiawei151/SGIEL_VIReID do with shapes, in a few lines."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from parsing import MaskCache
from parsing.errors import InputError


def test_folders_of_shapes_list_as_those_of_images(
    make_cache: Callable[..., MaskCache], exported: Callable[..., Path], tmp_path: Path
) -> None:
    cache = make_cache("lip", probs=True)
    for name in cache.names:
        (tmp_path / "SYSU" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "SYSU" / name).touch()
    shapes = exported(cache, "sgiel")
    listed = {
        root: [
            f"{root}/{camera}/{person}/{file}"
            for person in ("0001", "0002")
            for camera in ("cam1", "cam3")
            for file in sorted(os.listdir(root / camera / person))
        ]
        for root in (tmp_path / "SYSU", shapes)
    }
    for image, shape in zip(*listed.values(), strict=True):
        assert image[-19:-1] == shape[-19:-1]
        assert int(shape[-13:-9]) in (1, 2)
    stacked = np.array(
        [np.array(Image.open(shape).resize((144, 288), Image.Resampling.LANCZOS)) for shape in listed[shapes]]
    )
    assert stacked.shape == (len(cache), 288, 144, 3)
    covered = (stacked[..., 0] > stacked.mean()).mean((1, 2))
    assert (covered > 0.1).all()  # below it, the script drops visible images


def test_a_shape_is_the_probability_of_the_body_without_a_bag(
    make_cache: Callable[..., MaskCache], exported: Callable[..., Path]
) -> None:
    masks = np.zeros((1, 16, 8), np.uint8)
    masks[:, :8] = 1
    masks[:, 8:] = 7  # person7: bag
    cache = make_cache("person7", ["Visible/1/v.bmp"], masks, size=(16, 8))
    with Image.open(exported(cache, "sgiel") / "Visible/1/v.bmp") as image:
        shape = np.array(image)
    assert shape.shape == (16, 8, 3)
    assert (shape[:8] == 255).all()
    assert (shape[8:] == 0).all()


@pytest.mark.parametrize("probs", [True, False])
def test_probabilities_are_used_where_there_are_some(
    make_cache: Callable[..., MaskCache], exported: Callable[..., Path], probs: bool
) -> None:
    cache = make_cache("lip", ["a/b.png"], probs=probs)
    grey = np.array(Image.open(exported(cache, "sgiel") / "a/b.png"))[..., 0]
    assert ((grey > 0) & (grey < 255)).any() == probs


@pytest.mark.parametrize("ending", [".tif", ".TIFF", ".webp", ".gif", ".jp2", ".ppm", ".JPEG"])
def test_a_shape_has_the_ending_of_its_image(
    make_cache: Callable[..., MaskCache], exported: Callable[..., Path], ending: str
) -> None:
    masks = np.zeros((1, 16, 8), np.uint8)
    masks[:, :8] = 1
    cache = make_cache("person7", [f"Visible/1/v{ending}"], masks, size=(16, 8))
    with Image.open(exported(cache, "sgiel") / f"Visible/1/v{ending}") as image:
        assert np.abs(np.asarray(image.convert("RGB")) - masks[0, ..., None] * 255.0).max() < 5


@pytest.mark.parametrize("ending", ["", ".psd", ".xbm", ".heic"])
def test_an_ending_that_cannot_be_written_is_refused(
    make_cache: Callable[..., MaskCache], exported: Callable[..., Path], ending: str
) -> None:
    cache = make_cache("person7", [f"Visible/1/v{ending}"], np.ones((1, 16, 8), np.uint8), size=(16, 8))
    with pytest.raises(InputError, match=r"Pillow writes no .*give an ending that it writes, as --path"):
        exported(cache, "sgiel")
