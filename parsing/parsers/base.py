"""What a human parser is: images in, class logits out, with label set, preprocessing, weights' hash and licence."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import InputError
from ..labels import LabelSet
from ..resize import Size
from .confidence import find_winners
from .enlarging import find_most_likely
from .info import ParserInfo, describe_stretching

__all__ = ["CHANNELS", "NetworkParser", "Parser", "ParserInfo", "describe_stretching"]

CHANNELS = ("rgb", "bgr")


class Parser(ABC):
    """A human parser. An adapter sets the attributes and writes `prepare` and `forward`.

    Attributes:
        name, labels, licence, weights_hash: see `ParserInfo`.
        input_size: (height, width) that `prepare` makes and `forward` takes.
        device: where `forward` computes.
        cpu_batch: images at a time on a CPU, whose cache holds few of a large network's features.
    """

    cpu_batch = 8
    name: str
    labels: LabelSet
    licence: str
    weights_hash: str
    input_size: Size
    device: torch.device

    @property
    @abstractmethod
    def preprocessing(self) -> dict[str, Any]:
        """All that is done to an image before the network, as JSON: a part of the cache's fingerprint."""

    @property
    def info(self) -> ParserInfo:
        """What a cache records of this parser."""
        return ParserInfo(
            self.name,
            labels=self.labels,
            licence=self.licence,
            weights_hash=self.weights_hash,
            preprocessing=self.preprocessing,
        )

    @abstractmethod
    def prepare(self, image: NDArray[np.uint8]) -> Tensor:
        """Return one image (H, W, 3) uint8 RGB as the network takes it, (3, *input_size); called in a thread pool."""

    @abstractmethod
    def forward(self, batch: Tensor) -> Tensor:
        """Return class logits (B, C, h, w) of prepared images (B, 3, *input_size) on the parser's device."""

    def restore(self, logits: Tensor, sources: Sequence[Size], size: Size) -> Tensor:
        """Put logits (B, C, h, w) of the network back over the whole of each image, as (B, C, *size).

        Args:
            logits: what `forward` returned.
            sources: (height, width) of the images as they were; a parser that stretches to its input needs none.
            size: (height, width) of the result.
        """
        return F.interpolate(logits, size, mode="bilinear", align_corners=False)

    @torch.inference_mode()
    def parse(self, batch: Tensor, sources: Sequence[Size], size: Size, flip: bool = True) -> tuple[Tensor, Tensor]:
        """Return class probabilities (B, C, *size) of prepared images, and their flip agreement (B) in [0, 1].

        The agreement is the share of the foreground that the image and its mirror image label alike, 1 without `flip`.

        Args:
            batch: (B, 3, *input_size), of `prepare`.
            sources: (height, width) of the images as they were.
            size: (height, width) of the result.
            flip: average the logits with those of the mirrored image, left and right classes exchanged.

        Raises:
            InputError: if `forward` or `restore` answers anything but finite numbers of the right shape.
        """
        logits, agreement = self.average(batch, flip)
        return self.enlarge(logits, sources, size).softmax(1), agreement

    @torch.inference_mode()
    def average(self, batch: Tensor, flip: bool = True) -> tuple[Tensor, Tensor]:
        """Return class logits (B, C, h, w) of prepared images as `forward`, and their flip agreement; see `parse`."""
        batch = batch.to(self.device)
        logits = self.forward_checked(batch)
        if not flip:
            return logits, torch.ones(len(batch))
        mirrored = self.forward_checked(batch.flip(-1)).flip(-1)
        if self.labels.flipped != tuple(range(len(self.labels))):
            mirrored = mirrored[:, list(self.labels.flipped)]
        one, two = find_winners(logits)[1], find_winners(mirrored)[1]
        person = (one > 0) | (two > 0)
        alike = (person & (one == two)).sum((1, 2)) / person.sum((1, 2)).clamp(min=1)
        return (logits + mirrored) / 2, torch.where(person.any(1).any(1), alike, 1.0).cpu()

    def enlarge(self, logits: Tensor, sources: Sequence[Size], size: Size) -> Tensor:
        """Return what `restore` answers; raise InputError if that has another shape than (B, C, *size)."""
        whole = self.restore(logits, sources, size)
        if whole.shape != (len(logits), len(self.labels), *size):
            raise InputError(f"{self.name}: restore answers {tuple(whole.shape)} for {len(logits)} images of {size}")
        return whole

    @torch.inference_mode()
    def label_pixels(self, logits: Tensor, sources: Sequence[Size], size: Size) -> NDArray[np.uint8]:
        """Return the class with the highest of the logits that `enlarge` returns, the first of equals: (B, *size).

        A parser that has a faster way overrides it; both have to agree.

        Args:
            logits: (B, C, h, w), of `average`.
            sources: (height, width) of the images as they were.
            size: (height, width) of the masks.

        Raises:
            InputError: as `enlarge`.
        """
        if logits.device.type != "cpu":
            return find_winners(self.enlarge(logits, sources, size))[1].cpu().numpy()
        pairs = zip(logits, sources, strict=True)  # one at a time stays in the cache
        return np.stack([find_most_likely(self.enlarge(one[None], [source], size)[0]) for one, source in pairs])

    def forward_checked(self, batch: Tensor) -> Tensor:
        """Return what `forward` answers, float32; raise InputError if that is no answer to this batch.

        Of NaN the softmax would be NaN in every class, which looks like background, and of too few images the rest
        would get the mask of the first.
        """
        answer: Any = self.forward(batch)
        wanted = f"scores (B, {len(self.labels)}, h, w) of the classes of {self.labels.name} for {len(batch)} images"
        if not isinstance(answer, Tensor):
            raise InputError(f"{self.name} answers {type(answer).__name__}, not {wanted}")
        if answer.ndim != 4 or answer.shape[:2] != (len(batch), len(self.labels)) or not answer.numel():
            raise InputError(f"{self.name} answers {tuple(answer.shape)}, not {wanted}")
        if answer.device.type != self.device.type:
            raise InputError(f"{self.name} answers on {answer.device}, but its device is {self.device}")
        logits = answer.float()
        if not bool(logits.isfinite().all()):
            raise InputError(
                f"{self.name} answers numbers that are not finite (NaN or infinite), for which no mask is right"
            )
        return logits


