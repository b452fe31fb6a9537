"""`torchscript:FILE` and `onnx:FILE`: networks exported from elsewhere, with their label set and input given beside."""

import warnings
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import InputError, MissingError, first_line
from .described import DescribedParser, Description, get_description
from .spec import ParserSpec

INPUT_TYPES = {"tensor(float)": torch.float32, "tensor(float16)": torch.float16}


class ExportedParser(DescribedParser):
    """A file that holds the whole network. kind: `torchscript` or `onnx`."""

    licence = "not stated in the file; that of whoever trained the model"

    def __init__(self, kind: str, file: Path, given: Description, device: str | torch.device = "cpu") -> None:
        if not file.is_file():
            raise MissingError(f"{kind}:{file}: there is no such file")
        files = onnx_files(file) if kind == "onnx" else [file]
        network = (OnnxNetwork if kind == "onnx" else _script)(file, torch.device(device))
        super().__init__(f"{kind}:{file.name}", network, files, given, device)


def build(spec: ParserSpec) -> ExportedParser:
    """Load an exported file."""
    return ExportedParser(
        spec.name.partition(":")[0], file=Path(spec.place), given=get_description(spec), device=spec.device
    )


def _script(file: Path, device: torch.device) -> nn.Module:
    try:
        with warnings.catch_warnings():
            # meant for whoever wrote the file, not for whoever reads it
            warnings.filterwarnings("ignore", r".*torch\.jit", FutureWarning)
            load: Callable[..., nn.Module] = torch.jit.load
            return load(file, map_location=device)
    except (RuntimeError, ValueError, OSError) as error:
        raise InputError(f"{file} is no TorchScript file (torch.jit.save writes one): {first_line(error)}") from error


class OnnxNetwork(nn.Module):
    """An ONNX file run by onnxruntime, called as a network of torch: (B, 3, H, W) to its output, or a list of several.

    Images are given in the type (float32, float16), the layout and the batches that the file declares.
    """

    def __init__(self, file: Path, device: torch.device) -> None:
        super().__init__()
        onnxruntime = _needed("onnxruntime")
        provider = "CUDAExecutionProvider" if device.type == "cuda" else "CPUExecutionProvider"
        if provider not in onnxruntime.get_available_providers():
            raise InputError(
                f"onnx:{file}: onnxruntime has no {provider} here; give --device cpu, or install onnxruntime-gpu"
            )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        providers = [(provider, {"device_id": device.index or 0})] if device.type == "cuda" else [provider]
        try:
            self.session = onnxruntime.InferenceSession(str(file), options, providers)
        except Exception as error:  # onnxruntime has an error class a code, all below Exception
            raise InputError(f"{file} cannot be run by onnxruntime: {first_line(error)}") from error
        given = self.session.get_inputs()
        if len(given) != 1:
            raise InputError(
                f"{file} takes {len(given)} inputs ({', '.join(i.name for i in given)}); a parser takes one"
            )
        self.input, shape = given[0].name, given[0].shape
        if given[0].type not in INPUT_TYPES:
            raise InputError(
                f"{file} takes {given[0].type}; a parser takes normalised images, {' or '.join(INPUT_TYPES)}"
            )
        self.dtype = INPUT_TYPES[given[0].type]
        self.batch = shape[0] if shape and isinstance(shape[0], int) else None
        self.channels_last = len(shape) == 4 and shape[3] == 3 and shape[1] != 3

    def forward(self, images: Tensor) -> Tensor | list[Tensor]:
        given = (images.permute(0, 2, 3, 1) if self.channels_last else images).contiguous().cpu().to(self.dtype)
        answers = [self._run(piece) for piece in torch.split(given, self.batch or len(given))]
        outputs = [torch.cat(each).to(images.device) for each in zip(*answers, strict=True)]
        return outputs[0] if len(outputs) == 1 else outputs

    def _run(self, images: Tensor) -> list[Tensor]:
        """Return each output for these images, filled up to the batch that the file was exported with."""
        count = len(images)
        if self.batch is not None and count < self.batch:
            images = torch.cat([images, images[-1:].expand(self.batch - count, *images.shape[1:])])
        try:
            answers = self.session.run(None, {self.input: images.numpy()})
        except Exception as error:
            raise ValueError(first_line(error)) from error
        return [torch.from_numpy(answer)[:count] for answer in answers]


def onnx_files(file: Path) -> list[Path]:
    """Return the file and those beside it that hold its tensors; MissingError if one is missing or lies elsewhere."""
    onnx = _needed("onnx")
    try:
        graph = onnx.load(file, load_external_data=False).graph
        outside = [t for t in graph.initializer if t.data_location == t.EXTERNAL]
        names = sorted({onnx.external_data_helper.ExternalDataInfo(t).location for t in outside})
    except Exception as error:  # protobuf's own errors, and those of numbers that are none
        raise InputError(f"{file} is no ONNX file: {first_line(error)}") from error
    for name in names:
        if Path(name).name != name or not (file.parent / name).is_file():
            raise MissingError(f"{file} keeps its weights in {name}, which must lie beside it")
    return [file, *(file.parent / name for name in names)]


def _needed(package: str) -> Any:
    try:
        return import_module(package)
    except ImportError as error:
        raise InputError(f'onnx:FILE needs {package}: pip install "cscl[onnx]"') from error
