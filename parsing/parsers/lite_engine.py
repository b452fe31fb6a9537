"""The built-in parser's network as it is computed: batch norms multiplied out, few passes over large tensors.

Layers are those of `lite_network`, convolutions those of `packed`.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .lite_network import FEATURES, STEM_LAYER, Layer, has_shortcut, stages
from .packed import Convolution

NORM_EPS, DECODER_EPS = 1e-3, 1e-5
"""Of the batch norms of TensorFlow's networks, and torch's own."""


class Residual(nn.Module):
    """Convolutions one after the other; with `shortcut` the input is added to the last one's output."""

    def __init__(self, convolutions: Sequence[Convolution], shortcut: bool) -> None:
        super().__init__()
        self.first, self.last, self.shortcut = nn.Sequential(*convolutions[:-1]), convolutions[-1], shortcut

    def forward(self, images: Tensor) -> Tensor:
        answer: Tensor = self.last(self.first(images), images if self.shortcut else None)
        return answer


class LiteEngine(nn.Module):
    """The network from the tensors of its file.

    Args:
        tensors: by the names of `lite_network.list_tensor_shapes`.
        scale: standard deviation of the input, which it need not be divided by any more.

    Images (B, 3, H, W), the mean taken off, channels last, become logits (B, classes, H / 4, W / 4): the last layer of
    the network in the file enlarges them fourfold, see `enlarge.enlarging`.
    """

    def __init__(self, tensors: Mapping[str, Tensor], scale: float) -> None:
        super().__init__()
        self.stem = _fold_layer(STEM_LAYER, tensors, 1 / scale)
        self.stages = nn.ModuleList(
            nn.Sequential(
                *(Residual([_fold_layer(layer, tensors) for layer in block], has_shortcut(block)) for block in stage)
            )
            for stage in stages()
        )
        self.maps = nn.ModuleList(_decoder_maps(tensors))
        self.head = Convolution(tensors["segmentation_head.0.weight"], tensors["segmentation_head.0.bias"])

    def forward(self, images: Tensor) -> Tensor:
        features, current = [], self.stem(images)
        for stage in self.stages:
            current = stage(current)
            features.append(current)
        return self.head(self._decoded([features[stage] for stage in FEATURES]))  # type: ignore[no-any-return]

    def _decoded(self, features: list[Tensor]) -> Tensor:
        """Map features of the image's half, quarter, ... size to channels (B, D, H / 4, W / 4).

        A SegFormer decoder resizes the mapped features and maps all of them, joined, once more. Both maps are linear
        and resizing commutes with them: here each has one map, of their product, at its own size if that is smaller.
        """
        half, quarter, *small = features
        size = quarter.shape[2:]
        total = None
        for features_, mapped in zip(small, self.maps[2:], strict=True):
            enlarged = F.interpolate(mapped(features_), size, mode="bilinear", align_corners=False)
            total = enlarged if total is None else total.add_(enlarged)
        total = self.maps[0](F.avg_pool2d(half, 2), total)  # what bilinear resizing to the half is
        return self.maps[1](quarter, total)  # type: ignore[no-any-return]


def _fold_layer(layer: Layer, tensors: Mapping[str, Tensor], scale: float = 1.0) -> Convolution:
    """Return a convolution whose padding is TensorFlow's `SAME`, with its batch norm folded in."""
    weight, bias = _fold(tensors[f"{layer.name}.weight"] * scale, norm=layer.norm, tensors=tensors, eps=NORM_EPS)
    padding, groups = layer.kernel // 2, layer.outputs if layer.depthwise else 1
    if layer.stride == 2:
        # Of an even input, `SAME` pads one row more behind than before. With a row and a column of zeros in front the
        # kernel pads alike on both sides: no padded copy of the input is made.
        weight = F.pad(weight, (1, 0, 1, 0))
    active = "relu6" if layer.active else "none"
    return Convolution(weight, bias=bias, stride=layer.stride, groups=groups, padding=padding, active=active)


def _fold(weight: Tensor, norm: str, tensors: Mapping[str, Tensor], eps: float) -> tuple[Tensor, Tensor]:
    """Return weight and bias of a convolution and the batch norm after it."""
    gain = tensors[f"{norm}.weight"] / (tensors[f"{norm}.running_var"] + eps).sqrt()
    return weight * gain[:, None, None, None], tensors[f"{norm}.bias"] - tensors[f"{norm}.running_mean"] * gain


def _decoder_maps(tensors: Mapping[str, Tensor]) -> list[Convolution]:
    """Return the map of each stage's features, largest first; that of the second has the sum's activation."""
    weight, bias = _fold(
        tensors["decoder.fuse_stage.0.weight"], norm="decoder.fuse_stage.1", tensors=tensors, eps=DECODER_EPS
    )
    pieces = weight[:, :, 0, 0].chunk(len(FEATURES), dim=1)
    products = []
    for number, piece in enumerate(pieces):  # smallest features first
        stage = f"decoder.mlp_stage.{number}.linear"
        bias = bias + piece @ tensors[f"{stage}.bias"]
        products.append((piece @ tensors[f"{stage}.weight"])[:, :, None, None])
    none = torch.zeros_like(bias)
    half, quarter, *small = reversed(products)
    return [
        Convolution(half, none),
        Convolution(quarter, bias, active="relu"),
        *(Convolution(product, none) for product in small),
    ]
