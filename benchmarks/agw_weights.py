"""The weights of the published AGW code (mangye16/Cross-Modal-Re-ID-baseline) in our network."""

import re
from typing import Any

import torch
from torch import nn

RULES = (
    (r"visible_module\.visible\.(conv1|bn1)\.", r"backbone.visible_stem.\1."),
    (r"thermal_module\.thermal\.(conv1|bn1)\.", r"backbone.infrared_stem.\1."),
    (r"base_resnet\.base\.(layer\d)\.", r"backbone.\1."),
    (r"NL_(\d)\.(\d)\.theta\.", r"backbone.non_local.layer\1.\2.query."),
    (r"NL_(\d)\.(\d)\.phi\.", r"backbone.non_local.layer\1.\2.key."),
    (r"NL_(\d)\.(\d)\.g\.0\.", r"backbone.non_local.layer\1.\2.value."),
    (r"NL_(\d)\.(\d)\.W\.", r"backbone.non_local.layer\1.\2.out."),
    (r"bottleneck\.", r"neck.norm."),
    (r"classifier\.", r"neck.classifier."),
)
"""Their names to ours; what none fits is the part of their three whole ResNets that never sees an image."""


def renamed(name: str) -> str | None:
    """Our name of one of their weights."""
    return next((re.sub(rule, ours, name) for rule, ours in RULES if re.match(rule, name)), None)


def draw_weights(net: Any) -> None:
    """Random norms and classifier, so that nothing is the identity; small last features, so that distances are about
    5: beyond 14 the triplet would see no negative."""
    with torch.no_grad():
        for name, module in net.named_modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                module.weight.uniform_(0.5, 1.5)
                module.running_mean.normal_(0, 0.1)  # type: ignore[union-attr]
                module.running_var.uniform_(0.5, 1.5)  # type: ignore[union-attr]
                if name != "bottleneck":
                    module.bias.normal_(0, 0.1)
        for block in net.base_resnet.base.layer4:
            for norm in (block.bn3, *([] if block.downsample is None else [block.downsample[1]])):
                norm.weight.mul_(0.1)
                norm.bias.mul_(0.1)
        net.classifier.weight.normal_(0, 0.05)


def carry_over(theirs: nn.Module, ours: nn.Module) -> None:
    """Their weights in our network; ValueError where one is missing, left over or of another shape."""
    pairs = ((renamed(name), value) for name, value in theirs.state_dict().items())
    state = {own: value for own, value in pairs if own is not None}
    try:
        ours.load_state_dict({**state, "pool.p": torch.tensor(3.0)})
    except RuntimeError as error:
        raise ValueError(f"theirs do not fill ours (RULES or the `agw` network changed): {error}") from error
