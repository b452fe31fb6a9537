"""The data sets by name, and the search for their folders."""

import os
from importlib import import_module
from pathlib import Path
from typing import Any

from parsing.errors import InputError, MissingError

from .readers import READERS
from .records import DataSet
from .words import is_text

DATA_SETS = tuple(READERS)
"""Names of the data sets."""


def data_set(name: str) -> type[DataSet]:
    """Return the reader called `name`; raise InputError if there is none."""
    if name not in READERS:
        raise InputError(f"there is no data set {name!r}; choose one of {', '.join(DATA_SETS)}")
    kind: type[DataSet] = getattr(import_module(f".readers.{name}", __package__), READERS[name])
    return kind


def find_root(name: str, root: Path | None = None) -> Path:
    """Return the data set's folder: `root` if given, else the first that exists under $CSCL_DATA, then under data/.

    Under both, the folder's usual name (`SYSU-MM01`) comes before the data set's (`sysu`).

    Raises:
        MissingError: there is no such folder. InputError: the data set has no usual place, and `root` is None.
    """
    kind = data_set(name)
    expected = f"Expected:\n{kind.tree}"
    if root is not None:
        if not root.exists():
            raise MissingError(f"{name}: there is no folder {root}. {expected}")
        return root
    if not kind.folder:
        raise InputError(f"{name}: say where the images are with --root. {expected}")
    homes = [Path(home) for home in (os.environ.get("CSCL_DATA"), "data") if home]
    places = [home / folder for home in homes for folder in (kind.folder, kind.name)]
    for place in places:
        if place.is_dir():
            return place
    looked = ", ".join(str(place) for place in places)
    raise MissingError(f"{name}: not found; looked at {looked}. Give --root or set CSCL_DATA. {expected}")


def open_data_set(
    name: str, root: Path | None = None, permutations: Path | None = None, pattern: str | None = None
) -> DataSet:
    """Open the data set `name` below `root` or in its usual place.

    Args:
        name: one of `DATA_SETS`.
        root: its folder; None searches as `find_root`.
        permutations: SYSU-MM01's `rand_perm_cam.mat`, for its official galleries.
        pattern: how the paths of `folder` name identity and camera, such as `{identity}/{camera}/**`.

    Raises:
        InputError: the folder has another layout, or the data set does not take an option.
        MissingError: the folder, or a part of it, does not exist.
    """
    kind, place = data_set(name), find_root(name, root)
    options: dict[str, Any] = {"permutations": permutations, "pattern": pattern}
    options = {option: value for option, value in options.items() if value is not None}
    for option in options:
        if option not in kind.options:
            owners = " or ".join(other for other in DATA_SETS if option in data_set(other).options)
            raise InputError(f"{name}: --{option} {options[option]} is for --dataset {owners} alone; leave it out")
    check_layout(kind, place)
    return kind(place, **options)


def check_layout(kind: type[DataSet], root: Path) -> None:
    """Raise an error that names the right data set or folder if `root` lacks parts of `kind` and shows a mistake."""
    if not is_text(str(root)) or not root.is_dir() or all((root / part).exists() for part in kind.parts):
        return  # the reader itself raises for a root that is no folder
    name, expected = kind.name, f"Expected:\n{kind.tree}"
    other = _recognise_layout(root)
    if other not in (None, name):
        raise InputError(f"{name}: {root} looks like {other}; use --dataset {other} or another --root. {expected}")
    inner = next(
        (entry for entry in sorted(root.iterdir()) if entry.is_dir() and _recognise_layout(entry) == name), None
    )
    if inner is not None:
        raise MissingError(f"{name}: {root} holds the data set in {inner.name}; use --root {inner}")


def _recognise_layout(root: Path) -> str | None:
    """Return the name of the data set whose folders lie in `root`, if any."""
    present = {entry.name for entry in os.scandir(root)}
    return next((name for name in DATA_SETS if present.issuperset(data_set(name).signs)), None)
