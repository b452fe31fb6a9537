"""What `cscl parse` costs per image by stage with the built-in parser: a table of docs/benchmarks.md.

    python benchmarks/parse_stages.py --docs docs/benchmarks.md [--photos DIR]

Each stage runs by itself on the same images, by turns with the others, as in a worker: processor time of one
thread, medians.
"""

import os
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from page import machine, put_table
from torch import Tensor, nn

from data.records import Record
from parsing.cache.builder import ShardBuilder
from parsing.images import read_image
from parsing.parsers.labelling import label_images, rate_masks, stack_images
from parsing.parsers.street import StreetParser
from pipelines.benchmarks.images import benchmark_images
from pipelines.benchmarks.measure import by_turns, run_apart
from pipelines.parse.preload import worker_environment

SIZE, COUNT = (288, 144), 240
BEGIN, END = "<!-- stages: benchmarks/parse_stages.py -->", "<!-- end of stages -->"


class Answers(nn.Module):
    """A network that knows its answer (B, C, h, w) to any batch of at most B."""

    def __init__(self, answer: Tensor) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, images: Tensor) -> Tensor:
        return self.answer[: len(images)]


@torch.inference_mode()
def stages(files: list[Path], flip: bool, out: Path) -> dict[str, Callable[[], object]]:
    """What is done to all files by stage, each on what the one before answers; `out` is the shard that is written."""
    parser = StreetParser()
    images = [read_image(file) for file in files]
    prepared = [parser.prepare(image) for image in images]
    pieces = [slice(start, start + parser.cpu_batch) for start in range(0, len(files), parser.cpu_batch)]
    sources = [image.shape[:2] for image in images]
    batches = [stack_images(prepared[piece]) for piece in pieces]
    mean = 255 * parser.config.mean
    inputs = [batch.to(torch.float32, memory_format=torch.channels_last).sub_(mean) for batch in batches]
    answers = [parser.average(batch, flip) for batch in batches]
    idle = StreetParser()  # all that is done around the network, without it
    idle.network = Answers(parser.forward(batches[0]))
    made = [
        label_images(parser, batch=batch, sources=sources[piece], size=SIZE, flip=flip)
        for batch, piece in zip(batches, pieces, strict=True)
    ]
    records = [Record(file.name, identity=-1, camera=0, modality="visible") for file in files]

    def trust() -> None:
        for (logits, agreement), piece in zip(answers, pieces, strict=True):
            rate_masks(parser, logits=logits, agreement=agreement, sources=sources[piece], size=SIZE)

    def label() -> None:
        for (logits, _), piece in zip(answers, pieces, strict=True):
            parser.label_pixels(logits, sources[piece], SIZE)

    def shard() -> None:
        builder = ShardBuilder(records, SIZE, None)
        for masks, piece in zip(made, pieces, strict=True):
            builder.put(list(range(len(files))[piece]), masks.labels, sources[piece], masks.confidence, None)
        builder.write(out, {})

    return {
        "decode": lambda: [read_image(file) for file in files],
        "resize to the input": lambda: [parser.prepare(image) for image in images],
        "stack": lambda: [stack_images(prepared[piece]) for piece in pieces],
        "network": lambda: [parser.network(batch) for batch in inputs for _ in range(1 + flip)],
        "normalise, flip averaging, checks": lambda: [idle.average(batch, flip) for batch in batches],
        "confidence": trust,
        "labels": label,
        "into the shard: gzip, HDF5, hash": shard,
    }


def measure(files: list[Path], flip: bool, runs: int, out: Path) -> dict[str, float]:
    """Milliseconds per image by stage, the median of `runs`; `flip`: with flip averaging; `out`: a file to write."""
    torch.set_num_threads(1)
    steps = {name: torch.inference_mode()(step) for name, step in stages(files, flip, out).items()}
    seconds: dict[str, Any] = by_turns(steps, runs)
    return {name: 1000 * statistics.median(seconds[name]) / len(files) for name in steps}


@click.command()
@click.option("--photos", type=click.Path(path_type=Path, exists=True), help="Images.  [default: drawn ones]")
@click.option("--docs", type=click.Path(path_type=Path, exists=True), help="Put the table there.")
@click.option("--runs", type=click.IntRange(1), default=5, show_default=True)
def main(photos: Path | None, docs: Path | None, runs: int) -> None:
    """Measure, print the table and put it into its page."""
    with benchmark_images(photos, COUNT) as (root, names), tempfile.TemporaryDirectory() as folder:
        files = [root / name for name in names]
        sides = np.mean([read_image(file).shape[:2] for file in files], 0).round().astype(int).tolist()
        with worker_environment():
            found = [run_apart(measure, files, flip, runs, Path(folder) / "shard.h5") for flip in (False, True)]
    lines = ["| stage | no flip | flip averaged |", "| --- | --- | --- |"]
    lines += [f"| {name} | {' | '.join(f'{each[name]:.2f}' for each in found)} |" for name in found[0]]
    outside = [sum(each.values()) - each["network"] for each in found]
    lines += [f"| all outside the network | {' | '.join(f'{value:.2f}' for value in outside)} |", ""]
    lines += [
        f"Milliseconds of processor time per image, one thread, median of {runs} runs; {len(files)} "
        f"{'photographs' if photos else 'simulated images'}, {sides[0]}x{sides[1]} pixels on average; masks of "
        f"{SIZE[0]}x{SIZE[1]}. {machine()}, load {os.getloadavg()[0]:.1f}."
    ]
    click.echo("\n".join(lines))
    if docs is not None:
        put_table(docs, begin=BEGIN, end=END, table="\n".join(lines))


if __name__ == "__main__":
    main()
