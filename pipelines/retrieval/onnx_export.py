"""Export the embedder of a run as ONNX, and compare onnxruntime with torch before the file is kept (`cscl export`)."""

import json
import warnings
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cscl.embedder import MODALITIES, Embedder
from parsing.errors import CsclError, InputError
from parsing.files import replacing

from ..runs.folder import load_model

OPSET = 17
"""The first version that has all operators of the network; runtimes since 2022 support it."""
AGREEMENT = 1e-4
"""Largest allowed difference between onnxruntime and torch in a component of an embedding of length 1."""
BATCHES = (1, 2, 5)
"""Batch sizes of the check; tracing uses another, so that a constant batch size would be noticed."""


@dataclass(frozen=True)
class Exported:
    """An exported file.

    Attributes:
        path: the file.
        size: (height, width) of its images, in pixels.
        dim: length of its embeddings.
        flip: whether it averages an image and its mirror image.
        difference: largest difference to torch in a component of an embedding.
    """

    path: Path
    size: tuple[int, int]
    dim: int
    flip: bool
    difference: float


class _Graph(nn.Module):
    """The exported graph: images (B, 3, H, W) uint8 and infrared (B,) bool -> embeddings (B, D)."""

    def __init__(self, embedder: Embedder, flip: bool) -> None:
        super().__init__()
        self.embedder, self.flip = embedder, flip

    def forward(self, images: Tensor, infrared: Tensor) -> Tensor:
        embeddings: Tensor = self.embedder(images, infrared, self.flip)
        return embeddings


def export(run: Path, out: Path | None = None, flip: bool = True) -> Exported:
    """Write the embedder of a run as an ONNX file for batches of any size; its metadata describe inputs and output.

    Args:
        run: folder of a finished run.
        out: file to write, ending in .onnx; None for model.onnx in the run.
        flip: whether the graph averages an image and its mirror image.

    Raises:
        InputError: if the [onnx] extra is not installed, or the file cannot be written.
        CsclError: if onnxruntime and torch differ; nothing is written then.
    """
    out = out or run / "model.onnx"
    if out.suffix != ".onnx":
        raise InputError(f"--out {out}: give a file name that ends in .onnx")
    onnx, runtime = _import_extra("onnx"), _import_extra("onnxruntime")
    embedder = load_model(run)
    graph = _Graph(embedder, flip).eval()
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with replacing(out) as temporary:
            _trace(graph, temporary)
            model = onnx.load(temporary)
            onnx.helper.set_model_props(model, _make_metadata(embedder, flip))
            model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = embedder.dim  # tracing makes it unknown
            onnx.checker.check_model(model)
            onnx.save(model, temporary)
            difference = _measure_difference(runtime, temporary, graph)
            if not difference <= AGREEMENT:
                raise CsclError(
                    f"{out} was not written: onnxruntime and torch differ by {difference:.1e} in an embedding"
                )
    except OSError as error:
        raise InputError(f"--out {out} cannot be written: {error.strerror or error}") from error
    return Exported(out, size=embedder.size, dim=embedder.dim, flip=flip, difference=difference)


def _make_metadata(embedder: Embedder, flip: bool) -> dict[str, str]:
    """Return the file's metadata: a text or JSON text per input, output and processing step."""
    height, width = embedder.size
    compared = "by inner product"
    if len(embedder.blocks) > 1:
        compared += ", divided by the inner product of the lengths of the blocks"
    about = {
        "images": f"uint8 RGB (batch, 3, {height}, {width}), stretched to this size by bilinear interpolation",
        "infrared": f"bool (batch): false {MODALITIES[0]}, true {MODALITIES[1]}",
        "embedding": f"float32 (batch, {embedder.dim}), of length 1; compare {compared}",
        "blocks": embedder.blocks,
        "size": embedder.size,
        "normalisation": {"in_graph": True, "mean": embedder.mean, "std": embedder.std},
        "flip_averaged": flip,
        "network": f"CSCL, {embedder.network.config.backbone}",
    }
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in about.items()}


def _trace(graph: _Graph, file: Path) -> None:
    height, width = graph.embedder.size
    images = torch.zeros((3, 3, height, width), dtype=torch.uint8)
    infrared = torch.tensor([True, False, True])
    names = ["images", "infrared", "embedding"]
    with warnings.catch_warnings():
        # Warnings of shapes that become constants, which is intended, and of this exporter's deprecation: the newer one
        # needs the package onnxscript.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            graph, (images, infrared), str(file), dynamo=False, opset_version=OPSET,
            input_names=names[:2], output_names=names[2:], dynamic_axes={name: {0: "batch"} for name in names},
        )  # fmt: skip


def _measure_difference(runtime: Any, file: Path, graph: _Graph) -> float:
    """Return the largest difference between onnxruntime and torch on random images, over batches of several sizes."""
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = runtime.InferenceSession(str(file), options, ["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    differences = []
    for batch in BATCHES:
        images = rng.integers(0, 256, (batch, 3, *graph.embedder.size), dtype=np.uint8)
        infrared = rng.random(batch) < 0.5
        with torch.inference_mode():
            expected = graph(torch.from_numpy(images), torch.from_numpy(infrared)).numpy()
        (answer,) = session.run(None, {"images": images, "infrared": infrared})
        differences.append(np.abs(answer - expected).max())
    return float(np.max(differences))


def _import_extra(package: str) -> Any:
    """Return a package of the [onnx] extra."""
    try:
        return import_module(package)
    except ImportError as error:
        raise InputError(f'cscl export needs {package}: pip install "cscl[onnx]"') from error
