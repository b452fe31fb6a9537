"""Room for an export: what lies in its folder is kept, continued or removed, and nothing outside is changed."""

import json
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from parsing.cache.reader import MaskCache
from parsing.errors import InputError
from parsing.exporters.paths import relative_path
from parsing.images import image_suffixes
from parsing.names import same_but_for_case


def make_guard(cache: MaskCache, out: Path, removing: bool = False) -> Callable[[PurePosixPath], str]:
    """Return a function that says why a file below `out` must not be written or removed, or nothing if it may."""
    inside = out.resolve()
    images = _find_images(cache)
    read = {(cache.root / top).resolve() for top in {name.partition("/")[0] for name in cache.names if "/" in name}}
    beside: dict[PurePosixPath, frozenset[str]] = {}
    among: set[PurePosixPath] = set()

    def refused(target: PurePosixPath) -> str:
        if target.parent not in beside:
            folder = (inside / target.parent).resolve()
            if not folder.is_relative_to(inside):
                return f"{out / target.parent} leads out of {out} by a link; remove it or give another -o"
            beside[target.parent] = images.get(folder, frozenset())
            if beside[target.parent] or not read.isdisjoint((folder, *folder.parents)):
                among.add(target.parent)
        if target.name in beside[target.parent]:
            return f"{out / target} is an image of the data set; give a folder for the masks with -o"
        if target.parent in among and not removing and target.suffix.lower() in image_suffixes():
            return (
                f"{out / target} would lie among the images of the data set, and be taken for one by whoever lists "
                "them; give a folder for the masks with -o"
            )
        return ""

    return refused


def _find_images(cache: MaskCache) -> dict[Path, frozenset[str]]:
    """Return the file names of the images in each of their folders, links followed."""
    found: dict[str, set[str]] = {}
    for name in cache.names:
        folder, _, file = name.rpartition("/")
        found.setdefault(folder, set()).add(file)
    images: dict[Path, frozenset[str]] = {}
    for folder, files in found.items():
        place = (cache.root / folder).resolve()
        images[place] = images.get(place, frozenset()) | files
    return images


def make_room(
    out: Path, cache: MaskCache, record: Path, made_by: dict[str, Any], files: Sequence[PurePosixPath], overwrite: bool
) -> None:
    """Raise InputError if `out` holds files of something else, or remove them if the user asked for it."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"masks cannot be written to {out}: {error.strerror}") from error
    found = _read_record(record)
    if overwrite:
        _remove(out, [*_list_files(found), *files], make_guard(cache, out, removing=True))
        return
    if record.is_file():
        wanted = json.loads(json.dumps(made_by))
        if found != wanted:
            there = found if isinstance(found, dict) else {}
            other = ", ".join(key for key in {**wanted, **there} if wanted.get(key) != there.get(key))
            raise InputError(
                f"{out} holds {made_by['exporter']} files of another cache or with other options ({record.name}: other "
                f"{other}); give another -o, or --overwrite to replace them"
            )
        return
    present = next((file for file in files if os.path.lexists(out / file)), None)
    if present is not None:
        raise InputError(f"{out / present} is there already and not of this export; give another -o, or --overwrite")


def check_case(out: Path, workspace: Path, files: Iterable[PurePosixPath]) -> None:
    """Raise InputError if files would replace each other because the file system of `out` ignores case."""
    alike = same_but_for_case(map(str, files))
    if alike and workspace.with_name(workspace.name.upper()).is_dir():
        workspace.rmdir()
        raise InputError(
            f"{out} ignores upper and lower case, so that {' and '.join(alike[0])} would be one file (as {len(alike)} "
            "names or groups of names in all); give another -o, or rename the images"
        )


def _read_record(record: Path) -> Any:
    """Return the record that an earlier export left; None if there is none that can be read."""
    try:
        return json.loads(record.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None


def _list_files(found: Any) -> list[PurePosixPath]:
    """Return the files that an earlier export recorded; raise InputError if a path leads out of `out`."""
    files = found.get("files") if isinstance(found, dict) else None
    return [relative_path(str(name)) for name in files] if isinstance(files, list) else []


def _remove(out: Path, files: Iterable[PurePosixPath], refused: Callable[[PurePosixPath], str]) -> None:
    """Remove an older export before the first new file: what a stopped one leaves is then all of its own."""
    folders: set[Path] = set()
    for file in files:
        if not refused(file):
            (out / file).unlink(missing_ok=True)
            folders.update((out / file).parents[: len(file.parts) - 1])
    for folder in sorted(folders, key=lambda f: len(f.parts), reverse=True):
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