class NetworkParser(Parser):
    """A parser whose input is the image stretched to `input_size` and normalised by mean and standard deviation.

    Args:
        network: normalised images (B, 3, *input_size) to class logits (B, C, h, w).
        mean: three values of pixels in [0, 1], in the order of `channels`.
        std: three values likewise, each above 0.
        device: where it computes.
        channels: the order in which the network takes red, green and blue.

    Raises:
        InputError: if channels, mean or std cannot be used.
    """

    def __init__(
        self,
        network: nn.Module,
        mean: Sequence[float],
        std: Sequence[float],
        device: str | torch.device,
        channels: str = "rgb",
    ) -> None:
        if channels not in CHANNELS:
            raise InputError(f"--channels {channels}: give rgb or bgr")
        if len(mean) != 3 or len(std) != 3 or min(std) <= 0:
            raise InputError(f"--mean {tuple(mean)} --std {tuple(std)}: give three values each, --std above 0")
        self.device = torch.device(device)
        self.network = network.eval().to(self.device)
        self.mean, self.std, self.channels = tuple(mean), tuple(std), channels
        self._mean = torch.tensor(self.mean, device=self.device).view(3, 1, 1) * 255
        self._std = torch.tensor(self.std, device=self.device).view(3, 1, 1) * 255

    @property
    def preprocessing(self) -> dict[str, Any]:
        return describe_stretching(self.input_size, mean=self.mean, std=self.std, channels=self.channels)

    def prepare(self, image: NDArray[np.uint8]) -> Tensor:
        height, width = self.input_size
        resized = Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR)
        return torch.from_numpy(np.array(resized)).permute(2, 0, 1)

    def forward(self, batch: Tensor) -> Tensor:
        ordered = batch.flip(1) if self.channels == "bgr" else batch
        values = ordered.to(torch.float32, memory_format=torch.contiguous_format, copy=True)
        logits: Tensor = self.network(values.sub_(self._mean).div_(self._std))
        return logits
