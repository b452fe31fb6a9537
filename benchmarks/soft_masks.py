"""Soft masks a second: exports of a cache with probabilities, and parts in the workers of a DataLoader.

    python benchmarks/soft_masks.py [--images 128] [--threads 1 --threads 2 --threads all] [--json]

Masks are smooth random maps of the LIP classes at 288x144. Each row is a process of its own, with so many threads of
numpy's matrix library (`all`: no limit), since that library reads its number once.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import click
import numpy as np
from page import machine
from torch.utils.data import DataLoader, Dataset

from parsing import CacheWriter, MaskCache
from parsing.labels import label_set
from parsing.resize import resize_maps
from pipelines.masks.export import ExportConfig, export

SIZE = (288, 144)
EXPORTERS = ("bpbreid", "kpr", "pixel-sampling")
LIMITS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class Parts(Dataset[Any]):
    """Soft parts of each image of a cache."""

    def __init__(self, cache: MaskCache) -> None:
        self.cache = cache

    def __len__(self) -> int:
        return len(self.cache)

    def __getitem__(self, number: int) -> Any:
        return self.cache.parts(number, "reid4", soft=True)


def write_cache(index: Path, images: int) -> None:
    """Write a cache of smooth random masks with probabilities."""
    rng, labels = np.random.default_rng(0), label_set("lip")
    quarter = (SIZE[0] // 4, SIZE[1] // 4)
    with CacheWriter(index, labels=labels, size=SIZE, parser="random", probs=True) as cache:
        for n in range(images):
            coarse = rng.standard_normal((len(labels), 9, 5)).astype(np.float32) * 4
            answer = np.exp(resize_maps(coarse, quarter))
            probs = np.rint(255 * answer / answer.sum(0)).astype(np.uint8)
            mask = probs.argmax(0).astype(np.uint8).repeat(4, 0).repeat(4, 1)
            cache.add(f"cam1/{n // 20:04d}/{n % 20:04d}.jpg", mask, probs=probs, source_size=SIZE)


def measure(index: Path) -> dict[str, float]:
    """Return images a second of each exporter, of one process, and of two workers."""
    cache, found = MaskCache(index), {}
    for name in EXPORTERS:
        with tempfile.TemporaryDirectory() as out:
            began = time.perf_counter()
            result = export(ExportConfig(index, name, Path(out) / "masks"))
            found[f"--to {name}"] = result.written / (time.perf_counter() - began)
    began = time.perf_counter()
    for number in range(len(cache)):
        cache.parts(number, "reid4", soft=True)
    found["parts, one process"] = len(cache) / (time.perf_counter() - began)
    loader = DataLoader(Parts(cache), batch_size=16, num_workers=2)
    batches = iter(loader)
    next(batches)  # the workers have started
    began = time.perf_counter()
    rest = sum(len(batch) for batch in batches)
    found["parts, two workers"] = rest / (time.perf_counter() - began)
    return found


@click.command()
@click.option("--images", type=click.IntRange(64), default=128, show_default=True)
@click.option("--threads", multiple=True, default=("1", "2", "all"), show_default=True)
@click.option("--json", "as_json", is_flag=True)
@click.option("--measure", "index", type=click.Path(path_type=Path), hidden=True, help="Of one process.")
def main(images: int, threads: tuple[str, ...], as_json: bool, index: Path | None) -> None:
    """Measure each number of threads in a process of its own."""
    if index is not None:
        click.echo(json.dumps(measure(index)))
        return
    rows: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        write_cache(Path(folder) / "masks.h5", images)
        for number in threads:
            environment = {k: v for k, v in os.environ.items() if k not in LIMITS}
            environment |= {} if number == "all" else dict.fromkeys(LIMITS, number)
            command = [sys.executable, __file__, "--measure", str(Path(folder) / "masks.h5")]
            answer = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True, text=True)
            rows[number] = json.loads(answer.stdout)
    if as_json:
        click.echo(json.dumps({"images": images, "images a second": rows, "machine": machine()}, indent=1))
        return
    click.echo(f"{'images a second':22}" + "".join(f"{number + ' threads':>13}" for number in rows))
    for what in next(iter(rows.values())):
        click.echo(f"{what:22}" + "".join(f"{row[what]:13.1f}" for row in rows.values()))
    click.echo(f"{images} images at {SIZE[0]}x{SIZE[1]}; {machine()}; load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
