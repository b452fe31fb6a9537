"""The optimiser of stage 2 and the course of its learning rates."""

import math

import torch
from torch import Tensor, nn

from cscl.model import CSCL
from cscl.neck import BNNeck

from ..recipes.reading import TrainRecipe


def make_optimiser(model: CSCL, recipe: TrainRecipe) -> torch.optim.Optimizer:
    """Rates by what a parameter is (`parameter_kinds`) by two decays (see `TrainRecipe.decay`).

    Each group holds its own rate as `base`, which `learning_rate` is a factor of.
    """
    factors = {
        "backbone": recipe.backbone_rate,
        "module": recipe.module_rate,
        "neck": 1.0,
        "scalar": recipe.scalar_rate,
    }
    groups: dict[tuple[str, bool], list[Tensor]] = {}
    for kind, parameter in parameter_kinds(model):
        decayed = kind != "scalar" and (recipe.decay == "all" or parameter.ndim > 1)
        groups.setdefault((kind, decayed), []).append(parameter)
    made = [
        {
            "params": parameters,
            "base": recipe.learning_rate * factors[kind],
            "weight_decay": recipe.weight_decay if decayed else 0.0,
        }
        for (kind, decayed), parameters in groups.items()
    ]
    if recipe.optimiser == "adamw":
        return torch.optim.AdamW(made, lr=recipe.learning_rate)
    return torch.optim.SGD(made, lr=recipe.learning_rate, momentum=0.9, nesterov=True)


def parameter_kinds(model: CSCL) -> list[tuple[str, nn.Parameter]]:
    """Return every trained parameter with what it is: `backbone`, `neck` (and its classifier), `scalar` or `module`."""
    necks = {name for name, module in model.named_modules() if isinstance(module, BNNeck)}

    def kind(name: str, parameter: nn.Parameter) -> str:
        if name.startswith("backbone."):
            return "backbone"
        if parameter.ndim == 0:
            return "scalar"
        return "neck" if any(name.startswith(f"{neck}.") for neck in necks) else "module"

    return [(kind(n, p), p) for n, p in model.named_parameters() if p.requires_grad]


def learning_rate(recipe: TrainRecipe, epoch: float) -> float:
    """Factor of the learning rates at a point of training, in epochs from 0."""
    reached = math.floor(epoch) + 1 if recipe.warmup_by == "epoch" else epoch + 1e-2
    warm = min(1.0, reached / recipe.warmup) if recipe.warmup else 1.0
    if recipe.schedule == "step":
        return warm * 0.1 ** sum(epoch >= m for m in recipe.milestones)
    return warm * 0.5 * (1 + math.cos(math.pi * min(1.0, epoch / recipe.epochs)))
