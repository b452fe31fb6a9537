"""The built-in parser: a small segmentation network trained by this project on colour and simulated infrared."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn
from torch.nn import functional as F

from ..files import file_hash, write_file
from ..resize import Size
from .answers import noise
from .base import Parser
from .enlarging import enlarging, label_enlarged
from .folding import fold_batch_norms
from .lite_engine import LiteEngine
from .lite_network import list_tensor_shapes
from .packed import pack
from .sources import BUILT_IN, STREET_LICENCE
from .spec import ParserSpec
from .street_file import FORMAT, LABELS, describe_preprocessing, is_street, make_weights_error, read_config
from .street_network import StreetNetwork

__all__ = ["BUILT_IN", "FORMAT", "StreetNetwork", "StreetParser", "build", "is_street", "load_street", "save_street"]


class StreetParser(Parser):
    """`street`, from the package or (`file`) as `cscl parser train` wrote it.

    The network of the package is computed by `LiteEngine`, which answers on the grid of its last features, a quarter of
    the input's size; any other by segmentation-models-pytorch.
    """

    labels = LABELS
    licence = STREET_LICENCE
    cpu_batch = 16

    def __init__(self, file: Path | None = None, device: str | torch.device = "cpu") -> None:
        self.name = "street"
        self.device = torch.device(device)
        self.config, self.network, self.weights_hash = _load(file or BUILT_IN, self.device)
        self.input_size = self.config.input_size

    @property
    def preprocessing(self) -> dict[str, Any]:
        return describe_preprocessing(self.config)

    def prepare(self, image: NDArray[np.uint8]) -> Tensor:
        whole = torch.from_numpy(image)[None].permute(0, 3, 1, 2)  # torch sees channels last: half the time
        return F.interpolate(whole, self.input_size, mode="bilinear", antialias=True)[0]

    def forward(self, batch: Tensor) -> Tensor:
        images = batch.to(torch.float32, memory_format=torch.channels_last, copy=True).sub_(self.config.mean * 255)
        logits: Tensor = self.network(images if self.config.is_lite else images.div_(self.config.std * 255))
        return logits

    def restore(self, logits: Tensor, sources: object, size: Size) -> Tensor:
        """Enlarge logits to `size`; those of the engine first to the input's size, as the trained network does."""
        if not self.config.is_lite:
            return F.interpolate(logits, size, mode="bilinear", align_corners=False)
        rows, columns = (
            enlarging(old, between, new).to(logits.device)
            for old, between, new in zip(logits.shape[2:], self.input_size, size, strict=True)
        )
        return rows.mT @ logits @ columns

    @torch.inference_mode()
    def label_pixels(self, logits: Tensor, sources: Sequence[Size], size: Size) -> NDArray[np.uint8]:
        """As `Parser.label_pixels`; each class of the engine's logits is enlarged only where it can win."""
        if not self.config.is_lite or logits.device.type != "cpu":
            return super().label_pixels(logits, sources, size)
        return np.stack([label_enlarged(one, self.input_size, size) for one in logits.contiguous()])


def build(spec: ParserSpec) -> StreetParser:
    """Load `street`."""
    return StreetParser(spec.weights, spec.device)


def _load(file: Path, device: torch.device) -> tuple[StreetNetwork, nn.Module, str]:
    """Return configuration, network in the form in which it is computed, and SHA-256 of the file."""
    config = read_config(file)
    if config.is_lite:
        tensors, wanted = (
            _tensors(file),
            list_tensor_shapes(config.options["decoder_segmentation_channels"], len(LABELS)),
        )
        if {name: list(tensor.shape) for name, tensor in tensors.items()} != wanted:
            raise make_weights_error(file, "their names or shapes are others")
        engine = LiteEngine(tensors, config.std * 255).eval().to(device)
        if device.type == "cpu":
            pack(engine, noise(config.input_size, device) - 127.5)
        return config, engine, file_hash(file)
    network, config, digest = load_street(file)
    network = fold_batch_norms(network.eval(), torch.zeros(1, 3, *config.input_size)).to(device)
    return config, network.to(memory_format=torch.channels_last), digest


def save_street(network: nn.Module, config: StreetNetwork, file: Path) -> None:
    """Write the network in half precision, with what rebuilds it in the metadata.

    Raises:
        OSError: if the disk is full or the place cannot be written to.
    """
    tensors = {k: v.half().contiguous() if v.is_floating_point() else v for k, v in network.state_dict().items()}
    metadata = {"format": FORMAT, "network": json.dumps(asdict(config), sort_keys=True)}
    write_file(file, _sorted_header(save(tensors, metadata)))


def _sorted_header(content: bytes) -> bytes:
    """Return the same safetensors file with its header's keys sorted: the library writes metadata in no fixed order."""
    size = int.from_bytes(content[:8], "little")
    header = json.dumps(json.loads(content[8 : 8 + size]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + content[8 + size :]


def load_street(file: Path) -> tuple[nn.Module, StreetNetwork, str]:
    """Return network, configuration and SHA-256 of a file that `save_street` wrote.

    Raises:
        MissingError: if there is no such file.
        InputError: if it is damaged or was written by something else.
    """
    config, tensors = read_config(file), _tensors(file)
    try:
        with torch.random.fork_rng(devices=[]):  # the weights drawn here are replaced; the user's generator stays
            network = config.build()
        network.load_state_dict(tensors)
    except (ValueError, RuntimeError) as error:
        raise make_weights_error(file, error) from error
    return network, config, file_hash(file)


def _tensors(file: Path) -> dict[str, Tensor]:
    """Return the tensors of a file, in float32 where they are not integers."""
    try:
        return {k: v.float() if v.is_floating_point() else v for k, v in load_file(file).items()}
    except (SafetensorError, ValueError, RuntimeError) as error:
        raise make_weights_error(file, error) from error
