"""`cscl benchmark start`: processor time of commands that people wait for, in a process of their own."""

import resource
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from parsing.errors import CsclError

from .measure import Row
from .read import SIZE, write_cache


def measure(masks: int, runs: int) -> list[Row]:
    """Return a row per command; `masks`: of the cache that `masks info` reads."""
    with TemporaryDirectory() as place:
        cache = Path(place) / "masks.h5"
        write_cache(cache, [np.full(SIZE, number % 2, np.uint8) for number in range(masks)])
        commands = {
            "cscl --help": (["--help"], 0),
            "cscl parser list": (["parser", "list"], 0),
            "cscl train --set with a typo": (["train", "--masks", str(cache), "--set", "train.stepz=1"], 2),
            f"cscl masks info, {masks:,} masks": (["masks", "info", str(cache)], 0),
        }
        seconds: dict[str, list[float]] = {name: [] for name in commands}
        for number in range(runs + 1):
            for name, (arguments, code) in commands.items():
                spent = _measure_cpu(arguments, code)
                if number:
                    seconds[name].append(spent)
    return [
        Row(what=name, ours=statistics.median(each), unit="seconds of a core", runs=len(each))
        for name, each in seconds.items()
    ]


def _measure_cpu(arguments: Sequence[str], code: int) -> float:
    """Return the seconds of processor time of one run.

    Raises:
        CsclError: if it ends with another exit code than `code`.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-m", "cscl", *arguments], capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != code:
        raise CsclError(f"cscl {' '.join(arguments)} ended with {done.returncode}: {done.stderr[-200:]}")
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
