"""ImageNet weights for the backbone: torchvision's, or a file that the user has."""

import socket
from pathlib import Path
from urllib.error import URLError

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from torchvision.models import get_model_weights

from parsing.errors import InputError, MissingError

SECONDS = 5


def imagenet_weights(backbone: str, pretrained: bool | str) -> dict[str, Tensor] | None:
    """A torchvision ResNet's state dict: its ImageNet weights (downloaded once into torch's cache) for True,
    the file for a path, None for False. MissingError says which file to get where there is no network."""
    if pretrained is False:
        return None
    if pretrained is True:
        weights = get_model_weights(backbone).IMAGENET1K_V1
        name = Path(weights.url).name
        file = Path(torch.hub.get_dir()) / "checkpoints" / name
        if not file.is_file():
            _download(weights.url, file, backbone)
        return _load(file)
    file = Path(pretrained)
    if not file.is_file():
        raise MissingError(f"model.pretrained = {pretrained!r}: there is no such file")
    return _load(file)


def _download(url: str, file: Path, backbone: str) -> None:
    """Fetch `url` into torch's cache, checked by the hash in its name."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(SECONDS)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(file), hash_prefix=file.stem.rpartition("-")[2])
    except (URLError, OSError, RuntimeError) as error:
        raise MissingError(
            f"no ImageNet weights of {backbone} and no way to fetch them ({error}): get {url} and give it with "
            f"--set model.pretrained=FILE, or train from scratch with --set model.pretrained=false"
        ) from error
    finally:
        socket.setdefaulttimeout(before)


def _load(file: Path) -> dict[str, Tensor]:
    try:
        if file.suffix == ".safetensors":
            return load_file(file)
        state = torch.load(file, map_location="cpu", weights_only=True)
    except (SafetensorError, OSError, RuntimeError, ValueError) as error:
        reason, *_ = str(error).split("\n")
        raise InputError(f"{file} cannot be read as weights: {reason}") from error
    except Exception as error:  # what unpickling raises has no common base, and its text advises to run the file
        raise InputError(f"{file} holds more than tensors, or is no weights file; give a state dict alone") from error
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise InputError(f"{file} is no state dict of a torchvision ResNet")
    return state
