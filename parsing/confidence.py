"""How far a mask can be trusted: one number an image, from what the parser answered alone."""

import torch
from torch import Tensor
from torch.nn import functional as F

from .labels import LabelSet
from .schemes import part_scheme

LAYOUT = ("head", "upper", "lower", "feet")
"""Parts of `reid4`, from above to below."""


def confidence(probabilities: Tensor, agreement: Tensor, labels: LabelSet) -> Tensor:
    """Confidence (B) in [0, 1] of class probabilities (B, C, H, W) with flip agreement (B); 0 for an empty mask.

    The product of the flip agreement, of the IoU that the answer should have if the probabilities were right
    (`expected_iou`), and of how plausible the layout is (`layout`).
    """
    classes = probabilities.argmax(1)
    return (expected_iou(probabilities, classes) * layout(classes, labels)).cpu() * agreement


def expected_iou(probabilities: Tensor, classes: Tensor) -> Tensor:
    """IoU (B) of masks (B, H, W) with the class probabilities (B, C, H, W) that they come from, in [0, 1].

    The mean over the classes of the mask of sum(p * answer) / sum(p + answer - p * answer); 0 for an empty mask.
    """
    answer = F.one_hot(classes, probabilities.shape[1]).permute(0, 3, 1, 2)
    both = (probabilities * answer).sum((2, 3))
    area = answer.sum((2, 3))
    iou = both / (probabilities.sum((2, 3)) + area - both).clamp(min=1e-6)
    answered = area > 0
    mean = (iou * answered).sum(1) / answered.sum(1)
    return torch.where(answered[:, 1:].any(1), mean, 0.0)


def layout(classes: Tensor, labels: LabelSet) -> Tensor:
    """Plausibility (B) in [0, 1] of where the parts of masks (B, H, W) lie.

    Head, upper body, lower body and feet of somebody upright lie one below the other. Each of them that covers less
    than a hundredth of the person, or whose middle is not below that of the one before, takes a tenth off. Parts that
    the label set does not have are not asked for.
    """
    groups = part_scheme("reid4").groups.get(labels.name, {})
    rows = torch.arange(classes.shape[1], device=classes.device, dtype=torch.float32)[:, None]
    least = 0.01 * (classes > 0).sum((1, 2)).clamp(min=1)
    plausible = torch.ones(len(classes), device=classes.device)
    above = torch.full_like(plausible, -1)
    for part in (p for p in LAYOUT if groups.get(p)):
        numbers = torch.tensor([labels.index(name) for name in groups[part]], device=classes.device)
        there = torch.isin(classes, numbers)
        area = there.sum((1, 2))
        middle = (there * rows).sum((1, 2)) / area.clamp(min=1)
        found = area >= least
        plausible -= 0.1 * (~found | (middle <= above))
        above = torch.where(found, middle, above)
    return plausible
