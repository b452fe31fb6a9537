"""A file is written whole or is as it was, and no temporary file stays."""

import re
from pathlib import Path

import pytest

from parsing.files import find_leftovers, probe_folder, replacing, write_file


def test_a_file_appears_whole_and_from_another_folder_if_asked(tmp_path: Path) -> None:
    (tmp_path / "aside").mkdir()
    write_file(tmp_path / "a.txt", b"one ", b"two")
    write_file(tmp_path / "b.txt", b"three", folder=tmp_path / "aside", sync=False)
    assert (tmp_path / "a.txt").read_bytes() == b"one two"
    assert (tmp_path / "b.txt").read_bytes() == b"three"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.txt", "aside", "b.txt"]


def test_an_error_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def fail() -> None:
        with replacing(path) as temporary:
            temporary.write_text("half")
            assert path.read_text() == "old"
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    path.unlink()
    path.mkdir()
    with pytest.raises(OSError, match="directory"):
        write_file(path, b"new")
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_is_probed_without_a_trace_and_a_missing_one_is_an_error(tmp_path: Path) -> None:
    probe_folder(tmp_path, "00000.h5")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(FileNotFoundError):
        probe_folder(tmp_path / "none", "00000.h5")


def test_what_a_killed_writer_leaves_is_found(tmp_path: Path) -> None:
    with replacing(tmp_path / "a.txt") as temporary:
        temporary.touch()
        assert find_leftovers(tmp_path, re.compile(r"a\.txt")) == [temporary]
        assert find_leftovers(tmp_path, re.compile(r"b\.txt")) == []
