"""Masks of other kinds than label PNGs: what comes back of our own exports, and which image a mask is of."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from cli import main
from data.registry import open_data_set
from parsing import InputError, MaskCache
from parsing.importers import guess_kind
from pipelines.masks.export import ExportConfig, export
from pipelines.masks.importing import ImportConfig, import_masks

MakeCache = Callable[..., MaskCache]


@pytest.fixture
def names(tiny_figures: Path) -> list[str]:
    return [image.name for image in open_data_set("sysu", tiny_figures).images]


@pytest.fixture
def config(tiny_figures: Path, tmp_path: Path) -> ImportConfig:
    """An import for the drawn data set at the size of the caches; `masks` is to be replaced."""
    return ImportConfig(
        tmp_path, "lip", dataset="sysu", root=tiny_figures, out=tmp_path / "back" / "masks.h5", size=(48, 24)
    )


def test_a_coco_file_gives_back_the_cache_that_it_was_made_of(
    make_cache: MakeCache, names: list[str], config: ImportConfig, tmp_path: Path
) -> None:
    masks = np.random.default_rng(0).integers(0, 20, (len(names), 48, 24)).astype(np.uint8)
    masks[0, :9] = 255
    made = make_cache("lip", names, masks)
    export(ExportConfig(made.path, "coco", tmp_path / "coco", size="masks"))
    for given in (tmp_path / "coco", tmp_path / "coco" / "annotations.json"):
        back = MaskCache(import_masks(replace(config, masks=given, overwrite=True)).path)
        assert back.names == made.names
        assert back.made_by["parser"] == "imported coco"
        assert np.array_equal(back.preload(), masks)
        assert back.identity.tolist() == [image.identity for image in open_data_set("sysu", config.root).images]
    assert (back.source_size >= (48, 24)).all()  # so that each pixel comes back from the images' sizes
    export(ExportConfig(back.path, "coco", tmp_path / "large"))
    again = import_masks(replace(config, masks=tmp_path / "large", out=tmp_path / "again" / "masks.h5"))
    assert np.array_equal(MaskCache(again.path).preload(), masks)


def test_classes_that_differ_in_case_alone_come_back_from_coco(
    make_cache: MakeCache, names: list[str], config: ImportConfig, tmp_path: Path
) -> None:
    own = tmp_path / "own.toml"
    own.write_text('name = "own"\nclasses = ["background", "Hat", "hat", "ignored"]\n')
    masks = np.random.default_rng(0).choice(np.array([0, 1, 2, 3, 255], np.uint8), (len(names), 48, 24))
    made = make_cache(str(own), names, masks)
    export(ExportConfig(made.path, "coco", tmp_path / "coco", size="masks"))
    back = import_masks(replace(config, masks=tmp_path / "coco", labels=str(own)))
    assert np.array_equal(MaskCache(back.path).preload(), masks)


def coco(path: Path, *files: str) -> Path:
    """A COCO file in which the upper half of each image is face."""
    images = [{"id": n, "file_name": name, "height": 20, "width": 10} for n, name in enumerate(files)]
    rows = [
        {"id": n, "image_id": n, "category_id": 1, "segmentation": [[0, 0, 10, 0, 10, 10, 0, 10]]}
        for n in range(len(files))
    ]
    path.write_text(json.dumps({"images": images, "annotations": rows, "categories": [{"id": 1, "name": "face"}]}))
    return path


def test_images_of_a_coco_file_are_found_by_the_end_of_their_path(
    names: list[str], config: ImportConfig, tmp_path: Path
) -> None:
    file = coco(tmp_path / "a.json", f"upload/42/{names[0]}", "nobody.jpg", names[1])
    result = import_masks(replace(config, masks=file, fit="stretch"))
    assert MaskCache(result.path).names == tuple(sorted(names[:2]))
    assert len(result.without) == len(names) - 2
    repeated = names[0].rsplit("/", 1)[1]  # of several people
    with pytest.raises(InputError, match=rf"images of sysu end in {repeated}, the first is .*give more of their folde"):
        import_masks(replace(config, masks=coco(tmp_path / "a.json", repeated)))
    with pytest.raises(InputError, match=rf"are both {names[0]}"):
        import_masks(replace(config, masks=coco(tmp_path / "a.json", names[0], f"x/{names[0]}")))
    with pytest.raises(InputError, match="names no image of sysu"):
        import_masks(replace(config, masks=coco(tmp_path / "a.json", "b.jpg")))
    with pytest.raises(InputError, match="--path: a COCO file names its images itself"):
        import_masks(replace(config, masks=file, path="{stem}.json"))


def test_a_name_of_coco_in_other_folders_is_of_no_image(tmp_path: Path) -> None:
    for name in ("visible/bob/1.jpg", "visible/carl/2.jpg"):
        (tmp_path / "root" / name).parent.mkdir(parents=True)
        Image.new("RGB", (10, 20)).save(tmp_path / "root" / name)
    file = coco(tmp_path / "a.json", "infrared/bob/1.jpg", "infrared/carl/2.jpg")
    given = ImportConfig(file, "lip", dataset="folder", root=tmp_path / "root", out=tmp_path / "m.h5")
    with pytest.raises(
        InputError, match=r"no image of folder .* infrared/bob/1.jpg is not visible/bob/1.jpg, which lies in other"
    ):
        import_masks(given)
    coco(tmp_path / "a.json", "infrared/bob/1.jpg", "home/visible/bob/1.jpg", "carl/2.jpg")
    result = import_masks(given)
    assert MaskCache(result.path).names == ("visible/bob/1.jpg", "visible/carl/2.jpg")
    assert result.notes[0].startswith("1 masks are of no image of folder, such as infrared/bob/1.jpg, and infrared/bob")


def test_a_coco_file_alone_names_the_images_of_a_cache(tmp_path: Path) -> None:
    file = coco(tmp_path / "a.json", "infrared/p1/c2_1.png", "visible/p1/c1_1.jpg")
    out = tmp_path / "m.h5"
    run = CliRunner().invoke(main, ["masks", "import", str(file), "--labels", "lip", "--out", str(out)])
    assert run.exit_code == 0, run.output
    cache = MaskCache(out)
    assert cache.names == ("infrared/p1/c2_1.png", "visible/p1/c1_1.jpg")
    assert cache.modality.tolist() == [1, 0]
    assert cache.source_size.tolist() == [[20, 10]] * 2
    assert (cache[0] == np.where(np.arange(288) < 144, 13, 0)[:, None]).all()


@pytest.mark.parametrize("to", ["bpbreid", "kpr"])
def test_fields_that_we_wrote_give_back_the_parts_that_they_hold(
    make_cache: MakeCache, names: list[str], config: ImportConfig, tmp_path: Path, to: str
) -> None:
    cache = make_cache("person7", names)
    export(ExportConfig(cache.path, to, tmp_path / to, size=(48, 24)))
    masks = tmp_path / to / "masks" / "pifpaf_maskrcnn_filtering"
    back = MaskCache(import_masks(replace(config, masks=masks, labels="person7")).path)
    lost = {cache.labels.index("legs"): cache.labels.index("lower"), cache.labels.index("bag"): 0}
    expected = cache.preload()
    for one, other in lost.items():
        expected[expected == one] = other
    assert np.array_equal(back.preload(), expected)
    assert back.made_by["parser"] == "imported bpbreid"


def test_fields_are_found_under_the_names_of_the_peers_own_script(
    names: list[str], config: ImportConfig, tmp_path: Path
) -> None:
    fields = np.zeros((36, 17, 9), np.float32)
    fields[0, :8] = 0.9
    for folder, ending in (("filtered", ".npy"), ("raw", ".confidence_fields.npy")):
        for name in names:
            file = tmp_path / folder / f"{name}{ending}"
            file.parent.mkdir(parents=True, exist_ok=True)
            np.save(file, fields)
        given = replace(config, masks=tmp_path / folder, labels="person7", out=tmp_path / folder / "m.h5")
        back = MaskCache(import_masks(given).path)
        assert back.names == tuple(names)
        assert set(back[0][0]) == {1}
        alone = import_masks(replace(given, dataset=None, root=None, out=tmp_path / folder / "n.h5"))
        assert MaskCache(alone.path).names == tuple(names)


def test_shapes_that_we_wrote_give_back_the_person(
    make_cache: MakeCache, names: list[str], config: ImportConfig, tmp_path: Path
) -> None:
    cache = make_cache("lip", names)
    export(ExportConfig(cache.path, "sgiel", tmp_path / "shape"))
    back = MaskCache(import_masks(replace(config, masks=tmp_path / "shape", labels="person")).path)
    assert back.names == cache.names
    found, true = back.preload() > 0, cache.preload() > 0
    assert float((found & true).sum()) / float((found | true).sum()) > 0.95  # JPEG blurs the outline
    with pytest.raises(InputError, match="is an image of the data set and not its mask"):
        import_masks(replace(config, masks=config.root, labels="person", kind="sgiel"))  # type: ignore[arg-type]


def test_the_kind_is_guessed_by_the_files(tmp_path: Path) -> None:
    def folder(name: str, *files: str) -> Path:
        (tmp_path / name / "deep").mkdir(parents=True)
        for file in files:
            (tmp_path / name / "deep" / file).write_text("{}")
        return tmp_path / name

    def guess(masks: Path) -> str:
        return guess_kind(masks, [path.relative_to(masks).as_posix() for path in masks.rglob("*.*")])

    assert guess(folder("png", "a.png", "b.json", "c.txt")) == "png"
    assert guess(folder("coco", "a.json", "a.jpg", "cscl-coco.json")) == "coco"
    assert guess(folder("sgiel", "a.BMP", "cscl-sgiel.json", ".b.png")) == "sgiel"
    for shape, kind in (((36, 4, 2), "bpbreid"), ((4, 2, 20), "npy")):
        np.save(folder(kind) / "deep" / "a.npy", np.zeros(shape, np.float32))
        assert guess(tmp_path / kind) == kind
    with pytest.raises(InputError, match=r"holds png and npy files; say which are the masks with --from png\|npy\|"):
        guess(folder("both", "a.png", "a.npy"))
    with pytest.raises(InputError, match="holds neither png nor npy files"):
        guess(folder("none", "cscl-png.json"))
    (tmp_path / "a.zip").touch()
    with pytest.raises(InputError, match="is no JSON of COCO"):
        guess(tmp_path / "a.zip")


def test_masks_with_two_files_for_one_image_are_refused(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    for name in ("a.npy", "a.jpg.npy"):
        np.save(tmp_path / "m" / name, np.zeros((36, 4, 2), np.float32))
    with pytest.raises(InputError, match=r"would both be the mask of a\.jpg"):
        import_masks(ImportConfig(tmp_path / "m", "person7", out=tmp_path / "m.h5"))
