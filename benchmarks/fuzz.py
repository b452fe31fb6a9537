"""Damaged and hostile files given to every reader of files that others made.

    python benchmarks/fuzz.py --out WORK --inputs 10000 --seed 0 --page docs/use.md

Each target is a small valid file and the function that reads it. An input is that file after one to three random
changes: bits, bytes, pieces cut out, doubled, moved, numbers made extreme, text of other encodings. A reader may
answer or raise an error of ours (`CsclError`). Anything else is a finding, also a crash of the process, more than
SECONDS of processor time for one input, more than MEMORY above what the valid file needs, and a write outside the
target's folder. Findings are kept as files in WORK/findings with the traceback beside them. --page writes the figures
into a page.
"""

import multiprocessing
import os
import resource
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
from fuzz_targets import CRASHES, TARGETS
from page import machine, put_table
from tqdm import tqdm

from parsing.errors import CsclError

tqdm.monitor_interval = 0  # no thread beside the one that forks
SECONDS = 20
"""Of processor time, so that the load of the machine decides nothing."""
WAIT = 600
"""Seconds on the clock after which an input is taken to wait for something that does not come."""
MEMORY = 1 << 30
CRASHED = "crashed the process"
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
INTERESTING = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 0x7FFFFFFFFFFFFFFF, (1 << 64) - 1)
BEGIN, END = "<!-- figures: benchmarks/fuzz.py -->", "<!-- end of figures -->"
WORDS = (b"../../x", b"/etc/passwd", b"\xff\xfe", b"\x00", b"nan", b"1e999", b"-1", b"[" * 2000, b'"', b"=", b"\r\n",
         b"{", "\u202e\u00e9".encode(), b"9" * 400, b"0001,", b"C:\\x")  # fmt: skip


@dataclass(frozen=True)
class Target:
    """A reader.

    make: fills a folder and returns the file to change. read: reads it, given that file's path.
    crashes: a library that is known to crash the process on damaged files of this kind; counted, and no finding.
    """

    name: str
    make: Callable[[Path], Path]
    read: Callable[[Path], Any]
    crashes: str = ""


@dataclass
class Tried:
    """What the inputs of one target did.

    findings: by the input's number. crashes: of the library that `Target.crashes` names. memory: the most that the
    process of an input held beyond what reading the valid file needs, in bytes.
    """

    target: Target
    inputs: int
    findings: dict[int, str]
    crashes: int = 0
    memory: int = 0
    seconds: float = 0

    def line(self) -> str:
        note = f"; {self.crashes} crashes of {self.target.crashes}" if self.crashes else ""
        return (
            f"{self.target.name}: {self.inputs} inputs, {len(self.findings)} findings{note}; "
            f"{self.memory >> 20} MiB at most, {self.seconds:.0f} s"
        )


def change(content: bytes, chance: np.random.Generator) -> bytes:
    """Return the content after one to three random changes."""
    data = bytearray(content)
    for _ in range(int(chance.integers(1, 4))):
        size = len(data)
        at, length = int(chance.integers(size + 1)), int(chance.integers(1, 65))
        kind = int(chance.integers(8))
        if kind == 0 and size:
            data[at % size] ^= 1 << int(chance.integers(8))
        elif kind == 1:
            data[at : at + length] = chance.bytes(length)
        elif kind == 2:
            del data[at:]
        elif kind == 3:
            del data[at : at + length]
        elif kind == 4:
            data[at:at] = data[at : at + length] * int(chance.integers(1, 5))
        elif kind == 5:
            width = int(chance.choice((1, 2, 4, 8)))
            value = INTERESTING[int(chance.integers(len(INTERESTING)))] & ((1 << 8 * width) - 1)
            data[at : at + width] = value.to_bytes(width, "little" if chance.integers(2) else "big")
        elif kind == 6:
            data[at : at + int(chance.integers(2)) * length] = WORDS[int(chance.integers(len(WORDS)))]
        else:
            other = int(chance.integers(size + 1))
            data[at : at + length] = data[other : other + length]
    return bytes(data)


def targets() -> dict[str, Target]:
    """Return every reader by name."""
    return {
        name: Target(name, make=make, read=read, crashes=CRASHES.get(name, ""))
        for name, (make, read) in TARGETS.items()
    }


def allowed(error: BaseException) -> bool:
    """Return whether a reader may answer with this: an error of ours that says something."""
    return isinstance(error, CsclError) and bool(str(error))


