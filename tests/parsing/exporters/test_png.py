from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from parsing import InputError, MaskCache
from parsing.importers.palettes import voc_colours


def test_grey_pngs_hold_the_classes_in_the_data_sets_folders(
    make_cache: Callable[..., MaskCache], exported: Callable[..., Path]
) -> None:
    cache = make_cache("lip")
    out = exported(cache, "png")
    for name in cache.names:
        with Image.open((out / name).with_suffix(".png")) as image:
            assert image.mode == "L"
            assert np.array_equal(np.array(image), cache[name])
    assert sorted(p.suffix for p in out.rglob("*") if p.is_file()) == [".json", *[".png"] * len(cache)]


def test_palette_scheme_and_size_of_the_image(
    make_cache: Callable[..., MaskCache], exported: Callable[..., Path]
) -> None:
    cache = make_cache("lip")
    out = exported(cache, "png", palette=True, scheme="reid4", size="source")
    with Image.open((out / cache.names[0]).with_suffix(".png")) as image:
        assert image.mode == "P"
        assert image.size == (40, 100)
        assert set(np.unique(np.array(image))) == {0, 1, 2, 3, 4}
        assert (image.getpalette() or [])[:12] == list(voc_colours()[:12])


def test_the_palette_is_that_of_pascal_voc() -> None:
    colours = np.array(voc_colours()).reshape(256, 3)
    known = {0: (0, 0, 0), 1: (128, 0, 0), 2: (0, 128, 0), 4: (0, 0, 128), 15: (192, 128, 128), 20: (0, 64, 128)}
    assert {label: tuple(colours[label]) for label in known} == known
    assert len(np.unique(colours, axis=0)) == 256


def test_a_scheme_that_does_not_fit_is_refused_before_any_file(
    make_cache: Callable[..., MaskCache], exported: Callable[..., Path], tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="pascal"):
        exported(make_cache("pascal"), "png", scheme="reid4")
    assert not (tmp_path / "png").exists()
