"""Fifty rounds of faults on one mask cache, in real processes: after each the same command must make the same bytes.

    python benchmarks/mask_soak.py --out WORK --rounds 50 --seed 0

A round begins `cscl parse`, at a random moment kills it or one of its workers, interrupts it, or lets it be; damages a
random file or none (cut off, overwritten with noise, deleted, a leftover beside it); then `cscl masks verify` must name
the damaged file of a complete cache, and `cscl parse`, or sometimes `cscl masks verify --repair`, must bring back the
bytes of a run that nobody disturbed. Every third round begins with an empty folder. It ends at the first failure.
"""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import numpy as np
import psutil
from tqdm import tqdm

from pipelines.datasets.simulate import make_pedestrians

FAULTS = ("kill", "kill a worker", "interrupt", "none")
DAMAGE = ("cut off", "noise", "delete", "leftover", "none")


def hashes(index: Path) -> dict[str, str]:
    """SHA-256 of every file of the cache by name, leftovers included."""
    files = [*index.parent.glob(f"{index.name}*"), *index.with_suffix(".shards").glob("*")]
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def cscl(*arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "cli", *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip


def disturb(run: subprocess.Popen[str], fault: str, moment: float, chance: np.random.Generator) -> bool:
    """Let the run be for `moment` seconds, then do it the harm; whether it ended before its work was done."""
    try:
        run.wait(timeout=moment)
    except subprocess.TimeoutExpired:
        if fault == "kill":
            os.kill(run.pid, signal.SIGKILL)  # the driver alone: its workers must end by themselves
        elif fault == "interrupt":
            os.killpg(run.pid, signal.SIGINT)
        elif fault == "kill a worker":
            workers = psutil.Process(run.pid).children(recursive=True)
            if workers:
                workers[int(chance.integers(len(workers)))].kill()
    run.communicate()
    return run.returncode != 0


def damage(index: Path, kind: str, chance: np.random.Generator) -> Path | None:
    """Harm one file of the cache; returns which."""
    files = sorted([*index.parent.glob(index.name), *index.with_suffix(".shards").glob("?????.h5")])
    if kind == "none" or not files:
        return None
    path = files[int(chance.integers(len(files)))]
    content = path.read_bytes()
    if kind == "delete":
        path.unlink()
    elif kind == "cut off":
        path.write_bytes(content[: int(chance.integers(len(content)))])
    elif kind == "noise":
        length = int(chance.integers(1, len(content)))
        start = int(chance.integers(len(content) - length + 1))
        path.write_bytes(content[:start] + chance.bytes(length) + content[start + length :])
    else:
        path = path.with_name(f"{path.name}.{chance.bytes(4).hex()}.part")
        path.write_bytes(content[: len(content) // 2])
    return path


@click.command()
@click.option("--out", type=click.Path(path_type=Path), required=True, help="A folder to work in.")
@click.option("--rounds", default=50, show_default=True)
@click.option("--seed", default=0, show_default=True)
@click.option("--identities", default=60, show_default=True, help="Of the drawn data set; six images each.")
@click.option("--workers", default=2, show_default=True)
def main(out: Path, rounds: int, seed: int, identities: int, workers: int) -> None:
    """Run the rounds; prints what was done in each that failed, and at the end the counts as JSON."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job, and so its runs, ignore it
    root, index, calm = out / "SYSU-MM01", out / "soak" / "masks.h5", out / "calm" / "masks.h5"
    if not root.exists():
        make_pedestrians(root, train=identities // 2, test=identities - identities // 2, shots=1)
    options = ("parse", "--dataset", "sysu", "--root", root, "--size", "64x32", "--workers", workers, "--device", "cpu")
    began = time.monotonic()
    _, said = cscl(*options, "--out", calm).communicate()
    usual = time.monotonic() - began
    wanted = hashes(calm)
    assert wanted, said
    counts: dict[str, int] = {}
    for number in tqdm(range(rounds), unit="round"):
        chance = np.random.default_rng((seed, number))
        if number % 3 == 0:
            shutil.rmtree(index.parent, ignore_errors=True)
        fault, kind = FAULTS[int(chance.integers(len(FAULTS)))], DAMAGE[int(chance.integers(len(DAMAGE)))]
        stopped = disturb(
            cscl(*options, "--out", index), fault=fault, moment=float(chance.uniform(0, usual)), chance=chance
        )
        complete = hashes(index) == wanted
        hurt = damage(index, kind, chance)
        what = f"round {number}: {fault}, {kind} {hurt and hurt.name}"
        if hurt is not None and complete:
            found = json.loads(cscl("masks", "verify", index, "--json").communicate()[0])
            if [Path(d["path"]).name for d in found["damage"]] != [hurt.name]:
                raise click.ClickException(f"{what}: verify found {found['damage']}")
        repair = complete and bool(chance.integers(2))
        last = (
            cscl("masks", "verify", index, "--repair", "--device", "cpu") if repair else cscl(*options, "--out", index)
        )
        _, said = last.communicate()
        if last.returncode or hashes(index) != wanted:
            raise click.ClickException(f"{what}: not the same bytes after {'repair' if repair else 'parse'}\n{said}")
        told = [fault, kind, "repaired" if repair else "parsed again", *[f"{fault}: stopped"] * stopped]
        for name in told:
            counts[name] = counts.get(name, 0) + 1
    click.echo(json.dumps({"rounds": rounds, "seed": seed, "images": identities * 6, "same bytes": rounds, **counts}))


if __name__ == "__main__":
    main()
