"""The weights at which ICM, HC and HcTri pull equally hard at the network: the norms of their gradients.

    python benchmarks/icm_gradients.py --run RUN --page docs/results.md

RUN: a training of the ablation (benchmarks/street_ablation.py) without any of the three, whose data set is still there.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import get_args

import click
import numpy as np
import torch
from page import put_table
from torch import Tensor

from cscl import load
from cscl.config import IcmForm, LossConfig
from cscl.model import CSCL
from cscl.total_loss import TotalLoss
from data.loading.sampler import IdentitySampler
from data.loading.transforms import normalise
from pipelines.runs.embed import make_loader
from pipelines.runs.provenance import open_images, read_run
from pipelines.training.pretrained import load_backbone_weights

BATCHES, SEED, WEIGHT = 8, 0, 0.5
"""WEIGHT: of ICM, which the others' weights are matched to."""
BEGIN, END = "<!-- gradients: benchmarks/icm_gradients.py -->", "<!-- end of gradients -->"


@click.command()
@click.option("--run", "run", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--page", type=click.Path(path_type=Path, exists=True), help="Put the table there.")
def main(run: Path, page: Path | None) -> None:
    """Measure, then write the table."""
    recipe, _ = read_run(run)
    trained = load(run).network
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        fresh = CSCL(trained.config)
    weights = load_backbone_weights(recipe.model.backbone, recipe.model.pretrained)
    if weights is not None:
        fresh.load_backbone(weights)
    batches = list(draw(run))
    norms = {"before training": measure(fresh, batches), "after training": measure(trained, batches)}
    text = "\n".join(table(norms))
    click.echo(text)
    if page is not None:
        put_table(page, begin=BEGIN, end=END, table=text)


def draw(run: Path) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield BATCHES of training images, not augmented: (B, 3, H, W), infrared (B,), people (B,)."""
    recipe, info = read_run(run)
    data_set = open_images(run, info=info, root=None, permutations=None)
    records = data_set.train(recipe.data.split)
    sampler = IdentitySampler(records, identities=recipe.train.identities, images=recipe.train.images, seed=SEED)
    read = make_loader(data_set.root, recipe.data.size)
    number = {identity: n for n, identity in enumerate(sorted({r.identity for r in records}))}
    for step in range(BATCHES):
        some = [records[n] for n in sampler.batch(epoch=0, step=step)]
        yield (
            normalise(torch.stack([read(r) for r in some])),
            torch.tensor([r.modality == "infrared" for r in some]),
            torch.tensor([number[r.identity] for r in some]),
        )


def measure(network: CSCL, batches: list[tuple[Tensor, Tensor, Tensor]]) -> dict[str, float]:
    """Return the median over the batches of the norm of each form's gradient, at weight 1, at all parameters."""
    network.train()
    parameters = [p for p in network.parameters() if p.requires_grad]
    found: dict[str, list[float]] = {form: [] for form in get_args(IcmForm)}
    for images, infrared, people in batches:
        output = network(images, infrared)
        for form in get_args(IcmForm):
            config = LossConfig(identity=0, triplet=0, parsing=0, shown=0, division=0, icm=1, icm_form=form)
            loss = TotalLoss(config)(output, people, infrared)["total"]
            each = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
            found[form].append(torch.cat([g.flatten() for g in each if g is not None]).norm().item())
    return {form: float(np.median(values)) for form, values in found.items()}


def table(norms: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Markdown: a line for each form of the loss."""
    lines = [
        f"| loss | {' | '.join(f'norm {when}' for when in norms)} | weight of equal norm after training |",
        "| --- |" + " --- |" * (len(norms) + 1),
    ]
    last = list(norms.values())[-1]
    for form in get_args(IcmForm):
        cells = [f"{each[form]:.2f}" for each in norms.values()]
        lines.append(f"| {form} | {' | '.join(cells)} | {WEIGHT * last['icm'] / last[form]:.2f} |")
    return [
        *lines,
        "",
        f"Norm of the gradient at all parameters, loss weight 1, median over {BATCHES} training batches (seed {SEED}).",
    ]


if __name__ == "__main__":
    main()
