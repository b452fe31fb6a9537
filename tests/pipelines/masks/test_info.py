"""`cscl masks info`: the sums over a cache's columns, and the same as JSON."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from support.caches import edit

from cli import main
from parsing import MaskCache
from parsing.cache.index import shard_folder
from parsing.cache.shard import Status, read_columns
from pipelines.masks.info import info

MakeCache = Callable[..., MaskCache]
STATUS = [Status.OK] * 5 + [Status.UNREADABLE, Status.EMPTY, Status.EMPTY]


@pytest.fixture
def cache(make_cache: MakeCache) -> MaskCache:
    return make_cache("lip", status=STATUS)


def test_images_are_counted_by_modality_and_status(cache: MaskCache) -> None:
    report = info(cache)
    assert report.images == 8
    assert report.by_modality == {"visible": 8}
    assert report.by_status == {"ok": 5, "unreadable": 1, "empty": 2, "fatal": 0}
    files = [cache.path, *shard_folder(cache.path).iterdir()]
    assert report.bytes == sum(p.stat().st_size for p in files)


def test_the_size_of_a_small_cache_is_not_0(cache: MaskCache) -> None:
    report = info(cache)
    shown = f"{report.bytes / 2**10:.1f} KiB ({report.bytes / 2**13:.1f} KiB per image)"
    assert any(line.endswith(shown) for line in report.lines())
    assert any("3.0 MiB (384.0 KiB per image)" in line for line in replace(report, bytes=3 * 2**20).lines())


def test_confidence_is_the_mean_over_the_parsed_images_of_a_modality(cache: MaskCache) -> None:
    with edit(cache.path) as file:
        file["modality"][:] = [0, 0, 0, 1, 1, 1, 1, 1]
        file["confidence"][:] = [0.2, 0.4, 0.6, 0.5, 0.7, 0.0, 0.9, 0.9]
    report = info(MaskCache(cache.path))
    assert report.by_modality == {"visible": 3, "infrared": 5}
    assert report.confidence == pytest.approx({"visible": 0.4, "infrared": 0.6})


def test_a_modality_with_nothing_parsed_has_no_confidence(make_cache: MakeCache) -> None:
    report = info(make_cache("lip", status=[Status.EMPTY] * 8))
    assert report.confidence == {}
    assert report.lines()


def test_the_lines_say_where_the_masks_come_from(cache: MaskCache) -> None:
    text = "\n".join(info(cache).lines())
    for wanted in (
        f"{cache.path}: 8 masks of sysu, 48x24",
        str(cache.root),
        "ok 5, unreadable 1, empty 2",
        "lip: background, hat",
        "MIT",
        cache.fingerprint,
        "visible 0.900",
    ):
        assert wanted in text


def test_the_json_holds_all_of_it(cache: MaskCache) -> None:
    report = info(cache)
    read = json.loads(json.dumps(report.to_json()))
    assert read["path"] == str(cache.path)
    assert read["root"] == str(cache.root)
    assert read["by_status"] == report.by_status
    assert read["made_by"]["labels"]["name"] == "lip"
    assert read["fingerprint"] == cache.fingerprint


def test_what_is_no_cache_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.h5").write_text("text")
    for name in ("none.h5", "text.h5"):
        refused = CliRunner().invoke(main, ["masks", "info", str(tmp_path / name)])
        assert refused.exit_code == 2
        assert name in refused.stderr


def test_missing_shards_are_named_with_their_masks(cache: MaskCache) -> None:
    assert info(cache).missing_shards == ()
    shard, *others = sorted(shard_folder(cache.path).iterdir())
    lost = len(read_columns(shard)[0])
    shard.unlink()
    report = info(cache)
    assert (report.missing_shards, report.missing_masks) == ((shard.name,), lost)
    said = f"{lost} masks are missing: no {shard.parent.name}/{shard.name}; copy the folder beside the index"
    assert report.lines()[0] == said
    for one in others:
        one.unlink()
    assert json.loads(json.dumps(info(cache).to_json()))["missing_masks"] == 8
