"""The files of a folder of masks, and what is to be said of them beside the masks that are imported."""

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath

from parsing.errors import InputError
from parsing.names import same_but_for_case
from parsing.words import list_briefly


class MaskFiles:
    """The files of some endings in a folder of masks.

    Args:
        folder: of the masks.
        names: of all files below it.
        endings: such as `.png`, the usual one first; files may have them in another case.

    Attributes:
        names: those with such an ending, sorted.
    """

    def __init__(self, folder: Path, names: Iterable[str], endings: Sequence[str]) -> None:
        self.folder, self.endings = folder, tuple(endings)
        self.names = sorted(name for name in names if name.lower().endswith(self.endings))
        self._files: dict[str, list[str]] = {}
        for name in self.names:
            self._files.setdefault(_with_lower_ending(name), []).append(name)

    def find(self, place: PurePosixPath) -> Path | None:
        """Return the file at a place below the folder, whatever the case of its ending; None if there is none.

        Raises:
            InputError: if there are two.
        """
        found = self._files.get(_with_lower_ending(str(place)), [])
        if found[1:]:
            raise InputError(f"{self.folder}: {found[0]} and {found[1]} would be masks of one image; keep one of them")
        if found:
            return self.folder / found[0]
        path = self.folder / place  # of another ending, or below a link to a folder that is listed under another name
        return path if path.is_file() else None

    def find_folder(self, places: Iterable[str]) -> Path | None:
        """Return a folder below this one that holds a file at one of these places; None if there is none."""
        wanted = {_with_lower_ending(place) for place in places}
        for name in map(_with_lower_ending, self.names):
            parts = PurePosixPath(name).parts
            for start in range(1, len(parts)):
                if "/".join(parts[start:]) in wanted:
                    return self.folder.joinpath(*parts[:start])
        return None

    def unused(self, used: Iterable[Path]) -> list[str]:
        """Return the names of the files that are none of `used`, also not under the name of a link."""
        taken = set(used)
        left = [name for name in self.names if self.folder / name not in taken]
        if left:
            real = {os.path.realpath(path) for path in taken}
            left = [name for name in left if os.path.realpath(self.folder / name) not in real]
        return left


def describe_folder(names: Iterable[str], linked: Sequence[str]) -> Iterator[str]:
    """Yield a note about links, and about names that differ in upper and lower case alone.

    Args:
        names: of the images of the masks.
        linked: as `Listing.linked`, of the masks' folder.
    """
    if linked:
        yield f"{len(linked)} folders are links to others, whose masks are taken once: {list_briefly(linked, 3)}"
    if alike := same_but_for_case(names):
        yield (
            f"{sum(map(len, alike))} names differ in upper and lower case alone: {' and '.join(alike[0])}; copies of "
            "such files to Windows or macOS are one file"
        )


def _with_lower_ending(name: str) -> str:
    stem, ending = os.path.splitext(name)
    return stem + ending.lower()
