"""SCHP's network as it is computed: norms multiplied out, few passes over large tensors, little computed twice.

Layers are those of `schp_network`, of whose answers only the fusion is used. Bilinear resizing and 1x1 convolutions
are linear and commute: features that the network resizes, joins and maps are mapped here at their own size, enlarged
and added up.
"""

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .packed import SLOPE, Convolution
from .schp_network import GRIDS, AbsoluteNorm, Bottleneck, PyramidPooling, SCHPNetwork, resize

TAPS = 9
"""Of a 3x3 kernel."""


class SCHPEngine(nn.Module):
    """Normalised BGR images (B, 3, H, W) to logits (B, C, H / 4, W / 4): the fusion that `network` answers."""

    @torch.no_grad()
    def __init__(self, network: SCHPNetwork) -> None:
        super().__init__()
        stem = ((network.conv1, network.bn1), (network.conv2, network.bn2), (network.conv3, network.bn3))
        self.stem = nn.Sequential(*(_fold(convolution, norm, "relu") for convolution, norm in stem))
        layers = (network.layer1, network.layer2, network.layer3, network.layer4)
        self.layers = nn.ModuleList(
            nn.Sequential(*(_Block(block) for block in layer if isinstance(block, Bottleneck))) for layer in layers
        )
        self.context = Context(network.context_encoding)
        self.head = _Head(network)

    def forward(self, images: Tensor) -> Tensor:
        current, features = F.max_pool2d(self.stem(images), 3, 2, 1), []
        for layer in self.layers:
            current = layer(current)
            features.append(current)
        logits: Tensor = self.head(self.context(current), *features[:3])
        return logits


class _Block(nn.Module):
    """A bottleneck: three convolutions, the last of which adds the shortcut."""

    def __init__(self, block: Bottleneck) -> None:
        super().__init__()
        self.first = _fold(block.conv1, block.bn1, "relu")
        self.middle = _fold(block.conv2, block.bn2, "relu")
        self.last = _fold(block.conv3, block.bn3, "relu")
        self.shortcut: nn.Module = nn.Identity() if block.downsample is None else _fold_all(block.downsample)[0]

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = self.last(self.middle(self.first(x)), self.shortcut(x))
        return answer


