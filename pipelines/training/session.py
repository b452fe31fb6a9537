"""The record of one start of a training in run.json: by which command, when, how long, on what."""

import platform
import shlex
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric

PACKAGES = ("cscl", "torch", "torchvision", "lightning-fabric", "numpy", "pillow")
"""Packages whose versions are recorded, beside Python's: two versions of them may give other weights."""


@dataclass(frozen=True)
class Session:
    """One start of a training, which may end before the training does.

    Attributes:
        start: number of steps that were done before.
        facts: what is known at the start.
        began: monotonic clock at the start, in seconds.
    """

    start: int
    facts: Mapping[str, Any]
    began: float = field(default_factory=time.monotonic)

    def record(self, step: int) -> dict[str, Any]:
        """Return the record after `step` steps of the run."""
        return {**self.facts, "seconds": round(time.monotonic() - self.began, 1), "steps": [self.start, step]}


def start_session(fabric: Fabric, start: int, changes: Mapping[str, Any] | None = None) -> Session:
    """Return the session that begins now.

    Args:
        fabric: device and processes.
        start: number of steps that are done already.
        changes: keys of the recipe that a resumed run changes, with the values before and after.
    """
    facts = {
        "command": describe_command(),
        "started": datetime.now().astimezone().isoformat(timespec="seconds"),
        "device": describe_device(fabric.device),
        "precision": fabric.strategy.precision.precision,
        "processes": fabric.world_size,
        "threads": torch.get_num_threads(),
        "versions": {name: _find_version(name) for name in PACKAGES} | {"python": platform.python_version()},
        **({"changes": dict(changes)} if changes else {}),
    }
    return Session(start, facts)


def describe_command() -> str:
    """Return the command line of this process; a program is named without its folder."""
    program, *arguments = sys.argv or [""]
    name = Path(program).name
    return shlex.join(["cscl" if name == "__main__.py" else name, *arguments])  # python -m cscl


def describe_device(device: torch.device) -> str:
    """Return the device, and for CUDA its name."""
    return f"{device} ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else str(device)


def _find_version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
