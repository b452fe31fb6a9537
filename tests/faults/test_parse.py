"""Faults in real processes: killed at random moments, interrupted, out of disk, two at once; then the same bytes."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import numpy as np
import psutil
import pytest
from support.places import ROOT

from parsing.cache.index import shard_folder
from parsing.cache.lock import LockedError
from parsing.files import file_hash
from parsing.parsers.registry import ParserSpec
from pipelines.parse.run import ParseConfig, parse

Found = TypeVar("Found")
PARSE = """
import resource, signal, sys
from pathlib import Path
import cli, pipelines.parse.run, parsing.cache.builder
signal.signal(signal.SIGINT, signal.default_int_handler)  # where the tests run in the background it is ignored
parsing.cache.builder.MOST_IN_A_SHARD = 3
print("loaded", flush=True)
sys.stdin.readline()
if {limit}:
    resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
cli.main()
"""
"""`cscl` with three images a shard, which waits for a line once it has loaded what takes seconds."""
STICKY = """
import os, time
from pathlib import Path
import parsing.images
import pipelines.parse.work
def read_image(path):
    stuck = Path({stuck!r})
    if len(list(stuck.iterdir())) < 2:
        (stuck / str(os.getpid())).touch()
        time.sleep(3600)
    return parsing.images.read_image(path)
pipelines.parse.work.read_image = read_image
"""
"""A worker's preload under which the first two workers write down their number at their first image, and stay there."""


@pytest.fixture(autouse=True, scope="module")
def small_shards() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("parsing.cache.builder.MOST_IN_A_SHARD", 3)
        yield


