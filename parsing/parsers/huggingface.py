"""`hf:ORG/NAME` and `hf:DIR`: any AutoModelForSemanticSegmentation with its own image processor."""

import re
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import InputError, first_line
from ..labels import LABEL_SETS, LabelSet, build_label_set, label_set
from ..resize import Size
from .base import Parser
from .sources import HUB_MODELS, hf_files
from .spec import ParserSpec
from .weights import content_hash

STATED = (
    "do_resize", "size", "resample", "do_rescale", "rescale_factor", "do_normalize", "image_mean", "image_std",
)  # fmt: skip
"""The settings of an image processor that decide its answer, if it neither crops nor pads."""


class HuggingFaceParser(Parser):
    """A model of the hub, or of a folder that `save_pretrained` wrote.

    Args:
        model: ORG/NAME, or the folder.
        device: where it computes.
        labels: name of the label set, or its TOML file; None for that of a known model, or the one that the config's
            id2label spells, or one made of it.
        input_size: stretch images to this, if the image processor itself would crop or keep the aspect.
        remote_code: the same ORG/NAME or DIR again, to run the Python files that come with the model; never otherwise.

    Raises:
        InputError, MissingError: if it cannot be loaded, or crops its images.
    """

    def __init__(
        self,
        model: str,
        device: str | torch.device = "cpu",
        labels: str | None = None,
        input_size: Size | None = None,
        remote_code: str | None = None,
    ) -> None:
        trusted = remote_code == model
        folder, weights = hf_files(model, trusted)
        transformers: Any = import_module("transformers")  # takes seconds: only when there is something to load
        logging: Any = import_module("transformers.utils.logging")
        logging.disable_progress_bar()  # a bar for a file read in a second, in every worker
        logging.set_verbosity_error()  # what it warns of, weights that do not fit, is an error here
        options = {"local_files_only": True, "trust_remote_code": trusted}
        try:
            processor = transformers.AutoImageProcessor.from_pretrained(folder, **options)
            network, report = transformers.AutoModelForSemanticSegmentation.from_pretrained(
                folder, output_loading_info=True, dtype=torch.float32, **options
            )
        except Exception as error:  # transformers raises whatever the model's files make it raise
            trust = (
                "; to run the code that comes with it, name it with --remote-code too" if "remote" in str(error) else ""
            )
            raise InputError(f"hf:{model} cannot be loaded by transformers: {first_line(error)}{trust}") from error
        for problem in ("missing_keys", "mismatched_keys"):
            if report[problem]:
                raise InputError(
                    f"hf:{model}: the weights do not fit its config ({problem}: {sorted(report[problem])[0]})"
                )
        self.name = f"hf:{folder.name}" if Path(model).is_dir() else f"hf:{model}"
        self.licence = HUB_MODELS[model].licence if model in HUB_MODELS else _licence(folder / "README.md", model)
        names = [str(network.config.id2label[i]) for i in range(len(network.config.id2label))]
        chosen = labels or (HUB_MODELS[model].labels if model in HUB_MODELS else None)
        self.labels, self.order = match_labels(model, names, chosen)
        self.weights_hash = content_hash([folder / "config.json", *weights])
        self.device = torch.device(device)
        self.network = network.eval().to(self.device)
        self.processor, self._resize = processor, _resizing(input_size)
        self.input_size = self._input_size(model)

    @property
    def preprocessing(self) -> dict[str, Any]:
        settings = {**self.processor.to_dict(), **self._resize}
        stated = {k: settings[k] for k in STATED if settings.get(k) is not None}
        return {
            "processor": type(self.processor).__name__.removesuffix("Fast"),
            "input": list(self.input_size),
            "order": self.order,
            **{k: dict(v) if isinstance(v, Mapping) else v for k, v in stated.items()},
        }

    def prepare(self, image: NDArray[np.uint8]) -> Tensor:
        prepared: Tensor = self.processor(images=image, return_tensors="pt", **self._resize)["pixel_values"][0]
        return prepared

    def forward(self, batch: Tensor) -> Tensor:
        logits: Tensor = self.network(pixel_values=batch).logits
        return logits if self.order == list(range(logits.shape[1])) else logits[:, self.order]

    def _input_size(self, model: str) -> Size:
        """Return the size to which images of any aspect are stretched; InputError if there is no such size."""
        try:
            tall, wide = (self.prepare(np.zeros((*size, 3), np.uint8)).shape for size in ((96, 48), (48, 96)))
        except ValueError as error:  # a processor of transformers 4 may not know the size that its own settings have
            raise InputError(
                f"hf:{model}: its image processor takes no images ({first_line(error)}); give --input HxW to stretch "
                "images to that"
            ) from error
        settings = {} if self._resize else self.processor.to_dict()
        if tall != wide or settings.get("do_center_crop") or settings.get("do_pad"):
            raise InputError(
                f"hf:{model}: its image processor crops, pads or keeps the aspect, so its answers do not cover the "
                "image; give --input HxW to stretch images to that"
            )
        return tall[-2], tall[-1]


