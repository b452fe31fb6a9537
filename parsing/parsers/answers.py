"""What the answer of a network from elsewhere is: which output, in which layout, logits or probabilities."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..errors import InputError
from ..labels import LabelSet

SMALLEST = 1e-8
"""Probabilities below it count as it, so that their logarithm is finite."""


@dataclass(frozen=True)
class Reading:
    """How to read the answers of one network, as `recognise` found it.

    output: number or name among several outputs, None if there is one. channels_last: (B, h, w, C).
    probabilities: the network ends in a softmax; its logarithm is then taken, so that a softmax gives it back.
    """

    output: int | str | None = None
    channels_last: bool = False
    probabilities: bool = False

    def logits(self, answer: Any) -> Tensor:
        """Return class logits (B, C, h, w), float32."""
        chosen = answer if self.output is None else answer[self.output]
        maps: Tensor = chosen.permute(0, 3, 1, 2) if self.channels_last else chosen
        return maps.float().clamp(min=SMALLEST).log() if self.probabilities else maps.float()

    @property
    def stated(self) -> dict[str, Any]:
        """What differs from plain logits, for the cache's fingerprint."""
        plain = Reading()
        return {name: value for name, value in vars(self).items() if value != getattr(plain, name)}


def recognise(name: str, answer: Any, labels: LabelSet, logits: bool = False) -> Reading:
    """Return how to read what the network answered for one image of noise; of several outputs the first that fits.

    name: of the parser, for messages. logits: whether scores are known to be logits, so that only shapes are looked at:
    an answer on the device `meta` has no values. InputError says what it answers and what shape the label set needs.
    """
    if isinstance(answer, Mapping):
        outputs: Sequence[tuple[Any, Any]] = list(answer.items())
    elif isinstance(answer, list | tuple):
        outputs = list(enumerate(answer))
    else:
        outputs = [(None, answer)]
    tensors = [(key, value) for key, value in outputs if isinstance(value, Tensor)]
    classes = len(labels)
    for key, value in tensors:
        if value.ndim == 4 and value.is_floating_point() and classes in (value.shape[1], value.shape[3]):
            last = value.shape[1] != classes
            return Reading(key, last, not logits and is_softmax(name, value.float(), 3 if last else 1))
    needed = f"--labels {labels.name} needs scores of shape (1, {classes}, h, w)"
    if any(not value.is_floating_point() for _, value in tensors):
        raise InputError(f"{name} answers {_shapes(outputs)}, class numbers; {needed}: export it without its argmax")
    raise InputError(f"{name} answers {_shapes(outputs)}, but {needed}{_missing(labels.classes, tensors)}")


def is_softmax(name: str, values: Tensor, channels: int) -> bool:
    """Return whether scores are probabilities over axis `channels`.

    Raises:
        InputError: if they are those of a sigmoid, or not finite.
    """
    if not bool(values.isfinite().all()):
        raise InputError(f"{name} answers numbers that are not finite (NaN or infinite) for an image of noise")
    if values.min() < 0 or values.max() > 1:
        return False
    if bool(((values.sum(channels) - 1).abs() < 1e-2).all()):
        return True
    raise InputError(
        f"{name} answers values in [0, 1] that do not add up to 1 over the classes, as a sigmoid does; a parser gives "
        "each pixel one class: export it without the sigmoid"
    )


def _shapes(outputs: Sequence[tuple[Any, Any]]) -> str:
    shown = [str(tuple(v.shape)) if isinstance(v, Tensor) else type(v).__name__ for _, v in outputs]
    return " and ".join(shown) or "nothing"


def _missing(classes: tuple[str, ...], outputs: Sequence[tuple[Any, Tensor]]) -> str:
    """Return which classes a single answer (1, C, h, w) has no channel for, or how many channels have no class."""
    if len(outputs) != 1 or outputs[0][1].ndim != 4:
        return ""
    channels = outputs[0][1].shape[1]
    if channels < len(classes):
        return f": no channel for {', '.join(classes[channels:])}"
    return f": {channels - len(classes)} channels have no class"


def noise(size: tuple[int, int], device: torch.device) -> Tensor:
    """Return the image (1, 3, H, W) uint8 that networks are tried on: on a plain one, logits could be anything."""
    drawn = torch.randint(0, 256, (1, 3, *size), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    return drawn.to(device)
