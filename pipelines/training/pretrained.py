"""Pretrained weights for the backbone: ImageNet's, the built-in parser's encoder, or a file that the user has."""

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
STREET = "street"
LITE0 = "tu-tf_efficientnet_lite0"


def backbone_weights(backbone: str, pretrained: bool | str) -> dict[str, Tensor] | None:
    """The state dict that `Backbone.load` takes, for input normalised by data.loading.transforms; None for False.

    True: ImageNet's, torchvision's downloaded once into torch's cache, EfficientNet-Lite0's out of a package.
    `street`: the encoder of the built-in parser, an EfficientNet-Lite0 trained on ImageNet and then on people in colour
    and simulated infrared. Else a file of such a state dict, or one that `cscl parser train` wrote.
    MissingError says which file to get where there is no network.
    """
    if pretrained is False:
        return None
    if backbone == "efficientnet_lite0":
        return _lite0(pretrained)
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
    return read_tensors(_existing(pretrained))


def _existing(pretrained: str) -> Path:
    if not (file := Path(pretrained)).is_file():
        raise MissingError(f"model.pretrained = {pretrained!r}: there is no such file")
    return file


def _lite0(pretrained: bool | str) -> dict[str, Tensor]:
    mean, std = 0.5, 0.5  # timm's for this network
    file = BUILT_IN if pretrained == STREET else None if pretrained is True else _existing(str(pretrained))
    if file is not None and is_street(file):
        network, config, _ = load_street(file)
        if config.encoder != LITE0:
            raise InputError(f"model.pretrained = {pretrained!r}: its encoder is {config.encoder}, not {LITE0}")
        mean, std = config.mean, config.std
    else:
        network = nn.ModuleDict({"encoder": smp.encoders.get_encoder(LITE0, weights=None)})
        load_encoder(network, LITE0, "imagenet" if file is None else str(file))
    return _renormalised(network.get_submodule("encoder.model").state_dict(), mean, std)


def _renormalised(state: dict[str, Tensor], mean: float, std: float) -> dict[str, Tensor]:
    """Weights for pixels normalised by MEAN and STD instead of `mean` and `std`: the same answer but at the border.

    (p - mean) / std = x STD / std + (MEAN - mean) / std, whose constant the batch norm after the convolution takes up.
    """
    own_mean, own_std = torch.tensor(MEAN).view(1, 3, 1, 1), torch.tensor(STD).view(1, 3, 1, 1)
    weight = state["conv_stem.weight"]
    shift = (weight * (own_mean - mean) / std).sum((1, 2, 3))
    changed = {"conv_stem.weight": weight * own_std / std, "bn1.running_mean": state["bn1.running_mean"] - shift}
    return {**state, **changed}


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
            "--set model.pretrained=FILE, train from scratch with --set model.pretrained=false, or take "
            "--recipe small, which needs no download"
        ) from error
    finally:
        socket.setdefaulttimeout(before)
