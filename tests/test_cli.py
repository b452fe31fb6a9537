"""The `cscl` command: what it prints, and exit codes: 0, 1 for what failed, 2 for what the user got wrong."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image
from safetensors.torch import save_file
from support.caches import edit

from cli import main
from data.simulators.collage.levels import CHOICES
from parsing import MaskCache
from parsing.errors import CsclError


def cscl(*arguments: object) -> Result:
    """Run the command in this process; an exception that is no exit of its own fails the test."""
    return CliRunner().invoke(main, [str(a) for a in arguments], catch_exceptions=False)


@pytest.fixture
def parse(tiny_figures: Path, tiny_weights: Path, tmp_path: Path) -> Callable[..., Result]:
    """`parse("--limit", 3)` parses the drawn data set into `tmp_path`/masks.h5; later options win."""

    def run(*options: object) -> Result:
        given = ("--dataset", "sysu", "--root", tiny_figures, "--out", tmp_path / "masks.h5", "--weights", tiny_weights,
                 "--size", "32x16", "--workers", 0, "--device", "cpu")  # fmt: skip
        return cscl("parse", *given, *options)

    return run


def refused(result: Result, *words: object) -> None:
    """Exit code 2 and an error that begins with the command's name and tells `words` in its first line."""
    assert result.exit_code == 2, result.output
    first, *more = [line for line in result.stderr.splitlines() if line and not line.startswith("parse sysu")]
    assert first.startswith("cscl: ")
    assert all(line.startswith("  ") for line in more), result.stderr  # the folders expected, where any are
    for word in words:
        assert str(word) in first


def test_parse_prints_where_the_masks_are_and_ends_well(parse: Callable[..., Result], tmp_path: Path) -> None:
    result = parse("--limit", 4)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith(f"{tmp_path / 'masks.h5'}: 4 masks, 4 parsed now in ")
    again = parse("--limit", 4, "--json")
    assert again.exit_code == 0
    read = json.loads(again.stdout)
    assert (read["path"], read["images"], read["parsed"]) == (str(tmp_path / "masks.h5"), 4, 0)
    assert len(MaskCache(tmp_path / "masks.h5")) == 4


