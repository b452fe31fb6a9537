"""What a training step of CSCL costs beside one of the baseline, both in one process by turns: medians and their ratio.

    python benchmarks/step_cost.py [--recipe small] [--set a.b=c] [--rounds 9] [--threads 2] [--device cpu] [--json]

Images and masks are random: the network, the losses and the optimiser are timed, not the reading of images.
"""

import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import torch
from page import machine

from cscl.model import CSCL
from cscl.total_loss import TotalLoss
from pipelines.recipes.reading import Recipe, read_recipe
from pipelines.training.optimiser import make_optimiser
from pipelines.training.processes import make_fabric
from pipelines.training.step import take_gradients

IDENTITIES = 395
METHODS = ("baseline", "cscl")


@click.command()
@click.option("--recipe", default="small", show_default=True)
@click.option("--set", "changes", multiple=True, metavar="A.B=C")
@click.option("--rounds", type=click.IntRange(3), default=9, show_default=True)
@click.option("--threads", type=click.IntRange(1), default=2, show_default=True)
@click.option("--device", default="cpu", show_default=True)
@click.option("--json", "as_json", is_flag=True)
def main(recipe: str, changes: tuple[str, ...], rounds: int, threads: int, device: str, as_json: bool) -> None:
    """Time both, a step of each after the other."""
    torch.set_num_threads(threads)
    steps = {method: stepper(read_recipe(Path(recipe), changes, method), device) for method in METHODS}
    seconds: dict[str, list[float]] = {method: [] for method in METHODS}
    for number in range(rounds + 2):
        for method, step in steps.items():
            began = time.perf_counter()
            step()
            if number > 1:  # the first two warm up
                seconds[method].append(time.perf_counter() - began)
    ratios = [b / a for a, b in zip(*(seconds[m] for m in METHODS), strict=True)]
    found = {
        "ratio": statistics.median(ratios), "ratios": [min(ratios), max(ratios)],
        "seconds": {m: statistics.median(values) for m, values in seconds.items()},
        "recipe": recipe, "set": list(changes), "rounds": rounds, "threads": threads, "machine": machine(),
    }  # fmt: skip
    if as_json:
        click.echo(json.dumps(found, indent=1))
        return
    click.echo(f"cscl / baseline {found['ratio']:.2f} ({min(ratios):.2f} to {max(ratios):.2f} of {rounds} pairs)")
    click.echo(", ".join(f"{m} {1000 * s:.0f} ms" for m, s in found["seconds"].items()))
    click.echo(f"recipe {recipe} {' '.join(changes)}, {threads} threads; {found['machine']}")


def stepper(recipe: Recipe, device: str) -> Callable[[], None]:
    """One training step on a random batch of the recipe's size, each call anew."""
    fabric = make_fabric(device, "auto")
    model = CSCL(recipe.model.config(IDENTITIES, 4, ()))
    network, optimiser = fabric.setup(model, make_optimiser(model, recipe.train))
    network.train()
    criterion = TotalLoss(recipe.loss, recipe.model.tau)
    half, (height, width) = recipe.train.identities * recipe.train.images, recipe.data.size
    rng = torch.Generator().manual_seed(0)
    batch: dict[str, Any] = {
        "images": torch.randint(0, 256, (2 * half, 3, height, width), generator=rng, dtype=torch.uint8),
        "parts": torch.randint(0, 5, (2 * half, height, width), generator=rng, dtype=torch.uint8),
        "infrared": torch.arange(2 * half) >= half,
        "identities": torch.arange(2 * half) % half // recipe.train.images,
        "confidence": torch.ones(2 * half),
    }

    def step() -> None:
        optimiser.zero_grad(set_to_none=True)
        take_gradients(network, criterion=criterion, batch=batch, alpha=0.5, recipe=recipe, fabric=fabric)
        fabric.clip_gradients(network, optimiser, max_norm=recipe.train.clip)
        optimiser.step()
        model.bound_scalars()
        if fabric.device.type == "cuda":
            torch.cuda.synchronize()

    return step


if __name__ == "__main__":
    main()
