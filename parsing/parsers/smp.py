"""`smp:DIR`: a model of segmentation-models-pytorch as its `save_pretrained` left it."""

import json
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import segmentation_models_pytorch as smp
import torch
from torch import nn

from ..errors import InputError, MissingError
from .base import ParserInfo
from .described import DescribedParser, Description, get_description
from .spec import ParserSpec
from .weights import check_fit, load_strictly, read_stored_shapes, read_tensors

FILES = ("config.json", "model.safetensors")


class SmpParser(DescribedParser):
    """A saved model; on the device `meta` one without weights, which are then compared by name and shape alone."""

    answers_logits = True
    licence = "not stated in the folder; that of whoever trained the model"

    def __init__(self, folder: Path, given: Description, device: str | torch.device = "cpu") -> None:
        config, weights = files = [folder / name for name in FILES]
        for file in files:
            if not file.is_file():
                raise MissingError(f"smp:{folder}: there is no {file.name}; give a folder that save_pretrained wrote")
        network = _network(config, weights, torch.device(device))
        super().__init__(f"smp:{folder.name}", network, files, given, device)


def build(spec: ParserSpec) -> SmpParser:
    """Load a saved model."""
    return SmpParser(Path(spec.place), get_description(spec), spec.device)


def read_info(spec: ParserSpec) -> ParserInfo:
    """Return what a cache records of the model, without its weights unless its network cannot be built without.

    Raises:
        InputError, MissingError: as loading does.
    """
    try:
        return build(replace(spec, device="meta")).info
    except InputError:  # a wrong file or option; or an operation that the device `meta` does not have
        return build(replace(spec, device="cpu")).info


def _network(config: Path, weights: Path, device: torch.device) -> nn.Module:
    """Build the saved architecture with every tensor of the file, so that nothing is downloaded or skipped."""
    without = device.type == "meta"
    try:
        options: dict[str, Any] = json.loads(config.read_text(encoding="utf-8"))
        kind = options.pop("_model_class")
        known = {c.__name__: c for c in smp.MODEL_ARCHITECTURES_MAPPING.values()}
        with device if without else nullcontext():
            network: nn.Module = known[kind](**{**options, "encoder_weights": None})
    except (ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise InputError(f"{config} is no configuration of segmentation-models-pytorch: {error!r}") from error
    if options.get("activation") not in (None, "identity"):
        raise InputError(f"{config}: activation {options['activation']!r}; a parser answers logits, save it without")
    if without:
        found = {name: torch.empty(shape, device=device) for name, shape in read_stored_shapes(weights).items()}
        check_fit(network.state_dict(), tensors=found, file=weights, what=f"saved {kind}")
    else:
        load_strictly(network, tensors=read_tensors(weights), file=weights, what=f"saved {kind}")
    return network
