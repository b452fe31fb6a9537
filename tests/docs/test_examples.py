"""The examples run as their docstrings say."""

import json
import os
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run_python(folder: Path, *command: object) -> str:
    """Return what a Python command in `folder` prints; `cscl` is that of this checkout."""
    tools = folder / "bin"
    tools.mkdir(exist_ok=True)
    (tools / "cscl").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m cscl "$@"\n')
    (tools / "cscl").chmod(0o755)
    environment = os.environ | {
        "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}"
    }  # fmt: skip
    return subprocess.run(
        [sys.executable, *map(str, command)], cwd=folder, env=environment, check=True, capture_output=True, text=True
    ).stdout


@pytest.mark.slow
def test_another_method_learns_from_the_masks(tmp_path: Path) -> None:
    run = partial(run_python, tmp_path)
    run(
        "-m", "cscl", "data", "make", "pedestrians", "--out", "data/SYSU-MM01", "--train", 24, "--test", 8, "--shots", 2
    )
    run("-m", "cscl", "parse", "--dataset", "sysu", "--size", "128x64", "--no-flip", "--workers", 0)
    said = run(ROOT / "examples" / "part_pooling.py", "--masks", "data/sysu_masks.h5", "--epochs", 4)
    losses = [float(value) for value in re.findall(r"loss ([\d.]+)", said)]
    assert len(losses) == 4
    assert losses[-1] < 0.8 * losses[0]
    assert re.search(r"all-single: Rank-1 [\d.]+, mAP [\d.]+ \(chance", said)


@pytest.mark.slow
def test_the_built_in_parser_is_fine_tuned_on_ten_images(tmp_path: Path) -> None:
    run = partial(run_python, tmp_path)
    run("-m", "cscl", "data", "make", "pedestrians", "--out", "data", "--train", 24, "--test", 20, "--shots", 1)
    said = run(ROOT / "examples" / "finetune_parser.py", "--root", "data")
    (before, after) = map(float, re.findall(r"colour: mIoU ([\d.]+) before, ([\d.]+) after", said)[0])
    assert after > before + 4  # 56.2 and 64.4 were measured


@pytest.mark.slow
def test_the_notebook_runs(tmp_path: Path) -> None:
    """Its cells, but for the installation and with one thread; a picture that a notebook shows is only opened."""
    cells = json.loads((ROOT / "examples" / "demo.ipynb").read_text(encoding="utf-8"))["cells"]
    texts = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    lines = [line for text in texts for line in text.splitlines() if "pip install" not in line]
    script = [f"subprocess.run({line[1:]!r}.split(), check=True)" if line.startswith("!") else line for line in lines]
    (tmp_path / "cells.py").write_text("\n".join(["import subprocess", *script]), encoding="utf-8")
    said = run_python(tmp_path, tmp_path / "cells.py")
    assert "MaskCache(" in said
    assert (tmp_path / "demo" / "index.html").is_file()
