"""Features that anybody's method has computed, read from .npz and .npy files and given to the images of a data set."""

import zipfile
import zlib
from collections.abc import Collection, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from data.records import DataSet
from parsing.errors import InputError, MissingError
from parsing.importers.npy_file import UNREADABLE, explain_unreadable
from parsing.words import list_briefly

Floats = NDArray[np.float64]
ROWS = ("features", "embeddings", "feats", "feat")
"""Names of the array of features in a .npz file."""
NAMES = ("names", "paths", "files")
BLOCKS = "blocks"
"""Name of the array of their lengths in the embeddings.npz of `cscl evaluate`."""
ALONE = ""
"""Name of the array of a .npy file."""
"""Names of the array of image paths in a .npz file."""


def read_features(files: Sequence[Path]) -> tuple[list[str] | None, NDArray[Any]]:
    """Return the names (N) and features (N, D) of files, one after the other.

    Args:
        files: .npz with `features` (N, D) and `names` (N), the images' paths; or a single file without names, for which
            None is returned.

    Raises:
        MissingError: if there is no such file.
        InputError: if one cannot be read, has no names among several, or features of another length.
    """
    names: list[str] = []
    rows: list[NDArray[Any]] = []
    for file in files:
        found, features = _arrays(file)
        if found is None and len(files) > 1:
            raise InputError(f"{file} has no names; of several files each needs them, as in {_EXAMPLE}")
        if found is None:
            return None, features
        if len(found) != len(features):
            raise InputError(f"{file} has {len(found)} names for {len(features)} features")
        names += found
        rows.append(features)
        if rows[0].shape[1:] != features.shape[1:]:
            raise InputError(f"{file} has features {features.shape}, {files[0]} {rows[0].shape}: not of one network")
    return names, np.concatenate(rows)


def read_blocks(files: Sequence[Path]) -> tuple[int, ...]:
    """Return the lengths of the features that the embeddings of `cscl evaluate` are made of; none for other files.

    Raises:
        InputError: if they do not make up the file's features, or differ between the files.
    """
    zipped = [_load(file, (BLOCKS,)) if zipfile.is_zipfile(file) else {} for file in files]  # no .npy is read twice
    each = {tuple(np.ravel(arrays.get(BLOCKS, ())).tolist()) for arrays in zipped}
    found: tuple[int, ...] = each.pop() if each else ()
    if each or any(type(length) is not int or length < 1 for length in found):
        raise InputError(
            f"{files[0]}: `{BLOCKS}` are the lengths of one network's features, in every file; leave them out"
        )
    return found


_EXAMPLE = 'np.savez("features.npz", names=paths, features=features)'


def by_name(
    rows: ArrayLike, data_set: DataSet, needed: Collection[str], names: Sequence[str] | None = None
) -> dict[str, Floats]:
    """Return rows (N, D), scaled to length 1, by the names of the data set's images; others are left out.

    Args:
        rows: features of one network.
        data_set: the images' data set.
        needed: names of the images or tracklets that must have a feature.
        names: (N) paths, absolute or below some folder; None for one row per image of the data set, or per needed one,
            in the sorted order of their paths.

    Raises:
        InputError: if a feature is not finite or all 0, an image has two or a needed one none, or there are no names
            and the sorted order is not the same in all programs.
    """
    features = np.asarray(rows)
    if features.ndim != 2 or 0 in features.shape or features.dtype.kind not in "fiu":
        raise InputError(f"features are numbers (N, D), got {features.dtype} {features.shape}")
    unit = features.astype(np.float64)
    length = np.linalg.norm(unit, axis=1, keepdims=True)
    if not np.isfinite(length).all() or not length.all():
        wrong = int(np.flatnonzero(~np.isfinite(length[:, 0]) | (length[:, 0] == 0))[0])
        raise InputError(f"feature {wrong} is not finite or all 0; a cosine has no answer")
    unit /= length
    images = sorted(image.name for image in data_set.images)
    if names is None:
        tested = sorted(set(needed))
        order = next((some for some in (images, tested) if len(some) == len(unit)), None)
        if order is None:
            raise InputError(
                f"there are {len(unit)} features without names; {data_set.name} in {data_set.root} has {len(images)} "
                f"images, of which the protocols take {len(tested)}: give one per image, sorted by path, or names, as "
                f"in {_EXAMPLE}"
            )
        _check_order(order)
        return dict(zip(order, unit, strict=True))
    if len(names) != len(unit):
        raise InputError(f"there are {len(names)} names for {len(unit)} features")
    known, found = frozenset(images).union(needed), dict[str, Floats]()
    for given, row in zip(names, unit, strict=True):
        name = _known_name(given, known)
        if name in found and not np.array_equal(found[name], row):
            raise InputError(f"{name} has two features; give each image once, the mirrored one's averaged with its own")
        if name is not None:
            found[name] = row
    if missing := sorted(set(needed).difference(found)):
        raise InputError(f"{len(missing)} images of the protocols have no feature: {list_briefly(missing, 3)}")
    return found


