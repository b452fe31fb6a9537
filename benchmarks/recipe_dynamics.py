"""Whether the recipe for SYSU-MM01 trains: its own optimiser on a ResNet-50, shortened in steps but not in rates.

    python benchmarks/recipe_dynamics.py --masks CACHE --out WORK [--recipe cscl] [--steps 10] [--page docs/training.md]

The schedule keeps its shape (an eighth of the epochs warms up, the rate falls by ten after two and after five eighths);
`--steps` is an eighth. ImageNet's weights are not at hand everywhere, so the ResNet-50 starts from random ones whose
last norm of each block is small, as a trained network's are. A finished run in WORK is not trained again.
"""

import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import torch
import torchvision
from page import machine, put_table

from pipelines.recipes.reading import read_recipe
from pipelines.training.config import TrainConfig
from pipelines.training.train import train

BEGIN, END = "<!-- dynamics: benchmarks/recipe_dynamics.py -->", "<!-- end of dynamics -->"
LOSSES = ("total", "id", "triplet", "parsing", "shown", "division", "icm")
SCALARS = ("g2", "g3", "g4", "p")
EDGE = 5
"""Steps that the first and the last mean of a loss are over."""


@click.command()
@click.option("--masks", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--out", type=click.Path(path_type=Path), required=True)
@click.option("--recipe", default="cscl", show_default=True)
@click.option("--size", default="128x64", show_default=True)
@click.option("--steps", type=click.IntRange(2), default=10, show_default=True)
@click.option("--page", type=click.Path(path_type=Path, exists=True))
def main(masks: Path, out: Path, recipe: str, size: str, steps: int, page: Path | None) -> None:
    """Train, then tell how losses and scalars went."""
    height, width = (int(v) for v in size.split("x"))
    out.mkdir(parents=True, exist_ok=True)
    weights, run = out / "resnet50.pth", out / f"{recipe}-{steps}"
    if not weights.exists():
        torch.save(calm_weights(), weights)
    changes = [
        f"model.pretrained={json.dumps(str(weights))}", f"data.size=[{height}, {width}]", "augment.padding=5",
        "train.epochs=8", f"train.steps={steps}", "train.warmup=1", "train.milestones=[2, 5]",
    ]  # fmt: skip
    config = read_recipe(Path(recipe), changes)
    if not (run / "model.safetensors").exists() or len(rows_of(run)) < 8 * steps:
        train(TrainConfig(masks, run, config, resume=(run / "recipe.toml").exists(), device="cpu"))
    text = "\n".join(table(rows_of(run), recipe, size))
    click.echo(text)
    if page is not None:
        put_table(page, begin=BEGIN, end=END, table=text)


def calm_weights() -> dict[str, torch.Tensor]:
    """Random weights of torchvision's ResNet-50, the last norm of each block at a fifth."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        state: dict[str, torch.Tensor] = torchvision.models.resnet50(weights=None).state_dict()
    for name, value in state.items():
        if name.endswith("bn3.weight"):
            value.mul_(0.2)
    return state


def rows_of(run: Path) -> list[dict[str, Any]]:
    """The steps of a run."""
    return [json.loads(line) for line in (run / "metrics.jsonl").open()]


def table(rows: Sequence[dict[str, Any]], recipe: str, size: str) -> list[str]:
    """Markdown: each loss at both ends, each scalar with its range."""
    lines = [f"| | first {EDGE} steps | last {EDGE} steps | lowest to highest |", "| --- | --- | --- | --- |"]
    for name in (*LOSSES, "gradient", *SCALARS):
        values = [row[name] for row in rows if name in row]
        if any(values):
            ends = " | ".join(f"{statistics.mean(part):.2f}" for part in (values[:EDGE], values[-EDGE:]))
            lines.append(f"| {name} | {ends} | {min(values):.3f} to {max(values):.3f} |")
    return [
        *lines,
        "",
        f"Recipe `{recipe}`, {len(rows)} steps of {size} images instead of some 55,000 of its own, at its own rates; "
        f"ResNet-50 from random weights, simulated people (`collage`), seed 0. Machine: {machine()}.",
    ]


if __name__ == "__main__":
    main()
