"""What `cscl parse` refuses before it parses: caches of something else, places it cannot write to, wrong options."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from PIL import Image
from support.parses import hashes

from parsing.cache.index import shard_folder
from parsing.cache.sealed import write_whole
from parsing.errors import CacheError, InputError, MissingError
from parsing.parsers.registry import ParserSpec
from parsing.parsers.street import save_street
from parsing.parsers.street_network import StreetNetwork
from pipelines.parse.preview import preview
from pipelines.parse.run import ParseConfig, parse


def test_a_cache_of_other_options_parser_or_data_is_refused_until_told_to_overwrite(
    copied: ParseConfig, tiny_figures: Path, tmp_path: Path
) -> None:
    assert copied.out is not None
    before = hashes(copied.out)
    network = StreetNetwork(input_size=(64, 32))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        save_street(network.build(), network, tmp_path / "other.safetensors")
    moved = tmp_path / "SYSU-MM01"
    shutil.copytree(tiny_figures, moved)
    own = tmp_path / "own"
    for light in ("visible", "infrared"):
        (own / light / "anna").mkdir(parents=True)
        Image.new("RGB", (8, 16)).save(own / light / "anna" / "1.jpg")
    refused = {
        "size": replace(copied, size=(40, 24)),
        "flip": replace(copied, flip=False),
        "probs": replace(copied, probs=True),
        "weights": replace(copied, parser=ParserSpec(weights=tmp_path / "other.safetensors")),
        "folder": replace(copied, root=moved),
        "data set": replace(copied, dataset="folder", root=own),
    }
    for what, other in refused.items():
        with pytest.raises(CacheError, match=rf"made from another .*{what}.*--overwrite") as error:
            parse(other)
        assert preview(other).refused == str(error.value)
        assert hashes(copied.out) == before
    copied.out.unlink()  # shards alone are protected as well
    with pytest.raises(CacheError, match="made from another"):
        parse(refused["flip"])
    replaced = parse(replace(refused["data set"], overwrite=True))
    assert replaced.images == 2
    assert [p.name for p in shard_folder(copied.out).iterdir()] == ["00000.h5"]


def test_another_format_version_is_refused_and_kept(copied: ParseConfig) -> None:
    assert copied.out is not None

    def future(file: h5py.File) -> None:
        file.attrs["format_version"] = 99

    for path in (copied.out, shard_folder(copied.out) / "00001.h5"):
        whole = path.read_bytes()
        write_whole(path, future)
        before = hashes(copied.out)
        with pytest.raises(CacheError, match="format 99"):
            parse(copied)
        assert hashes(copied.out) == before
        with h5py.File(path, "w") as file:  # of a version with another seal, or none
            future(file)
        before = hashes(copied.out)
        with pytest.raises(CacheError, match="format 99"):
            parse(copied)
        assert hashes(copied.out) == before
        path.write_bytes(whole)


def test_a_file_that_is_no_cache_is_never_replaced_unasked(config: ParseConfig, tmp_path: Path) -> None:
    notes = tmp_path / "notes.h5"
    notes.write_text("years of work")
    with pytest.raises(CacheError, match=r"notes\.h5 .*no mask cache.*--overwrite") as error:
        parse(replace(config, out=notes))
    assert preview(replace(config, out=notes)).refused == str(error.value)
    with h5py.File(tmp_path / "features.h5", "w") as file:
        file["features"] = np.zeros(3)
    with pytest.raises(CacheError, match=r"features\.h5 .*no mask cache.*--overwrite"):
        parse(replace(config, out=tmp_path / "features.h5"))
    assert notes.read_text() == "years of work"
    with h5py.File(tmp_path / "features.h5", "r") as file:
        assert list(file) == ["features"]


def test_places_that_cannot_be_written_are_refused_before_parsing(config: ParseConfig, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.h5").mkdir()
    with pytest.raises(InputError, match=r"file/masks\.h5.*cannot be written"):
        parse(replace(config, out=tmp_path / "file" / "masks.h5"))
    with pytest.raises(InputError, match=r"ends in \.h5"):
        parse(replace(config, out=tmp_path / "folder.h5"))
    with pytest.raises(InputError, match=r"ends in \.h5"):
        parse(replace(config, out=tmp_path / "masks.shards"))


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_read_only_folder_is_refused_before_parsing(config: ParseConfig, tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(InputError, match=r"locked.*cannot be written"):
        parse(replace(config, out=tmp_path / "locked" / "masks.h5"))


def test_wrong_options_are_refused_with_what_was_given(config: ParseConfig, tmp_path: Path) -> None:
    for change, complaint in (
        ({"size": (8, 144)}, "--size 8x144"),
        ({"batch_size": 0}, "--batch-size 0"),
        ({"limit": 0}, "--limit 0"),
    ):
        with pytest.raises(InputError, match=complaint):
            replace(config, **change)
    out = tmp_path / "masks.h5"
    with pytest.raises(InputError, match="'magic'"):
        parse(replace(config, out=out, parser=ParserSpec("magic")))
    with pytest.raises(MissingError, match=r"none\.safetensors"):
        parse(replace(config, out=out, parser=ParserSpec(weights=tmp_path / "none.safetensors")))
    with pytest.raises(InputError, match="--device warp:9 cannot be used"):
        parse(replace(config, out=out, parser=ParserSpec(device="warp:9")))
    with pytest.raises(InputError, match=r"--scheduler tcp://127\.0\.0\.1:1: no dask scheduler"):
        parse(replace(config, out=out, scheduler="tcp://127.0.0.1:1", workers=None))


def test_a_name_that_is_not_utf8_is_refused_by_name(config: ParseConfig, tmp_path: Path) -> None:
    for light in ("visible", "infrared"):
        (tmp_path / "own" / light / "anna").mkdir(parents=True)
    name = os.fsencode(tmp_path / "own" / "visible" / "anna") + b"/\xe9.jpg"
    try:
        with open(name, "wb") as file:
            file.write(b"")
    except OSError:
        pytest.skip("this file system takes no such names")
    with pytest.raises(InputError, match="is not UTF-8"):
        parse(replace(config, dataset="folder", root=tmp_path / "own", out=tmp_path / "m.h5"))
