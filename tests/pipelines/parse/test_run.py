"""`cscl parse` end to end on drawn pedestrians: whole, resumed, mended, refused; the same bytes from any workers."""

import json
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from PIL import Image

from data.loading.images import load_images
from data.registry import open_data_set
from parsing import MaskCache
from parsing.cache.index import shard_folder
from parsing.cache.sealed import sealed_hash, write_whole
from parsing.cache.shard import Status
from parsing.errors import CacheError, CsclError, InputError, MissingError
from parsing.files import file_hash
from parsing.images import read_image
from parsing.modality import MODALITIES
from parsing.parsers.confidence import confidence, winners
from parsing.parsers.registry import ParserSpec
from parsing.parsers.street import StreetParser, save_street
from parsing.parsers.street_network import StreetNetwork
from pipelines.masks.export import ExportConfig, export
from pipelines.masks.verify import VerifyConfig, verify
from pipelines.parse.run import ParseConfig, ParseResult, parse

SIZE = (32, 16)


@pytest.fixture(autouse=True, scope="module")
def small_shards() -> Iterator[None]:
    """Ten images a shard, so that 24 make three."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("parsing.cache.builder.MOST_IN_A_SHARD", 10)
        yield


@pytest.fixture(scope="module")
def config(tiny_figures: Path, tiny_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> ParseConfig:
    out = tmp_path_factory.mktemp("parsed") / "masks.h5"
    return ParseConfig("sysu", tiny_figures, out, ParserSpec(weights=tiny_weights), SIZE, workers=0)


@pytest.fixture(scope="module")
def parsed(config: ParseConfig) -> ParseResult:
    """The whole data set parsed; copy it before changing it."""
    return parse(config)


@pytest.fixture
def copied(parsed: ParseResult, config: ParseConfig, tmp_path: Path) -> ParseConfig:
    """The configuration of a copy of the parsed cache; it lies as deep, so the way to the images is the same."""
    shutil.copytree(parsed.path.parent, tmp_path, dirs_exist_ok=True)
    return replace(config, out=tmp_path / "masks.h5")


def hashes(index: Path) -> dict[str, str]:
    return {p.name: file_hash(p) for p in (*index.parent.glob(f"{index.name}*"), *shard_folder(index).iterdir())}


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
    assert cache.labels.name == "street"
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
        sure = float(confidence(probabilities, *winners(probabilities), agreement, parser.labels))
        assert float(cache.confidence[cache.number(name)]) == pytest.approx(sure, abs=0.02)


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
    out = tmp_path / "masks.h5"
    result = parse(replace(config, out=out, workers=2, batch_size=32))
    assert (result.images, result.parsed) == (24, 24)
    assert hashes(out) == hashes(parsed.path)


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
        with pytest.raises(CacheError, match=rf"made from another .*{what}.*--overwrite"):
            parse(other)
        assert hashes(copied.out) == before
    copied.out.unlink()  # shards alone are protected as well
    with pytest.raises(CacheError, match="made from another"):
        parse(refused["flip"])
    replaced = parse(replace(refused["data set"], overwrite=True))
    assert replaced.images == 2
    assert [p.name for p in shard_folder(copied.out).iterdir()] == ["00000.h5"]


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


def test_a_file_that_is_no_cache_is_never_replaced_unasked(config: ParseConfig, tmp_path: Path) -> None:
    notes = tmp_path / "notes.h5"
    notes.write_text("years of work")
    with pytest.raises(CacheError, match=r"notes\.h5 .*no mask cache.*--overwrite"):
        parse(replace(config, out=notes))
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
    again = parse(replace(own, pattern="{camera}/{identity}/*"))
    cache = MaskCache(own.out)
    assert again.parsed == 0
    assert cache.pattern == "{camera}/{identity}/*"
    assert cache.fingerprint == before.fingerprint
    assert cache.camera.tolist() == [1, 2, 1, 2]
    assert np.array_equal(cache[:], before[:])
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
        return cache, load_images(root, cache.names, (32, 16)), sizes

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
