"""All masks in one .npy: what numpy.load and AGW's listing of SYSU-MM01 find in which row."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.registry import open_data_set
from parsing import CacheWriter, InputError, MaskCache
from parsing.cache.shard import Status
from parsing.images import orientation
from parsing.resize import resize_labels
from pipelines.datasets.simulate import make_pedestrians

Exported = Callable[..., Path]


def test_an_array_has_a_row_per_mask_and_the_names_beside_it(
    make_cache: Callable[..., MaskCache], exported: Exported
) -> None:
    names = ["d/a.jpg", "d/line\nbreak.jpg", "é/c.jpg"]
    cache = make_cache("lip", names, status=[Status.OK, Status.OK, Status.UNREADABLE])
    out = exported(cache, "array", scheme="reid4", size=(24, 12))
    masks = np.load(out / "masks.npy", mmap_mode="r")
    assert (masks.shape, masks.dtype, masks.flags.c_contiguous) == ((2, 24, 12), np.uint8, True)
    said = json.loads((out / "masks.json").read_text(encoding="utf-8"))
    assert said["names"] == names[:2]
    assert said["classes"] == ["background", "head", "upper", "lower", "feet"]
    for row, name in zip(masks, names, strict=False):
        assert np.array_equal(row, resize_labels(cache.part_labels(name, "reid4"), (24, 12)))
    with pytest.raises(InputError, match="--size source: array is one array"):
        exported(cache, "array", out / "other", size="source")
    with pytest.raises(InputError, match="--path: array files hold many images each"):
        exported(cache, "array", out / "other", path="{stem}.npy")


def agw_files(root: Path, cameras: list[int]) -> list[str]:
    """What `pre_process_sysu.py` of AGW lists: people of both lists in order, then cameras, then files."""
    people = []
    for half in ("train", "val"):
        people += [f"{int(y):04d}" for y in (root / f"exp/{half}_id.txt").read_text().splitlines()[0].split(",") if y]
    files = []
    for person in sorted(people):
        for camera in cameras:
            folder = root / f"cam{camera}" / person
            if folder.is_dir():
                files += [f"cam{camera}/{person}/{name}" for name in sorted(os.listdir(folder))]
    return files


def test_rows_are_those_of_agws_arrays(
    tiny_figures: Path, make_cache: Callable[..., MaskCache], exported: Exported, tmp_path: Path
) -> None:
    root = shutil.copytree(tiny_figures, tmp_path / "figures" / "SYSU-MM01")
    names = [image.name for image in open_data_set("sysu", root).images]
    unreadable = agw_files(root, [3])[1]
    status = [Status.UNREADABLE if name == unreadable else Status.OK for name in names]
    sizes = [orientation(root / name)[0] for name in names]
    cache = make_cache("lip", names, status=status, path=root.with_name("masks.h5"), source=sizes)
    out = exported(cache, "agw")
    for short, cameras in (("rgb", [1, 2, 4, 5]), ("ir", [3, 6])):
        masks = np.load(out / f"train_{short}_resized_mask.npy")
        files = agw_files(root, cameras)
        assert masks.shape == (len(files), 288, 144)
        assert len(files) > 2
        for row, file in zip(masks, files, strict=True):
            expected = np.full((288, 144), 255) if file == unreadable else resize_labels(cache[file], (288, 144))
            assert np.array_equal(row, expected)
    part = make_cache("lip", names[:3], path=root.with_name("part.h5"), source=sizes[:3])
    with pytest.raises(InputError, match=r"agw: [0-9]+ training images are not in the cache, the first is cam"):
        exported(part, "agw", tmp_path / "part")


def test_rows_of_other_images_under_the_same_names_are_refused(
    tiny_figures: Path, make_cache: Callable[..., MaskCache], exported: Exported
) -> None:
    names = [image.name for image in open_data_set("sysu", tiny_figures).images]
    cache = make_cache("lip", names, source=(7, 5))
    shutil.copytree(tiny_figures, cache.root)
    with pytest.raises(InputError, match=r"--to agw: .* has another size than the image of that name that was parsed"):
        exported(cache, "agw")


@pytest.mark.parametrize("layout", ["regdb", "llcm"])
def test_data_sets_that_are_read_by_lists_are_refused(layout: str, exported: Exported, tmp_path: Path) -> None:
    root = make_pedestrians(tmp_path / layout, layout=layout, train=2, test=2, shots=1, workers=1)
    with CacheWriter(
        tmp_path / "masks.h5", labels="lip", size=(24, 12), parser="test", data_set=layout, root=root
    ) as writer:
        for image in open_data_set(layout, root).images:
            writer.add(image.name, np.ones((24, 12), np.uint8))
    with pytest.raises(InputError, match=rf"read the images of {layout} by lists of names, in the order of these"):
        exported(MaskCache(tmp_path / "masks.h5"), "agw")


def test_rows_of_other_training_people_are_refused(exported: Exported, tmp_path: Path) -> None:
    root = tmp_path / "root"
    with CacheWriter(
        tmp_path / "masks.h5", labels="lip", size=(24, 12), parser="test", data_set="folder", root=root
    ) as writer:
        for name in (f"{modality}/{p}/1.jpg" for modality in ("infrared", "visible") for p in ("anna", "bob", "carl")):
            (root / name).parent.mkdir(parents=True)
            Image.new("L", (12, 24)).save(root / name)
            writer.add(name, np.ones((24, 12), np.uint8), source_size=(24, 12))
    cache, tested = MaskCache(tmp_path / "masks.h5"), root / "test_id.txt"
    tested.write_text("carl\n")
    out = exported(cache, "agw", size=(24, 12))
    exported(cache, "agw", size=(24, 12))
    assert len(np.load(out / "train_rgb_resized_mask.npy")) == 2
    tested.write_text("bob\n")  # as many rows, of other people
    with pytest.raises(InputError, match="holds agw files of another cache or with other options"):
        exported(cache, "agw", size=(24, 12))