def _check_order(names: Sequence[str]) -> None:
    """Raise InputError if paths sorted as texts are in another order than folder by folder, as `sorted(Path.glob())`.

    Features without names would then be given to other images in silence.
    """
    by_folder = sorted(names, key=lambda name: PurePosixPath(name).parts)
    other = next((pair for pair in zip(names, by_folder, strict=True) if pair[0] != pair[1]), None)
    if other is not None:
        raise InputError(
            f"features without names: programs sort paths such as {other[0]} and {other[1]} differently, as texts or "
            f"folder by folder; give names, as in {_EXAMPLE}"
        )


def names_all(names: Sequence[str], needed: Collection[str]) -> bool:
    """Return whether paths, absolute or below some folder, name each of the `needed` ones."""
    known = frozenset(needed)
    return len({_known_name(name, known) for name in names} - {None}) == len(known)


def _known_name(name: str, known: frozenset[str]) -> str | None:
    """Return the data set's name of a path: the longest end of it that is one; None if there is none."""
    parts = PurePosixPath(name.replace("\\", "/")).parts
    ends = ("/".join(parts[start:]) for start in range(len(parts)))
    return next((end for end in ends if end in known), None)


def _arrays(file: Path) -> tuple[list[str] | None, NDArray[Any]]:
    """Return names, None if it has none, and features of a file."""
    arrays = _load(file, (*ROWS, *NAMES))
    if ALONE in arrays:
        return None, arrays[ALONE]
    rows: NDArray[Any] | None = next((arrays[key] for key in ROWS if key in arrays), None)
    if rows is None:
        raise InputError(f"{file} has no array {' or '.join(ROWS)}; write {_EXAMPLE}")
    if rows.ndim != 2:
        raise InputError(f"{file}: features are numbers (N, D), got {rows.dtype} {rows.shape}")
    names = next((arrays[key] for key in NAMES if key in arrays), None)
    if names is None:
        return None, rows
    if names.ndim != 1 or names.dtype.kind not in "US":
        raise InputError(f"{file}: names are text (N), got {names.dtype} {names.shape}")
    return [n.decode("utf-8", "replace") if isinstance(n, bytes) else n for n in names.tolist()], rows


def _load(file: Path, keys: Collection[str]) -> dict[str, NDArray[Any]]:
    """Return the arrays of these names that a .npz file has, or the one of a .npy file as ALONE."""
    if not file.is_file():
        raise MissingError(f"no features {file}")
    try:
        loaded = np.load(file, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return {ALONE: loaded}
        with loaded:
            found = {key: loaded[key] for key in loaded.files if key in keys}
            return {key: array for key, array in found.items() if isinstance(array, np.ndarray)}
    except (*UNREADABLE, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, MemoryError) as error:
        why = explain_unreadable(error)
        raise InputError(f"{file} is no .npz or .npy of numbers and text{why}; write {_EXAMPLE}") from error
