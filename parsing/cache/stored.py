"""What a data set in a file of a cache must be before it is read: in the file itself, of its type and shape.

A seal shows damage, but whoever makes a file can seal it too. What a file says of its own size, and its links into
other files, are therefore not believed.
"""

from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

TEXT = "text"
MOST_EXPANDED = 1100
"""Bytes that gzip makes of one at the most (1,032), with some room: more cannot be stored in the file."""

Shape = tuple[int | None, ...]


def get_dataset(group: h5py.Group, path: str, kind: str, shape: Shape) -> h5py.Dataset:
    """Return a data set of a file that is open.

    Args:
        group: where it is looked for.
        path: its name, with `/` between groups.
        kind: `TEXT`, or the type of its values as numpy writes it (`u1`, `i4`; `i` for any size).
        shape: lengths of its axes, None for any.

    Raises:
        KeyError: if there is none.
        TypeError: if it is something else, or leads to another file.
    """
    place = group
    for name in path.split("/"):
        if not isinstance(place, h5py.Group) or name not in place:
            raise KeyError(f"no {path}")
        if not isinstance(place.get(name, getlink=True), h5py.HardLink):
            raise TypeError(f"{path} is a link")
        place = place[name]
    if not isinstance(place, h5py.Dataset) or place.is_virtual or place.external:
        raise TypeError(f"{path} is no data set of this file")
    text = h5py.check_string_dtype(place.dtype) is not None
    fits = text if kind == TEXT else not text and (place.dtype.kind + str(place.dtype.itemsize)).startswith(kind)
    found: tuple[int, ...] = place.shape if place.shape is not None else (-1,)
    if not fits or len(found) != len(shape) or any(b not in (None, a) for a, b in zip(found, shape, strict=True)):
        wanted = ", ".join("N" if n is None else str(n) for n in shape)
        raise TypeError(f"{path} is ({', '.join(map(str, found))}) of {place.dtype}, not ({wanted}) of {kind}")
    if place.size * place.dtype.itemsize > MOST_EXPANDED * place.id.get_storage_size():
        raise TypeError(f"{path} is larger than what is stored of it")
    return place


def read_stored_array(group: h5py.Group, path: str, kind: str, shape: Shape) -> NDArray[Any]:
    """Return the values of the data set that `get_dataset` finds; texts as an array of str.

    Raises:
        KeyError, TypeError: as `get_dataset`.
        OSError, ValueError: if its values cannot be read, or a text is not UTF-8.
    """
    found = get_dataset(group, path=path, kind=kind, shape=shape)
    values: NDArray[Any] = np.array(found.asstr()[:], dtype=object) if kind == TEXT else found[:]
    return values
