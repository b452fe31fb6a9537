"""Lists as editors of other systems write them: read, or refused with what to do."""

from pathlib import Path

import pytest

from data.readers.lists import read_ids, read_index
from parsing.errors import InputError

LINES = "Visible/1/a.bmp 0\nVisible/2/a.bmp 1\n"


@pytest.mark.parametrize(
    "content",
    [
        LINES.replace("\n", "\r\n").encode(),
        b"\xef\xbb\xbf" + LINES.encode(),
        LINES.replace(" ", "\t").replace("\n", "  \t\n\n").encode(),
        (LINES + LINES).rstrip().encode(),
        LINES.replace("Visible/", "./Visible//").encode(),
        LINES.replace(" 0", " 1").replace("a.bmp 1\nVisible/2/a.bmp 1", "a.bmp 1\nVisible/2/a.bmp 2").encode(),
    ],
    ids=["CRLF", "BOM", "tabs and spaces", "twice", "other slashes", "labels from 1"],
)
def test_an_index_list_is_read_however_it_was_saved(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "list.txt").write_bytes(content)
    (lines,) = read_index(tmp_path, ["list.txt"])
    assert [(line.name, line.identity) for line in lines] == [("Visible/1/a.bmp", 1), ("Visible/2/a.bmp", 2)]


def test_another_encoding_is_named_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_bytes(LINES.encode("utf-16"))
    with pytest.raises(InputError, match=r"list\.txt is not UTF-8 .*; save it as UTF-8"):
        read_index(tmp_path, ["list.txt"])


def test_numbers_that_no_cache_can_hold_are_refused(tmp_path: Path) -> None:
    for number in ("9" * 10, "9" * 5000):
        (tmp_path / "ids.txt").write_text(f"1,{number}")
        with pytest.raises(InputError, match="is not an identity"):
            read_ids(tmp_path / "ids.txt")
        (tmp_path / "list.txt").write_text(f"Visible/{number}/a.bmp 0\n")
        with pytest.raises(InputError, match="folder named by its identity"):
            read_index(tmp_path, ["list.txt"])
        (tmp_path / "list.txt").write_text(f"Visible/1/a.bmp {number}\n")
        with pytest.raises(InputError, match="expected 'path label'"):
            read_index(tmp_path, ["list.txt"])
