"""Counting a data set against its published numbers."""

import json
import os
from pathlib import Path

import pytest
from PIL import Image

from data.readers.regdb import RegDB
from data.registry import open_data_set
from data.simulators.layouts import MARK
from parsing.errors import InputError, MissingError
from pipelines.datasets.check import CheckReport, check, compare_published
from pipelines.parse.run import ParseConfig, parse


def make_sysu(root: Path) -> Path:
    """Identities 1, 2 to train, 3 to test, one image each in all six cameras."""
    for camera in range(1, 7):
        for identity in (1, 2, 3):
            folder = root / f"cam{camera}" / f"{identity:04d}"
            folder.mkdir(parents=True)
            (folder / "0001.jpg").touch()
    (root / "exp").mkdir()
    for part, text in (("train", "1"), ("val", "2"), ("test", "3")):
        (root / f"exp/{part}_id.txt").write_text(text)
    return root


def make_regdb(root: Path, shape: tuple[int, int, int] = (412, 10, 10)) -> Path:
    """RegDB at its published size unless `shape` (identities, images of each, splits) says otherwise."""
    identities, images, splits = shape
    people: dict[str, list[list[str]]] = {}
    for folder in ("Visible", "Thermal"):
        people[folder] = [[f"{folder}/{i}/{n}.bmp" for n in range(images)] for i in range(1, identities + 1)]
        for names in people[folder]:
            (root / names[0]).parent.mkdir(parents=True)
            for name in names:
                (root / name).touch()
    (root / "idx").mkdir()
    for split in range(1, splits + 1):
        for part, first in (("train", 0), ("test", 1)):
            for folder, everyone in people.items():
                half = everyone[first::2]
                lines = [f"{name} {label}\n" for label, names in enumerate(half) for name in names]
                (root / f"idx/{part}_{folder.lower()}_{split}.txt").write_text("".join(lines))
    return root


def rows(report: CheckReport) -> dict[str, tuple[int | None, int | None, bool, str]]:
    return {row.what: (row.published, row.found, row.ok, row.note) for row in report.rows}


def test_regdb_at_its_published_size_is_as_it_should_be(tmp_path: Path) -> None:
    report = check("regdb", make_regdb(tmp_path / "RegDB"))
    assert report.ok, [row for row in report.rows if not row.ok]
    assert {row.what for row in report.rows if row.published is not None} == set(RegDB.published)
    assert report.lines()[-1] == f"all {len(report.rows)} rows as they should be"


def test_other_counts_are_reported_as_different_and_are_no_error(tmp_path: Path) -> None:
    found = rows(check("regdb", make_regdb(tmp_path / "RegDB", (4, 3, 2))))
    assert found["identities"] == (412, 4, False, "")
    assert found["visible images of an identity, most"] == (10, 3, False, "")
    assert found["splits"] == (10, 2, False, "")
    assert found["split 2, test identities"] == (206, 2, False, "")
    assert found["split 3, test identities"] == (206, None, False, "")
    assert found["identities without visible images"] == (None, 0, True, "")


def test_identities_without_a_folder_or_without_a_modality_are_named(tmp_path: Path) -> None:
    root = make_sysu(tmp_path / "SYSU-MM01")
    (root / "exp/val_id.txt").write_text("2,40,41,42,43,44,45")
    for camera in (3, 6):
        (root / f"cam{camera}/0001/0001.jpg").unlink()
    found = rows(check("sysu", root))
    assert found["identities listed, but without images"] == (
        None,
        6,
        False,
        "40, 41, 42, 43, 44 and 1 more",
    )
    assert found["identities without infrared images"] == (None, 1, False, "1")
    assert found["identities without visible images"] == (None, 0, True, "")
    assert found["training identities"] == (395, 2, False, "")


def test_a_list_that_cannot_be_used_is_a_row(tmp_path: Path) -> None:
    root = make_sysu(tmp_path / "SYSU-MM01")
    (root / "exp/test_id.txt").write_text("3,three")
    (row,) = check("sysu", root).rows
    assert not row.ok
    assert "'three' is not an identity" in row.note


