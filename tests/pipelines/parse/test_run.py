"""`cscl parse` end to end on drawn pedestrians: whole, resumed, mended, refused; the same bytes from any workers."""

import json
import os
import shutil
import time
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from support.parses import hashes

from data.registry import open_data_set
from parsing import MaskCache
from parsing.cache.index import shard_folder
from parsing.cache.sealed import sealed_hash
from parsing.cache.shard import Status
from parsing.errors import CacheError, CsclError, InputError, MissingError
from parsing.files import file_hash
from parsing.images import read_image
from parsing.modality import MODALITIES
from parsing.parsers.confidence import confidence, find_winners
from parsing.parsers.street import StreetParser
from pipelines.masks.verify import VerifyConfig, verify
from pipelines.parse.run import ParseConfig, ParseResult, parse

SIZE = (32, 16)


def test_every_image_gets_a_mask_with_what_the_data_set_knows_of_it(
    parsed: ParseResult, config: ParseConfig, tiny_figures: Path, tiny_weights: Path
) -> None:
    cache = MaskCache(parsed.path)
    records = open_data_set("sysu", tiny_figures).images
    assert (parsed.images, parsed.parsed, parsed.unreadable) == (24, 24, ())
    assert cache.names == tuple(r.name for r in records)
    assert cache.identity.tolist() == [r.identity for r in records]
    assert cache.camera.tolist() == [r.camera for r in records]
    assert [MODALITIES[m] for m in cache.modality] == [r.modality for r in records]
    assert cache.source_size.tolist() == [list(read_image(tiny_figures / n).shape[:2]) for n in cache.names]
    assert cache.size == SIZE
    assert (cache.data_set, cache.root) == ("sysu", tiny_figures)
    assert cache.labels.name == "person7"
    assert cache.made_by["weights"] == file_hash(tiny_weights)
    assert parsed.empty == int((cache.status == Status.EMPTY).sum())
    assert ((cache.confidence >= 0) & (cache.confidence <= 1)).all()
    assert sorted(p.name for p in shard_folder(parsed.path).iterdir()) == ["00000.h5", "00001.h5", "00002.h5"]


def test_the_masks_are_the_parsers_own_answer(parsed: ParseResult, tiny_figures: Path, tiny_weights: Path) -> None:
    cache, parser = MaskCache(parsed.path), StreetParser(tiny_weights)
    for name in (cache.names[0], cache.names[17]):
        image = read_image(tiny_figures / name)
        batch = parser.prepare(image)[None]
        probabilities, agreement = parser.parse(batch, [(image.shape[0], image.shape[1])], SIZE)
        alike = (torch.from_numpy(cache[name]) == probabilities[0].argmax(0)).float().mean()
        assert alike > 0.99  # another batch may round another way
        sure = float(confidence(probabilities, *find_winners(probabilities), agreement, parser.labels))
        assert float(cache.confidence[cache.number(name)]) == pytest.approx(sure, abs=0.02)


