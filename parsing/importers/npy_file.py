"""A .npy file of numbers that somebody else wrote."""

from pathlib import Path
from threading import Lock
from tokenize import TokenError
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, MissingError, first_line

UNREADABLE = (
    OSError,
    ValueError,
    EOFError,
    SyntaxError,
    TokenError,
    TypeError,
    KeyError,
    OverflowError,
    RecursionError,
)
"""What numpy raises on files that are damaged or no .npy; the header is Python's text for a dictionary."""

_one_at_a_time = Lock()


def read_npy(path: Path) -> NDArray[Any]:
    """Return the array of a .npy file, mapped into memory.

    Raises:
        MissingError: if there is no such file.
        InputError: if it cannot be read, needs pickle or is an archive.
    """
    try:
        with _one_at_a_time:  # numpy parses the header as Python, which two threads of Python 3.11 cannot do at once
            array = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise MissingError(f"no mask {path}") from None
    except UNREADABLE as error:
        raise InputError(f"{path} is no readable .npy file of numbers{explain_unreadable(error)}") from error
    if not isinstance(array, np.ndarray):
        raise InputError(f"{path} is an archive of arrays; give .npy files, one array each")
    return array


def explain_unreadable(error: Exception) -> str:
    """Return what NumPy says of a file, after a colon, but nothing if it would have the user load a pickle.

    It takes every file that is no .npy and no .npz for a pickle.
    """
    return "" if "pickle" in str(error) else f": {first_line(error)}"
