"""Batch norm over the batches of all processes, so that several compute what one would."""

from collections.abc import Callable

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


class _AllReduce(torch.autograd.Function):
    """The sum over the processes; its gradient is the sum of the processes' gradients."""

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
    """What `torch.nn.SyncBatchNorm` does on GPUs, on any device, for processes with equally many images each."""

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
        with torch.no_grad():
            self.num_batches_tracked.add_(1)  # type: ignore[union-attr]
            self.running_mean.lerp_(mean, self.momentum)  # type: ignore[union-attr, arg-type]
            self.running_var.lerp_(variance * count / max(1, count - 1), self.momentum)  # type: ignore[union-attr, arg-type]
        scale: Tensor = (variance + self.eps).rsqrt()
        if not self.affine:
            return centred * scale.view(shape)
        return centred * (self.weight * scale).view(shape) + self.bias.view(shape)


def share_batch_norm(model: nn.Module, device: torch.device) -> nn.Module:
    """`model` with every batch norm over all processes; names and values of its state stay, timm's activations too."""
    kind = nn.SyncBatchNorm if device.type == "cuda" else SharedBatchNorm
    for name, child in model.named_children():
        if isinstance(child, _BatchNorm):
            shared = kind(child.num_features, child.eps, child.momentum, child.affine)
            for key, value in (*child.named_parameters(recurse=False), *child.named_buffers(recurse=False)):
                setattr(shared, key, value)
            if isinstance(act := getattr(child, "act", None), nn.Module):  # timm's norms hold the activation after them
                shared.register_forward_hook(_then(act))
            setattr(model, name, shared.train(child.training))
        else:
            share_batch_norm(child, device)
    return model


def _then(act: nn.Module) -> Callable[[nn.Module, object, Tensor], Tensor]:
    return lambda _norm, _given, normalised: act(normalised)
