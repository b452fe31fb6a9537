"""`smp:DIR`: a model of segmentation-models-pytorch as its `save_pretrained` left it."""

import json
from pathlib import Path
from typing import Any

import segmentation_models_pytorch as smp
import torch
from torch import nn

from ..errors import InputError, MissingError
from .described import DescribedParser, Description, description_of
from .spec import ParserSpec
from .weights import load_strictly, read_tensors

FILES = ("config.json", "model.safetensors")


class SmpParser(DescribedParser):
    """A saved model."""

    licence = "not stated in the folder; that of whoever trained the model"

    def __init__(self, folder: Path, given: Description, device: str | torch.device = "cpu") -> None:
        files = [folder / name for name in FILES]
        for file in files:
            if not file.is_file():
                raise MissingError(f"smp:{folder}: there is no {file.name}; give a folder that save_pretrained wrote")
        super().__init__(f"smp:{folder.name}", _network(*files), files, given, device)


def build(spec: ParserSpec) -> SmpParser:
    """Load a saved model."""
    return SmpParser(Path(spec.place), description_of(spec), spec.device)


def _network(config: Path, weights: Path) -> nn.Module:
    """Build the saved architecture with every tensor of the file, so that nothing is downloaded or skipped."""
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
