"""Weights of parsers: read as tensors alone, loaded strictly, identified by SHA-256."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from ..errors import InputError, MissingError, first_line
from ..files import file_hash

WRAPPERS = ("module.", "model.")
"""What DataParallel and wrapping classes put before every name of a stored tensor."""


def read_tensors(file: Path) -> dict[str, Tensor]:
    """Return the named tensors of a .safetensors file or of a checkpoint of torch, whose pickle may hold tensors alone.

    A checkpoint's `state_dict` is taken if it has one; a prefix `module.` or `model.` that all names share is cut off.

    Raises:
        MissingError: if there is no such file.
        InputError: if it is truncated, holds code, or holds something else; it names the file.
    """
    if not file.is_file():
        raise MissingError(f"no weights file {file}")
    try:
        content: Any
        if file.suffix == ".safetensors":
            content = load_file(file)
        else:
            content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # on foreign bytes, readers of pickles raise almost anything
        raise InputError(_explain(file, error)) from error
    if isinstance(content, Mapping):
        content = content.get("state_dict", content)
    if not isinstance(content, Mapping) or not all(isinstance(v, Tensor) for v in content.values()):
        raise InputError(f"{file} holds no state dict of tensors; give a checkpoint or a .safetensors file")
    tensors = {str(name): tensor for name, tensor in content.items()}
    for prefix in WRAPPERS:
        if tensors and all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    return tensors


def _explain(file: Path, error: Exception) -> str:
    """Return why a file was not read: torch says the same first line of a pickle with code and of other faults."""
    if refused := re.search(r"GLOBAL ([\w.]+)", str(error)):
        return (
            f"{file} holds more than tensors ({refused[1]}), and code in a checkpoint is never run; if you trust "
            "it, save its state dict alone, as torch.save(torch.load(FILE, weights_only=False)['state_dict'], NEW)"
        )
    return f"{file} cannot be read as weights (cut off, or not of torch or safetensors): {first_line(error)}"


def read_stored_shapes(file: Path) -> dict[str, tuple[int, ...]]:
    """Return the names and shapes of the tensors in a .safetensors file, out of its header.

    Raises:
        InputError: if it is no such file.
    """
    try:
        with safe_open(file, "pt") as stored:
            return {name: tuple(stored.get_slice(name).get_shape()) for name in stored.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise InputError(_explain(file, error)) from error


def load_strictly(network: nn.Module, tensors: Mapping[str, Tensor], file: Path, what: str) -> None:
    """Put `tensors` into `network`; arguments and errors as `check_fit`."""
    wanted = network.state_dict()
    given = check_fit(wanted, tensors=tensors, file=file, what=what)
    network.load_state_dict({name: tensor.to(wanted[name].dtype) for name, tensor in given.items()})


def check_fit(wanted: Mapping[str, Tensor], tensors: Mapping[str, Tensor], file: Path, what: str) -> dict[str, Tensor]:
    """Compare names and shapes of tensors with those of a network, which may be on the `meta` device.

    Args:
        wanted: the network's state dict.
        tensors: what was read. Counters of batches, which only training reads, may be too many.
        file: where they were read, for errors.
        what: what the file should have been, for errors.

    Returns:
        The tensors that the network takes.

    Raises:
        InputError: if one is missing, foreign or of another shape.
    """
    given = {k: v for k, v in tensors.items() if k in wanted or not k.endswith(".num_batches_tracked")}
    missing = [k for k in wanted if k not in given]
    foreign = [k for k in given if k not in wanted]
    if missing or foreign:
        found = f"lacks {missing[0]}" if missing else f"holds {foreign[0]} too"
        raise InputError(
            f"{file} is no {what}: it {found} ({len(wanted) - len(missing)} of {len(wanted)} tensors fit, "
            f"{len(foreign)} are foreign); give the weights of {what}"
        )
    for name, tensor in wanted.items():
        if given[name].shape != tensor.shape:
            raise InputError(
                f"{file} is no {what}: {name} is {tuple(given[name].shape)}, not {tuple(tensor.shape)}; "
                f"give the weights of {what}"
            )
    return given


def content_hash(files: Sequence[Path]) -> str:
    """Return the SHA-256 of one file, or of the names and hashes of several, in the order given."""
    if len(files) == 1:
        return file_hash(files[0])
    return hashlib.sha256("".join(f"{f.name} {file_hash(f)}\n" for f in files).encode("utf-8")).hexdigest()
