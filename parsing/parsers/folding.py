"""The same network with fewer passes over large tensors: what is linear one after the other is multiplied out."""

from collections.abc import Sequence
from typing import Any

import segmentation_models_pytorch as smp
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval


@torch.no_grad()
def fold_batch_norms(network: nn.Module, example: Tensor) -> nn.Module:
    """Fold, in place, each batch norm whose input is a convolution's output; `network` is in evaluation.

    example: images that the network takes; the order of its modules does not say what follows what, a run does.
    """
    last: list[tuple[Tensor, nn.Conv2d]] = []
    pairs: dict[nn.BatchNorm2d, nn.Conv2d] = {}

    def convolved(module: nn.Conv2d, _: Any, output: Tensor) -> None:
        last[:] = [(output, module)]

    def normalises(module: nn.BatchNorm2d, given: tuple[Tensor, ...]) -> None:
        if last and last[0][0] is given[0]:
            pairs[module] = last[0][1]

    hooks = [m.register_forward_hook(convolved) for m in network.modules() if isinstance(m, nn.Conv2d)]
    hooks += [m.register_forward_pre_hook(normalises) for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    network(example)
    for hook in hooks:
        hook.remove()
    replacements: dict[nn.Module, nn.Module] = {conv: fuse_conv_bn_eval(conv, norm) for norm, conv in pairs.items()}
    replacements |= {norm: getattr(norm, "act", nn.Identity()) for norm in pairs}  # timm's has its activation in it
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if child in replacements:
                setattr(parent, name, replacements[child])
    return network


class FoldedSegformerDecoder(nn.Module):
    """A SegFormer decoder (Xie et al., NeurIPS 2021) in evaluation, in another order: the same answers sooner.

    It maps each stage's features to D channels, resizes them to the largest, and maps all of them, joined, to D
    channels. The two maps are linear and resizing commutes with them, so that here each stage has one map, of their
    product, at its own size if that is smaller; nothing is joined. decoder: smp's, its batch norm folded.
    """

    bias: Tensor

    def __init__(self, decoder: Any) -> None:
        super().__init__()
        fuse = decoder.fuse_stage[0]
        linear = [stage.linear for stage in decoder.mlp_stage]
        pieces = fuse.weight.detach()[:, :, 0, 0].split(linear[0].out_features, dim=1)
        self.maps = nn.ModuleList()
        bias = fuse.bias.detach().clone()
        for piece, layer in zip(pieces, linear, strict=True):
            product = nn.Conv2d(layer.in_features, fuse.out_channels, 1, bias=False)
            product.weight.data = (piece @ layer.weight.detach())[:, :, None, None]
            self.maps.append(product)
            bias += piece @ layer.bias.detach()
        self.register_buffer("bias", bias[:, None, None])

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Map features (B, C, H, W), the image first and ever smaller, to (B, D, H / 4, W / 4) of the image's size."""
        height, width = (side // 4 for side in features[0].shape[2:])
        stages = features[-1 : -1 - len(self.maps) : -1]
        total = self.bias
        for product, stage in zip(self.maps, stages, strict=True):
            large = stage.shape[2] > height
            part = product(_resized(stage, height, width) if large else stage)
            total = total + (part if large else _resized(part, height, width))
        return F.relu(total)


def _resized(features: Tensor, height: int, width: int) -> Tensor:
    return F.interpolate(features, (height, width), mode="bilinear", align_corners=False)


def fold_segformer(network: nn.Module) -> nn.Module:
    """Fold, in place, the SegFormer decoder of a network of segmentation-models-pytorch whose batch norms are folded.

    Any other network comes back as it is.
    """
    if isinstance(network, smp.Segformer) and isinstance(network.decoder.fuse_stage[1], nn.Identity):
        network.decoder = FoldedSegformerDecoder(network.decoder)
    return network
