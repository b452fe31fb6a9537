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
from ..resize import Size
from .answers import Reading, noise, recognise
from .base import NetworkParser
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


def get_description(spec: ParserSpec) -> Description:
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
    """A network of normalised images (B, 3, *input_size) to scores of the label set's classes, stored in `files`.

    Attributes:
        answers_logits: whether scores are known to be logits; otherwise an answer to an image of noise decides.

    Raises:
        InputError: if it does not take such images, or gives no answer that `answers.recognise` understands.
    """

    answers_logits = False

    def __init__(
        self, name: str, network: nn.Module, files: Sequence[Path], given: Description, device: str | torch.device
    ) -> None:
        self.name = name
        self.labels, self.input_size = label_set(given.labels), given.input_size
        super().__init__(network, given.mean, given.std, device, given.channels)
        self.weights_hash = content_hash(files)
        self.reading = self._recognise()

    @property
    def preprocessing(self) -> dict[str, Any]:
        return super().preprocessing | ({"answer": self.reading.stated} if self.reading.stated else {})

    def forward(self, batch: Tensor) -> Tensor:
        return self.reading.logits(super().forward(batch))

    @torch.inference_mode()
    def _recognise(self) -> Reading:
        height, width = self.input_size
        try:
            answer = super().forward(noise(self.input_size, self.device))
        except (RuntimeError, ValueError, TypeError, NotImplementedError) as error:
            reason = (str(error).strip() or repr(error)).splitlines()[-1]
            raise InputError(f"{self.name} does not take an image of --input {height}x{width}: {reason}") from error
        return recognise(self.name, answer=answer, labels=self.labels, logits=self.answers_logits)