@pytest.fixture(scope="module")
def whole(tiny_figures: Path, tiny_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 images in eight shards, parsed by a run that nobody disturbed."""
    out = tmp_path_factory.mktemp("whole") / "masks.h5"
    parse(ParseConfig(
        "sysu", root=tiny_figures, out=out, parser=ParserSpec(weights=tiny_weights), size=(32, 16), workers=0
    ))  # fmt: skip
    return out


class Command:
    """`cscl parse` in a process group of its own, loaded and about to begin."""

    def __init__(self, root: Path, weights: Path, out: Path, workers: int = 0, limit: int = 0) -> None:
        options = ("--root", root, "--weights", weights, "--out", out, "--size", "32x16", "--device", "cpu")
        command = [sys.executable, "-c", PARSE.format(limit=limit), "parse", "--dataset", "sysu", *map(str, options)]
        self.process = subprocess.Popen(
            [*command, "--workers", str(workers)], env=os.environ | {"PYTHONPATH": str(ROOT)}, start_new_session=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "loaded\n"

    def begin(self) -> float:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return time.monotonic()

    def until(self, look: Callable[[], Found], seconds: float = 300) -> Found:
        """Wait until `look` finds something, and return it; a command that ends before fails the test."""
        last = time.monotonic() + seconds
        while not (found := look()):
            assert self.process.poll() is None
            assert time.monotonic() < last
            time.sleep(0.002)
        return found

    def end(self, seconds: float = 300) -> tuple[int, list[str]]:
        """Exit code, and what it said beside its progress bar."""
        _, said = self.process.communicate(timeout=seconds)
        return self.process.returncode, [line for line in said.splitlines() if line and "parse sysu:" not in line]


def hashes(index: Path) -> dict[str, str]:
    """Of every file of the cache, those included that ought not to be there."""
    folder = shard_folder(index)
    files = [*index.parent.glob(f"{index.name}*"), *(folder.iterdir() if folder.is_dir() else [])]
    return {p.name: file_hash(p) for p in files}


def kill(process: subprocess.Popen[str]) -> None:
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def finished(index: Path, whole: Path) -> int:
    """How many shards are there; each must be whole already."""
    shards = [p.name for p in shard_folder(whole).iterdir()]
    there = [p for name in shards if (p := shard_folder(index) / name).exists()]
    assert all(file_hash(p) == file_hash(shard_folder(whole) / p.name) for p in there)
    return len(there)


@pytest.mark.parametrize("rounds", [1, pytest.param(12, marks=pytest.mark.slow)])
def test_killed_at_random_moments_it_goes_on_to_the_same_bytes(
    rounds: int, whole: Path, tiny_figures: Path, tiny_weights: Path, tmp_path: Path
) -> None:
    out, generator, kept = tmp_path / "masks.h5", np.random.default_rng(rounds), 0
    for _ in range(rounds):
        command = Command(tiny_figures, tiny_weights, out)
        command.begin()
        wanted = int(generator.integers(min(kept, 7), 8))  # all shards may be there before the last round
        while finished(out, whole) < wanted and command.process.poll() is None:
            time.sleep(0.005)
        time.sleep(float(generator.uniform(0, 0.1)))
        kill(command.process)
        now = finished(out, whole)
        assert now >= kept
        kept = now
    times = {p: p.stat().st_mtime_ns for p in shard_folder(out).glob("?????.h5")}
    command = Command(tiny_figures, tiny_weights, out)
    command.begin()
    assert command.end() == (0, [])
    assert hashes(out) == hashes(whole)
    assert {p: p.stat().st_mtime_ns for p in times} == times


def test_ctrl_c_is_one_line_and_ends_everything(
    whole: Path, tiny_figures: Path, tiny_weights: Path, tmp_path: Path
) -> None:
    out = tmp_path / "masks.h5"
    command = Command(tiny_figures, tiny_weights, out)
    command.begin()
    command.until(out.with_name("masks.h5.lock").exists)
    os.killpg(command.process.pid, signal.SIGINT)
    assert command.end() == (130, ["cscl: stopped; finished shards are kept, the same command continues"])
    assert not [name for name in hashes(out) if name.endswith((".part", ".lock"))]


def test_a_full_disk_is_one_line_and_nothing_half_written_counts(
    whole: Path, tiny_figures: Path, tiny_weights: Path, tmp_path: Path
) -> None:
    out = tmp_path / "masks.h5"
    shutil.copytree(shard_folder(whole), shard_folder(out))
    (shard_folder(out) / "00004.h5").unlink()
    largest = min(p.stat().st_size for p in shard_folder(whole).iterdir())
    command = Command(tiny_figures, tiny_weights, out, limit=largest - 100)
    command.begin()
    code, (line,) = command.end()
    assert code == 1
    assert line.startswith("cscl: ")
    assert "00004.h5 could not be written: File too large; once that is mended, the same command goes on" in line
    assert sorted(hashes(out)) == [f"{n:05d}.h5" for n in range(8) if n != 4]


def test_the_second_of_two_runs_says_so_and_stops(
    whole: Path, tiny_figures: Path, tiny_weights: Path, tmp_path: Path
) -> None:
    out = tmp_path / "masks.h5"
    command = Command(tiny_figures, tiny_weights, out)
    command.begin()
    lock = out.with_name("masks.h5.lock")
    command.until(lambda: lock.exists() and lock.read_text())
    os.killpg(command.process.pid, signal.SIGSTOP)  # so that it cannot end before the second has asked
    with pytest.raises(LockedError, match=rf"by cscl parse, process {command.process.pid} on .*; wait for it"):
        parse(ParseConfig("sysu", root=tiny_figures, out=out, parser=ParserSpec(weights=tiny_weights), size=(32, 16)))
    os.killpg(command.process.pid, signal.SIGCONT)
    assert command.end() == (0, [])
    assert hashes(out) == hashes(whole)


def forked_workers(command: Command) -> list[psutil.Process]:
    """The workers of a command: children of the process that forks them, with its command line."""
    found = []
    for process in psutil.Process(command.process.pid).children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # it has just ended
            if "forkserver" in str(process.cmdline()) and process.ppid() != command.process.pid:
                found.append(process)
    return found


@pytest.mark.slow
def test_workers_of_a_killed_run_end(whole: Path, tiny_figures: Path, tiny_weights: Path, tmp_path: Path) -> None:
    out = tmp_path / "masks.h5"
    command = Command(tiny_figures, tiny_weights, out, workers=2)
    command.begin()
    command.until(lambda: finished(out, whole))
    assert forked_workers(command)
    children = psutil.Process(command.process.pid).children(recursive=True)
    os.kill(command.process.pid, signal.SIGKILL)
    command.process.communicate()
    _, alive = psutil.wait_procs(children, timeout=60)
    assert alive == []


@pytest.mark.slow
def test_a_worker_that_is_killed_while_it_starts_is_replaced(
    whole: Path, tiny_figures: Path, tiny_weights: Path, tmp_path: Path
) -> None:
    out = tmp_path / "masks.h5"
    command = Command(tiny_figures, tiny_weights, out, workers=1)
    command.begin()
    (worker,) = command.until(lambda: forked_workers(command))
    worker.kill()
    assert finished(out, whole) == 0
    assert command.end() == (0, [])
    assert hashes(out) == hashes(whole)


@pytest.mark.slow
def test_workers_that_are_killed_in_the_middle_of_a_shard_are_replaced(
    whole: Path, tiny_figures: Path, tiny_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stuck, out = tmp_path / "stuck", tmp_path / "masks.h5"
    stuck.mkdir()
    (tmp_path / "sticky.py").write_text(STICKY.format(stuck=str(stuck)))
    monkeypatch.setenv("DASK_DISTRIBUTED__WORKER__PRELOAD", repr([str(tmp_path / "sticky.py")]))
    command = Command(tiny_figures, tiny_weights, out, workers=2)
    command.begin()
    command.until(lambda: len(list(stuck.iterdir())) == 2)
    first = forked_workers(command)
    assert sorted(p.name for p in stuck.iterdir()) == sorted(str(p.pid) for p in first)
    assert finished(out, whole) == 0
    for worker in first:
        worker.kill()
    assert command.end() == (0, [])
    assert hashes(out) == hashes(whole)
