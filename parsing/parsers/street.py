"""The built-in parser: a small segmentation network trained by this project on colour and simulated infrared."""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from ..errors import InputError, MissingError
from ..labels import label_set
from .base import NetworkParser
from .folding import fold_batch_norms, fold_segformer
from .sources import BUILT_IN, BUILT_IN_LICENCE
from .street_network import StreetNetwork

FORMAT = "cscl-street-2"


class StreetParser(NetworkParser):
    """`street`, from the package or (`file`) as `cscl parser train` wrote it."""

    labels = label_set("street")
    licence = BUILT_IN_LICENCE

    def __init__(self, file: Path | None = None, device: str | torch.device = "cpu") -> None:
        self.name = "street"
        network, config, self.weights_hash = load_street(file or BUILT_IN)
        self.input_size = config.input_size
        network = fold_segformer(fold_batch_norms(network.eval(), torch.zeros(1, 3, *config.input_size)))
        super().__init__(network.to(memory_format=torch.channels_last), (config.mean,) * 3, (config.std,) * 3, device)

    def forward(self, batch: Tensor) -> Tensor:
        return super().forward(batch.contiguous(memory_format=torch.channels_last))


def save_street(network: nn.Module, config: StreetNetwork, file: Path) -> None:
    """Write the network in half precision, with what rebuilds it in the metadata."""
    tensors = {k: v.half().contiguous() if v.is_floating_point() else v for k, v in network.state_dict().items()}
    metadata = {"format": FORMAT, "network": json.dumps(asdict(config), sort_keys=True)}
    temporary = file.with_name(file.name + ".part")
    temporary.write_bytes(_sorted_header(save(tensors, metadata)))
    temporary.replace(file)


def _sorted_header(content: bytes) -> bytes:
    """The same safetensors file with its header's keys sorted: the library writes metadata in no fixed order."""
    size = int.from_bytes(content[:8], "little")
    header = json.dumps(json.loads(content[8 : 8 + size]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + content[8 + size :]


def is_street(file: Path) -> bool:
    """Whether `file` says that `save_street` wrote it, in this version or another."""
    try:
        with safe_open(file, "pt") as stored:
            return (stored.metadata() or {}).get("format", "").startswith("cscl-street-")
    except (SafetensorError, OSError):
        return False


def load_street(file: Path) -> tuple[nn.Module, StreetNetwork, str]:
    """Network, configuration and SHA-256 of a file that `save_street` wrote; refuses any other by name."""
    if not file.is_file():
        raise MissingError(f"no parser weights at {file}; `cscl parser train --photos DIR --out FILE` makes some")
    try:
        with safe_open(file, "pt") as stored:
            metadata = stored.metadata() or {}
            tensors = {key: stored.get_tensor(key) for key in stored.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise InputError(f"{file} is no whole safetensors file: {error}") from error
    if metadata.get("format") != FORMAT:
        raise InputError(f"{file} was not written by `cscl parser train` of this version")
    try:
        stored_network = json.loads(metadata["network"])
        height, width = stored_network["input_size"]
        config = StreetNetwork(
            stored_network["architecture"],
            stored_network["encoder"],
            stored_network["options"],
            (height, width),
            float(stored_network["mean"]),
            float(stored_network["std"]),
        )
        with torch.random.fork_rng(devices=[]):  # the weights drawn here are replaced; the user's generator stays
            network = config.build()
        network.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in tensors.items()})
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{file} holds other weights than it says ({reason}); give it again, or train anew") from error
    return network, config, hashlib.sha256(file.read_bytes()).hexdigest()
