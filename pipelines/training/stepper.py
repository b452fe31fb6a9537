"""The network, its optimiser and the loss of a training on their device: one call is one step."""

import math
from collections.abc import Mapping
from typing import Any, cast

import torch
from lightning_fabric import Fabric
from torch import Tensor

from cscl.model import CSCL
from cscl.total_loss import TotalLoss

from ..recipes.reading import Recipe
from .batch_norm import share_batch_norm
from .optimiser import make_optimiser, restore_optimiser
from .step import take_gradients


class Stepper:
    """Put a network on the device of a training, and train it step by step.

    On CUDA the network computes in the memory layout channels-last, cuDNN chooses its kernels by trial, the optimiser
    is fused, and nothing in a step waits for the device. On a CPU every run gives the same bits. In 16-mixed a scaler
    keeps small gradients from becoming 0. It waits for the device, and the optimiser is not fused: Lightning cannot
    limit the gradients of one that is.

    Args:
        recipe: of the run.
        fabric: device and processes.
        model: with its weights at the start.
        done: saved state from which to continue, see `runs.folder.save_state`; None to start.

    Attributes:
        model: the network without the wrappers of `fabric`.
        optimiser: its optimiser.
    """

    def __init__(self, recipe: Recipe, fabric: Fabric, model: CSCL, done: Mapping[str, Any] | None = None) -> None:
        on_gpu = fabric.device.type == "cuda"
        if done is not None:
            model.load_state_dict(done["model"])
        if fabric.world_size > 1:
            share_batch_norm(model, fabric.device)
        if on_gpu:
            torch.backends.cudnn.benchmark = True
            model.to(memory_format=torch.channels_last)
        network: Any = torch.compile(model) if recipe.train.compile else model
        self._scaler = getattr(fabric.strategy.precision, "scaler", None)
        fused = on_gpu and self._scaler is None
        self._network, self.optimiser = fabric.setup(network, make_optimiser(model, recipe.train, fused=fused))
        if done is not None:  # not before `setup`, which moves the weights to their device
            restore_optimiser(self.optimiser, done["optimiser"])
            if self._scaler is not None and "scaler" in done:
                self._scaler.load_state_dict(done["scaler"])
        self._criterion = TotalLoss(recipe.loss, recipe.model.tau)
        self._network.train()
        self.recipe, self.fabric, self.model = recipe, fabric, model

    def __call__(
        self, batch: Mapping[str, Tensor], alpha: float, factor: float
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Do a step, and return the terms of L and what else was measured, scalars on the device without a graph.

        The second holds `gradient`, its norm before `train.clip`, then the values of `take_gradients`, then the scalar
        parameters after the step, and in 16-mixed `scale`, that of the next step: if scaled gradients overflow, the
        weights stay and it is halved.

        Args:
            batch: this process's images, see `Batches`.
            alpha: weight of the cached masks in SPAM's pooling, in [0, 1].
            factor: of all learning rates.
        """
        for group in self.optimiser.param_groups:
            group["lr"] = group["base"] * factor
        self.optimiser.zero_grad(set_to_none=True)
        terms, measured = take_gradients(
            self._network, criterion=self._criterion, batch=batch, alpha=alpha, recipe=self.recipe, fabric=self.fabric
        )
        norm = self.fabric.clip_gradients(
            self._network, self.optimiser, max_norm=self.recipe.train.clip or math.inf, error_if_nonfinite=False
        )
        self.optimiser.step()
        self.model.bound_scalars()
        others = {"gradient": cast(Tensor, norm), **measured, **self.model.scalars()}
        if self._scaler is not None:
            others["scale"] = torch.full_like(others["gradient"], self._scaler.get_scale())
        return terms, others

    def state(self) -> dict[str, Any]:
        """Return what a saved state holds of the weights and how they are trained; with a scaler also that."""
        found = {"model": self.model.state_dict(), "optimiser": self.optimiser.state_dict()}
        return found if self._scaler is None else {**found, "scaler": self._scaler.state_dict()}
