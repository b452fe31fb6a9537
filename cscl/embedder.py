"""Load the trained network of a run from its model.safetensors (`from cscl import load`) and embed images with it."""

import json
import math
import reprlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, get_origin, get_type_hints

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from .config import ModelConfig
from .model import CSCL
from .similarity import compute_similarity
from .spam import PartFeatures

FORMAT_VERSION = 3
"""Version of model.safetensors, written into its header."""
MOST_PARTS = 254
"""Largest number of parts: labels are uint8, with 0 for the background and 255 for what is left out."""
MODALITIES = ("visible", "infrared")
"""Names of the modalities for `infrared` False and True, written into the header of model.safetensors."""

Picture = Image.Image | NDArray[np.uint8]
Images = Tensor | Picture | Iterable[Picture]


class Embedder(nn.Module):
    """A trained network with the preprocessing of its images; always in eval mode.

    Args:
        network: the trained network.
        size: (height, width) of the network's input, in pixels.
        mean: per colour channel, of pixels in [0, 1].
        std: standard deviation, likewise.
    """

    def __init__(self, network: CSCL, size: tuple[int, int], mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.network = network
        self.size, self.mean, self.std = size, tuple(mean), tuple(std)
        self.eval()

    def train(self, mode: bool = True) -> "Embedder":
        """Return the embedder, still in eval mode: an embedding must not depend on the rest of its batch."""
        return super().train(False)

    def __repr__(self) -> str:
        """Return one line, not the hundreds of modules; `print(model.network)` shows these."""
        config, (height, width) = self.network.config, self.size
        parts = [f"SPAM with {config.parts} parts"] * config.spam + ["PAM"] * config.pam
        return f"Embedder({', '.join([config.backbone, *parts, f'{height}x{width} images', f'{self.dim} values'])})"

    @property
    def dim(self) -> int:
        """D, the number of values of an embedding."""
        return self.network.embedding_dim

    @property
    def blocks(self) -> tuple[int, ...]:
        """The lengths of the features that an embedding is made of, see `similarity`."""
        return self.network.blocks

    def forward(self, images: Tensor, infrared: Tensor, flip: bool = True) -> Tensor:
        """Return embeddings (B, D), float32, of length 1.

        Args:
            images: (B, 3, *size) uint8, RGB.
            infrared: (B,) bool.
            flip: whether to average the embeddings of an image and its mirror image.

        Raises:
            ValueError: if the images or `infrared` are of another type or shape.
        """
        self._check_batch(images, infrared)
        return self.network.embed(self._normalise(images), infrared, flip=flip)

    def embed(
        self,
        images: Images,
        infrared: bool | Sequence[bool] | Tensor,
        flip: bool = True,
        batch_size: int = 64,
    ) -> Tensor:
        """Return embeddings (N, D), float32 on the CPU, of length 1; `similarity` compares them.

        Args:
            images: one or several images of any size, as 8-bit Pillow images or uint8 arrays (H, W, 3) in RGB; or a
                uint8 tensor (N, 3, *size) in RGB. `parsing.images.read_image` reads a file of any depth as training
                does.
            infrared: one value for all images, or one per image; False is visible.
            flip: whether to average the embeddings of an image and its mirror image, as `cscl evaluate` does.
            batch_size: number of images per batch.

        Raises:
            ValueError: if the images are of another kind, or the number of values in `infrared` is not that of images.
        """
        with torch.inference_mode():
            found = [self(*batch, flip).cpu() for batch in self._batches(images, infrared, batch_size)]
        return torch.cat([torch.empty(0, self.dim), *found])

    def similarity(self, query: Tensor, gallery: Tensor) -> Tensor:
        """Return the similarity (Nq, Ng), float64 in [-1, 1], of embeddings (Nq, D) and (Ng, D).

        `cscl evaluate` ranks by it. Without SPAM it is the cosine, with SPAM that of what both images show, see
        `compute_similarity`.
        """
        one, other = (x.detach().cpu().double().numpy() for x in (query, gallery))
        return torch.from_numpy(compute_similarity(one, other, self.blocks))

    def attention(
        self, images: Images, infrared: bool | Sequence[bool] | Tensor, batch_size: int = 64
    ) -> Tensor | None:
        """Return SPAM's part attention P (N, Q+1, h, w) on the CPU; None for a network without SPAM.

        P is a distribution over background (class 0) and parts in each cell. Arguments and errors as in `embed`.
        """
        if self.network.spam is None:
            return None
        found = [torch.empty(0, self.network.config.parts + 1, 1, 1)]
        with torch.inference_mode():
            for batch in self._batches(images, infrared, batch_size):
                found.append(self.parts(*batch).attention.cpu())
        return torch.cat(found[1:] or found)

    def parts(self, images: Tensor, infrared: Tensor) -> PartFeatures:
        """Return the part features of images.

        Args:
            images: (B, 3, *size) uint8, RGB.
            infrared: (B,) bool.

        Raises:
            ValueError: if the network has no SPAM, or the images or `infrared` are of another type or shape.
        """
        self._check_batch(images, infrared)
        found: PartFeatures | None = self.network(self._normalise(images), infrared).parts
        if found is None:
            raise ValueError("this network has no parts: it was trained without SPAM")
        return found

    def pixels(self, image: Picture) -> Tensor:
        """Return one image as (3, *size) uint8 RGB, rotated by its EXIF orientation and resized without padding.

        Raises:
            ValueError: if it is no 8-bit Pillow image and no uint8 array (H, W, 3).
        """
        if isinstance(image, Image.Image):
            # Pillow clips such values at 255, training stretches them (parsing.images): refuse rather than differ
            if image.mode.startswith(("I", "F")):
                raise ValueError(
                    f"an image has more than 8 bits (Pillow mode {image.mode}); read it as training does, with "
                    "parsing.images.read_image(path), or give 8 bits"
                )
            picture = ImageOps.exif_transpose(image).convert("RGB")
        elif isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3:
            picture = Image.fromarray(image)
        else:
            what = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
            raise ValueError(f"an image is {what}; give a Pillow image or a uint8 array (H, W, 3) in RGB")
        height, width = self.size
        resized = picture.resize((width, height), Image.Resampling.BILINEAR)
        return torch.from_numpy(np.array(resized)).permute(2, 0, 1)

    def _batches(
        self, images: Images, infrared: bool | Sequence[bool] | Tensor, batch_size: int
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield images (B, 3, *size) uint8 and infrared (B,) bool on the network's device."""
        if isinstance(images, Tensor):
            self._check_images(images)
            many: Sequence[Picture] | Tensor = images
        else:
            many = [images] if isinstance(images, Image.Image | np.ndarray) else list(images)
        count = len(many)
        try:
            chosen = torch.as_tensor(infrared)
        except (TypeError, ValueError, RuntimeError):  # texts, None
            raise ValueError(f"infrared is {reprlib.repr(infrared)}; give one bool, or {count}") from None
        if chosen.dtype != torch.bool or tuple(chosen.shape) not in ((), (count,)):
            raise ValueError(f"infrared is {chosen.dtype} of shape {tuple(chosen.shape)}; give one bool, or {count}")
        chosen = chosen.expand(count)
        device = next(self.parameters()).device
        for start in range(0, count, batch_size):
            rows = slice(start, start + batch_size)
            some = many[rows]
            batch = some if isinstance(some, Tensor) else torch.stack([self.pixels(one) for one in some])
            yield batch.to(device), chosen[rows].to(device)

    def _check_batch(self, images: Tensor, infrared: Tensor) -> None:
        """Raise ValueError if the arguments are not as `forward` takes them."""
        self._check_images(images)
        if not isinstance(infrared, Tensor) or infrared.dtype != torch.bool or infrared.shape != images.shape[:1]:
            given = f"{infrared.dtype} of shape {tuple(infrared.shape)}" if isinstance(infrared, Tensor) else infrared
            raise ValueError(f"infrared is {given}; give a tensor, bool, ({len(images)},)")

    def _check_images(self, images: Tensor) -> None:
        """Raise ValueError if images are not uint8 (N, 3, *size): others would be scaled wrongly in silence."""
        if images.ndim != 4 or images.dtype != torch.uint8 or tuple(images.shape[1:]) != (3, *self.size):
            height, width = self.size
            raise ValueError(
                f"images are {images.dtype} of shape {tuple(images.shape)}; give uint8, (N, 3, {height}, {width}), "
                "or Pillow images of any size to `embed`"
            )

    def _normalise(self, images: Tensor) -> Tensor:
        mean, std = (torch.tensor(v, device=images.device).view(3, 1, 1) * 255 for v in (self.mean, self.std))
        return (images.float() - mean) / std


def metadata(config: ModelConfig, size: tuple[int, int], mean: Sequence[float], std: Sequence[float]) -> dict[str, str]:
    """Return the header of model.safetensors: everything that `load` needs beside the weights.

    Arguments as in `Embedder`.
    """
    about = {
        "format": FORMAT_VERSION,
        "model": asdict(config),
        "input": {"size": size, "mean": mean, "std": std, "modalities": MODALITIES},
    }
    # A single key: safetensors writes several in random order, and equal runs would give different bytes.
    return {"cscl": json.dumps(about)}


def load(run: str | Path, device: str | torch.device = "cpu") -> Embedder:
    """Return the embedder of a finished run.

    >>> model = load("runs/sysu-cscl-seed0")  # doctest: +SKIP
    >>> features = model.embed([Image.open("0001.jpg")], infrared=True)  # doctest: +SKIP

    Args:
        run: folder of the run, or its model.safetensors, which may have been moved.
        device: device of the network.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is damaged, or was not written by `cscl train` of this version.
    """
    file = Path(run)
    if not file.is_file():
        file = file / "model.safetensors"
    if not file.is_file():
        raise FileNotFoundError(f"{run} holds no model.safetensors; give the folder of a finished `cscl train --run`")
    try:
        with safe_open(file, "pt") as stored:
            header = stored.metadata() or {}
            state = {key: stored.get_tensor(key) for key in stored.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"{file} is no whole safetensors file: {error}") from error
    try:
        about = json.loads(header.get("cscl", "{}"))
    except (ValueError, RecursionError):
        about = {}
    if not isinstance(about, dict) or about.get("format") != FORMAT_VERSION:
        raise ValueError(f"{file} was not written by `cscl train` of this version")
    try:
        config, size, mean, std = _read_header(about)
        _check_tensors(config, state)
    except (ValueError, TypeError, KeyError, RuntimeError, OverflowError) as error:
        why = f"it lacks {error}" if isinstance(error, KeyError) else str(error).splitlines()[0]
        raise ValueError(f"{file} is damaged: {why}; copy it again, or train again") from error
    with torch.random.fork_rng(
        devices=[]
    ):  # building a network draws random weights; leave the caller's random state alone
        network = CSCL(config)
    network.load_state_dict(state)
    return Embedder(network, size=size, mean=mean, std=std).to(device)


def _read_header(about: dict[str, Any]) -> tuple[ModelConfig, tuple[int, int], list[float], list[float]]:
    """Return the options of the network, and size, mean and std of its input, from what `metadata` wrote.

    Options that a later version added may be missing: with their defaults older networks are as they were.

    Raises:
        ValueError, TypeError, KeyError: if the header is not as `metadata` writes it.
    """
    model, given = about["model"], about["input"]
    kinds = get_type_hints(ModelConfig)
    for name, value in model.items() if isinstance(model, dict) else [("model", model)]:
        if name not in kinds or not _is_of_kind(value, kinds[name]):
            raise ValueError(f"its header has {name} = {reprlib.repr(value)}")
    if model.get("parts", 1) > MOST_PARTS:
        raise ValueError(f"its header has parts = {model['parts']}")
    config = ModelConfig(**model | {"flipped": tuple(model["flipped"])})
    size, mean, std = (_read_numbers(given, name, count) for name, count in (("size", 2), ("mean", 3), ("std", 3)))
    height, width = (int(side) for side in size)
    if [height, width] != size or min(height, width, *std) <= 0:
        raise ValueError(f"its header has size = {size}, std = {std}")
    others = [name for name in about if name not in ("format", "model", "input")]
    others += [name for name in given if name not in ("size", "mean", "std", "modalities")]
    if others or given.get("modalities", list(MODALITIES)) != list(MODALITIES):
        raise ValueError(f"its header has {reprlib.repr(others[0]) if others else 'other modalities'}")
    return config, (height, width), mean, std


def _is_of_kind(value: Any, kind: Any) -> bool:
    """Return whether a value of a header is of the type that an option of `ModelConfig` has."""
    if kind is float:
        return type(value) in (int, float)
    if get_origin(kind) is tuple:
        return isinstance(value, list) and all(type(one) is int for one in value)
    return type(value) is (str if get_origin(kind) is Literal else kind)


def _read_numbers(given: Any, name: str, count: int) -> list[float]:
    values = given[name]
    if not isinstance(values, list) or [type(v) in (int, float) and math.isfinite(v) for v in values] != [True] * count:
        raise ValueError(f"its header has {name} = {reprlib.repr(values)}, not {count} numbers")
    return values


def _check_tensors(config: ModelConfig, state: Mapping[str, Tensor]) -> None:
    """Raise ValueError if the tensors are not those of a network with these options.

    The network is built without memory for its weights, so that no number in a header can ask for all there is.
    """
    with torch.device("meta"):
        expected = CSCL(config).state_dict()
    if missing := [name for name in expected if name not in state]:
        raise ValueError(f"it lacks the tensor {missing[0]}" + f" and {len(missing) - 1} others" * (len(missing) > 1))
    for name, tensor in state.items():
        if name not in expected:
            raise ValueError(f"no tensor of this network is called {name}")
        if tensor.shape != expected[name].shape:
            raise ValueError(f"{name} has the shape {tuple(tensor.shape)}, not {tuple(expected[name].shape)}")
