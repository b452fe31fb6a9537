"""What the benchmarks share that write a table into a page of the documentation.

    cscl benchmark --json > benchmarks/benchmark.json
    python benchmarks/page.py benchmarks/benchmark.json docs/benchmarks.md

The second prints the table of `cscl benchmark` and writes it into its page; of a result of `make gpu` that of GPUs.
"""

import json
import os
import platform
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from pipelines.benchmarks.run import markdown

BEGIN, END = "<!-- benchmark: benchmarks/page.py -->", "<!-- end of benchmark -->"
GPU = "<!-- gpu: benchmarks/gpu.py -->", "<!-- end of gpu -->"


def machine() -> str:
    """Processor, cores, accelerator and torch version in a few words."""
    name = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), name)
    accelerator = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return f"{name}, {os.cpu_count()} cores, {accelerator}, torch {torch.__version__}"


def put_table(page: Path, begin: str, end: str, table: str) -> None:
    """Put the table between its marks, lines `begin` and `end` of a Markdown page, in place of what is there."""
    before, rest = page.read_text(encoding="utf-8").split(begin)
    page.write_text(f"{before}{begin}\n{table}\n{end}{rest.split(end)[1]}", encoding="utf-8")


def gpu_table(result: Mapping[str, Any]) -> str:
    """Return the table of a result of benchmarks/gpu.py, and how its tests ended."""
    rows = markdown(result["benchmark"]) if result["benchmark"] else ["The benchmark did not end."]
    return "\n".join([*rows, "", f"Tests marked `gpu`: {result['tests']['summary']}."])


if __name__ == "__main__":
    result = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    of_gpu = "tests" in result
    begin, end = GPU if of_gpu else (BEGIN, END)
    table = gpu_table(result) if of_gpu else "\n".join(markdown(result))
    print(table)
    for page in sys.argv[2:]:
        put_table(Path(page), begin=begin, end=end, table=table)
