"""`cscl masks verify`: says what is wrong with a parsed cache, and mends it to the same bytes."""

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from click.testing import CliRunner
from support.parses import parse_config

import cli
from parsing import CacheWriter, MaskCache
from parsing.cache.index import shard_folder
from parsing.cache.lock import LockedError, hold_lock
from parsing.cache.shard import Status, read_columns, write_shard
from parsing.errors import CacheError, CsclError, MissingError
from parsing.files import file_hash
from pipelines.masks.info import info
from pipelines.masks.verify import VerifyConfig, verify
from pipelines.parse.run import ParseConfig, parse


@pytest.fixture(autouse=True, scope="module")
def small_shards() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("parsing.cache.builder.MOST_IN_A_SHARD", 10)
        yield


@pytest.fixture(scope="module")
def parsed(tiny_figures: Path, tiny_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> ParseConfig:
    """24 images in three shards; copy the folder before changing it."""
    folder = tmp_path_factory.mktemp("whole")
    shutil.copytree(tiny_figures, folder / "SYSU-MM01")
    config = parse_config(folder / "SYSU-MM01", tiny_weights, folder / "masks.h5")
    parse(config)
    return config


@pytest.fixture
def config(parsed: ParseConfig, tmp_path: Path) -> VerifyConfig:
    """To verify and repair a copy, which lies as its images do."""
    assert parsed.out is not None
    shutil.copytree(parsed.out.parent, tmp_path, dirs_exist_ok=True)
    return VerifyConfig(tmp_path / "masks.h5", repair=True, weights=parsed.parser.weights, device="cpu", workers=0)


def hashes(index: Path) -> dict[str, str]:
    return {p.name: file_hash(p) for p in (*index.parent.glob(f"{index.name}*"), *shard_folder(index).iterdir())}


def test_a_whole_cache_is_found_whole_and_nothing_is_written(config: VerifyConfig) -> None:
    before = {p: p.stat().st_mtime_ns for p in config.cache.parent.rglob("*.h5")}
    report = verify(config)
    assert (report.sound, report.shards, report.images, report.damage) == (True, 3, 24, ())
    assert {p: p.stat().st_mtime_ns for p in config.cache.parent.rglob("*.h5")} == before
    assert report.lines() == [f"{config.cache}: 24 masks in 3 whole shards, whole"]


def test_random_damage_is_found_and_repaired_to_the_same_bytes(config: VerifyConfig) -> None:
    before = hashes(config.cache)
    generator = np.random.default_rng(5)
    files = [config.cache, *sorted(shard_folder(config.cache).iterdir())]
    for _ in range(4):
        hurt = [files[i] for i in generator.choice(len(files), 2, replace=False)]
        for path in hurt:
            content = path.read_bytes()
            kind = generator.integers(3)
            if kind == 0:
                path.unlink()
            elif kind == 1:
                path.write_bytes(content[: generator.integers(len(content))])
            else:
                start = int(generator.integers(len(content) - 200))
                path.write_bytes(content[:start] + generator.bytes(200) + content[start + 200 :])
        looked = verify(replace(config, repair=False))
        assert {d.path for d in looked.damage} == set(hurt)
        mended = verify(config)
        assert mended.sound
        assert set(mended.repaired) == set(looked.damage)
        assert hashes(config.cache) == before


def test_noise_in_what_a_shard_says_of_itself_is_repaired(config: VerifyConfig) -> None:
    before = hashes(config.cache)
    path = shard_folder(config.cache) / "00001.h5"
    content = bytearray(path.read_bytes())
    start = content.index(b'"parser"')
    content[start : start + 50] = np.random.default_rng(0).bytes(50)
    path.write_bytes(content)
    assert [damage.path for damage in verify(replace(config, repair=False)).damage] == [path]
    assert verify(replace(config, repair=True)).sound
    assert hashes(config.cache) == before


def test_the_index_alone_is_rebuilt_without_parser_or_images(config: VerifyConfig) -> None:
    before = hashes(config.cache)
    shutil.rmtree(config.cache.parent / "SYSU-MM01")
    config.cache.unlink()
    (shard_folder(config.cache) / "00001.h5.0123abcd.part").touch()
    assert verify(replace(config, weights=None)).sound
    assert hashes(config.cache) == before


def test_a_renamed_cache_beside_one_of_its_old_name_is_read_by_plain_h5py_once_it_is_repaired(tmp_path: Path) -> None:
    def write(value: int) -> None:
        with CacheWriter(tmp_path / "masks.h5", labels="lip", size=(8, 4), parser="own") as cache:
            cache.add("1.jpg", np.full((8, 4), value, np.uint8))

    def read() -> set[int]:
        with h5py.File(tmp_path / "old.h5") as file:
            return set(file["labels"][0].ravel().tolist())

    write(3)
    (tmp_path / "masks.h5").rename(tmp_path / "old.h5")
    (tmp_path / "masks.shards").rename(tmp_path / "old.shards")
    write(7)
    assert read() == {7}
    assert info(MaskCache(tmp_path / "old.h5")).other_folders == ("masks.shards",)
    assert not verify(VerifyConfig(tmp_path / "old.h5")).sound
    assert verify(VerifyConfig(tmp_path / "old.h5", repair=True)).sound
    assert read() == {3}
    assert info(MaskCache(tmp_path / "old.h5")).other_folders == ()


def test_an_image_that_became_readable_is_parsed_again(config: VerifyConfig, parsed: ParseConfig) -> None:
    whole = hashes(config.cache)
    root = config.cache.parent / "SYSU-MM01"
    name = MaskCache(config.cache).names[12]
    content = (root / name).read_bytes()
    (root / name).write_bytes(b"")
    config.cache.unlink()
    (shard_folder(config.cache) / "00001.h5").unlink()
    assert parse(replace(parsed, root=root, out=config.cache)).unreadable == (name,)
    report = verify(config)
    assert (report.sound, report.unmasked, report.readable) == (True, (name,), ())
    assert any("note: 1 images are recorded without a mask" in line for line in report.lines())
    (root / name).write_bytes(content)
    looked = verify(replace(config, repair=False))
    assert (looked.sound, looked.readable, looked.damage) == (False, (name,), ())
    assert verify(config).sound
    assert hashes(config.cache) == whole


def test_shards_that_a_lost_index_told_of_are_parsed_again(config: VerifyConfig) -> None:
    before = hashes(config.cache)
    config.cache.unlink()
    (shard_folder(config.cache) / "00002.h5").unlink()
    looked = verify(replace(config, repair=False)).lines()[-1]
    assert looked.endswith("a run that was stopped goes on with its command; --repair mends it otherwise")
    assert verify(config).images == 24
    assert hashes(config.cache) == before


def test_images_that_have_moved_are_found_with_root(config: VerifyConfig, tmp_path: Path) -> None:
    before = hashes(config.cache)
    (tmp_path / "SYSU-MM01").rename(tmp_path / "moved")
    (shard_folder(config.cache) / "00001.h5").unlink()
    assert verify(replace(config, root=tmp_path / "moved")).sound
    assert hashes(config.cache) == before


def test_a_mask_that_another_program_did_not_make_is_no_damage(config: VerifyConfig, tmp_path: Path) -> None:
    root = tmp_path / "SYSU-MM01"
    out = tmp_path / "mine.h5"
    names = MaskCache(config.cache).names[:2]
    with CacheWriter(out, labels="lip", size=(8, 4), parser="mine", data_set="sysu", root=root) as cache:
        cache.add(names[0], np.ones((8, 4), np.uint8))
        cache.add(names[1], None)
    report = verify(VerifyConfig(out))
    assert (report.sound, report.readable, report.unmasked) == (True, (), (names[1],))


@pytest.mark.parametrize("parser", ["mine", "schp-lip"])
def test_nobody_is_sent_to_a_command_that_refuses_masks_of_other_code(parser: str, tmp_path: Path) -> None:
    out = tmp_path / "own.h5"
    with CacheWriter(out, labels="lip", size=(8, 4), parser=parser, data_set="sysu") as cache:
        cache.add("1.jpg", np.ones((8, 4), np.uint8))
    os.truncate(shard_folder(out) / "00000.h5", 900)
    config = VerifyConfig(out, repair=True)
    with pytest.raises(CacheError) as refused:
        verify(config)
    with pytest.raises(CacheError) as unread:
        MaskCache(out)[0]
    for said in (verify(replace(config, repair=False)).lines()[-1], str(refused.value), str(unread.value)):
        assert "from a copy" in said
        assert "overwrite=True" in said
        assert "cscl parse" not in said


def test_images_that_killed_a_parser_which_repair_does_not_run_are_tried_again_once_their_shard_is_removed(
    config: VerifyConfig, parsed: ParseConfig, tmp_path: Path
) -> None:
    """A parser of a Python file stands for all that a cache alone does not find again."""
    parser = tmp_path / "own.py"
    parser.write_text(
        "from parsing.parsers.street import build as load\nfrom parsing.parsers.spec import ParserSpec\n"
        "def build(weights, device):\n    return load(ParserSpec('street', weights, device))\n"
    )
    spec = replace(parsed.parser, name=f"python:{parser}")
    again = replace(parsed, root=tmp_path / "SYSU-MM01", out=tmp_path / "own.h5", parser=spec)
    parse(again)
    shard, whole = shard_folder(again.index) / "00001.h5", hashes(again.index)
    labels, (columns, attributes) = MaskCache(again.index)[10:20], read_columns(shard)
    columns.status[3], labels[3] = Status.FATAL, 0
    write_shard(shard, labels, columns, attributes)
    own = replace(config, cache=again.index)
    assert parse(again).fatal == (columns.names[3],)  # the command alone does not try it again
    with pytest.raises(
        CacheError, match=r"the `cscl parse` that made it mends it, and tries .* if you remove \S*00001\.h5"
    ):
        verify(own)
    again.index.unlink()
    assert verify(own).sound  # what needs no parser is mended all the same
    shard.unlink()
    assert parse(again).fatal == ()
    assert hashes(again.index) == whole


def test_an_index_that_was_moved_without_its_folder_says_which_one_it_lacks(config: VerifyConfig) -> None:
    moved = config.cache.rename(config.cache.with_name("moved.h5"))
    folder = shard_folder(moved)
    with pytest.raises(CacheError, match=r"moved\.shards is not there.*renamed together.*\(masks\.shards was its name"):
        MaskCache(moved)[0]
    report = verify(replace(config, cache=moved, repair=False))
    assert [d.path for d in report.damage if d.kind == "shard"] == [folder]
    assert report.lines()[-1].endswith("damaged; put its folder there; if it is lost, --repair mends it")
    first, second, *_ = info(MaskCache(moved)).lines()
    assert first.startswith(f"24 masks are missing: {folder} is not there")
    assert second.startswith(f"{moved}: 24 masks")  # nobody is sent to --repair, which would parse all again
    shard_folder(config.cache).rename(folder)
    assert MaskCache(moved)[0].any()


def test_what_it_cannot_mend_it_says(config: VerifyConfig, tmp_path: Path) -> None:
    shards = shard_folder(config.cache)
    (shards / "00001.h5").unlink()
    with pytest.raises(CacheError, match="another parser or options"):
        verify(replace(config, weights=None))
    (tmp_path / "SYSU-MM01").rename(tmp_path / "moved")
    with pytest.raises(MissingError, match="SYSU-MM01"):
        verify(config)
    assert not (shards / "00001.h5").exists()
    for path in (config.cache, *shards.iterdir()):
        os.truncate(path, 600)
    with pytest.raises(CacheError, match="nothing of it is whole; run the command that made it"):
        verify(config)


def test_a_part_of_a_data_set_without_its_index_is_left_to_the_command_that_chose_it(
    config: VerifyConfig, parsed: ParseConfig, tmp_path: Path
) -> None:
    out = tmp_path / "few.h5"
    parse(replace(parsed, root=tmp_path / "SYSU-MM01", out=out, limit=12))
    few = replace(config, cache=out)
    before = hashes(out)
    (shard_folder(out) / "00001.h5").unlink()
    assert verify(few).sound
    assert hashes(out) == before
    (shard_folder(out) / "00000.h5").unlink()
    out.unlink()
    with pytest.raises(CacheError, match="run the command that made it again"):
        verify(few)


def test_a_cache_that_is_being_written_is_not_repaired(config: VerifyConfig) -> None:
    config.cache.unlink()
    with hold_lock(config.cache, "cscl parse"), pytest.raises(LockedError, match="cscl parse, process"):
        verify(config)
    assert issubclass(LockedError, CsclError)


@pytest.mark.parametrize("option", ["weights", "workers"])
def test_what_parses_again_needs_repair(config: VerifyConfig, option: str) -> None:
    value = config.weights if option == "weights" else 2
    result = CliRunner().invoke(cli.main, ["masks", "verify", str(config.cache), f"--{option}", str(value)])
    assert (result.exit_code, "nothing is parsed without --repair" in result.stderr) == (2, True)


def test_the_command_exits_1_until_the_cache_is_mended(config: VerifyConfig) -> None:
    (shard_folder(config.cache) / "00002.h5").unlink()

    def run(*more: object) -> tuple[int, str]:
        result = CliRunner().invoke(cli.main, ["masks", "verify", str(config.cache), *map(str, more)])
        return result.exit_code, result.stdout

    code, text = run()
    assert (code, "00002.h5 is missing with 4 masks" in text, "--repair mends it" in text) == (1, True, True)
    code, text = run("--json")
    assert (code, json.loads(text)["damage"][0]["masks"], json.loads(text)["sound"]) == (1, 4, False)
    code, text = run("--repair", "--weights", config.weights, "--device", "cpu", "--workers", 0)
    assert (code, "repaired:" in text, "24 masks in 3 whole shards, whole" in text) == (0, True, True)
    assert run()[0] == 0
    assert Status.FATAL not in MaskCache(config.cache).status
