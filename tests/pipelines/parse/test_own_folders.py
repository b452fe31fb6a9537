"""`cscl parse` of a folder of one's own: patterns, other kinds of images, images that EXIF turns."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from support.parses import hashes

from data.loading.images import load_image
from parsing import MaskCache
from parsing.cache.index import shard_folder
from parsing.errors import CacheError
from pipelines.masks.export import ExportConfig, export
from pipelines.masks.verify import VerifyConfig, verify
from pipelines.parse.run import ParseConfig, parse


@pytest.fixture
def own(config: ParseConfig, tiny_figures: Path, tmp_path: Path) -> ParseConfig:
    """Four images of anna and ben, each below two days and in both modalities, and a file that is no image."""
    pictures = iter(sorted(tiny_figures.glob("cam[14]/*/*.jpg")))
    for light in ("visible", "infrared"):
        for day, person in (("day1", "anna"), ("day2", "ben")):
            place = tmp_path / "own" / light / day / person
            place.mkdir(parents=True)
            with Image.open(next(pictures)) as picture:
                picture.save(place / "1.TIFF")
    (tmp_path / "own/visible/day1/anna/2.heic").touch()
    return replace(config, dataset="folder", root=tmp_path / "own", out=tmp_path / "own.h5")


def test_what_a_data_set_leaves_out_is_said_once_before_parsing(
    own: ParseConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    assert parse(replace(own)).unreadable == ()
    notes = [line for line in capsys.readouterr().err.splitlines() if line.startswith("note: ")]
    assert notes == [
        "note: 2 identities: day1, day2",
        "note: 0 cameras: none known of 4 images",
        "note: 1 files that are no image: 1 .heic; the first is visible/day1/anna/2.heic",
    ]


def test_the_cache_remembers_the_pattern_and_another_renames_people_and_keeps_masks(own: ParseConfig) -> None:
    assert own.out is not None
    parse(own)
    before = MaskCache(own.out)
    assert (before.pattern, before.identity.tolist()) == (None, [1, 2, 1, 2])
    masks = before[:]
    again = parse(replace(own, pattern="{camera}/{identity}/*"))
    cache = MaskCache(own.out)
    assert again.parsed == 0
    assert cache.pattern == "{camera}/{identity}/*"
    assert cache.fingerprint == before.fingerprint
    assert cache.camera.tolist() == [1, 2, 1, 2]
    assert np.array_equal(cache[:], masks)
    assert verify(VerifyConfig(own.out)).sound
    with pytest.raises(CacheError, match=r"was made with --pattern '\{camera\}/\{identity\}/\*'; give it again"):
        parse(own)


def test_images_that_exif_turns_are_parsed_trained_on_and_exported_upright(own: ParseConfig, tmp_path: Path) -> None:
    root = own.root
    assert root is not None

    def seen(out: str) -> tuple[MaskCache, torch.Tensor, dict[str, tuple[int, int]]]:
        cache = MaskCache(parse(replace(own, out=tmp_path / out)).path)
        export(ExportConfig(cache.path, "png", tmp_path / f"{out}-png", size="source"))
        sizes = {f.parent.name: Image.open(f).size for f in (tmp_path / f"{out}-png").rglob("*.png")}
        return cache, torch.stack([load_image(root / name, (32, 16)) for name in cache.names]), sizes

    masks, images, sizes = seen("upright.h5")
    exif = Image.Exif()
    exif[0x0112] = 6
    for path in root.rglob("*.TIFF"):
        with Image.open(path) as picture:
            turned = picture.transpose(Image.Transpose.ROTATE_90)
        turned.save(path, exif=exif)
    again, same, others = seen("turned.h5")
    assert np.array_equal(again[:], masks[:])
    assert np.array_equal(again.source_size, masks.source_size)
    assert torch.equal(same, images)
    assert others == sizes


def test_a_cache_of_sixteen_bit_images_states_how_they_were_stretched(own: ParseConfig) -> None:
    assert own.root is not None
    for path in (own.root / "infrared").rglob("*.TIFF"):
        with Image.open(path) as picture:
            grey = np.asarray(picture.convert("L"), np.uint16)
        Image.fromarray(29315 + grey * 4).save(path)
    cache = MaskCache(parse(own).path)
    assert "from percentile 0.5 to 99.5" in cache.made_by["deep_images"]


def test_a_damaged_cache_is_repaired_with_its_pattern(own: ParseConfig) -> None:
    assert own.out is not None
    parse(replace(own, pattern="*/{identity}/*"))
    before = hashes(own.out)
    (shard_folder(own.out) / "00000.h5").unlink()
    mended = verify(VerifyConfig(own.out, repair=True, weights=own.parser.weights, workers=0))
    assert mended.sound
    assert hashes(own.out) == before
