"""Folders that appear whole or not at all: what a full disk or a closed folder leaves, and says."""

import errno
from pathlib import Path

import pytest

from data.drafts import draft_folder
from parsing.errors import CsclError


def nobody(folder: Path) -> bool:
    return False


def test_a_full_disk_is_one_line_with_the_folder_and_leaves_nothing(tmp_path: Path) -> None:
    def fill() -> None:
        with draft_folder(tmp_path / "set", nobody, "a set", overwrite=False) as draft:
            (draft / "a.jpg").write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")  # as a write of bytes fails, which names no file

    with pytest.raises(CsclError, match=r"set cannot be written: No space left"):
        fill()
    assert not list(tmp_path.iterdir())


def test_an_error_about_another_file_names_that_file(tmp_path: Path) -> None:
    with (
        pytest.raises(FileNotFoundError, match="photo"),
        draft_folder(tmp_path / "set", nobody, "a set", overwrite=False),
    ):
        (tmp_path / "photo.jpg").read_bytes()
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written_to_is_named_as_it_was_given(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(CsclError, match=r"file/set cannot be written: "),
        draft_folder(tmp_path / "file" / "set", nobody, "a set", overwrite=False),
    ):
        pass
