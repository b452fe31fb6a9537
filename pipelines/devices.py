"""The device on which a command computes."""

import ctypes
from functools import cache
from pathlib import Path

from parsing.errors import InputError, first_line


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