class Context(nn.Module):
    """`PyramidPooling`: (B, 2048, h, w) to (B, 512, h, w).

    The last convolution's nine taps map each pixel, in one matrix product, and what they make is shifted and added up.
    The enlarged averages of the pyramid are linear in its 50 cells: the taps map the cells, and a matrix says how much
    of each of them a pixel gets. That saves an eighth of the whole network's work.
    """

    taps: Tensor
    of_cells: Tensor
    bias: Tensor

    def __init__(self, pyramid: PyramidPooling) -> None:
        super().__init__()
        averages = [_fold_all(stage)[0] for stage in pyramid.stages]
        self.averages = nn.ModuleList(averages)
        whole = _fold_all(pyramid.bottleneck)[0]
        cells = sum(len(average.bias) for average in averages)
        taps = whole.weight.flatten(2).permute(1, 2, 0).flatten(1)  # (I, 9 O)
        self.register_buffer("taps", taps[cells:].contiguous())
        self.register_buffer("of_cells", taps[:cells].unflatten(0, (len(GRIDS), -1)).contiguous())
        self.register_buffer("bias", whole.bias)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        mapped = []
        for grid, average, taps in zip(GRIDS, self.averages, self.of_cells, strict=True):
            cells = average(F.adaptive_avg_pool2d(x, grid)).flatten(2).mT  # (B, g g, I)
            mapped.append((cells @ taps).unflatten(2, (TAPS, -1)).flatten(1, 2))  # (B, 9 g g, O)
        spread = torch.cat([spread_cells(grid, height, width) for grid in GRIDS], 1).to(x)
        total = torch.baddbmm(self.bias.to(x), spread.expand(len(x), -1, -1), torch.cat(mapped, 1))
        total = total.unflatten(1, (height, width))
        by_tap = (x.permute(0, 2, 3, 1) @ self.taps).unflatten(3, (TAPS, -1))  # (B, h, w, 9, O)
        for tap in range(TAPS):
            rows, columns = _overlap(tap // 3 - 1, height), _overlap(tap % 3 - 1, width)
            total[:, rows[0], columns[0]] += by_tap[:, rows[1], columns[1], tap]
        return F.leaky_relu(total.permute(0, 3, 1, 2), SLOPE, inplace=True)


def _overlap(shift: int, length: int) -> tuple[slice, slice]:
    """Return where pixels lie that have a neighbour `shift` further in the image, and where these neighbours do."""
    return slice(max(0, -shift), length - max(0, shift)), slice(max(0, shift), length + min(0, shift))


@lru_cache(maxsize=32)
def spread_cells(grid: int, height: int, width: int) -> Tensor:
    """Return how much of each cell's taps a pixel gets, (height width, 9 g g): enlarged, aligned corners, shifted."""
    cells = torch.eye(grid**2).unflatten(1, (1, grid, grid))
    shifted = F.unfold(resize(cells, (height, width)), 3, padding=1)  # (g g, 9, height width)
    return shifted.flatten(0, 1).mT.contiguous()


class _Head(nn.Module):
    """Decoder, edge features and fusion: context (B, 512, h, w) and features of layers 1 to 3 to logits."""

    def __init__(self, network: SCHPNetwork) -> None:
        super().__init__()
        decoder, edge = network.decoder, network.edge
        self.narrowed, self.detail = _fold_all(decoder.conv1)[0], _fold_all(decoder.conv2)[0]
        joined, self.mapped = _fold_all(decoder.conv3)
        self.wide, self.fine = _split(joined, (len(self.narrowed.bias), len(self.detail.bias)))
        self.edges = nn.ModuleList(_fold_all(branch)[0] for branch in (edge.conv1, edge.conv2, edge.conv3))
        widths = [len(module.bias) for module in (self.mapped, *self.edges)]
        self.fused = nn.ModuleList(_split(_fold_all(network.fushion)[0], widths))
        last: Any = network.fushion[-1]
        self.last = Convolution(last.weight, last.bias)

    def forward(self, context: Tensor, layer1: Tensor, layer2: Tensor, layer3: Tensor) -> Tensor:
        size = (layer1.shape[2], layer1.shape[3])
        joined = self.fine(self.detail(layer1), resize(self.wide(self.narrowed(context)), size))
        features = self.mapped(F.leaky_relu(joined, SLOPE, inplace=True))
        edges = [edge(layer) for edge, layer in zip(self.edges, (layer1, layer2, layer3), strict=True)]
        of_features, of_edges = self.fused[0], self.fused[1:]
        total = resize(of_edges[2](edges[2]), size).add_(resize(of_edges[1](edges[1]), size))
        total = of_features(features, of_edges[0](edges[0], total))
        logits: Tensor = self.last(F.leaky_relu(total, SLOPE, inplace=True))
        return logits


def _fold(convolution: nn.Conv2d, norm: AbsoluteNorm, active: str) -> Convolution:
    """Return a convolution and the norm after it as one."""
    gain = (norm.weight.abs() + norm.eps) / (norm.running_var + norm.eps).sqrt()
    return Convolution(
        convolution.weight * gain[:, None, None, None],
        bias=norm.bias - norm.running_mean * gain,
        stride=convolution.stride[0],
        dilation=convolution.dilation[0],
        active=active,
    )


def _fold_all(modules: nn.Module) -> list[Convolution]:
    """Return each convolution of a sequence that a norm follows."""
    children = list(modules.children())
    return [
        _fold(convolution, norm, "leaky_relu" if norm.active else "none")
        for convolution, norm in pairwise(children)
        if isinstance(convolution, nn.Conv2d) and isinstance(norm, AbsoluteNorm)
    ]


def _split(joined: Convolution, widths: Sequence[int]) -> list[Convolution]:
    """Return a convolution of joined features as one per piece, the first with the bias; no activation follows."""
    pieces = joined.weight.split(widths, 1)
    none = torch.zeros_like(joined.bias)
    return [Convolution(piece, none if number else joined.bias) for number, piece in enumerate(pieces)]
