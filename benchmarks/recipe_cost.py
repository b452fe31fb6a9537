"""What a training of each published data set's recipe is expected to cost: operations and memory of a step, counted.

    python benchmarks/recipe_cost.py [--page docs/training.md]

The operations are counted by torch in one step on a CPU, of a quarter of the batch; the memory is what autograd keeps
for the backward pass, weights, gradients and the optimiser's state. Hours follow from two assumed speeds. Nothing here
is a measurement of a GPU.
"""

from dataclasses import replace
from pathlib import Path

import click
import torch
from page import put_table
from torch.utils.flop_counter import FlopCounterMode

from cscl.model import CSCL
from pipelines.benchmarks.steps import PARTS, draw_batch
from pipelines.recipes.reading import Recipe, read_recipe
from pipelines.training.processes import make_fabric
from pipelines.training.stepper import Stepper

BEGIN, END = "<!-- cost: benchmarks/recipe_cost.py -->", "<!-- end of cost -->"
RUNS = (
    ("cscl", "SYSU-MM01", 395, 22_258),
    ("agw", "SYSU-MM01", 395, 22_258),
    ("regdb", "RegDB, a split", 206, 2_060),
    ("llcm", "LLCM", 713, 16_946),
)
"""Recipe, data set, its training identities, and its training images of the modality that has more."""
SPEEDS = (20e12, 60e12)
"""Operations per second in training, bfloat16: what ResNet-50 reaches on a consumer's card of 2020 and on an A100."""
PIECE = 4
GIB = 2**30


@click.command()
@click.option("--page", type=click.Path(path_type=Path, exists=True))
def main(page: Path | None) -> None:
    """Count each recipe, and write the table."""
    text = "\n".join(table())
    click.echo(text)
    if page is not None:
        put_table(page, begin=BEGIN, end=END, table=text)


def table() -> list[str]:
    """Markdown lines: a row per recipe."""
    hours = " | ".join(f"hours at {speed / 1e12:.0f} TFLOP/s" for speed in SPEEDS)
    lines = [f"| recipe | data set | images per step | steps | TFLOP per step | memory, float32 | {hours} |"]
    lines.append("|" + " --- |" * (6 + len(SPEEDS)))
    for name, data_set, identities, images in RUNS:
        recipe = read_recipe(Path(name), ())
        half = recipe.train.identities * recipe.train.images
        steps = recipe.train.epochs * (recipe.train.steps or images // half)
        operations, memory = count(recipe, identities)
        times = " | ".join(f"{steps * operations / speed / 3600:.1f}" for speed in SPEEDS)
        cells = (f"`{name}`", data_set, 2 * half, f"{steps:,}", f"{operations / 1e12:.2f}", f"{memory / GIB:.1f} GiB")
        lines.append(f"| {' | '.join(map(str, cells))} | {times} |")
    return lines


def count(recipe: Recipe, identities: int) -> tuple[int, int]:
    """Return the operations of a training step and the bytes that it holds, in float32."""
    piece = replace(recipe, train=replace(recipe.train, identities=recipe.train.identities // PIECE))
    stepper = Stepper(piece, make_fabric("cpu", "32-true"), CSCL(recipe.model.config(identities, PARTS, ())))
    batch = draw_batch(piece)
    own = {parameter.untyped_storage().data_ptr() for parameter in stepper.model.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with FlopCounterMode(display=False) as counter, torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
        stepper(batch, alpha=0.5, factor=0.0)
    weights = sum(p.numel() * 4 for p in stepper.model.parameters())
    return PIECE * counter.get_total_flops(), PIECE * sum(kept.values()) + 3 * weights


if __name__ == "__main__":
    main()
