"""Our `agw` beside the code that its authors published (mangye16/Cross-Modal-Re-ID-baseline), on the same weights.

    python benchmarks/agw_peer.py --peer CHECKOUT [--dtype float32] [--set a.b=c] [--json]
    python benchmarks/agw_peer.py --peer CHECKOUT --train --out WORK [--epochs 5] [--seeds 2] [--identities 24]
        [--before 300 20] [--json]

Puts one set of random weights into both networks, one batch through both, and compares losses, gradients, running
statistics and embeddings; the rest of the table says how the two are built, which equal weights would hide.
What is known to differ is an image's distance from itself in the triplet: 0 here, there sqrt(1e-12), to which they
clamp the squares. Measured in float64, that moves the triplet by 3e-9 and gradients by up to 8e-9; with it put into
ours, both agree to 1e-12. So triplet and gradients are held to 1e-7 there, and all else to 1e-9. Differences that were
there before are seen at that: the smallest, weights whose maximum passes no gradient, moves gradients by 3e-5.
In float32 a gradient of a ResNet at random weights is not known better than to a few per cent, theirs as little as
ours, so that there it is held to three times what their own is off that of float64.
`--train` instead trains and tests both on one small simulated data set (benchmarks/agw_train.py).
None of their code is part of this repository; the checkout is read as it is.
"""

import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import click
import torch
from agw_weights import carry_over, draw_weights, renamed
from torch import Tensor, nn

from cscl.model import CSCL
from cscl.total_loss import TotalLoss
from pipelines.benchmarks.peer import peer_modules
from pipelines.recipes.reading import read_recipe

IDENTITIES, PEOPLE, IMAGES, SIZE = 5, 4, 2, (64, 32)
TOLERANCES = {"float64": 1e-9, "float32": 1e-4}
BEHIND_TRIPLET = {"float64": 1e-7, "float32": 1e-4}
"""Tolerance of what the self-distances reach: the triplet, the sum, the gradients."""


@dataclass(frozen=True)
class Row:
    """One quantity: |theirs|, |ours - theirs| over it, and what that has to stay below."""

    quantity: str
    norm: float
    difference: float
    tolerance: float


@dataclass(frozen=True)
class Report:
    """rows: relative differences; settings: (what, theirs, ours) of how the two are built."""

    dtype: str
    rows: tuple[Row, ...]
    settings: tuple[tuple[str, str, str], ...]

    @property
    def passed(self) -> bool:
        return all(r.difference < r.tolerance for r in self.rows) and all(a == b for _, a, b in self.settings)

    def lines(self) -> list[str]:
        shown = [f"  {r.quantity:52s} {r.norm:11.4g}  {r.difference:10.1e}  {r.tolerance:9.1e}" for r in self.rows]
        built = [f"  {what:52s} {theirs:>11s}  {ours:>10s}" for what, theirs, ours in self.settings]
        return [
            f"  {'quantity':52s} {'|theirs|':>11s}  {'difference':>10s}  tolerance",
            *shown,
            f"  {'built':52s} {'theirs':>11s}  {'ours':>10s}",
            *built,
            f"{'PASS' if self.passed else 'FAIL'}: {self.dtype}",
        ]


def compare(peer: Path, changes: Sequence[str] = (), dtype: str = "float64") -> Report:
    """Both networks on one batch of PEOPLE x IMAGES pictures of each modality. `changes` as in `cscl train --set`."""
    recipe = read_recipe(Path("agw"), list(changes))
    kind: torch.dtype = getattr(torch, dtype)
    with peer_modules(peer, "model", "loss") as (model, loss), torch.random.fork_rng(devices=[]), ExitStack() as stack:
        torch.manual_seed(0)
        theirs: Any = model.embed_net(IDENTITIES)
        ours = CSCL(recipe.model.config(IDENTITIES, 4, ()))
        settings = construction(theirs, ours, recipe.loss.smoothing)
        draw_weights(theirs)
        carry_over(theirs, ours)
        theirs, ours = theirs.to(kind), ours.to(kind)
        if kind == torch.float64:  # ours takes float32 for the most precise there is
            stack.enter_context(mock.patch.object(torch.Tensor, "float", torch.Tensor.double))
        visible, infrared = torch.randn(2, PEOPLE * IMAGES, 3, *SIZE, dtype=kind)
        slack = {} if kind == torch.float64 else rounding(theirs, loss=loss, visible=visible, infrared=infrared)
        rows = step(
            theirs,
            ours=ours,
            loss=loss,
            criterion=TotalLoss(recipe.loss),
            visible=visible,
            infrared=infrared,
            slack=slack,
        )
        rows += embeddings(theirs, ours=ours, visible=visible, infrared=infrared)
    return Report(dtype, tuple(rows), settings)


