"""The first line of any error, also of one that says nothing."""

import pytest

from parsing.errors import first_line


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("one\ntwo"), "one"),
        (ValueError(), "ValueError"),
        (KeyError(""), "''"),
        (OSError("\n\n  late\n"), "late"),
        (RuntimeError(" \n"), "RuntimeError"),
        (ValueError("x" * 900), "x" * 197 + "..."),
        (ValueError(f"{'x' * 90}. {'y' * 90}. {'z' * 90}"), f"{'x' * 90}. {'y' * 90}"),
    ],
)
def test_the_first_line_of_an_error(error: Exception, line: str) -> None:
    assert first_line(error) == line
