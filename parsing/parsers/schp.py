"""`schp-lip`, `schp-atr`, `schp-pascal`: Self-Correction Human Parsing with its own pre- and post-processing."""

from collections.abc import Sequence
from contextlib import nullcontext
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..images import IMAGENET_MEAN, IMAGENET_STD
from ..labels import label_set
from ..resize import Size
from .answers import noise
from .base import Parser
from .info import ParserInfo
from .packed import pack
from .schp_engine import SCHPEngine
from .schp_network import SCHPNetwork
from .sources import SCHP, SCHP_LICENCE, schp_file
from .spec import ParserSpec
from .weights import check_fit, content_hash, load_strictly, read_tensors

MEAN, STD = IMAGENET_MEAN[::-1], IMAGENET_STD[::-1]
"""Of blue, green, red, in [0, 1]."""


class SCHPParser(Parser):
    """A published network, from `file` (the author's .pth, or safetensors) or else from the hub.

    narrow: an input half as wide, for crops twice as tall as wide: faster, and not quite the same answer.
    bf16: compute in bfloat16: faster on a GPU, and not quite the same answer.
    """

    licence = SCHP_LICENCE
    cpu_batch = 2

    def __init__(
        self,
        name: str,
        file: Path | None = None,
        device: str | torch.device = "cpu",
        narrow: bool = False,
        bf16: bool = False,
    ) -> None:
        published, file = SCHP[name], file or schp_file(name)
        self.name, self.labels = name, label_set(published.labels)
        self.input_size = published.narrow if narrow else published.input_size
        self.device, self.bf16 = torch.device(device), bf16
        network = SCHPNetwork(len(self.labels))
        load_strictly(network, tensors=read_tensors(file), file=file, what=name)
        self.weights_hash = content_hash([file])
        self.network = SCHPEngine(network).eval().to(self.device)
        self._mean, self._std = (torch.tensor(v, device=self.device).view(3, 1, 1) for v in (MEAN, STD))
        if self.device.type == "cpu" and not bf16:  # packed weights are of float32
            pack(self.network, self._normalise(noise(self.input_size, self.device)))

    @property
    def preprocessing(self) -> dict[str, Any]:
        return _preprocessing(self.input_size, self.bf16)

    def prepare(self, image: NDArray[np.uint8]) -> Tensor:
        rows, columns = map_into_input((image.shape[0], image.shape[1]), self.input_size)
        warped = np.einsum("hwc,bw->hbc", image, columns, optimize=True)
        warped = np.einsum("ah,hbc->cab", rows, warped, optimize=True)
        return torch.from_numpy(np.floor(warped + 0.5).astype(np.uint8))

    def forward(self, batch: Tensor) -> Tensor:
        precision = torch.autocast(self.device.type, torch.bfloat16) if self.bf16 else nullcontext()
        with precision:
            fusion: Tensor = self.network(self._normalise(batch))
        return fusion

    def _normalise(self, batch: Tensor) -> Tensor:
        images = (batch.flip(1).float() / 255 - self._mean) / self._std
        return images.contiguous(memory_format=torch.channels_last)

    def restore(self, logits: Tensor, sources: Sequence[Size], size: Size) -> Tensor:
        """Map logits to the input (corners aligned), back through the affine, then to `size`, axis by axis."""
        given = (logits.shape[2], logits.shape[3])
        both = [map_out_of_input(source, input_size=self.input_size, given=given, size=size) for source in sources]
        rows, columns = (torch.from_numpy(np.stack(m)).to(logits)[:, None] for m in zip(*both, strict=True))
        return rows @ logits @ columns.mT


def _preprocessing(input_size: Size, bf16: bool) -> dict[str, Any]:
    return {
        "resize": "bilinear affine, zero outside",
        "input": list(input_size),
        "channels": "bgr",
        "mean": MEAN,
        "std": STD,
        "precision": "bfloat16" if bf16 else "float32",
    }


def read_info(spec: ParserSpec) -> ParserInfo:
    """Return what a cache records of the parser, without its network; the file is checked as in loading.

    Raises:
        InputError, MissingError: as loading does.
    """
    published, file = SCHP[spec.name], spec.weights or schp_file(spec.name)
    labels = label_set(published.labels)
    with torch.device("meta"):  # names and shapes alone
        wanted = SCHPNetwork(len(labels)).state_dict()
    check_fit(wanted, tensors=read_tensors(file), file=file, what=spec.name)
    input_size = published.narrow if spec.narrow else published.input_size
    return ParserInfo(
        spec.name,
        labels=labels,
        licence=SCHP_LICENCE,
        weights_hash=content_hash([file]),
        preprocessing=_preprocessing(input_size, spec.bf16),
    )


def build(spec: ParserSpec) -> SCHPParser:
    """Load a published network."""
    return SCHPParser(spec.name, file=spec.weights, device=spec.device, narrow=spec.narrow, bf16=spec.bf16)


def scale_of(source: Size, input_size: Size) -> float:
    """Return source pixels per input pixel: the image's box, its short side widened to the input's aspect."""
    height, width = source[0] - 1, source[1] - 1
    widened = max(width, height * input_size[1] / input_size[0], 1)
    return widened / (input_size[1] - 1)


@lru_cache(maxsize=64)
def map_into_input(source: Size, input_size: Size) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the affine from image to input, without rotation or shear, as a matrix of rows and one of columns."""
    scale = scale_of(source, input_size)
    rows, columns = (
        interpolation((np.arange(m) - (m - 1) / 2) * scale + (n - 1) / 2, n).astype(np.float32)
        for n, m in zip(source, input_size, strict=True)
    )
    return rows, columns


@lru_cache(maxsize=64)
def map_out_of_input(
    source: Size, input_size: Size, given: Size, size: Size
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the map from logits of shape `given` to the input, to the image, to `size`, as `map_into_input` does."""
    scale = scale_of(source, input_size)
    matrices = []
    for n, m, g, s in zip(source, input_size, given, size, strict=True):
        to_input = interpolation(np.arange(m) * (g - 1) / (m - 1), g)
        to_image = interpolation((np.arange(n) - (n - 1) / 2) / scale + (m - 1) / 2, m)
        to_size = interpolation(((np.arange(s) + 0.5) * n / s - 0.5).clip(0, n - 1), n)
        matrices.append((to_size @ to_image @ to_input).astype(np.float32))
    return matrices[0], matrices[1]


def interpolation(positions: NDArray[np.floating[Any]], samples: int) -> NDArray[np.float64]:
    """Return linear interpolation at `positions` among `samples` values, zero outside: (positions, samples)."""
    matrix: NDArray[np.float64] = np.maximum(0, 1 - np.abs(positions[:, None] - np.arange(samples)))
    return matrix
