"""`make gpu`, as far as a machine without a GPU can run it: packages from wheels, limits of time, and the table."""

import importlib.util
import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from support.places import ROOT


@pytest.fixture
def gpu() -> Any:
    spec = importlib.util.spec_from_file_location("benchmark_gpu", ROOT / "benchmarks" / "gpu.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("requirement", "there"),
    [("torch>=2.6", True), ("torch>=99", False), ("no-such-package-of-anybody>=1", False), ("pytest", True)],
)
def test_a_package_counts_in_the_version_that_is_asked_for(gpu: Any, requirement: str, there: bool) -> None:
    assert gpu.is_there(requirement) == there


def test_here_nothing_is_missing_and_this_python_is_used(gpu: Any, tmp_path: Path) -> None:
    needed = [need for need in gpu.missing_packages() if need.partition(">=")[0] not in gpu.OPTIONAL]
    assert needed == []
    assert gpu.find_python(None, tmp_path / "venv") == Path(sys.executable)
    assert not (tmp_path / "venv").exists()


def test_what_is_missing_is_said_with_what_to_do(gpu: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for lacking, advice in ((["click>=99"], r"lacks click>=99; .* make gpu WHEELS=DIR"), (["torch>=2.6"], "PYTHON=")):
        monkeypatch.setattr(gpu, "missing_packages", lambda lacking=lacking: lacking)
        with pytest.raises(SystemExit, match=advice):
            gpu.find_python(None, tmp_path / "venv")


@pytest.mark.slow
def test_missing_packages_come_from_a_folder_of_wheels_beside_what_is_there(
    gpu: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    about = "cscl_tiny_thing-1.0.dist-info"
    with zipfile.ZipFile(tmp_path / "cscl_tiny_thing-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("cscl_tiny_thing.py", "WORD = 'there'\n")
        wheel.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: cscl-tiny-thing\nVersion: 1.0\n")
        wheel.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{about}/RECORD", "")
    monkeypatch.setattr(gpu, "missing_packages", lambda: ["cscl-tiny-thing>=1.0", "onnx>=1.17"])
    python = gpu.find_python(tmp_path, tmp_path / "venv")
    done = subprocess.run(
        [python, "-c", "import cscl_tiny_thing; print(cscl_tiny_thing.WORD); import click"],
        capture_output=True,
        text=True,
    )
    assert done.stdout == "there\n"


def test_what_takes_too_long_is_stopped_and_what_it_said_is_kept(gpu: Any, tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import time; print('begun', flush=True); time.sleep(60)"]
    assert gpu.run(command, 0.05, tmp_path / "said.txt") == (124, "begun\n")
    assert (tmp_path / "said.txt").read_text() == "begun\n"


@pytest.mark.parametrize(
    ("text", "summary"),
    [
        ("....\n20 passed, 1 skipped in 300.12s (0:05:00)\n", "20 passed, 1 skipped in 300.12s (0:05:00)"),
        (
            "== short test summary info ==\nFAILED a\n=== 1 failed, 2 passed in 3.21s ===\n",
            "1 failed, 2 passed in 3.21s",
        ),
        ("....", "did not end"),
    ],
)
def test_the_last_line_of_pytest_is_its_summary(gpu: Any, text: str, summary: str) -> None:
    assert gpu.summarise(text) == summary


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_without_cuda_it_ends_in_one_line() -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "gpu.py")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.startswith("gpu: torch finds no CUDA device here")


def test_tests_and_benchmark_become_json_and_a_table_in_the_page(
    gpu: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "test_one.py").write_text("import pytest\n@pytest.mark.slow\ndef test_one() -> None: ...\n")
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- gpu: benchmarks/gpu.py -->\nnot measured yet\n<!-- end of gpu -->\nafter\n")
    monkeypatch.setattr(gpu, "PARTS", ("read", "--masks", "5"))
    options = ["--device", "cpu", "--runs", "1", "--out", tmp_path / "out", "--docs", page, "--tests", tmp_path]
    monkeypatch.setattr(sys, "argv", ["gpu.py", *map(str, options)])
    assert gpu.main() == 0
    result = json.loads((tmp_path / "out" / "results.json").read_text())
    assert re.match(r"1 passed.* in ", result["tests"]["summary"])
    assert list(result["benchmark"]["rows"]) == ["read"]
    text = page.read_text()
    assert "not measured yet" not in text
    assert "| read | single masks, random order | PNG files |" in text
    assert "Tests marked `gpu`: 1 passed" in text
    assert text.startswith("before\n")
    assert text.endswith("after\n")


def test_the_page_of_the_documentation_has_the_place_for_the_table() -> None:
    text = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    assert text.count("<!-- gpu: benchmarks/gpu.py -->") == text.count("<!-- end of gpu -->") == 1
