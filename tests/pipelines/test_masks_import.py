from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from cli import main
from data.datasets import open_data_set
from parsing import CacheError, InputError, MaskCache, MissingError
from parsing.resize import resize_labels
from parsing.shard import Status
from pipelines.masks_export import ExportConfig, export
from pipelines.masks_import import ImportConfig, import_masks

SHARED = Path(__file__).resolve().parents[2].parent / "shared"


@pytest.fixture
def config(tiny_figures: Path, make_cache: Callable[..., MaskCache], tmp_path: Path) -> ImportConfig:
    """Masks of every image of the drawn data set as palette PNGs in its folders."""
    names = [image.name for image in open_data_set("sysu", tiny_figures).images]
    cache = make_cache("lip", names)
    export(ExportConfig(cache.path, "png", tmp_path / "schp", palette=True, size=(60, 30), progress=False))
    return ImportConfig(
        tmp_path / "schp", "lip", "sysu", tiny_figures, tmp_path / "own" / "masks.h5", size=(60, 30), progress=False
    )


def test_masks_are_cached_with_their_images_identities_and_sizes(config: ImportConfig, tiny_figures: Path) -> None:
    result = import_masks(config)
    cache = MaskCache(result.path)
    images = open_data_set("sysu", tiny_figures).images
    assert cache.names == tuple(image.name for image in images)
    assert cache.identity.tolist() == [image.identity for image in images]
    assert cache.labels.name == "lip"
    assert cache.data_set == "sysu"
    assert cache.root == tiny_figures
    for name, source in zip(cache.names, cache.source_size, strict=True):
        assert np.array_equal(cache[name], np.array(Image.open((config.masks / name).with_suffix(".png"))))
        with Image.open(tiny_figures / name) as image:
            assert tuple(source) == (image.height, image.width)
    assert (cache.confidence == 1).all()
    assert result.without == ()


def test_masks_all_in_one_folder_are_found_by_stem_unless_two_images_share_it(
    config: ImportConfig, tmp_path: Path
) -> None:
    flat = tmp_path / "flat"
    flat.mkdir()
    for number, file in enumerate(sorted(config.masks.rglob("*.png"))):
        file.rename(flat / file.name) if number < 2 else None
    with pytest.raises(InputError, match="share a mask"):
        import_masks(replace(config, masks=flat))


def test_images_without_a_mask_are_left_out_and_told(config: ImportConfig) -> None:
    gone = sorted(config.masks.rglob("*.png"))[4]
    gone.unlink()
    result = import_masks(config)
    assert result.masks == len(MaskCache(result.path))
    assert [Path(n).with_suffix(".png") for n in result.without] == [gone.relative_to(config.masks)]


def test_a_folder_where_nothing_fits_says_what_was_looked_for(config: ImportConfig) -> None:
    with pytest.raises(InputError, match=r"no image of sysu has a mask .*none/cam"):
        import_masks(replace(config, path="none/{dir}/{stem}.png"))
    with pytest.raises(MissingError, match="no folder of masks"):
        replace(config, masks=config.masks / "gone")


def test_the_same_masks_again_change_nothing_and_others_need_overwrite(config: ImportConfig) -> None:
    assert config.out is not None
    import_masks(config)
    before = {p: p.stat().st_mtime_ns for p in config.out.with_suffix(".shards").iterdir()}
    import_masks(config)
    assert {p: p.stat().st_mtime_ns for p in config.out.with_suffix(".shards").iterdir()} == before
    file = sorted(config.masks.rglob("*.png"))[0]
    Image.fromarray(np.zeros((60, 30), np.uint8)).save(file)
    with pytest.raises(CacheError, match=r"was made from another parser or options \(weights .*--overwrite"):
        import_masks(config)
    import_masks(replace(config, overwrite=True))
    cache = MaskCache(config.out)
    assert [cache.names[i] for i in np.flatnonzero(cache.status == Status.EMPTY)] == [
        file.relative_to(config.masks).with_suffix(".jpg").as_posix()
    ]


def test_without_a_data_set_each_mask_is_an_image(tmp_path: Path) -> None:
    for name, value in (("visible/anna/cam1_a.png", 5), ("infrared/anna/x_c3_1.png", 0)):
        (tmp_path / "schp" / name).parent.mkdir(parents=True)
        Image.fromarray(np.full((40, 20), value, np.uint8)).save(tmp_path / "schp" / name)
    out = tmp_path / "m.h5"
    arguments = ["masks", "import", "--from", "png", str(tmp_path / "schp"), "--labels", "lip", "--out", str(out)]
    run = CliRunner().invoke(main, [*arguments, "--suffix", ".bmp"])
    assert run.exit_code == 0, run.output
    assert "2 masks imported" in run.output
    cache = MaskCache(out)
    assert cache.names == ("infrared/anna/x_c3_1.bmp", "visible/anna/cam1_a.bmp")
    assert cache.modality.tolist() == [1, 0]
    assert cache.camera.tolist()[0] == 3
    assert cache.status.tolist() == [Status.EMPTY, Status.OK]
    assert cache.size == (288, 144)


@pytest.mark.parametrize("labels", ["lip", "atr", "pascal"])
def test_schps_own_pngs_come_in_as_they_are(tmp_path: Path, labels: str) -> None:
    answer = SHARED / "schp_demo" / f"demo_{labels}.png"
    if not answer.is_file():
        pytest.skip("the answers of SCHP's demonstration are not beside the checkout")
    (tmp_path / "schp").mkdir()
    (tmp_path / "schp" / "demo.png").write_bytes(answer.read_bytes())
    with Image.open(answer) as image:
        values = np.array(image)
    config = ImportConfig(tmp_path / "schp", labels, out=tmp_path / "m.h5", size=(200, 300), progress=False)
    cache = MaskCache(import_masks(config).path)
    assert np.array_equal(cache["demo.jpg"], resize_labels(values, (200, 300)))
    person = cache.parts("demo.jpg", "body")[0]
    assert np.array_equal(person > 0, resize_labels(values, (200, 300)) > 0)
    assert 0.05 < person.mean() < 0.95
