"""The network of Self-Correction Human Parsing (SCHP, TPAMI 2020): ResNet-101, pyramid pooling, edges, fusion."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .packed import SLOPE

GRIDS = (1, 2, 3, 6)
"""Cells a side of the pyramid's averages."""


class AbsoluteNorm(nn.Module):
    """Batch norm at inference, scaled by |weight| + eps, then LeakyReLU(0.01) if `active`: (B, C, h, w) to the same.

    The weights were trained under in-place activated batch norm, whose scale is an absolute value; a plain batch
    norm answers something else wherever a weight is negative.
    """

    eps = 1e-5
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int, active: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))
        self.active = active

    def forward(self, x: Tensor) -> Tensor:
        scale = self.weight.abs() + self.eps
        y = F.batch_norm(x, self.running_mean, self.running_var, scale, self.bias, eps=self.eps)
        return F.leaky_relu(y, SLOPE, inplace=True) if self.active else y


def resize(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize bilinearly with corners aligned, as everywhere in this network."""
    return F.interpolate(x, size, mode="bilinear", align_corners=True)


def _convolution(
    inputs: int, outputs: int, kernel: int = 1, stride: int = 1, dilation: int = 1, bias: bool = False
) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, stride, dilation * (kernel // 2), dilation, bias=bias)


def _activate(*modules: nn.Module) -> nn.Sequential:
    """Return each convolution followed by its activated norm, in one sequence, so that the stored names fit."""
    pairs = ((m, AbsoluteNorm(m.out_channels, True)) if isinstance(m, nn.Conv2d) else (m,) for m in modules)
    return nn.Sequential(*(module for pair in pairs for module in pair))


class Bottleneck(nn.Module):
    """1x1, 3x3 (with the stride), 1x1 to four times `planes`, and the shortcut."""

    def __init__(self, inputs: int, planes: int, stride: int, dilation: int) -> None:
        super().__init__()
        outputs = 4 * planes
        self.conv1, self.bn1 = _convolution(inputs, planes), AbsoluteNorm(planes, False)
        self.conv2 = _convolution(planes, outputs=planes, kernel=3, stride=stride, dilation=dilation)
        self.bn2 = AbsoluteNorm(planes, False)
        self.conv3, self.bn3 = _convolution(planes, outputs), AbsoluteNorm(outputs, False)
        self.downsample: nn.Module | None = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(
                _convolution(inputs, outputs=outputs, kernel=1, stride=stride), AbsoluteNorm(outputs, False)
            )

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        y = F.relu(self.bn2(self.conv2(y)), inplace=True)
        y = self.bn3(self.conv3(y))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)), inplace=True)


class PyramidPooling(nn.Module):
    """Averages over `GRIDS` cells beside the input itself: (B, 2048, h, w) to (B, 512, h, w)."""

    def __init__(self, inputs: int = 2048, outputs: int = 512) -> None:
        super().__init__()
        self.stages = nn.ModuleList(_activate(nn.AdaptiveAvgPool2d(g), _convolution(inputs, outputs)) for g in GRIDS)
        self.bottleneck = _activate(_convolution(inputs + len(GRIDS) * outputs, outputs, 3))

    def forward(self, x: Tensor) -> Tensor:
        size = (x.shape[-2], x.shape[-1])
        fused: Tensor = self.bottleneck(torch.cat([*(resize(stage(x), size) for stage in self.stages), x], 1))
        return fused


class EdgeBranch(nn.Module):
    """Edge logits (B, 2, h, w) and features (B, 768, h, w) at the resolution of layer 1, from layers 1 to 3."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2, self.conv3 = (_activate(_convolution(c, 256)) for c in (256, 512, 1024))
        self.conv4 = _convolution(256, 2, 3, bias=True)
        self.conv5 = _convolution(6, 2, bias=True)

    def forward(self, layer1: Tensor, layer2: Tensor, layer3: Tensor) -> tuple[Tensor, Tensor]:
        size = (layer1.shape[-2], layer1.shape[-1])
        features = [self.conv1(layer1), self.conv2(layer2), self.conv3(layer3)]
        edges = torch.cat([resize(self.conv4(f), size) for f in features], 1)
        return self.conv5(edges), torch.cat([resize(f, size) for f in features], 1)


class Decoder(nn.Module):
    """Parsing logits (B, C, h, w) and features (B, 256, h, w) at the resolution of layer 1."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.conv1 = _activate(_convolution(512, 256))
        self.conv2 = _activate(_convolution(256, 48))
        self.conv3 = _activate(_convolution(304, 256), _convolution(256, 256))
        self.conv4 = _convolution(256, classes, bias=True)

    def forward(self, context: Tensor, layer1: Tensor) -> tuple[Tensor, Tensor]:
        wide = resize(self.conv1(context), (layer1.shape[-2], layer1.shape[-1]))
        features = self.conv3(torch.cat([wide, self.conv2(layer1)], 1))
        return self.conv4(features), features


class SCHPNetwork(nn.Module):
    """Normalised BGR images (B, 3, H, W) to logits at a quarter of that: fusion, parsing (B, C, ..), edge (B, 2, ..).

    Names of modules are those of the published weights, 603 tensors ("fushion" is spelt so there). For inference:
    the norms use their stored statistics, dropout is the identity.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = _convolution(3, outputs=64, kernel=3, stride=2), AbsoluteNorm(64, False)
        self.conv2, self.bn2 = _convolution(64, 64, 3), AbsoluteNorm(64, False)
        self.conv3, self.bn3 = _convolution(64, 128, 3), AbsoluteNorm(128, False)
        self.layer1 = self._layer(128, 64, 3)
        self.layer2 = self._layer(256, 128, 4, stride=2)
        self.layer3 = self._layer(512, 256, 23, stride=2)
        self.layer4 = self._layer(1024, 512, 3, dilation=2)
        self.context_encoding = PyramidPooling()
        self.edge = EdgeBranch()
        self.decoder = Decoder(classes)
        self.fushion = nn.Sequential(
            _convolution(1024, 256), AbsoluteNorm(256, True), nn.Dropout2d(0.1), _convolution(256, classes, bias=True)
        )

    @staticmethod
    def _layer(inputs: int, planes: int, blocks: int, stride: int = 1, dilation: int = 1) -> nn.Sequential:
        first = Bottleneck(inputs, planes=planes, stride=stride, dilation=dilation)
        return nn.Sequential(
            first, *(Bottleneck(4 * planes, planes=planes, stride=1, dilation=dilation) for _ in range(blocks - 1))
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        for convolution, norm in ((self.conv1, self.bn1), (self.conv2, self.bn2), (self.conv3, self.bn3)):
            x = F.relu(norm(convolution(x)), inplace=True)
        layer1 = self.layer1(F.max_pool2d(x, 3, 2, 1))
        layer2 = self.layer2(layer1)
        layer3 = self.layer3(layer2)
        context = self.context_encoding(self.layer4(layer3))
        parsing, features = self.decoder(context, layer1)
        edge, edge_features = self.edge(layer1, layer2, layer3)
        return self.fushion(torch.cat([features, edge_features], 1)), parsing, edge
