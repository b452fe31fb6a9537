"""How far a mask can be trusted: one number an image, from what the parser answered alone."""

import torch
from torch import Tensor

from ..labels import LabelSet
from ..schemes import part_scheme

LAYOUT = ("head", "upper", "lower", "feet")
"""Parts of `reid4`, from above to below."""


def find_winners(probabilities: Tensor) -> tuple[Tensor, Tensor]:
    """Return the highest of the class probabilities (B, C, H, W) and its class, the first of equals: (B, H, W) each.

    The same as `max(1)`, several times as fast on a CPU, as it reads the classes one by one.
    """
    top, classes = probabilities[:, 0].clone(), torch.zeros_like(probabilities[:, 0], dtype=torch.uint8)
    for number in range(1, probabilities.shape[1]):
        higher = probabilities[:, number] > top
        classes[higher] = number
        top = torch.maximum(top, probabilities[:, number])
    return top, classes


def confidence(probabilities: Tensor, top: Tensor, classes: Tensor, agreement: Tensor, labels: LabelSet) -> Tensor:
    """Return the confidence (B) in [0, 1] of a batch of masks; 0 for an empty mask.

    It is the product of the flip agreement, of the IoU that the answer should have if the probabilities were right
    (`expected_iou`), and of how plausible the layout is (`layout`).

    Args:
        probabilities: (B, C, H, W).
        top, classes: of `find_winners`.
        agreement: (B), flip agreement.
        labels: the label set.
    """
    return (expected_iou(probabilities, top, classes) * layout(classes, labels)).cpu() * agreement


def expected_iou(probabilities: Tensor, top: Tensor, classes: Tensor) -> Tensor:
    """Return the IoU (B) in [0, 1] that masks (B, H, W) should have if the class probabilities (B, C, H, W) are right.

    The mean over the classes of the mask of sum(p * answer) / sum(p + answer - p * answer); 0 for an empty mask.
    """
    answer = classes.flatten(1).long()
    none = probabilities.new_zeros(probabilities.shape[:2])
    both = none.scatter_add(1, answer, top.flatten(1))
    area = none.scatter_add(1, answer, torch.ones_like(top).flatten(1))
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
    images, height, _ = classes.shape
    bins = torch.arange(images * height, device=classes.device).view(images, height, 1) * len(labels) + classes
    counts = torch.bincount(bins.flatten(), minlength=images * height * len(labels))
    counts = counts.view(images, height, len(labels))  # pixels of each class in each row
    rows = torch.arange(height, device=classes.device, dtype=torch.float32)
    least = 0.01 * counts[..., 1:].sum((1, 2)).clamp(min=1)
    plausible = torch.ones(images, device=classes.device)
    above = torch.full_like(plausible, -1)
    for part in (p for p in LAYOUT if groups.get(p)):
        there = counts[..., [labels.index(name) for name in groups[part]]].sum(2)
        area = there.sum(1)
        middle = (there * rows).sum(1) / area.clamp(min=1)
        found = area >= least
        plausible -= 0.1 * (~found | (middle <= above))
        above = torch.where(found, middle, above)
    return plausible
