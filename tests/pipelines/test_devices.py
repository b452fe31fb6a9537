"""A command keeps the memory that it frees, unless the user's environment says otherwise."""

import os
import subprocess
import sys

import pytest

from parsing.errors import InputError
from pipelines.benchmarks.measure import run_as_worker
from pipelines.devices import MALLOC

ASK = """
import resource, sys
from cli import main
if sys.argv[1] == "command":
    main(["parser", "list"], standalone_mode=False)
def count_new_pages():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    bytearray(1 << 26)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
count_new_pages()
print("again:", count_new_pages())
"""


def count_pages(first: str, **settings: str) -> int:
    """Return how many new pages a process needs for 64 MiB that it has had and freed before."""
    environment = {name: value for name, value in os.environ.items() if name not in MALLOC} | settings
    done = subprocess.run([sys.executable, "-c", ASK, first], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return int(done.stdout.rsplit("again:", 1)[1])


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the GNU C library alone is told")
def test_a_command_keeps_the_memory_that_it_frees() -> None:
    kept, plain = count_pages("command"), count_pages("no command")
    assert kept <= 5
    assert plain > kept
    assert count_pages("command", MALLOC_MMAP_MAX_="65536") > kept  # the user's own setting


def work_of_a_worker(number: int) -> dict[str, str]:
    if number < 0:
        raise InputError("negative")
    return dict(os.environ)


def test_what_is_measured_as_a_worker_has_its_environment_and_raises_its_errors() -> None:
    before = dict(os.environ)
    environment = run_as_worker(work_of_a_worker, 1)
    assert {name: environment[name] for name in MALLOC} == MALLOC
    assert environment["OMP_NUM_THREADS"] == os.environ.get("OMP_NUM_THREADS", "1")
    with pytest.raises(InputError, match="negative"):
        run_as_worker(work_of_a_worker, -1)
    assert dict(os.environ) == before
