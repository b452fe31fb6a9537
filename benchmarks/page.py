"""What the benchmarks share that write a table into a page of the documentation.

    cscl benchmark --json > benchmarks/benchmark.json
    python benchmarks/page.py benchmarks/benchmark.json docs/benchmarks.md

The second writes the table of `cscl benchmark` into its page.
"""

import json
import os
import platform
import sys
from pathlib import Path

import torch

from pipelines.benchmarks.run import markdown

BEGIN, END = "<!-- benchmark: benchmarks/page.py -->", "<!-- end of benchmark -->"


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


if __name__ == "__main__":
    result, page = map(Path, sys.argv[1:])
    put_table(page, begin=BEGIN, end=END, table="\n".join(markdown(json.loads(result.read_text(encoding="utf-8")))))
