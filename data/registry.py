"""The data sets by name, and where each is looked for."""

import os
from pathlib import Path

from parsing.errors import InputError, MissingError

from .readers.folder import Folder
from .readers.llcm import LLCM
from .readers.regdb import RegDB
from .readers.sysu import SYSU
from .records import DataSet

DATA_SETS: dict[str, type[DataSet]] = {kind.name: kind for kind in (SYSU, RegDB, LLCM, Folder)}


def data_set(name: str) -> type[DataSet]:
    """The reader called `name`."""
    if name not in DATA_SETS:
        raise InputError(f"there is no data set {name!r}; choose one of {', '.join(DATA_SETS)}")
    return DATA_SETS[name]


def find_root(name: str, root: Path | None = None) -> Path:
    """The data set's folder: `root` if given, else the first there is under $CSCL_DATA, then under data/.

    Under both, the folder's usual name (`SYSU-MM01`) comes before the data set's (`sysu`).
    """
    kind = data_set(name)
    expected = f"Expected:\n{kind.tree}"
    if root is not None:
        if not root.exists():
            raise MissingError(f"{name}: there is no folder {root}. {expected}")
        return root
    if kind is Folder:
        raise InputError(f"folder: say where the images are with --root. {expected}")
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
    """The data set `name` below `root` or where it is usually kept.

    permutations: SYSU-MM01's `rand_perm_cam.mat`, for its official galleries. pattern: where the paths of `folder`
    name identity and camera, such as `{identity}/{camera}/**`.
    """
    kind, place = data_set(name), find_root(name, root)
    if pattern is not None:
        if kind is not Folder:
            raise InputError(f"{name}: its layout is fixed, --pattern {pattern} is for --dataset folder; leave it out")
        return Folder(place, pattern)
    if permutations is None:
        return kind(place)
    if kind is not SYSU:
        raise InputError(f"{name}: fixed gallery permutations are SYSU-MM01's alone; leave {permutations} out")
    return SYSU(place, permutations)
