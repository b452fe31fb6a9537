"""The same network with fewer passes over large tensors: what is linear one after the other is multiplied out."""

from typing import Any

import torch
from torch import Tensor, nn
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
