"""Time, memory and size of each stage against the number of images: the table of docs/scaling.md.

    python benchmarks/growth.py --out WORK [--people 100 --people 500 ...] [--steps 30] [--docs PAGE]
    python benchmarks/growth.py --out WORK --flip      # with flip averaging, parsing alone
    python benchmarks/growth.py --out WORK --sysu      # 45,863 images; more than an hour on two cores, mostly drawing

Draws `pedestrians` in the layout of SYSU-MM01 (six cameras, `--shots` images of each person and camera), then runs as
commands of their own: `cscl parse`, `cscl data check`, `cscl masks info`, `cscl train` for some steps, `cscl evaluate`
under all protocols. Time is wall time and processor time of the whole command, workers included; memory is the largest
sum over its processes. Each size that is done is kept in WORK/growth.json and not run again.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import click
from page import machine, put_table

BEGIN, END = "<!-- growth: benchmarks/growth.py -->", "<!-- end of growth -->"
CAMERAS = 6
SYSU = (491, 45_863)
"""Identities and images of SYSU-MM01: 15.6 images of each person and camera."""
TICK, PAGE = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")


def watch(command: list[str], codes: tuple[int, ...] = (0,)) -> dict[str, float]:
    """Run a command in a session of its own; return its wall and processor seconds and its peak memory (PSS, MB).

    A worker that is forked from a server is nobody's child that waits, so that resource usage would not count it.
    """
    began = time.monotonic()
    # Threads that wait for each other on a busy machine use processor time for nothing.
    one_thread = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True, env=one_thread
    )
    spent: dict[int, float] = {}
    peak = 0.0
    while process.poll() is None:
        memory = 0.0
        for pid in (int(name) for name in os.listdir("/proc") if name.isdigit()):
            try:
                fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
                if int(fields[3]) != process.pid:
                    continue
                spent[pid] = (int(fields[11]) + int(fields[12])) / TICK
                memory += proportional(pid)
            except (OSError, ValueError, IndexError):  # it has just ended
                continue
        peak = max(peak, memory)
        # A look at the memory of a large process takes some 10 ms of a core, which the stage would wait for.
        time.sleep(min(1.0, max(0.1, (time.monotonic() - began) / 30)))
    assert process.stderr is not None
    if process.returncode not in codes:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}: {process.stderr.read()[-400:]!r}")
    return {"wall": time.monotonic() - began, "cpu": sum(spent.values()), "memory": peak}


def proportional(pid: int) -> float:
    """Memory of a process in MB, what it shares divided among those that share it."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


@click.command()
@click.option("--out", type=click.Path(path_type=Path), required=True)
@click.option("--people", type=click.IntRange(12), multiple=True, default=(24, 96), show_default=True)
@click.option("--shots", type=click.IntRange(1), default=8, show_default=True)
@click.option("--sysu", is_flag=True, help="As many people and images as SYSU-MM01 has.")
@click.option("--steps", type=click.IntRange(1), default=30, show_default=True, help="Of training.")
@click.option("--flip/--no-flip", default=False, show_default=True)
@click.option("--docs", type=click.Path(path_type=Path, exists=True), help="The page with the table.")
def main(out: Path, people: tuple[int, ...], shots: int, sysu: bool, steps: int, flip: bool, docs: Path | None) -> None:
    """Measure each size that is not in the results yet, and write the table."""
    out.mkdir(parents=True, exist_ok=True)
    kept = out / "growth.json"
    results: dict[str, Any] = json.loads(kept.read_text()) if kept.exists() else {"machine": machine(), "sizes": {}}
    sizes = [(SYSU[0], 16, SYSU[1])] if sysu else [(n, shots, n * shots * CAMERAS) for n in people]
    for count, each, images in sizes:
        name = f"{images}{' flip' if flip else ''}"
        if name not in results["sizes"]:
            results["sizes"][name] = measure(out, people=count, shots=each, images=images, steps=steps, flip=flip)
            kept.write_text(json.dumps(results, indent=1) + "\n")
    text = "\n".join(table(results))
    click.echo(text)
    if docs is not None:
        put_table(docs, begin=BEGIN, end=END, table=text)


def measure(out: Path, people: int, shots: int, images: int, steps: int, flip: bool) -> dict[str, Any]:
    """Every stage on a data set of this size."""
    root, cache, run = out / f"images-{images}", out / f"masks-{images}-{flip:d}.h5", out / f"run-{images}-{flip:d}"
    if not root.is_dir():
        test = people // 5
        draw = ["--train", people - test, "--test", test, "--shots", shots, "--out", root]
        subprocess.run([*cscl("data", "make", "pedestrians"), *map(str, draw)], check=True)
        drop(root, images)
    found: dict[str, Any] = {"images": images, "flip": flip, "steps": steps}
    data = ("--dataset", "sysu", "--root", str(root))
    found["parse"] = watch(cscl("parse", *data, "--out", cache, "--overwrite", f"--{'' if flip else 'no-'}flip"))
    found["size"] = sum(p.stat().st_size for p in (cache, *cache.with_suffix(".shards").iterdir())) / 2**20
    if flip:  # which the other stages do not depend on
        return found
    found["check"] = watch(cscl("data", "check", *data), codes=(0, 1))  # its counts are not the published ones
    found["info"] = watch(cscl("masks", "info", cache))
    short = ("train.epochs=1", f"train.steps={steps}")
    changes = [word for change in short for word in ("--set", change)]
    found["train"] = watch(cscl("train", "--masks", cache, "--recipe", "small", "--run", run, *changes))
    found["evaluate"] = watch(cscl("evaluate", "--run", run))
    return found


def drop(root: Path, images: int) -> None:
    """Remove images beyond `images`, the last shots of each camera by turns."""
    names = sorted((p for p in root.glob("cam*/*/*.jpg")), key=lambda p: (p.name, p.parent.name, p.parent.parent.name))
    for path in names[images:]:
        path.unlink()


def cscl(*arguments: object) -> list[str]:
    """The command."""
    return [sys.executable, "-m", "cscl", *map(str, arguments)]


def table(results: dict[str, Any]) -> list[str]:
    """Markdown lines: a row per stage and size."""
    stages = ("parse", "check", "info", "train", "evaluate")
    lines = ["| images | stage | wall s | processor s | peak MB |", "|" + " --- |" * 5]
    for found in results["sizes"].values():
        for stage in (stage for stage in stages if stage in found):
            said = {
                "parse": f"parse, {'flip' if found['flip'] else 'no flip'}",
                "train": f"train {found['steps']} steps",
            }
            values = " | ".join(f"{found[stage][key]:.1f}" for key in ("wall", "cpu"))
            lines.append(
                f"| {found['images']:,} | {said.get(stage, stage)} | {values} | {found[stage]['memory']:.0f} |"
            )
    sizes = ", ".join(
        f"{f['size']:.1f} MB of {f['images']:,}{', flip averaged' * f['flip']}" for f in results["sizes"].values()
    )
    return [*lines, "", f"Caches: {sizes}. Drawn pedestrians in the layout of SYSU-MM01. {results['machine']}."]


if __name__ == "__main__":
    main()