def build(spec: ParserSpec) -> HuggingFaceParser:
    """Load a model of the hub or of a folder."""
    return HuggingFaceParser(
        spec.place, device=spec.device, labels=spec.labels, input_size=spec.input_size, remote_code=spec.remote_code
    )


def match_labels(model: str, names: list[str], chosen: str | None) -> tuple[LabelSet, list[int]]:
    """Return the label set of a model whose classes are called `names`, and the channel of each of its classes.

    >>> match_labels("me/parser", ["Hat", "Background"], None)[1]
    [1, 0]

    Raises:
        InputError: if the classes do not fit the `chosen` label set, or none of them is the background.
    """
    spelt = list(map(_spell, names))
    if chosen is not None:
        wanted = label_set(chosen)
        classes = list(map(_spell, wanted.classes))
        if sorted(spelt) == sorted(classes):
            return wanted, [spelt.index(name) for name in classes]
        if len(spelt) != len(wanted):
            lacking = ", ".join(name for name in wanted.classes if name not in spelt) or "none"
            raise InputError(
                f"hf:{model} answers {len(spelt)} classes ({', '.join(spelt)}), but --labels {chosen} "
                f"has {len(wanted)}; missing: {lacking}"
            )
        if moved := next((name for name in set(spelt) & set(classes) if spelt.index(name) != classes.index(name)), ""):
            raise InputError(
                f"hf:{model} has {moved} as class {spelt.index(moved)}, --labels {chosen} as {classes.index(moved)}, "
                "and other names differ; give a TOML file of its classes in order"
            )
        return wanted, list(range(len(wanted)))
    for known in LABEL_SETS.values():
        if sorted(spelt) == sorted(known.classes):
            return known, [spelt.index(name) for name in known.classes]
    if "background" not in spelt:
        raise InputError(
            f"hf:{model} has no class called background ({', '.join(spelt[:6])}, ...); "
            f"give --labels NAME, one of {', '.join(LABEL_SETS)}, or a TOML file with its {len(names)} classes in order"
        )
    order = [spelt.index("background"), *(i for i, name in enumerate(spelt) if name != "background")]
    own = Path(model).name
    return build_label_set(f"{own}-model" if own in LABEL_SETS else own, [spelt[i] for i in order]), order


def _spell(name: str) -> str:
    return re.sub(r"[\s_]+", "-", name.strip().lower())


def _resizing(size: Size | None) -> dict[str, Any]:
    if size is None:
        return {}
    height, width = size
    return {"size": {"height": height, "width": width}, "do_resize": True, "do_center_crop": False, "do_pad": False}


def _licence(card: Path, model: str) -> str:
    """Return the licence in a model card's header."""
    if card.is_file() and (found := re.search(r"^license(?:_name)?: *(\S.*)$", card.read_text("utf-8"), re.MULTILINE)):
        return f"{found[1].strip()} (model card of {model})"
    return "not stated; see the page of the model"