def test_the_users_own_words_find_the_data_set_and_name_the_cache(
    tiny_figures: Path, tiny_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CSCL_DATA", raising=False)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "SYSU-MM01").symlink_to(tiny_figures)
    options = ("--limit", 3, "--workers", 0, "--weights", tiny_weights, "--size", "32x16")
    assert cscl("parse", "--dataset", "sysu", *options).exit_code == 0
    cache = MaskCache("data/sysu_masks.h5")
    assert len(cache) == 3
    assert (cache.root / cache.names[0]).is_file()
    monkeypatch.setenv("CSCL_DATA", str(tiny_figures.parent))
    assert cscl("parse", "--dataset", "sysu", "--out", "own.h5", *options).exit_code == 0
    assert MaskCache("own.h5").root == tiny_figures


def test_an_unreadable_image_is_named_and_ends_with_1_after_everything_else_is_done(
    parse: Callable[..., Result], tiny_figures: Path, tmp_path: Path
) -> None:
    root = tmp_path / "SYSU-MM01"
    shutil.copytree(tiny_figures, root)
    bad = sorted(p.relative_to(root).as_posix() for p in root.glob("cam2/*/*.jpg"))[0]
    (root / bad).write_bytes(b"")
    result = parse("--root", root)
    assert result.exit_code == 1
    assert "24 masks, 24 parsed now" in result.stdout
    assert f"cscl: images recorded without a mask: 1 (unreadable): {bad}" in result.stderr
    assert len(MaskCache(tmp_path / "masks.h5")) == 24


def test_options_reach_the_cache(parse: Callable[..., Result], tmp_path: Path) -> None:
    assert parse("--limit", 2, "--probs", "--no-flip", "--size", "48X24").exit_code == 0
    cache = MaskCache(tmp_path / "masks.h5")
    assert (cache.size, cache.made_by["probs"], cache.made_by["flip"]) == ((48, 24), True, False)


def test_wrong_roots_are_refused_in_a_line(parse: Callable[..., Result], tmp_path: Path) -> None:
    refused(parse("--root", tmp_path / "none"), "sysu", tmp_path / "none")
    (tmp_path / "empty").mkdir()
    refused(parse("--root", tmp_path / "empty"), tmp_path / "empty", "empty")
    for name in ("Visible", "Thermal", "idx"):
        (tmp_path / "other" / name).mkdir(parents=True)
    refused(parse("--root", tmp_path / "other"), tmp_path / "other", "looks like regdb")
    (tmp_path / "file").write_text("")
    refused(parse("--root", tmp_path / "file"), tmp_path / "file")
    assert not (tmp_path / "masks.h5").exists()


def test_wrong_parsers_and_weights_are_refused_in_a_line(
    parse: Callable[..., Result], tmp_path: Path, tiny_weights: Path
) -> None:
    refused(parse("--parser", "magic", "--limit", 2), "magic", "street")
    refused(parse("--weights", tmp_path / "none.safetensors"), tmp_path / "none.safetensors")
    (tmp_path / "text.safetensors").write_text("no weights")
    refused(parse("--weights", tmp_path / "text.safetensors"), "text.safetensors", "safetensors file")
    save_file({"a": torch.zeros(2)}, tmp_path / "foreign.safetensors")
    refused(parse("--weights", tmp_path / "foreign.safetensors"), "foreign.safetensors")
    refused(parse("--device", "warp"), "--device warp")
    refused(parse("--narrow"), "--narrow", "street does not take it")
    refused(parse("--bf16"), "--bf16", "street does not take it")
    refused(parse("--size", "3x3"), "--size 3x3")
    refused(parse("--limit", 0), "--limit 0")


def test_a_cache_of_something_else_is_refused_and_replaced_when_told(
    parse: Callable[..., Result], tmp_path: Path
) -> None:
    assert parse("--limit", 3).exit_code == 0
    refused(parse("--limit", 3, "--no-flip"), tmp_path / "masks.h5", "flip True, now False", "--overwrite")
    refused(parse("--limit", 3, "--size", "48x24"), "size", "--overwrite")
    refused(parse("--limit", 2), "already holds 3 images", "--overwrite")
    assert parse("--limit", 2, "--size", "48x24", "--overwrite").exit_code == 0
    assert MaskCache(tmp_path / "masks.h5").size == (48, 24)


def test_a_place_that_cannot_be_written_is_refused_in_a_line(parse: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    refused(parse("--out", tmp_path / "file" / "masks.h5"), tmp_path / "file", "cannot be written")
    refused(parse("--out", tmp_path), "--out", ".h5")


@pytest.mark.parametrize("size", ["288", "axb", "288x", "1x2x3"])
def test_a_size_that_is_none_is_refused(parse: Callable[..., Result], size: str) -> None:
    result = parse("--size", size)
    assert result.exit_code == 2
    assert "HEIGHTxWIDTH" in result.stderr


def test_masks_info_prints_lines_or_json(parse: Callable[..., Result], tmp_path: Path) -> None:
    parse("--limit", 4)
    shown = cscl("masks", "info", tmp_path / "masks.h5")
    assert shown.exit_code == 0
    assert "4 masks of sysu, 32x16" in shown.stdout
    assert "MIT" in shown.stdout
    read = json.loads(cscl("masks", "info", tmp_path / "masks.h5", "--json").stdout)
    assert read["images"] == 4
    refused(cscl("masks", "info", tmp_path / "none.h5"), tmp_path / "none.h5", "cscl parse")
    (tmp_path / "text.h5").write_text("text")
    refused(cscl("masks", "info", tmp_path / "text.h5"), tmp_path / "text.h5", "no mask cache")


def test_data_make_makes_what_data_check_counts(tmp_path: Path) -> None:
    out, sheet = tmp_path / "SYSU-MM01", tmp_path / "sheet.png"
    make = ("data", "make", "pedestrians", "--out", out, "--train", 2, "--test", 1, "--shots", 1)
    made = cscl(*make, "--sheet", sheet)
    assert made.exit_code == 0, made.output
    assert f"{out}: a simulated data set" in made.stdout
    as_json = cscl(*make, "--sheet", sheet, "--json", "--overwrite")
    assert json.loads(as_json.stdout) == {"root": str(out), "sheet": str(sheet)}
    with Image.open(sheet) as picture:
        assert picture.width > 100
    checked = cscl("data", "check", "--dataset", "sysu", "--root", out)
    assert checked.exit_code == 1  # three people are not the published 491
    assert "491" in checked.stdout
    read = json.loads(cscl("data", "check", "--dataset", "sysu", "--root", out, "--json").stdout)
    found = {row["what"]: row["found"] for row in read["rows"]}
    assert (found["training identities"], found["test identities"], read["ok"]) == (2, 1, False)
    refused(cscl(*make), out)
    assert cscl(*make, "--overwrite").exit_code == 0


def test_data_make_still_takes_its_earlier_names_and_says_the_present_one(tmp_path: Path) -> None:
    made = cscl("data", "make", "figures", "--train", 2, "--test", 1, "--shots", 1, "--out", tmp_path / "out")
    assert (made.exit_code, made.stderr.count("is called `cscl data make pedestrians` now")) == (0, 1)


def test_data_make_collage_takes_the_difficulties_that_there_are(tmp_path: Path) -> None:
    make = ("data", "make", "collage", "--photos", tmp_path / "none", "--out", tmp_path / "out", "--difficulty")
    assert cscl(*make, "mild").stderr == f"cscl: --photos {tmp_path / 'none'}: there is no such folder\n"
    (tmp_path / "none").mkdir()
    for name in CHOICES:
        assert cscl(*make, name).stderr.startswith("cscl: no photos in the photo folder")
    result = cscl(*make, "brutal")
    assert result.exit_code == 2
    last = result.stderr.splitlines()[-1]
    assert all(f"'{name}'" in last for name in ("brutal", *CHOICES))


def test_data_check_ends_well_where_all_is_as_it_should_be(tmp_path: Path) -> None:
    for light in ("visible", "infrared"):
        (tmp_path / light / "anna").mkdir(parents=True)
        Image.new("RGB", (8, 16)).save(tmp_path / light / "anna" / "1.jpg")
    assert cscl("data", "check", "--dataset", "folder", "--root", tmp_path).exit_code == 0
    refused(cscl("data", "check", "--dataset", "sysu", "--root", tmp_path), "looks like folder")


def test_what_failed_ends_with_1_and_an_interruption_says_how_to_go_on(
    parse: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    def raising(error: BaseException) -> Callable[[object], None]:
        def run(_: object) -> None:
            raise error

        return run

    monkeypatch.setattr("pipelines.parse.run.parse", raising(CsclError("the disk is full")))
    result = parse()
    assert (result.exit_code, result.stderr) == (1, "cscl: the disk is full\n")
    monkeypatch.setattr("pipelines.parse.run.parse", raising(KeyboardInterrupt()))
    result = parse()
    assert result.exit_code == 130
    assert result.stderr == "cscl: stopped; finished shards are kept, the same command continues\n"


def test_parse_with_nothing_to_do_names_no_rate(parse: Callable[..., Result]) -> None:
    assert "images per second" in parse("--limit", 2).stdout
    again = parse("--limit", 2).stdout
    assert "0 parsed now" in again
    assert "per second" not in again


def test_a_dry_run_counts_what_is_there_and_what_is_done(parse: Callable[..., Result], tmp_path: Path) -> None:
    def dry(*options: object) -> dict[str, object]:
        result = parse("--limit", 4, "--dry-run", "--json", *options)
        assert result.exit_code == 0, result.stderr
        read: dict[str, object] = json.loads(result.stdout)
        return read

    before = dry()
    assert (before["images"], before["shards"], before["done_images"]) == (4, 1, 0)
    assert list(tmp_path.glob("masks*")) == []
    assert parse("--limit", 4).exit_code == 0
    assert (dry()["done_images"], dry()["refused"], dry()["notes"]) == (4, "", [])
    assert dry("--overwrite")["done_images"] == 0
    changed = dry("--no-flip", "--size", "48x24")
    assert changed["done_images"] == 0
    assert "made from another parser or options (flip True, now False)" in str(changed["refused"])
    fewer = parse("--limit", 2, "--dry-run").stdout.splitlines()[-1]
    assert fewer.startswith("note: the run would be refused: ")
    assert "already holds 4 images, this run would leave some of them out" in fewer
    shutil.copytree(tmp_path / "masks.shards", tmp_path / "deeper" / "masks.shards")
    elsewhere = dry("--out", tmp_path / "deeper" / "masks.h5")
    assert elsewhere["done_images"] == 0
    assert "was made from another folder" in str(elsewhere["refused"])
    first, second = parse("--limit", 4, "--dry-run").stdout.splitlines()
    assert first.endswith(" in 1 shard")
    assert second == "done: 4 images in 1 shard, 0 to parse"


def test_a_moved_data_set_is_asked_for_by_its_option(parse: Callable[..., Result], tmp_path: Path) -> None:
    assert parse("--limit", 4).exit_code == 0
    with edit(tmp_path / "masks.h5") as index:
        index.attrs["root"] = "gone"
    for command in (("train", "--masks"), ("masks", "score")):
        refused(cscl(*command, tmp_path / "masks.h5"), tmp_path / "gone", "--root")
    assert (
        "gone (not there; commands that read them need --root)" in cscl("masks", "info", tmp_path / "masks.h5").stdout
    )


def test_a_picture_of_another_kind_is_refused(tmp_path: Path) -> None:
    search = ("search", "--run", tmp_path, "--query", tmp_path, "--gallery", tmp_path)
    refused(cscl(*search, "--out", "s.jpg"), "--out s.jpg", ".png")


def test_the_shipped_recipes_are_listed_without_another_option() -> None:
    listed = cscl("train", "--recipe", "list")
    assert listed.exit_code == 0
    assert [line.split()[0] for line in listed.stdout.splitlines()] == ["agw", "cscl", "demo", "llcm", "regdb", "small"]
    assert all(len(line.split()) > 5 for line in listed.stdout.splitlines())
    for given in (("--recipe", "list", "--json"), ("--json", "--recipe", "list")):
        purposes = json.loads(cscl("train", *given).stdout)
        assert [f"{name:5s}  {purpose}" for name, purpose in purposes.items()] == listed.stdout.splitlines()
