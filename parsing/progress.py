"""Progress of long work: a bar on a terminal, and lines in a file or a pipe, in which nothing can move."""

import re
import sys
from typing import Any

from tqdm import tqdm

SECONDS = 10.0
"""Time before the first line without a terminal, and between two of them."""


class Bar(tqdm):  # type: ignore[misc]  # tqdm has no types
    """A bar of tqdm, with its arguments.

    Without a terminal it writes a line every `SECONDS`, and no carriage return.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        file = options.get("file") or sys.stderr
        if not is_terminal(file):
            options |= {"file": _Lines(file), "mininterval": SECONDS, "maxinterval": SECONDS, "delay": SECONDS}
        super().__init__(*arguments, **options)

    def refresh(self, *arguments: Any, **options: Any) -> None:
        """Show the present state, if the bar is to be seen yet."""
        if not self.disable and (not self.delay or self._time() >= self.start_t + self.delay):
            super().refresh(*arguments, **options)


class _Lines:
    """Write the states of a bar, which tqdm separates by carriage returns, as lines."""

    def __init__(self, file: Any) -> None:
        self._file, self._last = file, ""

    def write(self, text: str) -> None:
        for state in filter(None, map(str.strip, re.split(r"[\r\n]", text))):
            if state != self._last:
                self._file.write(f"{state}\n")
            self._last = state

    def flush(self) -> None:
        self._file.flush()


def is_terminal(file: Any) -> bool:
    """Return whether a file is a terminal."""
    return bool(getattr(file, "isatty", lambda: False)())
