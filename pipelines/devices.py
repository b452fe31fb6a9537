"""Which device a command computes on."""

import torch

from parsing.errors import InputError, first_line


def find_device(name: str) -> str:
    """`name`; for `auto` CUDA where there is one, else the CPU. InputError for a device that this machine lacks."""
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise InputError(f"--device {name} cannot be used: {first_line(error)}; try --device cpu") from error
    return name