def test_a_folder_without_published_numbers_is_counted_all_the_same(tmp_path: Path) -> None:
    for name in ("visible/anna/1.jpg", "infrared/anna/1.jpg", "infrared/ben/1.jpg"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    report = check("folder", tmp_path)
    found = rows(report)
    assert found["identities"] == (None, 2, True, "anna, ben")
    assert found["cameras"] == (None, 0, True, "none known of 3 images")
    assert found["identities without visible images"] == (None, 1, False, "ben")


def test_what_is_left_out_or_doubtful_is_a_row_and_a_pattern_settles_it(tmp_path: Path) -> None:
    for name in ("visible/day1/anna/1.jpg", "visible/day2/anna/1.jpg", "infrared/day1/anna/1.webp", "visible/x.heic"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = rows(check("folder", tmp_path))
    assert found["identities"] == (None, 2, True, "day1, day2")
    assert found["folder names below several people"][1:3] == (1, False)
    left_out = (None, 1, False, "1 .heic; the first is visible/x.heic")
    assert found["files that are no image"] == left_out
    report = check("folder", tmp_path, "*/{identity}/*")
    assert rows(report)["identities"] == (None, 1, True, "anna")
    assert [row.what for row in report.rows if not row.ok] == ["files that are no image"]
    assert report.lines()[-1] == f"1 of {len(report.rows)} rows differ"
    with pytest.raises(InputError, match=r"sysu: --pattern .* is for --dataset folder alone"):
        open_data_set("sysu", make_sysu(tmp_path / "SYSU-MM01"), pattern="{identity}/*")


def test_a_file_name_that_is_no_utf8_is_a_row_with_the_words_of_parse(tmp_path: Path) -> None:
    for name in (b"visible/anna/1.jpg", b"infrared/anna/1.jpg", b"infrared/anna/\xd5\xc5.jpg"):
        path = tmp_path / os.fsdecode(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    with pytest.raises(InputError, match="is not UTF-8; rename it") as refused:
        parse(ParseConfig("folder", tmp_path, tmp_path / "masks.h5", workers=0))
    (row,) = check("folder", tmp_path).rows
    assert (row.ok, row.note) == (False, str(refused.value))


def test_missing_roots_and_other_data_sets_are_errors(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="there is no folder"):
        check("sysu", tmp_path / "gone")
    with pytest.raises(InputError, match="looks like sysu"):
        check("llcm", make_sysu(tmp_path / "SYSU-MM01"))


def test_the_report_is_json_and_a_table_of_one_line_a_row(tmp_path: Path) -> None:
    report = check("sysu", make_sysu(tmp_path / "SYSU-MM01"))
    read = json.loads(json.dumps(report.to_json()))
    assert (read["name"], read["ok"], len(read["rows"])) == ("sysu", False, len(report.rows))
    assert read["rows"][0] == {"what": "identities", "published": 491, "found": 3, "ok": False, "note": ""}
    lines = report.lines()
    assert len(lines) == len(report.rows) + 3
    queries = next(line for line in lines if line.startswith("queries "))
    assert queries.split() == ["queries", "3,803", "2", "DIFFERS"]
    different = sum(not row.ok for row in report.rows)
    assert lines[-1].startswith(f"{different} of {len(report.rows)} rows differ")


def test_a_set_of_one_modality_lacks_nobody_in_the_other(tmp_path: Path) -> None:
    (tmp_path / "visible/query").mkdir(parents=True)
    Image.new("RGB", (4, 8)).save(tmp_path / "visible/query/0001_c2_f0046182.jpg")
    report = check("folder", tmp_path)
    assert report.ok
    assert not any("infrared images" in row.what and "without" in row.what for row in report.rows)


def test_a_part_of_a_published_data_set_is_told_in_one_line(tmp_path: Path) -> None:
    root = make_sysu(tmp_path / "part of it")
    line = compare_published(open_data_set("sysu", root))
    assert line.startswith(
        f"{root} is not sysu as it was published: identities: 3 for 491, training identities: 2 for 395, "
        "validation identities, part of training: 1 for 99, training images, visible: 8 for 22,258 and "
    )
    assert line.endswith(f"; `cscl data check --dataset sysu --root '{root}'` shows all counts")
    (root / MARK).touch()
    assert compare_published(open_data_set("sysu", root)) == ""
    whole = make_regdb(tmp_path / "RegDB")
    assert compare_published(open_data_set("regdb", whole)) == ""
    for list_name in sorted((whole / "idx").glob("*_10.txt")):
        list_name.unlink()
    assert "as it was published: splits: 9 for 10; " in compare_published(open_data_set("regdb", whole))