def their_step(theirs: Any, loss: Any, visible: Tensor, infrared: Tensor) -> tuple[Tensor, ...]:
    """Feature before the neck, logits, identity loss and triplet of train.py's step; leaves the gradients."""
    theirs.train()
    feature, logits = theirs(visible, infrared)
    identity, (triplet, _) = nn.CrossEntropyLoss()(logits, people()), loss.TripletLoss_WRT()(feature, people())
    (identity + triplet).backward()
    return feature, logits, identity, triplet


def people() -> Tensor:
    """Identities (2 * PEOPLE * IMAGES) of the batch: all visible images, then all infrared ones."""
    return torch.arange(PEOPLE).repeat_interleave(IMAGES).repeat(2)


def rounding(theirs: nn.Module, loss: Any, visible: Tensor, infrared: Tensor) -> dict[str, float]:
    """By part, how far their gradients are off those that they have in float64."""
    single, double = deepcopy(theirs), deepcopy(theirs).double()
    their_step(single, loss=loss, visible=visible, infrared=infrared)
    their_step(double, loss=loss, visible=visible.double(), infrared=infrared.double())
    precise = dict(double.named_parameters())
    found = {
        str(renamed(n)): (p.grad, precise[n].grad.to(p.dtype))  # type: ignore[union-attr]
        for n, p in single.named_parameters()
        if p.grad is not None
    }
    return {part: difference for part, (_, _, difference) in worst(found).items()}


def step(
    theirs: Any,
    ours: CSCL,
    loss: Any,
    criterion: TotalLoss,
    visible: Tensor,
    infrared: Tensor,
    slack: Mapping[str, float],
) -> list[Row]:
    """Losses, gradients and running statistics of one training step on visible and infrared (B, 3, H, W)."""
    feature, logits, identity, triplet = their_step(theirs, loss=loss, visible=visible, infrared=infrared)
    is_infrared = torch.arange(2 * len(visible)) >= len(visible)
    output = ours.train()(torch.cat([visible, infrared]), is_infrared)
    terms = criterion(output, people(), is_infrared)
    terms["total"].backward()
    return [
        row("feature before the neck", feature, output.feature),
        row("logits", logits, output.logits),
        row("identity loss", identity, terms["id"]),
        row("weighted triplet", theirs=triplet, ours=terms["triplet"], tolerances=BEHIND_TRIPLET),
        row("their sum", theirs=identity + triplet, ours=terms["total"], tolerances=BEHIND_TRIPLET),
        *gradients(theirs, ours, slack),
        *running(theirs, ours),
    ]


def gradients(theirs: nn.Module, ours: nn.Module, slack: Mapping[str, float]) -> list[Row]:
    """The worst parameter of each part."""
    own, pairs = dict(ours.named_parameters()), {}
    for name, parameter in theirs.named_parameters():
        key = renamed(name)
        found = None if key is None else own[key].grad
        if (parameter.grad is None) != (found is None):
            raise ValueError(f"{name} has a gradient in one network alone")
        if key is not None and parameter.grad is not None and found is not None:
            pairs[key] = parameter.grad, found
    least = BEHIND_TRIPLET[_name(next(iter(pairs.values()))[0].dtype)]
    return [
        Row(
            f"gradient, {key.removeprefix('backbone.')}",
            norm=norm,
            difference=difference,
            tolerance=max(least, 3 * slack.get(part, 0.0)),
        )
        for part, (key, norm, difference) in worst(pairs).items()
    ]


def worst(pairs: Mapping[str, tuple[Tensor, Tensor]]) -> dict[str, tuple[str, float, float]]:
    """By part of the network: name, |a| and |b - a| / |a| of the gradients a, b that differ most.

    A gradient of fewer than 1e4 rounding errors of the largest one (a bias before a batch norm has none but rounding)
    is compared with the largest.
    """
    norms = {key: float(a.norm()) for key, (a, _) in pairs.items()}
    largest = max(norms.values())
    floor = 1e4 * torch.finfo(next(iter(pairs.values()))[0].dtype).eps * largest
    found: dict[str, tuple[str, float, float]] = {}
    for key, (a, b) in pairs.items():
        part = re.sub(r"^backbone\.(non_local\.layer\d|\w+).*|^(neck\.\w+).*", r"\1\2", key)
        one = key, norms[key], float((a - b).norm()) / (norms[key] if norms[key] > floor else largest)
        found[part] = max(found.get(part, one), one, key=lambda each: each[2])
    return found