def try_inputs(name: str, folder: Path, numbers: Sequence[int], seed: int, results: Any) -> None:
    """Read changed files one after the other and put `(number, finding or None, memory)` into the queue `results`."""
    outside: list[str] = []
    inside = str(folder.resolve())

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        path, flags = (arguments[0], arguments[2]) if event == "open" else (arguments[-1], WRITES)
        if event in ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.symlink"):
            wrote = isinstance(flags, int) and flags & WRITES and isinstance(path, str | bytes | os.PathLike)
            if wrote and not os.path.abspath(os.fsdecode(path)).startswith((inside, "/dev/null", "/proc")):
                outside.append(f"{event} {os.fsdecode(path)}")

    def late(*_: Any) -> None:
        raise TimeoutError(f"more than {SECONDS} s of processor time")

    target = targets()[name]
    file = target.make(folder)
    good = file.read_bytes()
    target.read(file)  # the valid file is read, and everything that is imported is
    needed = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    limit = needed + MEMORY
    signal.signal(signal.SIGPROF, late)
    most = resource.getrlimit(resource.RLIMIT_CPU)[1]
    sys.addaudithook(watch)
    for number in numbers:
        outside.clear()
        file.write_bytes(change(good, np.random.default_rng((seed, number))))
        found = None
        # a library that does not let Python's signal through is ended by the system
        resource.setrlimit(resource.RLIMIT_CPU, (int(time.process_time()) + 2 * SECONDS, most))
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        try:
            target.read(file)
        except Exception as error:
            found = None if allowed(error) else traceback.format_exc()
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
        if found is None and outside:
            found = "wrote outside its folder: " + ", ".join(outside)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        if found is None and peak > limit:
            found = f"took {(peak - limit + MEMORY) >> 20} MiB for one file of {len(good)} bytes"
            limit = peak + MEMORY
        results.put((number, found, peak - needed))


def run_target(name: str, out: Path, numbers: Sequence[int], seed: int) -> Tried:
    """Return what was found; a process that dies is a finding, and the next one goes on after it."""
    context = multiprocessing.get_context("fork")  # what is imported here is not imported again
    found: dict[int, str] = {}
    left = list(numbers)
    tried, began = Tried(targets()[name], len(left), found), time.monotonic()
    with tqdm(total=len(left), unit="input", desc=name) as bar:
        while left:
            folder = out / "work" / name
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            results: Any = context.SimpleQueue()
            child = context.Process(target=try_inputs, args=(name, folder, left, seed, results))
            child.start()
            before, heard = len(left), time.monotonic()
            while child.is_alive() or not results.empty():
                if results.empty():
                    child.join(0.02)
                    if time.monotonic() - heard > WAIT and len(left) < before:
                        child.kill()
                    continue
                number, finding, memory = results.get()
                tried.memory = max(tried.memory, memory)
                heard = time.monotonic()
                left.remove(number)
                bar.update()
                if finding:
                    found[number] = finding
            if left:
                if len(left) == before and child.exitcode == 1:
                    raise click.ClickException(f"{name}: its valid file cannot be read, see above")
                hung = "hung and was killed"
                ended = {
                    -signal.SIGKILL: hung,
                    -signal.SIGXCPU: hung,
                    -signal.SIGSEGV: CRASHED,
                    -signal.SIGBUS: CRASHED,
                }
                found[left.pop(0)] = ended.get(child.exitcode or 0, f"the process ended with {child.exitcode}")
                bar.update()
    for number in [number for number, text in found.items() if text == CRASHED and tried.target.crashes]:
        del found[number]
        tried.crashes += 1
    tried.seconds = time.monotonic() - began
    return tried


def summary(tried: Sequence[Tried], seed: int) -> str:
    """Return the figures as a paragraph."""
    crashes = [f"{t.crashes} crashes of {t.target.crashes}" for t in tried if t.crashes]
    largest = max(tried, key=lambda t: t.memory)
    return (
        f"Last run: {sum(t.inputs for t in tried):,} inputs, seed {seed}, of {len(tried)} kinds of file "
        f"({', '.join(t.target.name for t in tried)}) in {sum(t.seconds for t in tried) / 60:.0f} minutes. "
        f"{sum(len(t.findings) for t in tried)} findings; {', '.join([*crashes, ''])}which nothing here can catch. "
        f"The most memory beyond what the undamaged file needs was {largest.memory >> 20} MiB ({largest.target.name}), "
        f"of {MEMORY >> 20} MiB allowed. {machine()}."
    ).replace("; which nothing here can catch", "")


@click.command()
@click.option("--out", type=click.Path(path_type=Path), required=True)
@click.option("--inputs", default=10_000, show_default=True, help="In all, dealt to the targets.")
@click.option("--only", multiple=True, help="Names of targets; `list` prints them.")
@click.option("--seed", default=0, show_default=True)
@click.option("--page", type=click.Path(path_type=Path, exists=True), help="Markdown page to write the figures into.")
def main(out: Path, inputs: int, only: tuple[str, ...], seed: int, page: Path | None) -> None:
    """Try changed files on every reader; exit code 1 if something was found."""
    known = targets()
    if only == ("list",):
        click.echo("\n".join(known))
        return
    names = list(only) or list(known)
    each = -(-inputs // len(names))
    done = []
    for name in names:
        done.append(run_target(name, out=out, numbers=range(each), seed=seed))
        click.echo(done[-1].line())
        for number, text in done[-1].findings.items():
            place = out / "findings" / f"{name}-{number}"
            place.parent.mkdir(parents=True, exist_ok=True)
            place.with_suffix(".txt").write_text(text)
            good = known[name].make(_fresh(out / "work" / f"{name}-again"))
            place.write_bytes(change(good.read_bytes(), np.random.default_rng((seed, number))))
            click.echo(f"  {number}: {text.strip().splitlines()[-1][:160]}")
    if page is not None:
        put_table(page, begin=BEGIN, end=END, table=summary(done, seed))
    sys.exit(1 if any(tried.findings for tried in done) else 0)


def _fresh(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


if __name__ == "__main__":
    main()
