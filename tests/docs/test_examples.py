"""The examples run as their docstrings say."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_another_method_learns_from_the_masks(tmp_path: Path) -> None:
    def run(*command: object) -> str:
        environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        return subprocess.run(
            [sys.executable, *map(str, command)],
            cwd=tmp_path,
            env=environment,
            check=True,
            capture_output=True,
            text=True,
        ).stdout

    run(
        "-m", "cscl", "data", "make", "pedestrians", "--out", "data/SYSU-MM01", "--train", 24, "--test", 8, "--shots", 2
    )
    run("-m", "cscl", "parse", "--dataset", "sysu", "--size", "128x64", "--no-flip", "--workers", 0)
    said = run(ROOT / "examples" / "part_pooling.py", "--masks", "data/sysu_masks.h5", "--epochs", 4)
    losses = [float(value) for value in re.findall(r"loss ([\d.]+)", said)]
    assert len(losses) == 4
    assert losses[-1] < 0.8 * losses[0]
    assert re.search(r"all-single: Rank-1 [\d.]+, mAP [\d.]+ \(chance", said)
