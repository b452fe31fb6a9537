"""Pretrained weights for the backbone: from ImageNet, from the built-in parser's encoder, or from a file."""

import socket
from pathlib import Path
from urllib.error import URLError

import segmentation_models_pytorch as smp
import torch
from torch import Tensor, nn
from torchvision.models import get_model_weights

from data.loading.transforms import MEAN, STD
from parsing.errors import InputError, MissingError
from parsing.parsers.sources import BUILT_IN
from parsing.parsers.street import is_street, load_street
from parsing.parsers.weights import read_tensors

from ..parsers.encoder_weights import load_encoder

SECONDS = 5
"""Time-out of a download: without a network, say soon which file to get."""
STREET = "street"
LITE0 = "tu-tf_efficientnet_lite0"


def load_backbone_weights(backbone: str, pretrained: bool | str) -> dict[str, Tensor] | None:
    """Return the state dict for `Backbone.load`, for input normalised by data.loading.transforms; None without weights.

    Args:
        backbone: its name.
        pretrained: False for none. True for ImageNet weights: of a ResNet from torchvision, downloaded once into
            torch's cache; of EfficientNet-Lite0 from an installed package. `street` for the encoder of the built-in
            parser, an EfficientNet-Lite0 that was trained on ImageNet and then on people in colour and simulated
            infrared. Otherwise a file with such a state dict, or one that `cscl parser train` wrote.

    Raises:
        MissingError: if the file does not exist or cannot be downloaded.
        InputError: if it does not fit the backbone.
    """
    if pretrained is False:
        return None
    if backbone == "efficientnet_lite0":
        return _load_lite0(pretrained)
    if pretrained == STREET:
        raise InputError(
            f"model.pretrained = 'street': the built-in parser's encoder is no {backbone}; "
            "give --set model.backbone=efficientnet_lite0 with it"
        )
    if pretrained is True:
        weights = get_model_weights(backbone).IMAGENET1K_V1
        name = Path(weights.url).name
        file = Path(torch.hub.get_dir()) / "checkpoints" / name
        if not file.is_file():
            _download(weights.url, file, backbone)
        return read_tensors(file)
    return read_tensors(_find_file(pretrained))


def _find_file(pretrained: str) -> Path:
    if not (file := Path(pretrained)).is_file():
        raise MissingError(f"model.pretrained = {pretrained!r}: there is no such file")
    return file


def _load_lite0(pretrained: bool | str) -> dict[str, Tensor]:
    mean, std = 0.5, 0.5  # normalisation of timm's weights of this network
    file = BUILT_IN if pretrained == STREET else None if pretrained is True else _find_file(str(pretrained))
    if file is not None and is_street(file):
        network, config, _ = load_street(file)
        if config.encoder != LITE0:
            raise InputError(f"model.pretrained = {pretrained!r}: its encoder is {config.encoder}, not {LITE0}")
        mean, std = config.mean, config.std
    else:
        network = nn.ModuleDict({"encoder": smp.encoders.get_encoder(LITE0, weights=None)})
        load_encoder(network, LITE0, "imagenet" if file is None else str(file))
    return _renormalise(network.get_submodule("encoder.model").state_dict(), mean, std)


def _renormalise(state: dict[str, Tensor], mean: float, std: float) -> dict[str, Tensor]:
    """Return the weights changed for input that is normalised by MEAN and STD instead of `mean` and `std`.

    With p the pixel and x = (p - MEAN) / STD, (p - mean) / std = x STD / std + (MEAN - mean) / std. The first
    convolution is scaled by STD / std; the running mean of the norm after it absorbs the constant. Only at the image's
    border does the output change, since the padding is 0 in either normalisation.
    """
    own_mean, own_std = torch.tensor(MEAN).view(1, 3, 1, 1), torch.tensor(STD).view(1, 3, 1, 1)
    weight = state["conv_stem.weight"]
    shift = (weight * (own_mean - mean) / std).sum((1, 2, 3))
    changed = {"conv_stem.weight": weight * own_std / std, "bn1.running_mean": state["bn1.running_mean"] - shift}
    return {**state, **changed}


def _download(url: str, file: Path, backbone: str) -> None:
    """Download `url` to `file`, and check it by the hash in its name."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(SECONDS)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(file), hash_prefix=file.stem.rpartition("-")[2])
    except (URLError, OSError, RuntimeError) as error:
        raise MissingError(
            f"no ImageNet weights of {backbone} and no way to fetch them ({error}): get {url} and give it with "
            "--set model.pretrained=FILE, train from scratch with --set model.pretrained=false, or take "
            "--recipe small, which needs no download"
        ) from error
    finally:
        socket.setdefaulttimeout(before)
