"""A command keeps the memory that it frees, unless the user's environment says otherwise."""

import os
import signal
import subprocess
import sys

import pytest

from parsing.errors import CsclError, InputError
from pipelines.benchmarks.measure import run_apart
from pipelines.devices import MALLOC, find_mallopt
from pipelines.parse.preload import worker_environment

ASK = """
import resource, sys
from cli import main
if sys.argv[1] == "command":
    main(["parser", "list"], standalone_mode=False)
def count_new_pages():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    bytearray(9 << 28)  # more than a trim threshold of 32 bits
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
count_new_pages()
print("again:", count_new_pages())
"""


def count_pages(first: str, **settings: str) -> int:
    """Return how many new pages a process needs for 2.25 GiB that it has had and freed before."""
    environment = {name: value for name, value in os.environ.items() if name not in MALLOC} | settings
    done = subprocess.run([sys.executable, "-c", ASK, first], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return int(done.stdout.rsplit("again:", 1)[1])


@pytest.mark.skipif(find_mallopt() is None, reason="this C library has no mallopt")
def test_a_command_keeps_the_memory_that_it_frees() -> None:
    kept, plain = count_pages("command"), count_pages("no command")
    assert kept <= 5
    assert plain > kept
    assert count_pages("command", MALLOC_MMAP_MAX_="65536") > kept  # the user's own setting


def work_apart(number: int) -> dict[str, str]:
    if number < 0:
        raise InputError("negative")
    if number > 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return dict(os.environ)


def test_what_is_measured_apart_has_a_workers_environment_and_raises_its_errors(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in (*MALLOC, "OMP_NUM_THREADS"):  # those of whoever runs the tests
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MALLOC_ARENA_MAX", "3")
    before = dict(os.environ)
    with worker_environment():
        environment = run_apart(work_apart, 1)
    assert {name: environment[name] for name in MALLOC} == {**MALLOC, "MALLOC_ARENA_MAX": "3"}
    assert environment["OMP_NUM_THREADS"] == "1"
    assert dict(os.environ) == before
    with pytest.raises(InputError, match="negative"):
        run_apart(work_apart, -1)
    with pytest.raises(CsclError, match="killed"):
        run_apart(work_apart, 2)
