"""A short run of benchmarks/fuzz.py: readers of other people's files refuse damaged ones with an error of ours."""

import hashlib
import importlib
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.places import ROOT

SLOW = ("model", "street-weights")  # files of megabytes, written anew for each input


def fuzz(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "benchmarks" / "fuzz.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.fixture
def own_target(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Path], object]], Any]:
    """`own_target(read)` makes `read` the only target and returns the module; an input may take one second."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    module = importlib.import_module("fuzz")
    monkeypatch.setattr(module, "SECONDS", 1)

    def make(folder: Path) -> Path:
        (folder / "a.txt").write_text("good")
        return folder / "a.txt"

    def use(read: Callable[[Path], object]) -> Any:
        monkeypatch.setattr(module, "targets", lambda: {"own": module.Target("own", make, read)})
        return module

    return use


def wait(file: Path) -> None:
    if file.read_bytes() != b"good":
        time.sleep(1.5)


def compute(file: Path) -> None:
    while file.read_bytes() != b"good":
        pass


def compute_in_a_library(file: Path) -> None:
    if file.read_bytes() != b"good":
        hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9)  # one call, within which no signal of Python is heard


def test_the_load_of_the_machine_is_no_finding_and_endless_computing_is(
    own_target: Callable[[Callable[[Path], object]], Any], tmp_path: Path
) -> None:
    assert own_target(wait).run_target("own", tmp_path, range(2), seed=0).findings == {}
    found = own_target(compute).run_target("own", tmp_path, range(1), seed=0).findings
    assert "TimeoutError: more than 1 s of processor time" in found[0]
    found = own_target(compute_in_a_library).run_target("own", tmp_path, range(1), seed=0).findings
    assert found == {0: "hung and was killed"}


def test_no_reader_ends_in_a_traceback(tmp_path: Path) -> None:
    known = fuzz("--out", str(tmp_path), "--only", "list").stdout.split()
    assert len(known) > 20
    chosen = [word for name in known if name not in SLOW for word in ("--only", name)]
    done = fuzz("--out", str(tmp_path), "--inputs", "150", "--seed", "7", *chosen)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_no_reader_ends_in_a_traceback_on_many_inputs(tmp_path: Path) -> None:
    done = fuzz("--out", str(tmp_path), "--inputs", "10000", "--seed", "1")
    assert done.returncode == 0, done.stdout + done.stderr
