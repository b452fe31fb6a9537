"""The memory that a piece of work needs at its peak."""

import gc
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from .measure import run_apart

MIB = 2**20
STATUS = Path("/proc/self/status")


def peak_memory(device: torch.device, work: Callable[..., object], *arguments: Any) -> float:
    """Return by how many MiB the memory in use grows at its most during `work(*arguments)`.

    On CUDA, torch counts what its tensors need. On a CPU, a process of its own does the work, and the system counts.

    Args:
        device: on which the work is done.
        work: a function of a module.
        arguments: that can be pickled.
    """
    if device.type == "cuda":
        gc.collect()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        work(*arguments)
        return (torch.cuda.max_memory_allocated(device) - before) / MIB
    return run_apart(_grown, work, *arguments)


def _grown(work: Callable[..., object], *arguments: Any) -> float:
    before = _read("VmRSS")
    work(*arguments)
    return (_read("VmHWM") - before) / MIB


def _read(name: str) -> int:
    """Return a value of the process's status on Linux, in bytes."""
    found = re.search(rf"^{name}:\s+(\d+) kB", STATUS.read_text(encoding="utf-8"), re.MULTILINE)
    if found is None:
        raise OSError(f"{STATUS} has no {name}")
    return int(found[1]) * 1024
