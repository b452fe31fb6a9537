"""A short run of benchmarks/fuzz.py: readers of other people's files refuse damaged ones with an error of ours."""

import subprocess
import sys
from pathlib import Path

import pytest
from support.places import ROOT

SLOW = ("model", "street-weights")  # files of megabytes, written anew for each input


def fuzz(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "benchmarks" / "fuzz.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=900)


def test_no_reader_ends_in_a_traceback(tmp_path: Path) -> None:
    known = fuzz("--out", str(tmp_path), "--only", "list").stdout.split()
    assert len(known) > 20
    chosen = [word for name in known if name not in SLOW for word in ("--only", name)]
    done = fuzz("--out", str(tmp_path), "--inputs", "300", "--seed", "7", *chosen)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_no_reader_ends_in_a_traceback_on_many_inputs(tmp_path: Path) -> None:
    done = fuzz("--out", str(tmp_path), "--inputs", "10000", "--seed", "1")
    assert done.returncode == 0, done.stdout + done.stderr