def test_a_run_over_more_images_that_is_stopped_leaves_no_index_of_the_fewer(
    copied: ParseConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert copied.out is not None
    whole = hashes(copied.out)
    parse(replace(copied, limit=12, overwrite=True))
    with monkeypatch.context() as patch:
        patch.setattr("pipelines.parse.run.finish_cache", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            parse(copied)
    with pytest.raises(
        MissingError, match=r"no index .* beside its shards: the run"
    ):  # its rows are those of other images in the new shards
        MaskCache(copied.out)
    assert parse(copied).parsed == 0
    assert hashes(copied.out) == whole


def test_a_run_that_cannot_begin_removes_nothing(copied: ParseConfig) -> None:
    assert copied.out is not None
    before = hashes(copied.out)
    with pytest.raises(CsclError, match="no dask scheduler answers"):
        parse(replace(copied, overwrite=True, scheduler="tcp://127.0.0.1:1", workers=1))
    assert hashes(copied.out) == before


def test_a_second_run_parses_nothing_and_changes_nothing(copied: ParseConfig) -> None:
    assert copied.out is not None
    before = hashes(copied.out)
    times = {p: p.stat().st_mtime_ns for p in shard_folder(copied.out).iterdir()}
    again = parse(copied)
    assert (again.images, again.parsed) == (24, 0)
    assert hashes(copied.out) == before
    assert {p: p.stat().st_mtime_ns for p in shard_folder(copied.out).iterdir()} == times


def test_what_is_lost_or_damaged_is_made_again_with_the_same_bytes(copied: ParseConfig) -> None:
    assert copied.out is not None
    before, shards = hashes(copied.out), shard_folder(copied.out)
    time.sleep(1.1)  # a time of writing in any file would show
    copied.out.unlink()
    assert (parse(copied).parsed, hashes(copied.out)) == (0, before)
    (shards / "00001.h5").unlink()
    assert (parse(copied).parsed, hashes(copied.out)) == (10, before)
    whole = (shards / "00002.h5").read_bytes()
    (shards / "00002.h5").write_bytes(whole[: len(whole) // 2])
    noise = np.random.default_rng(0).bytes(100)
    whole = (shards / "00000.h5").read_bytes()
    (shards / "00000.h5").write_bytes(whole[:3000] + noise + whole[3100:])
    copied.out.write_bytes(copied.out.read_bytes()[:500])
    for orphan in (shards / "00000.h5.0123abcd.part", copied.out.with_name("masks.h5.89abcdef.part")):
        orphan.write_bytes(b"left by a killed run")
    assert (parse(copied).parsed, hashes(copied.out)) == (14, before)


def test_files_of_others_beside_the_shards_are_left_alone(copied: ParseConfig) -> None:
    assert copied.out is not None
    shards = shard_folder(copied.out)
    (shards / "notes.txt").write_text("mine")
    (shards / "features.h5").write_text("mine too")
    (shards / "folder").mkdir()
    for overwrite in (False, True):
        parse(replace(copied, overwrite=overwrite, limit=None))
        assert (shards / "notes.txt").read_text() == "mine"
        assert (shards / "features.h5").read_text() == "mine too"
        assert (shards / "folder").is_dir()


def test_two_processes_write_the_same_bytes_as_none(parsed: ParseResult, config: ParseConfig, tmp_path: Path) -> None:
    out, environment = tmp_path / "masks.h5", dict(os.environ)
    result = parse(replace(config, out=out, workers=2, batch_size=32))
    assert (result.images, result.parsed) == (24, 24)
    assert hashes(out) == hashes(parsed.path)
    assert dict(os.environ) == environment  # dask puts that of its workers there


def test_parsing_in_this_process_leaves_torchs_threads_as_they_were(config: ParseConfig, tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        parse(replace(config, out=tmp_path / "masks.h5", limit=2))
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(threads)


def test_unreadable_images_are_recorded_and_the_rest_is_parsed(
    config: ParseConfig, tiny_figures: Path, parsed: ParseResult, tmp_path: Path
) -> None:
    root = tmp_path / "SYSU-MM01"
    shutil.copytree(tiny_figures, root)
    names = MaskCache(parsed.path).names
    bad = (names[0], names[3], names[12])
    content = (root / bad[0]).read_bytes()
    (root / bad[0]).write_bytes(content[: len(content) // 2])
    (root / bad[1]).write_bytes(b"")
    (root / bad[2]).write_text("no picture")
    result = parse(replace(config, root=root, out=tmp_path / "masks.h5"))
    assert (result.images, result.parsed, result.unreadable) == (24, 24, bad)
    cache = MaskCache(result.path)
    for name in bad:
        number = cache.number(name)
        assert cache.status[number] == Status.UNREADABLE
        assert (cache.confidence[number], cache.source_size[number].tolist()) == (0, [0, 0])
        assert not cache[name].any()
    whole = MaskCache(parsed.path)
    good = [n for n in names if n not in bad]
    assert np.mean(cache[good] == whole[good]) > 0.99
    assert parse(replace(config, root=root, out=tmp_path / "masks.h5")).unreadable == bad


def test_a_shard_of_nothing_but_unreadable_images_is_written(config: ParseConfig, tmp_path: Path) -> None:
    for light in ("visible", "infrared"):
        folder = tmp_path / "own" / light / "anna"
        folder.mkdir(parents=True)
        (folder / "1.jpg").write_bytes(b"")
    result = parse(replace(config, dataset="folder", root=tmp_path / "own", out=tmp_path / "m.h5", probs=True))
    assert result.unreadable == ("infrared/anna/1.jpg", "visible/anna/1.jpg")
    assert not MaskCache(tmp_path / "m.h5").probs(0).any()


def test_a_limit_spreads_over_the_data_set_and_grows_to_the_whole(
    config: ParseConfig, parsed: ParseResult, tmp_path: Path
) -> None:
    out = tmp_path / "masks.h5"
    few = parse(replace(config, out=out, limit=6))
    assert few.images == 6
    assert set(MaskCache(out).camera) == {1, 2, 3, 4, 5, 6}
    assert parse(replace(config, out=out, limit=100)).images == 24
    assert hashes(out) == hashes(parsed.path)
    with pytest.raises(CacheError, match=r"already holds 24 images.*--overwrite"):
        parse(replace(config, out=out, limit=6))
    out.unlink()  # a run that was stopped before its index
    with pytest.raises(CacheError, match=r"already holds 24 images.*--overwrite"):
        parse(replace(config, out=out, limit=6))
    assert parse(replace(config, out=out, limit=6, overwrite=True)).images == 6
    assert [p.name for p in shard_folder(out).iterdir()] == ["00000.h5"]


def test_probabilities_are_kept_on_demand_at_a_quarter_of_the_size(
    config: ParseConfig, parsed: ParseResult, tmp_path: Path
) -> None:
    cache = MaskCache(parse(replace(config, out=tmp_path / "masks.h5", probs=True, size=(48, 20))).path)
    probs = cache.probs(slice(None))
    assert probs.shape == (24, 8, 12, 5)
    assert np.abs(probs.astype(int).sum(1) - 255).max() <= 4  # eight roundings
    agree = probs.argmax(1).repeat(4, 1).repeat(4, 2) == cache[:]
    assert agree.mean() > 0.5
    with h5py.File(cache.path, "r") as file:
        assert np.array_equal(file["probs"][:], probs)
    with h5py.File(parsed.path, "r") as file:
        assert "probs" not in file


def test_without_flip_and_in_another_size_is_another_cache(
    config: ParseConfig, parsed: ParseResult, tmp_path: Path
) -> None:
    flipped, whole = MaskCache(parsed.path), parse(replace(config, out=tmp_path / "n.h5", flip=False, size=(40, 24)))
    cache = MaskCache(whole.path)
    assert cache.size == (40, 24)
    assert cache[0].shape == (40, 24)
    assert cache.fingerprint != flipped.fingerprint
    assert cache.made_by["flip"] is False


def test_each_file_is_hashed_once_by_a_run_whether_kept_or_written(
    copied: ParseConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert copied.out is not None
    (shard_folder(copied.out) / "00001.h5").unlink()
    hashed: list[str] = []

    def counted(path: Path) -> str | None:
        hashed.append(path.name)
        return sealed_hash(path)

    monkeypatch.setattr("parsing.cache.shard.sealed_hash", counted)
    assert parse(copied).parsed == 10
    assert sorted(hashed) == ["00000.h5", "00001.h5", "00002.h5", copied.out.name]


def test_a_changed_byte_of_what_a_file_says_of_itself_is_mended_as_any_other_damage(copied: ParseConfig) -> None:
    assert copied.out is not None
    before = hashes(copied.out)
    for path in (copied.out, shard_folder(copied.out) / "00001.h5"):
        whole = path.read_bytes()
        for wrong in (b'"parser":"streeX"', b'"parser":"\x80reet"'):
            assert b'"parser":"street"' in whole
            path.write_bytes(whole.replace(b'"parser":"street"', wrong.ljust(17)))
            assert not verify(VerifyConfig(copied.out)).sound
            assert parse(copied).images == 24
            assert hashes(copied.out) == before


def test_a_failing_worker_is_one_line_and_finished_shards_are_kept(
    copied: ParseConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert copied.out is not None
    before = hashes(copied.out)
    (shard_folder(copied.out) / "00001.h5").unlink()

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("no memory left\nand more")

    with monkeypatch.context() as patch:
        patch.setattr("parsing.cache.builder.write_shard", broken)
        with pytest.raises(CsclError, match="a worker failed: RuntimeError: no memory left") as caught:
            parse(copied)
    assert not isinstance(caught.value, InputError)
    assert parse(copied).parsed == 10
    assert hashes(copied.out) == before


def test_the_history_in_the_cache_is_plain_json(parsed: ParseResult) -> None:
    cache = MaskCache(parsed.path)
    assert json.loads(json.dumps(cache.made_by)) == cache.made_by
    assert set(cache.made_by) == {"parser", "weights", "preprocessing", "labels", "size", "flip", "probs"}
