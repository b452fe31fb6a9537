"""What a parse run keeps of an earlier one, and that a dry run says the same beforehand."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.parses import hashes

from parsing import MaskCache
from parsing.errors import InputError
from parsing.parsers.registry import ParserSpec
from pipelines.masks.verify import VerifyConfig, verify
from pipelines.parse.preview import Preview, preview
from pipelines.parse.run import ParseConfig, parse

OWN = """
import torch
from parsing.labels import label_set
from parsing.parser import NetworkParser


class Own(NetworkParser):
    labels, licence, weights_hash, input_size = label_set("pascal"), "mine", "none", (24, 12)


def build(weights, device):
    return Own(torch.nn.Conv2d(3, 7, 1), (0.5,) * 3, (0.1,) * 3, device)
"""


@pytest.fixture
def own(copied: ParseConfig, tiny_figures: Path, tmp_path: Path) -> ParseConfig:
    """A parsed cache of images that may be changed."""
    shutil.copytree(tiny_figures, tmp_path / "SYSU-MM01")
    config = replace(copied, root=tmp_path / "SYSU-MM01", overwrite=True)
    assert parse(config).parsed == 24
    return replace(config, overwrite=False)


def replace_image(path: Path, mode: str = "RGB") -> None:
    noise = np.random.default_rng(0).integers(0, 256, (90, 30, 3), np.uint8)
    Image.fromarray(noise).convert(mode).save(path)


def test_an_image_of_another_size_under_the_same_name_is_parsed_again(
    own: ParseConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    assert own.out is not None
    before = MaskCache(own.out)
    name, old = before.names[12], before[:]
    replace_image(before.root / name)
    said = preview(own)
    assert (said.done_images, said.done_shards, len(said.notes)) == (14, 2, 1)
    assert (
        f"1 images have another size than was parsed, or could not be read and can be now, the first is {name}"
        in (said.notes[0])
    )
    capsys.readouterr()
    assert parse(own).parsed == 10
    assert f"note: {said.notes[0]}\n" in capsys.readouterr().err
    after = MaskCache(own.out)
    assert after.source_size[12].tolist() == [90, 30]
    changed = [number for number in range(24) if not np.array_equal(after[number], old[number])]
    assert changed == [12]
    assert (parse(own).parsed, preview(own).notes) == (0, ())


def test_images_written_after_their_masks_are_counted_and_keep_them(
    own: ParseConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    assert own.out is not None
    cache, before = MaskCache(own.out), hashes(own.out)
    file = cache.root / cache.names[12]
    with Image.open(file) as image:
        size = image.size
    Image.new("RGB", size, (200, 10, 10)).save(file)
    later = own.out.stat().st_mtime_ns + 10**10
    os.utime(file, ns=(later, later))
    (note,) = preview(own).notes
    assert note.startswith(
        f"1 images were written after their masks, the first is {cache.names[12]}: their masks are kept"
    )
    capsys.readouterr()
    assert parse(own).parsed == 0
    assert f"note: {note}\n" in capsys.readouterr().err
    assert hashes(own.out) == before
    assert parse(replace(own, overwrite=True)).parsed == 24


def test_an_image_turned_by_exif_alone_is_another_and_a_damaged_one_keeps_its_mask(own: ParseConfig) -> None:
    assert own.out is not None
    cache = MaskCache(own.out)
    before = hashes(own.out)
    (cache.root / cache.names[0]).write_bytes(b"damaged since")
    assert parse(own).parsed == 0
    assert hashes(own.out) == before
    turned = Image.Exif()
    turned[274] = 6
    with Image.open(cache.root / cache.names[20]) as image:
        image.save(cache.root / cache.names[20], exif=turned)
    assert (preview(own).done_images, parse(own).parsed) == (20, 4)


def test_an_image_that_could_not_be_read_is_parsed_once_it_can_be(
    config: ParseConfig, tiny_figures: Path, tmp_path: Path
) -> None:
    """By the same command, which is the only one for a parser that `masks verify --repair` does not know."""
    shutil.copytree(tiny_figures, tmp_path / "SYSU-MM01")
    (tmp_path / "own.py").write_text(OWN, encoding="utf-8")
    spec = ParserSpec(f"python:{tmp_path / 'own.py'}")
    own = replace(config, root=tmp_path / "SYSU-MM01", out=tmp_path / "own.h5", parser=spec)
    image = next((tmp_path / "SYSU-MM01").glob("cam3/*/*.jpg"))
    whole = image.read_bytes()
    image.write_bytes(whole[: len(whole) // 2])
    name = image.relative_to(tmp_path / "SYSU-MM01").as_posix()
    assert parse(own).unreadable == (name,)
    assert (parse(own).parsed, preview(own).done_images) == (0, 24)
    image.write_bytes(whole)
    (note,) = preview(own).notes
    assert f"could not be read and can be now, the first is {name}" in note
    again = parse(own)
    assert (0 < again.parsed < 24, again.unreadable) == (True, ())
    assert parse(own).parsed == 0


def test_a_dry_run_refuses_a_device_that_is_not_there(copied: ParseConfig) -> None:
    with pytest.raises(InputError, match="--device xpu"):
        preview(replace(copied, parser=replace(copied.parser, device="xpu")))


def test_a_dry_run_of_a_parser_in_a_file_finds_what_is_done(
    config: ParseConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "own.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    relative = replace(config, out=tmp_path / "own.h5", parser=ParserSpec("python:code/own.py"))
    assert parse(relative).parsed == 24
    for spec in (relative.parser, relative.parser.absolute()):
        said = preview(replace(relative, parser=spec))
        assert (said.done_images, said.refused) == (24, "")


def test_a_dry_run_fetches_no_weights_and_says_what_it_does_not_know(
    copied: ParseConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetch(*_: object, **__: object) -> Path:
        raise AssertionError("fetched")

    monkeypatch.setattr("parsing.parsers.backends.schp_at_hand", lambda name: False)
    monkeypatch.setattr("parsing.parsers.sources.hub_folder", fetch)
    said = preview(replace(copied, parser=ParserSpec("schp-lip")))
    assert (said.images, said.done_images) == (24, 0)
    assert said.notes == (
        "the run fetches the weights of schp-lip; whether it keeps the 3 shards that are there depends on them",
    )
    with pytest.raises(InputError, match="does not take it"):
        preview(replace(copied, parser=ParserSpec("schp-lip", labels="lip")))


def test_a_dry_run_changes_nothing_and_counts_what_a_run_does(copied: ParseConfig, tiny_figures: Path) -> None:
    assert copied.out is not None
    (copied.out.with_suffix(".shards") / "00001.h5").unlink()
    left = copied.out.with_name("masks.h5.89abcdef.part")
    left.write_bytes(b"left by a killed run")
    before = hashes(copied.out)
    for overwrite, done in ((True, 0), (False, 14)):
        assert preview(replace(copied, overwrite=overwrite)) == Preview(
            copied.out, root=tiny_figures, images=24, shards=3, done_images=done, done_shards=done // 7
        )
    assert hashes(copied.out) == before
    assert parse(copied).parsed == 10


def test_a_data_set_that_was_moved_and_linked_is_the_same(own: ParseConfig, tmp_path: Path) -> None:
    assert own.out is not None
    assert own.root is not None
    before = hashes(own.out)
    (tmp_path / "large disk").mkdir()
    own.root.rename(tmp_path / "large disk" / "SYSU-MM01")
    own.root.symlink_to(tmp_path / "large disk" / "SYSU-MM01")
    for root in (own.root, tmp_path / "large disk" / "SYSU-MM01"):
        here = replace(own, root=root)
        assert (preview(here).done_images, parse(here).parsed, hashes(own.out)) == (24, 0, before)
    (own.out.with_suffix(".shards") / "00001.h5").unlink()
    weights = own.parser.weights
    assert verify(VerifyConfig(own.out, repair=True, weights=weights, device="cpu", workers=0)).sound
    assert hashes(own.out) == before
    assert MaskCache(own.out).root == own.root
