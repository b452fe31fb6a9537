"""The built-in parser's file: how it is recognised, and what it says of its network; importing this loads no torch."""

import json
from pathlib import Path

from safetensors import SafetensorError, safe_open

from ..errors import InputError, MissingError, first_line
from ..files import file_hash
from ..labels import label_set
from .info import ParserInfo, describe_stretching
from .lite_network import list_tensor_shapes
from .sources import BUILT_IN, STREET_LICENCE
from .spec import ParserSpec
from .street_network import StreetNetwork

FORMAT = "cscl-street-2"
LABELS = label_set("person7")


def is_street(file: Path) -> bool:
    """Return whether `file` says that `save_street` wrote it, in this version or another."""
    try:
        with safe_open(file, "np") as stored:
            return str((stored.metadata() or {}).get("format")).startswith("cscl-street-")
    except (SafetensorError, OSError):
        return False


def read_config(file: Path) -> StreetNetwork:
    """Return what rebuilds the network of a file that `save_street` wrote; reads its header alone.

    Raises:
        MissingError: if there is no such file.
        InputError: if it is damaged or was written by something else.
    """
    if not file.is_file():
        raise MissingError(f"no parser weights at {file}; `cscl parser train --photos DIR --out FILE` makes some")
    try:
        with safe_open(file, "np") as stored:
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
        raise make_weights_error(file, error) from error


def read_info(spec: ParserSpec) -> ParserInfo:
    """Return what a cache records of the parser, without its weights; the file is checked as in loading.

    Raises:
        MissingError, InputError: as `read_config`.
    """
    file = spec.weights or BUILT_IN
    config = read_config(file)
    wanted = _shapes(file, config)
    with safe_open(file, "np") as stored:
        found = {name: list(stored.get_slice(name).get_shape()) for name in stored.keys()}  # noqa: SIM118
    if wanted != found:
        name = min(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))
        raise make_weights_error(file, f"{name} is {found.get(name)}, not {wanted.get(name)}")
    preprocessing = describe_preprocessing(config)
    return ParserInfo(
        "street", labels=LABELS, licence=STREET_LICENCE, weights_hash=file_hash(file), preprocessing=preprocessing
    )


def describe_preprocessing(config: StreetNetwork) -> dict[str, object]:
    """Return the preprocessing of a network of this configuration."""
    return describe_stretching(config.input_size, (config.mean,) * 3, (config.std,) * 3) | RESIZING


RESIZING = {"resize": "antialiased bilinear, torch uint8"}
"""Earlier versions resized by Pillow, whose values differ by 1 in 3 % of the pixels."""


def _shapes(file: Path, config: StreetNetwork) -> dict[str, list[int]]:
    """Return name and shape of every tensor that the network has."""
    if config.is_lite:
        return list_tensor_shapes(config.options["decoder_segmentation_channels"], len(LABELS))
    import torch

    try:
        with torch.device("meta"):  # names and shapes alone
            return {name: list(tensor.shape) for name, tensor in config.build().state_dict().items()}
    except (ValueError, RuntimeError) as error:
        raise make_weights_error(file, error) from error


def make_weights_error(file: Path, why: BaseException | str) -> InputError:
    """Return the error for a file whose tensors are not those of the network that it names."""
    reason = why if isinstance(why, str) else first_line(why)
    return InputError(f"{file} holds other weights than it says ({reason}); give it again, or train anew")
