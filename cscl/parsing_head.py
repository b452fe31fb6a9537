"""The parsing heads of PAM and SPAM, each with the batch norm before it, as one matrix product per image."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


class HeadNorm(nn.BatchNorm2d):
    """Batch norm as a scale and a shift of each channel, for the product after it to take in.

    A normalised map of all channels need not be made, kept for backward and passed back through: with ResNet-50 that
    took a third of what PAM and SPAM add to a training step.
    """

    def fold(
        self, maps: Sequence[Tensor], moments: Sequence[tuple[Tensor, Tensor]] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return (scale, shift), (C,) float32, with batch norm of X = scale * X + shift.

        In training they are those of the batch, and the running statistics are updated, as by `forward`.

        Args:
            maps: X, in pieces of (B, C_i, H, W) whose channels add up to C.
            moments: `find_moments` of each piece; None to find them here, if they are needed.
        """
        if self.training:
            each = zip(*(map(find_moments, maps) if moments is None else moments), strict=True)
            means, variances = (torch.cat(pieces, 1) for pieces in each)
            mean, variance = self._pool_moments(means, variances, cells=maps[0][0, 0].numel())
        else:
            mean, variance = (self.get_buffer(f"running_{name}").float() for name in ("mean", "var"))
        scale = (variance + self.eps).rsqrt()
        if not self.affine:
            return scale, -mean * scale
        scale = self.weight * scale
        return scale, self.bias - mean * scale

    def average(self, values: Tensor) -> tuple[Tensor, int]:
        """Return the mean (C,) of values (B, C) of all images, and how many they are."""
        return values.mean(0), values.shape[0]

    def _pool_moments(self, means: Tensor, variances: Tensor, cells: int) -> tuple[Tensor, Tensor]:
        """Return mean and biased variance (C,) of all images, and update the running statistics."""
        mean, images = self.average(means)
        variance, _ = self.average(variances + (means - mean).square())
        update_statistics(self, mean=mean, variance=variance, count=images * cells)
        return mean, variance


@torch.no_grad()
def update_statistics(norm: _BatchNorm, mean: Tensor, variance: Tensor, count: int) -> None:
    """Move a norm's running statistics towards mean and biased variance (C,) of `count` cells, as torch's own do."""
    norm.get_buffer("num_batches_tracked").add_(1)
    for name, value in (("mean", mean), ("var", variance * (count / max(1, count - 1)))):
        running = norm.get_buffer(f"running_{name}")
        running.lerp_(value.to(running.dtype), norm.momentum or 0)


class ParsingHead(nn.Conv2d):
    """A 1x1 convolution of normalised maps -> logits (B, Q+1, H, W), as a matrix product per image.

    With so few outputs a convolution's backward pass is slow on a CPU: that of all heads took a twentieth of a training
    step of ResNet-50, the product's a third of it.

    Args:
        channels: C.
        classes: Q+1.
    """

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__(channels, classes, 1)

    def forward(self, maps: Sequence[Tensor], scale: Tensor, shift: Tensor) -> Tensor:  # type: ignore[override]
        """Return the logits of scale * X + shift.

        Args:
            maps: X, in pieces of (B, C_i, H, W) whose channels add up to C.
            scale: (C,), see `HeadNorm.fold`.
            shift: (C,).
        """
        assert self.bias is not None
        batch, _, height, width = maps[0].shape  # not len(x), which would become a constant in an ONNX file
        weight = self.weight.flatten(1)
        pieces = (weight * scale).split([x.shape[1] for x in maps], 1)
        logits = (self.bias + weight @ shift)[:, None]
        for piece, x in zip(pieces, maps, strict=True):
            logits = logits + torch.bmm(piece.expand(batch, -1, -1), x.flatten(2))
        return logits.view(batch, self.out_channels, height, width)


def find_moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and biased variance of each channel of each image, (B, C) float32, of X (B, C, H, W)."""
    tracing = torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]  # public, without types
    if x.requires_grad and torch.is_grad_enabled() and not tracing:  # traced, an ONNX file of it gave NaN
        mean, variance = _Moments.apply(x)
        return mean, variance
    variance, mean = torch.var_mean(x.float(), (2, 3), correction=0)  # E[x^2] - E[x]^2 is inexact
    return mean, variance


class _Moments(torch.autograd.Function):
    """`find_moments` with a backward pass of one product and one addition, in place of one that makes four maps."""

    @staticmethod
    def forward(context: Any, x: Tensor) -> tuple[Tensor, Tensor]:
        variance, mean = torch.var_mean(x.float(), (2, 3), correction=0)
        context.save_for_backward(x, mean)
        return mean, variance

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(context: Any, of_mean: Tensor, of_variance: Tensor) -> Tensor:
        x, mean = context.saved_tensors
        cells = x.shape[2] * x.shape[3]
        slope = of_variance * (2 / cells)
        offset = of_mean / cells - slope * mean
        return torch.addcmul(offset[:, :, None, None], x, slope[:, :, None, None]).to(x.dtype)