def running(theirs: nn.Module, ours: nn.Module) -> list[Row]:
    """Running means and variances of all norms after the step, as two vectors."""
    state, found = ours.state_dict(), []
    for kind in ("running_mean", "running_var"):
        names = [n for n in theirs.state_dict() if n.endswith(kind) and renamed(n) is not None]
        a = torch.cat([theirs.state_dict()[n] for n in names])
        b = torch.cat([state[str(renamed(n))] for n in names])
        found.append(row(kind.replace("_", " ") + "s", a, b))
    return found


@torch.no_grad()
def embeddings(theirs: Any, ours: CSCL, visible: Tensor, infrared: Tensor) -> list[Row]:
    """What each retrieves with, a modality at a time, without a mirror image: theirs after the neck ("FC")."""
    theirs.eval(), ours.eval()
    rows = []
    for modal, (name, images) in enumerate((("visible", visible), ("infrared", infrared)), start=1):
        pooled, necked = theirs(images, images, modal)
        is_infrared = torch.full((len(images),), name == "infrared")
        output = ours(images, is_infrared)
        rows += [
            row(f"{name} feature before the neck, unit length", pooled, nn.functional.normalize(output.feature)),
            row(f"{name} embedding", necked, ours.embed(images, is_infrared, flip=False)),
        ]
    return rows


def row(quantity: str, theirs: Tensor, ours: Tensor, tolerances: Mapping[str, float] = TOLERANCES) -> Row:
    norm = float(theirs.detach().norm())
    return Row(
        quantity,
        norm=norm,
        difference=float((theirs - ours).detach().norm()) / norm,
        tolerance=tolerances[_name(theirs.dtype)],
    )


def _name(kind: torch.dtype) -> str:
    return str(kind).removeprefix("torch.")


def construction(theirs: Any, ours: CSCL, smoothing: float) -> tuple[tuple[str, str, str], ...]:
    """What equal weights hide, read off both networks as they are built."""
    block: Any = ours.backbone.non_local["layer2"]
    inner = str(theirs.NL_2[0].inter_channels), str(block[0].query.out_channels)
    trained = {renamed(n) for n, p in theirs.named_parameters() if p.requires_grad} - {None}
    here = {n for n, p in ours.named_parameters() if p.requires_grad}
    neck, classifier, last = ours.neck.norm, ours.neck.classifier, theirs.classifier
    return (
        ("inner channels of a non-local block of 512", *inner),
        ("trained in this one alone", _listed(trained - here), _listed(here - trained)),
        ("smoothing of the identity labels", "0", f"{smoothing:g}"),
        ("neck's scale at the start: deviation", f"{theirs.bottleneck.weight.std():.3f}", f"{neck.weight.std():.3f}"),
        ("classifier at the start: deviation", f"{last.weight.std():.4f}", f"{classifier.weight.std():.4f}"),
    )


def _listed(names: Iterable[str | None]) -> str:
    return ", ".join(sorted(map(str, names))) or "none"


@click.command()
@click.option("--peer", type=click.Path(path_type=Path, exists=True, file_okay=False), required=True)
@click.option("--dtype", type=click.Choice(sorted(TOLERANCES)), default="float64", show_default=True)
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE", help="A change of our `agw` recipe.")
@click.option("--train", is_flag=True, help="Train and test both instead; --out keeps what is finished.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False))
@click.option("--epochs", type=click.IntRange(3), default=5, show_default=True)
@click.option("--seeds", type=click.IntRange(1), default=2, show_default=True)
@click.option(
    "--identities",
    type=click.IntRange(4),
    default=24,
    show_default=True,
    help="To train on; as many to test, at least 20.",
)
@click.option(
    "--before",
    type=(click.IntRange(8), click.IntRange(1)),
    metavar="IDENTITIES EPOCHS",
    help="First train the weights to start from on other people, epochs of 50 steps.  [default: random weights]",
)
@click.option("--json", "as_json", is_flag=True)
def main(
    peer: Path,
    dtype: str,
    changes: tuple[str, ...],
    train: bool,
    out: Path | None,
    epochs: int,
    seeds: int,
    identities: int,
    before: tuple[int, int] | None,
    as_json: bool,
) -> None:
    """Compare, print the table, and exit with 1 where the two disagree, with 2 where they cannot be compared."""
    if train:
        if out is None:
            raise click.UsageError("--train: give --out, the folder for data set and runs")
        from agw_train import Budget, compare_training, table

        results = compare_training(
            peer, out, Budget(epochs=epochs, seeds=seeds, train=identities, test=max(20, identities), before=before)
        )
        click.echo(json.dumps(results, indent=1) if as_json else "\n".join(table(results)))
        return
    try:
        report = compare(peer, changes, dtype)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    whole = {**asdict(report), "passed": report.passed}
    click.echo(json.dumps(whole, indent=1) if as_json else "\n".join(report.lines()))
    sys.exit(0 if report.passed else 1)


if __name__ == "__main__":
    main()
