"""The optimiser of stage 2 and the course of its learning rates."""

import math

import torch
from torch import Tensor

from cscl.model import CSCL

from .config import TrainRecipe


def make_optimiser(model: CSCL, recipe: TrainRecipe) -> torch.optim.Optimizer:
    """Two rates (backbone, the rest) by two decays (matrices; norms, biases and scalars have none).

    Each group holds its own rate as `base`, which `learning_rate` is a factor of.
    """
    groups: dict[tuple[bool, bool], list[Tensor]] = {}
    for name, parameter in model.named_parameters():
        groups.setdefault((name.startswith("backbone."), parameter.ndim > 1), []).append(parameter)
    made = [
        {
            "params": parameters,
            "base": recipe.learning_rate * (recipe.backbone_rate if backbone else 1.0),
            "weight_decay": recipe.weight_decay if matrix else 0.0,
        }
        for (backbone, matrix), parameters in groups.items()
    ]
    if recipe.optimiser == "adamw":
        return torch.optim.AdamW(made, lr=recipe.learning_rate)
    return torch.optim.SGD(made, lr=recipe.learning_rate, momentum=0.9, nesterov=True)


def learning_rate(recipe: TrainRecipe, epoch: float) -> float:
    """Factor of the learning rates at a point of training, in epochs from 0."""
    warm = min(1.0, (epoch + 1e-2) / recipe.warmup) if recipe.warmup else 1.0
    if recipe.schedule == "step":
        return warm * 0.1 ** sum(epoch >= m for m in recipe.milestones)
    return warm * 0.5 * (1 + math.cos(math.pi * min(1.0, epoch / recipe.epochs)))
