"""What CVAT's importer of `Segmentation mask 1.1` reads: labelmap.txt, the list of masks, and the colours of each."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from parsing import MaskCache
from parsing.errors import InputError
from parsing.importers.labelmap import find_labelmap
from pipelines.masks.export import ExportConfig, export
from pipelines.masks.importing import ImportConfig, import_masks


def test_colours_name_the_class_of_each_pixel(
    make_cache: Callable[..., MaskCache], exported: Callable[..., Path]
) -> None:
    cache = make_cache("lip")
    out = exported(cache, "cvat", size="masks")
    header, *lines = (out / "labelmap.txt").read_text().splitlines()
    assert header.startswith("#")
    colour_of = {}
    for line in lines:
        name, colour, parts, actions = line.split(":")
        assert parts == actions == ""
        colour_of[tuple(int(v) for v in colour.split(","))] = cache.labels.classes.index(name)
    listed = (out / "ImageSets/Segmentation/default.txt").read_text().split()
    assert len(listed) == len(cache)
    for number, stem in enumerate(listed):
        with Image.open(out / "SegmentationClass" / f"{stem}.png") as image:
            pixels = np.array(image.convert("RGB")).reshape(-1, 3).tolist()
        assert [colour_of[tuple(pixel)] for pixel in pixels] == cache[number].ravel().tolist()


def test_masks_come_back_from_cvat_in_another_order_of_colours(
    make_cache: Callable[..., MaskCache], tmp_path: Path
) -> None:
    cache = make_cache("lip")
    export(ExportConfig(cache.path, "cvat", tmp_path / "cvat", size="masks"))
    labelmap = tmp_path / "cvat/labelmap.txt"
    for file in (tmp_path / "cvat").rglob("*.png"):
        with Image.open(file) as image:
            Image.fromarray(255 - np.array(image.convert("RGB"))).save(file)  # colours that no known palette has
    header, *lines = labelmap.read_text().splitlines()
    turned = []
    for line in lines:
        name, colour, *_ = line.split(":")
        turned.append(f"{name}:{','.join(str(255 - int(v)) for v in colour.split(','))}::")
    labelmap.write_text("\n".join([header, *reversed(turned), "car:1,2,3::"]))
    config = ImportConfig(tmp_path / "cvat/SegmentationClass", "lip", out=tmp_path / "m.h5", size=cache.size)
    back = MaskCache(import_masks(config).path)
    assert back.names == cache.names
    assert np.array_equal(back.preload(), cache.preload())
    labelmap.write_text("\n".join([header, *turned[:2]]))
    with pytest.raises(InputError, match=r"has the colour .*, which is of no class of lip in .*labelmap\.txt"):
        import_masks(ImportConfig(tmp_path / "cvat/SegmentationClass", "lip", out=tmp_path / "n.h5", size=cache.size))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("person 1,2,3", "line 1"),
        ("face:1,2,300::", "line 1"),
        ("car:1,2,3::\n", "names no class of lip"),
        ("face:1,2,3::\nface:1,2,3::\ncar:1,2,3::\n", r"line 3: face and car have one colour, \(1, 2, 3\)"),
    ],
)
def test_label_maps_that_say_nothing_are_refused(
    text: str, said: str, make_cache: Callable[..., MaskCache], tmp_path: Path
) -> None:
    (tmp_path / "labelmap.txt").write_text(text)
    with pytest.raises(InputError, match=said):
        find_labelmap(tmp_path, make_cache("lip").labels)


def test_an_export_goes_on_and_is_replaced_with_the_files_beside_it(
    make_cache: Callable[..., MaskCache], tmp_path: Path
) -> None:
    cache = make_cache("lip")
    config = ExportConfig(cache.path, "cvat", tmp_path / "cvat", size="masks")
    export(config)
    (tmp_path / "cvat/labelmap.txt").unlink()
    assert export(config).written == 0
    assert (tmp_path / "cvat/labelmap.txt").is_file()
    with pytest.raises(InputError, match="cvat files lie below SegmentationClass/"):
        export(ExportConfig(cache.path, "cvat", tmp_path / "c", path="{dir}/{stem}.png"))
    (tmp_path / "d").mkdir()
    (tmp_path / "d/labelmap.txt").write_text("mine")
    with pytest.raises(InputError, match="is there already and not of this export"):
        export(ExportConfig(cache.path, "cvat", tmp_path / "d"))
