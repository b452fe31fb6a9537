"""One step of stage 2: losses and gradients of the whole batch, however it is dealt to processes and pieces."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor

from cscl.losses import label_targets
from cscl.model import Output
from cscl.spam import mask_distribution
from cscl.total_loss import TotalLoss
from data.loading.transforms import normalise

from ..recipes.reading import Recipe
from .processes import gather


def take_gradients(
    network: Any, criterion: TotalLoss, batch: Mapping[str, Tensor], alpha: float, recipe: Recipe, fabric: Fabric
) -> tuple[dict[str, Tensor], dict[str, float]]:
    """Add the gradients of L to the network's; answer its terms and what else of the batch is to be logged.

    That is `accuracy` of the global identity classifier and, with parts, `guide`, the mean share of the cached masks
    in the pooling, and `visibility`, the mean of v.

    batch: this process's images, in `train.accumulate` pieces of whole identities one after the other.

    L is computed on what the network answers for all images of all processes, so that every term (pairs, centers,
    means over classes and over visible parts) is that of one batch. Its gradients at this process's answers are then
    sent back through the network, piece by piece: with several pieces the network answers twice, first without and
    then with a graph (GradCache, Gao et al., 2021), and memory is that of one piece.
    """
    batch = {name: value.to(fabric.device) for name, value in batch.items()}
    classes = network.config.parts if recipe.model.spam and recipe.model.part_pooling == "parsing" else None
    pieces = [
        _inputs(piece, alpha, classes, recipe.train.guide_confidence)
        for piece in _pieces(batch, recipe.train.accumulate)
    ]
    if len(pieces) == 1:
        outputs = [network(*pieces[0])]
    else:
        with torch.no_grad(), _kept(network):
            outputs = [network(*piece) for piece in pieces]
    answers = [torch.cat(each).detach().requires_grad_() for each in zip(*(o.tensors() for o in outputs), strict=True)]
    whole: Output = outputs[0].like([gather(fabric, answer) for answer in answers])
    known = {name: gather(fabric, batch[name]) for name in ("identities", "infrared", "confidence")}
    targets = gather(fabric, label_targets(batch["part_labels"])) if whole.parsing_logits else None
    terms = criterion(whole, known["identities"], known["infrared"], targets, known["confidence"])
    if terms["total"].requires_grad:
        terms["total"].backward()
    # Zeros too: a parameter without a gradient would keep the other processes waiting. They average; L is a whole.
    gradients = [
        (torch.zeros_like(a) if a.grad is None else a.grad * fabric.world_size).chunk(len(pieces)) for a in answers
    ]
    for number, piece in enumerate(pieces):
        with fabric.no_backward_sync(network, enabled=number + 1 < len(pieces)):
            output = outputs[0] if len(pieces) == 1 else network(*piece)
            found = zip(output.tensors(), gradients, strict=True)
            fabric.backward(torch.stack([(tensor * each[number]).sum() for tensor, each in found]).sum())
    right = whole.logits.detach().argmax(1) == known["identities"]
    measured = {"accuracy": float(right.float().mean())}
    if whole.parts is not None:
        guided = known["confidence"] >= recipe.train.guide_confidence
        measured["guide"] = alpha * float(guided.float().mean())
        measured["visibility"] = float(whole.parts.visibility.detach().mean())
    return {name: value.detach() for name, value in terms.items()}, measured


def _pieces(batch: Mapping[str, Tensor], count: int) -> list[dict[str, Tensor]]:
    split = {name: value.chunk(count) for name, value in batch.items()}
    return [{name: values[number] for name, values in split.items()} for number in range(count)]


def _inputs(piece: Mapping[str, Tensor], alpha: float, classes: int | None, least: float) -> tuple[Tensor | None, ...]:
    """What the network takes for a piece of the batch; classes: Q where masks of a confidence of `least` guide it."""
    masks = guide = None
    if classes is not None:
        masks = mask_distribution(piece["part_labels"].long(), classes)
        guide = alpha * (piece["confidence"] >= least).float()
    return normalise(piece["images"]), piece["infrared"], masks, guide


@contextmanager
def _kept(network: Any) -> Iterator[None]:
    """Leave the running statistics of the batch norms as they were: the second time the same images count."""
    buffers = list(network.buffers())
    before = [buffer.clone() for buffer in buffers]
    yield
    for buffer, value in zip(buffers, before, strict=True):
        buffer.copy_(value)
