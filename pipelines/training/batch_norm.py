"""Batch norm with statistics over all processes, so that several processes train as one with the whole batch would."""

from collections.abc import Callable

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from cscl.parsing_head import HeadNorm, update_statistics


class _AllReduce(torch.autograd.Function):
    """Sum a tensor over the processes; the gradient is summed over the processes too."""

    @staticmethod
    def forward(_: object, values: Tensor) -> Tensor:
        total = values.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(_: object, gradient: Tensor) -> Tensor:
        total = gradient.contiguous().clone()
        dist.all_reduce(total)
        return total


class SharedBatchNorm(_BatchNorm):
    """Batch norm over all processes on any device; `torch.nn.SyncBatchNorm` works on GPUs only.

    All processes must have equally many images: (B, C, ...) with the same B.
    """

    def _check_input_dim(self, x: Tensor) -> None:
        if x.ndim < 2:
            raise ValueError(f"expected (B, C, ...), got {tuple(x.shape)}")

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        dims = [d for d in range(x.ndim) if d != 1]
        shape = (1, -1) + (1,) * (x.ndim - 2)
        count = dist.get_world_size() * x.numel() // x.shape[1]
        mean = _AllReduce.apply(x.sum(dims)) / count
        centred: Tensor = x - mean.view(shape)
        variance = _AllReduce.apply(centred.square().sum(dims)) / count
        update_statistics(self, mean=mean, variance=variance, count=count)
        scale: Tensor = (variance + self.eps).rsqrt()
        if not self.affine:
            return centred * scale.view(shape)
        return centred * (self.weight * scale).view(shape) + self.bias.view(shape)


class SharedHeadNorm(HeadNorm):
    """The norm before a parsing head over all processes; all must have equally many images."""

    def average(self, values: Tensor) -> tuple[Tensor, int]:
        """Return the mean (C,) of the values (B, C) of all processes' images, and how many they are."""
        images = dist.get_world_size() * values.shape[0]
        return _AllReduce.apply(values.sum(0)) / images, images


def share_batch_norm(model: nn.Module, device: torch.device) -> nn.Module:
    """Return `model`, changed in place, with every batch norm replaced by one over all processes.

    Names and values of its state dict stay the same.
    """
    plain = nn.SyncBatchNorm if device.type == "cuda" else SharedBatchNorm
    for name, child in model.named_children():
        if isinstance(child, _BatchNorm):
            kind = SharedHeadNorm if isinstance(child, HeadNorm) else plain
            shared = kind(child.num_features, child.eps, child.momentum, child.affine)
            for key, value in (*child.named_parameters(recurse=False), *child.named_buffers(recurse=False)):
                setattr(shared, key, value)
            # A norm of timm contains the activation that follows it.
            if isinstance(act := getattr(child, "act", None), nn.Module):
                shared.register_forward_hook(_make_activation_hook(act))
            setattr(model, name, shared.train(child.training))
        else:
            share_batch_norm(child, device)
    return model


def _make_activation_hook(act: nn.Module) -> Callable[[nn.Module, object, Tensor], Tensor]:
    """Return a forward hook that applies `act` to the output of its module."""
    return lambda _norm, _given, normalised: act(normalised)
