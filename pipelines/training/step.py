"""One training step: the loss of a whole batch that is split over processes and pieces, and its gradients."""

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
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Add the gradients of L over the whole batch to those of the network; return the values to log.

    Nothing in it waits for a GPU, so that the GPU always has the next operations at hand.

    L is computed on the network's outputs for all images of all processes. Every term that relates images (pairs,
    centers, means over classes or visible parts) thus has the same value as if one process held the whole batch.

    Outputs instead of images are gathered, as in GradCache (Gao et al., 2021):

    1. Run the network on each piece of this process's images; with several pieces without a graph, to save memory.
    2. Join the outputs of all pieces and processes, and compute L and its gradients with respect to the outputs.
    3. With several pieces, run the network on each piece again, now with a graph. Backpropagate the gradients of
       step 2 through it.

    At most one piece's activations are in memory. A single piece is run once.

    Args:
        network: a CSCL in training mode, set up by `fabric`.
        criterion: computes L.
        batch: this process's images, see `Batches`: `train.accumulate` pieces of equal size one after the other, each
            with all images of its identities, and with its visible images before as many infrared ones.
        alpha: weight of the cached masks in SPAM's pooling, in [0, 1].
        recipe: of the run.
        fabric: connects the processes.

    Returns:
        The terms of L as `TotalLoss` returns them, detached.
        Means over the whole batch: `accuracy` of the global identity classifier and, if the network has SPAM, `guided`,
        the share of images whose masks guide the pooling, and `visibility`, v.
    """
    batch = {name: value.to(fabric.device, non_blocking=True) for name, value in batch.items()}
    parts = network.config.parts if recipe.model.spam and recipe.model.part_pooling == "parsing" else None
    pieces = [
        _make_inputs(piece, alpha=alpha, parts=parts, min_confidence=recipe.train.guide_confidence)
        for piece in _split(batch, recipe.train.accumulate)
    ]

    # 1. The outputs of this process. Detach them, so that L's gradients end there.
    if len(pieces) == 1:
        outputs = [network(*pieces[0])]
    else:
        with torch.no_grad(), _restore_buffers(network):
            outputs = [network(*piece) for piece in pieces]
    own = [torch.cat(each).detach().requires_grad_() for each in zip(*(o.tensors() for o in outputs), strict=True)]

    # 2. L of the whole batch. Every process computes all of it, and keeps the gradients of its own outputs.
    whole: Output = outputs[0].like([gather(fabric, tensor) for tensor in own])
    known = {name: gather(fabric, batch[name]) for name in ("identities", "infrared", "confidence")}
    targets = gather(fabric, label_targets(batch["part_labels"])) if whole.parsing_logits else None
    terms = criterion(whole, known["identities"], known["infrared"], targets, known["confidence"])
    if terms["total"].requires_grad:  # not if all weights are 0
        terms["total"].backward()
    # DDP averages over the processes, but L is one loss over all of them: multiply by their number. Outputs that L does
    # not use get zeros, since DDP waits for a gradient of every parameter.
    gradients = [
        (torch.zeros_like(t) if t.grad is None else t.grad * fabric.world_size).chunk(len(pieces)) for t in own
    ]

    # 3. The gradients of the parameters. Processes exchange them once, with the last piece. The gradient of
    # sum(output * gradient) with respect to the parameters is that of L.
    for number, piece in enumerate(pieces):
        with fabric.no_backward_sync(network, enabled=number + 1 < len(pieces)):
            output = outputs[0] if len(pieces) == 1 else network(*piece)
            pairs = zip(output.tensors(), gradients, strict=True)
            fabric.backward(torch.stack([(tensor * each[number]).sum() for tensor, each in pairs]).sum())

    correct = whole.logits.detach().argmax(1) == known["identities"]
    measured = {"accuracy": correct.float().mean()}
    if whole.parts is not None:
        measured["guided"] = _guides(known["confidence"], recipe.train.guide_confidence).float().mean()
        measured["visibility"] = whole.parts.visibility.detach().mean()
    return {name: value.detach() for name, value in terms.items()}, measured


def _split(batch: Mapping[str, Tensor], count: int) -> list[dict[str, Tensor]]:
    """Return `count` pieces of equal size, in order."""
    split = {name: value.chunk(count) for name, value in batch.items()}
    return [{name: values[number] for name, values in split.items()} for number in range(count)]


def _make_inputs(
    piece: Mapping[str, Tensor], alpha: float, parts: int | None, min_confidence: float
) -> tuple[Tensor | int | None, ...]:
    """Return the arguments of `CSCL.forward` for a piece of the batch.

    Args:
        piece: images, masks and identities of the piece, visible images before as many infrared ones.
        alpha: weight of the masks in SPAM's pooling; 0 for an image whose mask does not guide.
        parts: Q; None for a network that takes no masks.
        min_confidence: least confidence of a mask that guides, in [0, 1].
    """
    masks = guide = None
    if parts is not None and alpha > 0:
        # Unchecked: the table of the part scheme yields no other numbers, and a look at them would wait for the device.
        masks = mask_distribution(piece["part_labels"].long(), parts, checked=False)
        guide = alpha * _guides(piece["confidence"], min_confidence).float()
    images = normalise(piece["images"])
    if images.is_cuda:  # as the weights, see `Stepper`
        images = images.contiguous(memory_format=torch.channels_last)
    return images, len(images) // 2, masks, guide


def _guides(confidence: Tensor, least: float) -> Tensor:
    """Return whether each mask guides the pooling, (B,) bool; one of confidence 0, which is not used, never does."""
    return (confidence >= least) & (confidence > 0)


@contextmanager
def _restore_buffers(network: Any) -> Iterator[None]:
    """Restore the batch norms' running statistics at the end, so that images that are run twice count once."""
    buffers = list(network.buffers())
    before = [buffer.clone() for buffer in buffers]
    yield
    for buffer, value in zip(buffers, before, strict=True):
        buffer.copy_(value)
