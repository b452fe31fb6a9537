"""The optimiser of stage 2 and the schedule of its learning rates."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from cscl.model import CSCL
from cscl.neck import BNNeck

from ..recipes.reading import TrainRecipe


def make_optimiser(model: CSCL, recipe: TrainRecipe, fused: bool = False) -> torch.optim.Optimizer:
    """Return the optimiser, with one parameter group per kind of parameter (`classify_parameters`) and weight decay.

    Each group holds its learning rate before the schedule as `base`; multiply it by `compute_rate_factor` at each step.

    Args:
        model: whose parameters it changes.
        recipe: its options.
        fused: whether one kernel does the whole step: less time on a GPU, other rounding.
    """
    factors = {
        "backbone": recipe.backbone_rate,
        "module": recipe.module_rate,
        "neck": 1.0,
        "scalar": recipe.scalar_rate,
    }
    groups: dict[tuple[str, bool], list[Tensor]] = {}
    for kind, parameter in classify_parameters(model):
        decayed = kind != "scalar" and (recipe.decay == "all" or parameter.ndim > 1)
        groups.setdefault((kind, decayed), []).append(parameter)
    parameter_groups = [
        {
            "params": parameters,
            "base": recipe.learning_rate * factors[kind],
            "weight_decay": recipe.weight_decay if decayed else 0.0,
        }
        for (kind, decayed), parameters in groups.items()
    ]
    if recipe.optimiser == "adamw":
        return torch.optim.AdamW(parameter_groups, lr=recipe.learning_rate, fused=fused or None)
    return torch.optim.SGD(parameter_groups, lr=recipe.learning_rate, momentum=0.9, nesterov=True, fused=fused or None)


def restore_optimiser(optimiser: torch.optim.Optimizer, state: Mapping[str, Any]) -> None:
    """Load a saved state of an optimiser, of any device, into one of the same parameters.

    How it computes (`fused`) stays: that belongs to the device, and not to the run. It must be right before the state
    is loaded, since it decides on which device torch keeps AdamW's counters.
    """
    here = optimiser.param_groups
    groups = [
        {**saved, **{name: own[name] for name in ("fused", "foreach")}}
        for saved, own in zip(state["param_groups"], here, strict=True)
    ]
    optimiser.load_state_dict({**state, "param_groups": groups})


def classify_parameters(model: CSCL) -> list[tuple[str, nn.Parameter]]:
    """Return every trained parameter with its kind: `backbone`, `neck`, `scalar` or `module`.

    `neck` includes the classifiers, `scalar` is PAM's g and GeM's exponent, `module` is the rest of PAM and SPAM.
    """
    necks = {name for name, module in model.named_modules() if isinstance(module, BNNeck)}

    def classify(name: str, parameter: nn.Parameter) -> str:
        if name.startswith("backbone."):
            return "backbone"
        if parameter.ndim == 0:
            return "scalar"
        return "neck" if any(name.startswith(f"{neck}.") for neck in necks) else "module"

    return [(classify(n, p), p) for n, p in model.named_parameters() if p.requires_grad]


def compute_rate_factor(recipe: TrainRecipe, epoch: float) -> float:
    """Return the factor of all learning rates at a point of training.

    Args:
        recipe: with warm-up and schedule.
        epoch: epochs since the start; a fraction within an epoch.
    """
    # 1e-2 epochs more, so that the first step of a warm-up by step does not have rate 0
    reached = math.floor(epoch) + 1 if recipe.warmup_by == "epoch" else epoch + 1e-2
    warm = min(1.0, reached / recipe.warmup) if recipe.warmup else 1.0
    if recipe.schedule == "step":
        return warm * 0.1 ** sum(epoch >= m for m in recipe.milestones)
    return warm * 0.5 * (1 + math.cos(math.pi * min(1.0, epoch / recipe.epochs)))
