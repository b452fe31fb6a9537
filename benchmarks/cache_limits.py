"""The mask cache at 50,000 images of 288x144: size, overhead of parsing, memory, opening and reading.

    python benchmarks/cache_limits.py --out WORK

Two caches are made. One holds the true label maps of drawn pedestrians (simulated: real masks may be larger or
smaller), written shard by shard: its size, `MaskCache` open time and reads are measured. The other is made by
`cscl parse` with a TorchScript parser that computes nothing, of small JPEGs under 50,000 names: what is left is the
overhead, with the peak memory of driver and workers. Prints a table; WORK/cache_limits.json has the figures.
"""

import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import click
import numpy as np
import psutil
import torch
from PIL import Image
from tqdm import tqdm

from data.simulators.layouts import label_name
from parsing import CacheWriter, MaskCache
from parsing.cache.index import shard_folder
from pipelines.datasets.simulate import make_pedestrians

SIZE = (288, 144)


class Nothing(torch.nn.Module):
    """A parser that answers a constant: eight classes at 8 x 4, nearly no work."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.arange(256.0, device=images.device).reshape(1, 8, 8, 4).expand(images.shape[0], 8, 8, 4)


def write_cache(index: Path, masks: np.ndarray, images: int) -> None:
    """A cache of `images` masks, those of `masks` (N, 288, 144) in turn."""
    with CacheWriter(
        index, labels="person7", size=SIZE, parser="truth", weights="0" * 64, data_set="sysu", licence="none",
    ) as cache:  # fmt: skip
        for n in tqdm(range(images), unit="mask", desc="write"):
            name = f"cam1/{n // 20:04d}/{n % 20:04d}.jpg"
            cache.add(name, masks[n % len(masks)], identity=n // 20, camera=1, source_size=SIZE)


def drawn_masks(folder: Path) -> tuple[Path, np.ndarray]:
    """A drawn data set and its true label maps (N, 288, 144)."""
    root = folder / "SYSU-MM01"
    if not root.exists():
        make_pedestrians(root, train=20, test=20, shots=1)
    files = sorted(root.glob(label_name("cam*/*/*.jpg")))
    height, width = SIZE
    return root, np.stack([np.asarray(Image.open(f).resize((width, height), Image.Resampling.NEAREST)) for f in files])


def reading(index: Path, images: int) -> dict[str, float]:
    """Seconds to open (best of 3), masks a second in order and at random, index MiB, KiB an image."""
    opened = []
    for _ in range(3):
        began = time.monotonic()
        cache = MaskCache(index)
        opened.append(time.monotonic() - began)
    rates = {}
    orders = {"in order": np.arange(min(images, 5000)), "at random": np.random.default_rng(0).integers(0, images, 5000)}
    for name, numbers in orders.items():
        began = time.monotonic()
        for number in numbers.tolist():
            cache[number]
        rates[f"masks read a second, {name}"] = len(numbers) / (time.monotonic() - began)
    size = sum(p.stat().st_size for p in shard_folder(index).iterdir())
    return {
        "KiB a mask": size / images / 2**10, "shards, MiB": size / 2**20, "index, MiB": index.stat().st_size / 2**20,
        "open, s": min(opened), **rates,
    }  # fmt: skip


def parsing(folder: Path, source: Path, images: int, workers: int) -> dict[str, float]:
    """Images a second and peak MiB of driver and of the largest worker, with a parser that computes nothing."""
    root, out, parser = folder / "own", folder / "nothing" / "masks.h5", folder / "nothing.pt"
    shutil.rmtree(out.parent, ignore_errors=True)
    torch.jit.script(Nothing()).save(parser)
    files = sorted(source.glob("cam*/*/*.jpg"))
    if not root.exists():
        for number in tqdm(range(images), unit="image", desc="link"):
            light = ("visible", "infrared")[number % 2]
            place = root / light / f"{number // 20:05d}" / f"{number % 20:02d}.jpg"
            place.parent.mkdir(parents=True, exist_ok=True)
            os.link(files[number % len(files)], place)
    began = time.monotonic()
    command = [
        sys.executable, "-m", "cli", "parse", "--dataset", "folder", "--root", root, "--out", out, "--no-flip",
        "--parser", f"torchscript:{parser}", "--labels", "person7", "--input", "16x8", "--workers", workers,
        "--device", "cpu",
    ]  # fmt: skip
    run = subprocess.Popen([str(c) for c in command])
    peaks: dict[int, int] = {}
    watcher = threading.Thread(target=watch, args=(run.pid, peaks), daemon=True)
    watcher.start()
    if run.wait():
        raise click.ClickException("cscl parse failed")
    watcher.join()
    driver = peaks.pop(run.pid) / 2**20
    seconds = time.monotonic() - began
    return {
        "images parsed a second, start included": images / seconds,
        "ms overhead an image and worker": 1e3 * seconds * workers / images,
        "driver, peak MiB": driver, "largest worker, peak MiB": max(peaks.values(), default=0) / 2**20,
    }  # fmt: skip


def watch(process: int, peaks: dict[int, int]) -> None:
    """Note the resident bytes of the process and its children, five times a second, until it ends."""
    while psutil.pid_exists(process):
        try:
            driver = psutil.Process(process)
            if driver.status() == psutil.STATUS_ZOMBIE:
                return
            for one in (driver, *driver.children(recursive=True)):
                peaks[one.pid] = max(peaks.get(one.pid, 0), one.memory_info().rss)
        except psutil.NoSuchProcess:
            pass
        time.sleep(0.2)


@click.command()
@click.option("--out", type=click.Path(path_type=Path), required=True, help="A folder to work in.")
@click.option("--images", default=50_000, show_default=True)
@click.option("--workers", default=2, show_default=True)
def main(out: Path, images: int, workers: int) -> None:
    """Measure and print."""
    out.mkdir(parents=True, exist_ok=True)
    source, masks = drawn_masks(out)
    index = out / "drawn" / "masks.h5"
    shutil.rmtree(index.parent, ignore_errors=True)
    began = time.monotonic()
    write_cache(index, masks, images)
    results: dict[str, Any] = {
        "images": images, "workers": workers, "cores": os.cpu_count(), "machine": platform.machine(),
        "masks written a second": images / (time.monotonic() - began), **reading(index, images),
        "writing process, peak MiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10,
        **parsing(out, source=source, images=images, workers=workers), "load average at the end": os.getloadavg()[0],
    }  # fmt: skip
    (out / "cache_limits.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    for name, value in results.items():
        click.echo(f"{name:40} {value if isinstance(value, str | int) else f'{value:,.2f}'}")


if __name__ == "__main__":
    main()
