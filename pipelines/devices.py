"""The device on which a command computes."""

import torch

from parsing.errors import InputError, first_line


def find_device(name: str) -> str:
    """Return the device's name, for `auto` `cuda` if there is a CUDA device, else `cpu`.

    Raises:
        InputError: if this machine does not have the device.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise InputError(f"--device {name} cannot be used: {first_line(error)}; try --device cpu") from error
    return name
