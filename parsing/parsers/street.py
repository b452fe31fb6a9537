"""The built-in parser: a small segmentation network trained by this project on colour and simulated infrared."""

import json
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor, nn

from ..errors import InputError, MissingError, first_line
from ..files import file_hash, write_file
from ..labels import label_set
from .base import NetworkParser, ParserInfo, stretching
from .folding import fold_batch_norms, fold_segformer
from .sources import BUILT_IN, STREET_LICENCE
from .spec import ParserSpec
from .street_network import StreetNetwork
from .weights import stored_shapes

FORMAT = "cscl-street-2"


class StreetParser(NetworkParser):
    """`street`, from the package or (`file`) as `cscl parser train` wrote it."""

    labels = label_set("person7")
    licence = STREET_LICENCE

    def __init__(self, file: Path | None = None, device: str | torch.device = "cpu") -> None:
        self.name = "street"
        network, config, self.weights_hash = load_street(file or BUILT_IN)
        self.input_size = config.input_size
        network = fold_segformer(fold_batch_norms(network.eval(), torch.zeros(1, 3, *config.input_size)))
        super().__init__(network.to(memory_format=torch.channels_last), (config.mean,) * 3, (config.std,) * 3, device)

    def forward(self, batch: Tensor) -> Tensor:
        return super().forward(batch.contiguous(memory_format=torch.channels_last))


def build(spec: ParserSpec) -> StreetParser:
    """Load `street`."""
    return StreetParser(spec.weights, spec.device)


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


def is_street(file: Path) -> bool:
    """Return whether `file` says that `save_street` wrote it, in this version or another."""
    try:
        with safe_open(file, "pt") as stored:
            return str((stored.metadata() or {}).get("format")).startswith("cscl-street-")
    except (SafetensorError, OSError):
        return False


def load_street(file: Path) -> tuple[nn.Module, StreetNetwork, str]:
    """Return network, configuration and SHA-256 of a file that `save_street` wrote.

    Raises:
        MissingError: if there is no such file.
        InputError: if it is damaged or was written by something else.
    """
    config = read_config(file)
    try:
        with torch.random.fork_rng(devices=[]):  # the weights drawn here are replaced; the user's generator stays
            network = config.build()
        tensors = load_file(file)
        network.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in tensors.items()})
    except (SafetensorError, ValueError, RuntimeError) as error:
        raise _other_weights(file, error) from error
    return network, config, file_hash(file)


def read_config(file: Path) -> StreetNetwork:
    """Return what rebuilds the network of a file that `save_street` wrote; reads its header alone.

    Raises:
        MissingError, InputError: as `load_street`.
    """
    if not file.is_file():
        raise MissingError(f"no parser weights at {file}; `cscl parser train --photos DIR --out FILE` makes some")
    try:
        with safe_open(file, "pt") as stored:
            metadata = stored.metadata() or {}
    except SafetensorError as error:
        raise InputError(f"{file} is no whole safetensors file: {error}") from error
    if metadata.get("format") != FORMAT:
        raise InputError(f"{file} was not written by `cscl parser train` of this version")
    try:
        said = json.loads(metadata["network"])
        height, width = said["input_size"]
        return StreetNetwork(
            architecture=said["architecture"],
            encoder=said["encoder"],
            options=said["options"],
            input_size=(height, width),
            mean=float(said["mean"]),
            std=float(said["std"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise _other_weights(file, error) from error


def read_info(spec: ParserSpec) -> ParserInfo:
    """Return what a cache records of the parser, without its weights; the file is checked as in loading.

    Raises:
        MissingError, InputError: as `load_street`.
    """
    file = spec.weights or BUILT_IN
    config = read_config(file)
    try:
        with torch.device("meta"):  # names and shapes alone
            wanted = {name: tuple(tensor.shape) for name, tensor in config.build().state_dict().items()}
    except (ValueError, RuntimeError) as error:
        raise _other_weights(file, error) from error
    found = stored_shapes(file)
    if wanted != found:
        name = min(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))
        raise _other_weights(file, f"{name} is {found.get(name)}, not {wanted.get(name)}")
    preprocessing = stretching(config.input_size, (config.mean,) * 3, (config.std,) * 3)
    return ParserInfo("street", StreetParser.labels, STREET_LICENCE, file_hash(file), preprocessing)


def _other_weights(file: Path, why: BaseException | str) -> InputError:
    reason = why if isinstance(why, str) else first_line(why)
    return InputError(f"{file} holds other weights than it says ({reason}); give it again, or train anew")
