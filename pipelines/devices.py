"""The device on which a command computes, and the memory of its process."""

import ctypes
import os
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

from parsing.errors import InputError, first_line

PRECISIONS = ("auto", "32-true", "bf16-mixed", "16-mixed")
"""What `--precision` may be; `auto` is bf16-mixed on CUDA, else 32-true."""
MALLOC = {
    "MALLOC_TRIM_THRESHOLD_": "100000000000",
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_ARENA_MAX": "1",
}
"""Environment in which the C library keeps freed memory, in place of asking for new memory with every tensor."""
OPTIONS = {"MALLOC_TRIM_THRESHOLD_": (-1, -1), "MALLOC_MMAP_MAX_": (-4, 0), "MALLOC_ARENA_MAX": (-8, 1)}
"""The same for `mallopt`: numbers of <malloc.h> of the GNU C library, and values; -1 is no threshold."""


def keep_memory() -> None:
    """Have this process keep the memory that it frees, as MALLOC does for processes that start with it.

    A network on a CPU then waits for no new pages. Only the GNU C library is told, and nothing that the user's
    environment sets.
    """
    set_option = find_mallopt()
    if set_option is None:
        return
    for name, (option, value) in OPTIONS.items():
        if name not in os.environ:
            set_option(option, value)


def find_mallopt() -> Callable[[int, int], int] | None:
    """Return the C library's `mallopt`, None if it has none."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        found: Callable[[int, int], int] | None = getattr(ctypes.CDLL(None), "mallopt", None)
    except OSError:  # a Python that loads no libraries
        return None
    return found


def find_device(name: str) -> str:
    """Return the device's name, for `auto` `cuda` if there is a CUDA device, else `cpu`.

    torch is imported only if this machine may have a GPU or another device than the CPU is named.

    Raises:
        InputError: if this machine does not have the device.
    """
    if name == "cpu" or (name == "auto" and not has_gpu_driver()):
        return "cpu"
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise InputError(f"--device {name} cannot be used: {first_line(error)}; try --device cpu") from error
    return name


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that the memory of the machine or of a GPU is full. No torch is imported."""
    # torch has a class of its own for a GPU's memory, and a plain RuntimeError for the machine's.
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or (isinstance(error, RuntimeError) and "can't allocate memory" in str(error))
    )


@cache
def has_gpu_driver() -> bool:
    """Return whether this machine has the driver of NVIDIA or AMD, without which torch finds no GPU."""
    if Path("/dev/kfd").exists():
        return True
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True
