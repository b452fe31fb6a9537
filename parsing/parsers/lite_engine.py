"""The built-in parser's network as it is computed: batch norms multiplied out, few passes over large tensors.

Layers are those of `lite_network`. On a CPU with oneDNN a convolution, its bias, its activation and the addition after
it are one operation (`torch.ops.mkldnn`, which torch's own compiler calls); elsewhere they are plain ones of torch.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .lite_network import FEATURES, STEM_LAYER, Layer, has_shortcut, stages

NORM_EPS, DECODER_EPS = 1e-3, 1e-5
"""Of the batch norms of TensorFlow's networks, and torch's own."""
PACKED_FOR = 16
"""Images in the batch that the weights' layout in memory is chosen for; any other batch is computed too."""
ALIKE = 1e-3
"""The largest difference of a logit at which packed convolutions are used."""


class Convolution(nn.Module):
    """A convolution whose padding is TensorFlow's `SAME`, with bias, and its activation: `relu6`, `relu` or `none`.

    Of an even input and stride 2, `SAME` pads one row more behind than before. The kernel gets a row and a column
    of zeros in front here, so that it pads alike on both sides: no padded copy of the input is made.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, weight: Tensor, bias: Tensor, stride: int = 1, groups: int = 1, active: str = "none") -> None:
        super().__init__()
        kernel = weight.shape[-1]
        self.stride, self.groups, self.active = stride, groups, active
        self.padding = kernel // 2
        if stride == 2:
            weight = F.pad(weight, (1, 0, 1, 0))
        self.register_buffer("weight", weight.contiguous(memory_format=torch.channels_last))
        self.register_buffer("bias", bias)
        self.shape: tuple[int, ...] = ()
        self.packed: Tensor | None = None

    def pack(self) -> None:
        """Lay out the weights for oneDNN, for inputs as large as the last one; they are then used on a CPU."""
        if self.shape:
            shape = [PACKED_FOR, *self.shape[1:]]
            both = [self.padding] * 2, [self.stride] * 2, [1, 1]
            self.packed = torch.ops.mkldnn._reorder_convolution_weight(self.weight, *both, self.groups, shape)

    def forward(self, images: Tensor, added: Tensor | None = None) -> Tensor:
        """Return the convolution of `images` (B, C, H, W), plus `added` of its output's shape, then activated."""
        if self.packed is None:
            self.shape = tuple(images.shape)
            answer = F.conv2d(images, self.weight, self.bias, self.stride, self.padding, 1, self.groups)
            answer = answer if added is None else answer + added
            if self.active == "none":
                return answer
            return F.relu6(answer) if self.active == "relu6" else F.relu(answer)
        place = [self.padding] * 2, [self.stride] * 2, [1, 1], self.groups
        name, limits = ("hardtanh", [0.0, 6.0]) if self.active == "relu6" else (self.active, [])
        convolve = torch.ops.mkldnn._convolution_pointwise
        if added is None:
            return convolve(images, self.packed, self.bias, *place, name, limits, "")  # type: ignore[no-any-return]
        after = None if name == "none" else name
        return convolve(images, added, self.packed, self.bias, *place, "add", 1.0, after, limits, "")  # type: ignore[no-any-return]


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
    weight, bias = _fold(tensors[f"{layer.name}.weight"] * scale, norm=layer.norm, tensors=tensors, eps=NORM_EPS)
    groups = layer.outputs if layer.depthwise else 1
    return Convolution(
        weight, bias=bias, stride=layer.stride, groups=groups, active="relu6" if layer.active else "none"
    )


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


@torch.inference_mode()
def pack(engine: LiteEngine, input_size: tuple[int, int]) -> None:
    """Have the engine compute with packed convolutions, if this torch has them and they give the same answer."""
    if not torch.backends.mkldnn.is_available():
        return
    if not hasattr(torch.ops.mkldnn, "_convolution_pointwise"):
        return
    noise = torch.rand((1, 3, *input_size), generator=torch.Generator().manual_seed(0)) * 255 - 127.5
    noise = noise.contiguous(memory_format=torch.channels_last)
    wanted, layers = engine(noise), [m for m in engine.modules() if isinstance(m, Convolution)]
    try:
        for layer in layers:
            layer.pack()
        same = torch.allclose(engine(noise), wanted, rtol=0.0, atol=ALIKE)
    except (RuntimeError, TypeError):  # another version of torch: the operations are its own affair
        same = False
    if not same:
        for layer in layers:
            layer.packed = None
