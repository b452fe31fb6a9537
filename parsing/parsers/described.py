"""What parsers from files share that say nothing of themselves: label set, input and normalisation given beside."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import InputError
from ..images import IMAGENET_MEAN, IMAGENET_STD
from ..labels import label_set
from .base import NetworkParser, Size
from .spec import ParserSpec
from .weights import content_hash


@dataclass(frozen=True)
class Description:
    """labels: name of the label set that the classes are, or its TOML file. mean, std: of [0, 1]."""

    labels: str
    input_size: Size
    mean: Sequence[float] = IMAGENET_MEAN
    std: Sequence[float] = IMAGENET_STD
    channels: str = "rgb"


def description_of(spec: ParserSpec) -> Description:
    """Return the description in a spec, with mean and std in [0, 1].

    Raises:
        InputError: if it lacks label set or input size, which a file does not say.
    """
    if spec.labels is None or spec.input_size is None:
        raise InputError(f"--parser {spec.name}: say what it answers and takes, with --labels NAME --input HxW")
    values = {"mean": spec.mean, "std": spec.std}
    scale = 255 if any(v > 1 for vs in values.values() if vs is not None for v in vs) else 1
    given: dict[str, Any] = {k: tuple(v / scale for v in vs) for k, vs in values.items() if vs is not None}
    if spec.channels is not None:
        given["channels"] = spec.channels
    return Description(spec.labels, spec.input_size, **given)


class DescribedParser(NetworkParser):
    """A network of normalised images (B, 3, *input_size) to logits (B, C, h, w), stored in `files`.

    Raises:
        InputError: if it does not take such images, or does not answer with a map of each class of the label set.
    """

    def __init__(
        self, name: str, network: nn.Module, files: Sequence[Path], given: Description, device: str | torch.device
    ) -> None:
        self.name = name
        self.labels, self.input_size = label_set(given.labels), given.input_size
        super().__init__(network, given.mean, given.std, device, given.channels)
        self.weights_hash = content_hash(files)
        self._check_answer()

    @torch.inference_mode()
    def _check_answer(self) -> None:
        empty = torch.zeros(1, 3, *self.input_size, dtype=torch.uint8, device=self.device)
        height, width = self.input_size
        try:
            answer = self.forward(empty)
        except (RuntimeError, ValueError, TypeError, NotImplementedError) as error:
            reason = (str(error).strip() or repr(error)).splitlines()[-1]
            raise InputError(f"{self.name} does not take an image of --input {height}x{width}: {reason}") from error
        found = tuple(answer.shape) if isinstance(answer, Tensor) else type(answer).__name__
        classes = self.labels.classes
        if not isinstance(answer, Tensor) or answer.ndim != 4 or answer.shape[:2] != (1, len(classes)):
            raise InputError(
                f"{self.name} answers {found}, but --labels {self.labels.name} needs (1, {len(classes)}, h, w)"
                f"{_missing(classes, found)}"
            )


def _missing(classes: tuple[str, ...], found: tuple[int, ...] | str) -> str:
    """Return which classes an answer of shape (1, C, h, w) has no channel for, or how many channels have no class."""
    if isinstance(found, str) or len(found) != 4:
        return ""
    if found[1] < len(classes):
        return f": no channel for {', '.join(classes[found[1] :])}"
    return f": {found[1] - len(classes)} channels have no class"
