"""`smp:DIR`: a model of segmentation-models-pytorch as its `save_pretrained` left it."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import segmentation_models_pytorch as smp
import torch
from torch import nn

from .errors import InputError, MissingError
from .labels import label_set
from .parser import IMAGENET_MEAN, IMAGENET_STD, NetworkParser, Size
from .weights import content_hash, load_strictly, read_tensors

FILES = ("config.json", "model.safetensors")


class SmpParser(NetworkParser):
    """A saved model; what it does not say (label set, input size, normalisation) is given beside it."""

    licence = "not stated in the folder; that of whoever trained the model"

    def __init__(
        self,
        folder: Path,
        labels: str,
        input_size: Size,
        device: str | torch.device = "cpu",
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
        channels: str = "rgb",
    ) -> None:
        self.name = f"smp:{folder.name}"
        self.labels, self.input_size = label_set(labels), input_size
        files = [folder / name for name in FILES]
        for file in files:
            if not file.is_file():
                raise MissingError(f"smp:{folder}: there is no {file.name}; give a folder that save_pretrained wrote")
        super().__init__(_network(files[0], files[1]), mean, std, device, channels)
        self.weights_hash = content_hash(files)
        self.check_answer()


def _network(config: Path, weights: Path) -> nn.Module:
    """The saved architecture, with every tensor of the file: built here, so that nothing is downloaded or skipped."""
    try:
        options: dict[str, Any] = json.loads(config.read_text(encoding="utf-8"))
        kind = options.pop("_model_class")
        known = {c.__name__: c for c in smp.MODEL_ARCHITECTURES_MAPPING.values()}
        network: nn.Module = known[kind](**{**options, "encoder_weights": None})
    except (ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise InputError(f"{config} is no configuration of segmentation-models-pytorch: {error!r}") from error
    if options.get("activation") not in (None, "identity"):
        raise InputError(f"{config}: activation {options['activation']!r}; a parser answers logits, save it without")
    load_strictly(network, read_tensors(weights), weights, f"saved {kind}")
    return network
