"""`make gpu`: the tests of a GPU and the benchmark on it, on a machine with CUDA that may reach no package index.

    python benchmarks/gpu.py [--wheels DIR] [--peer DIR] [--out build/gpu] [--docs docs/benchmarks.md] [--device cuda]

It begins with the standard library alone, in any Python that has torch. Packages that are missing are installed from a
folder of wheels (`--wheels`) into `.venv-gpu`, a virtual environment that sees those of this Python. Tests and the
benchmark have a limit of time each; results.json, tests.txt and the table in the page that `--docs` names are written.
"""

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import time
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
MINUTES = {"tests": 9, "benchmark": 9}
"""What each may take; with the installation that is less than 20."""
PARTS = ("train", "parse", "evaluate")
ALSO = ("pytest>=8.3", "onnx>=1.17", "onnxruntime>=1.20")
"""Packages that the tests need beside those of the project; the last two for the export, which is skipped without."""
OPTIONAL = ("onnx", "onnxruntime")


SITE = "import sysconfig; print(sysconfig.get_path('purelib'))"


def missing_packages() -> list[str]:
    """Return the requirements that this Python does not have, as pyproject.toml states them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return [need for need in (*project["dependencies"], *ALSO) if not is_there(need)]


def is_there(requirement: str) -> bool:
    """Return whether a requirement `name>=1.2` is installed in that version or a later one."""
    name, _, least = requirement.partition(">=")
    try:
        have = metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    numbers = [[int(n) for n in re.findall(r"\d+", version.partition("+")[0])[:3]] for version in (have, least)]
    return numbers[0] >= numbers[1]


def find_python(wheels: Path | None, place: Path) -> Path:
    """Return a Python with all packages: this one, or that of a virtual environment filled from `wheels`.

    Exits with what to do if packages are missing and there are no wheels.
    """
    lacking = missing_packages()
    needed = [need for need in lacking if need.partition(">=")[0] not in OPTIONAL]
    if not needed:
        return Path(sys.executable)
    if torch := [need for need in needed if need.startswith(("torch>", "torchvision>"))]:
        sys.exit(f"gpu: {sys.executable} lacks {' and '.join(torch)}; give a Python that has them: make gpu PYTHON=...")
    if wheels is None:
        advice = (
            "where an index is reached, `pip download -d DIR` of them makes a folder of wheels: make gpu WHEELS=DIR"
        )
        sys.exit(f"gpu: {sys.executable} lacks {', '.join(needed)}; {advice}")
    python = place / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", place], check=True)
        # Not --system-site-packages: of a virtual environment that would be those of the Python below it.
        own = subprocess.run([python, "-c", SITE], capture_output=True, text=True, check=True).stdout.strip()
        (Path(own) / "parent.pth").write_text("\n".join(site for site in sys.path if site.endswith("-packages")) + "\n")
    offline: list[Any] = [python, "-m", "pip", "install", "--quiet", "--no-index", "--find-links", wheels]
    subprocess.run([*offline, *needed], check=True)
    for need in lacking:
        if need not in needed:
            subprocess.run([*offline, need], stderr=subprocess.DEVNULL)
    return python


def run(command: list[Any], minutes: float, output: Path | None = None) -> tuple[int, str]:
    """Run a command in the checkout, and return its exit code, 124 if it took too long, and its standard output."""
    there = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    try:
        done = subprocess.run(
            [str(word) for word in command], cwd=ROOT, env=os.environ | {"PYTHONPATH": there}, stdout=subprocess.PIPE,
            text=True, timeout=60 * minutes,
        )  # fmt: skip
        code, text = done.returncode, done.stdout
    except subprocess.TimeoutExpired as late:
        code, text = 124, (late.stdout or b"").decode(errors="replace")
    if output is not None:
        output.write_text(text, encoding="utf-8")
    return code, text


def summarise(text: str) -> str:
    """Return pytest's last line, such as `20 passed, 1 skipped in 300 s`."""
    found = re.findall(r"^=*\s*((?:\d+ \w+(?:, )?)+ in [\d.]+s.*?)\s*=*$", text, re.MULTILINE)
    return found[-1] if found else "did not end"


def main() -> int:
    """Run all, and return 0 if the tests passed and the benchmark ended."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wheels", type=Path, help="folder of wheels of what is missing")
    parser.add_argument("--peer", type=Path, help="checkout of mangye16/Cross-Modal-Re-ID-baseline")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "gpu")
    parser.add_argument("--docs", type=Path, help="page with the table")
    parser.add_argument("--device", default="cuda", help="`cpu` tries this script itself")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--tests", default="tests/pipelines/gpu", help="folder of the tests")
    given = parser.parse_args()
    began = time.monotonic()
    python = find_python(given.wheels, ROOT / ".venv-gpu")
    if given.device == "cuda":
        ask = "import torch; print(torch.cuda.get_device_name() if torch.cuda.is_available() else '')"
        if not (name := run([python, "-c", ask], 2)[1].strip()):
            advice = "`nvidia-smi` and `python -c 'import torch; print(torch.version.cuda)'` show why"
            sys.exit(f"gpu: torch finds no CUDA device here; {advice}")
        print(f"gpu: {name}, {python}", flush=True)
    given.out.mkdir(parents=True, exist_ok=True)
    marked = "gpu" if given.device == "cuda" else "slow"
    pytest: list[Any] = [python, "-m", "pytest", "-q", "-ra", "-m", marked, "-p", "no:cacheprovider", given.tests]
    tests, text = run(pytest, MINUTES["tests"], given.out / "tests.txt")
    print(f"gpu: tests: {summarise(text)}", flush=True)
    command: list[Any] = [
        python,
        "-m",
        "cscl",
        "benchmark",
        *PARTS,
        "--device",
        given.device,
        "--runs",
        given.runs,
        "--json",
    ]
    command += ["--peer", given.peer.resolve()] if given.peer else []
    benchmark, text = run(command, MINUTES["benchmark"])
    result = {
        "tests": {"code": tests, "summary": summarise((given.out / "tests.txt").read_text(encoding="utf-8"))},
        "benchmark": json.loads(text) if benchmark == 0 else None,
        "python": platform.python_version(),
        "minutes": round((time.monotonic() - began) / 60, 1),
    }
    (given.out / "results.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    page = [python, ROOT / "benchmarks" / "page.py", given.out / "results.json"]
    print(run([*page, given.docs.resolve()] if given.docs else page, 2)[1])
    print(f"gpu: {given.out / 'results.json'}, after {result['minutes']} minutes")
    return 0 if tests == 0 and benchmark == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
