"""Human parsers by the name that `--parser` takes; the code of each is imported when it is asked for."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import InputError
from .parser import Parser, Size

PARSERS = (
    "street", "schp-lip", "schp-atr", "schp-pascal",
    "hf:ORG/NAME", "hf:DIR", "smp:DIR", "torchscript:FILE", "onnx:FILE",
)  # fmt: skip
"""Every form of a parser's name."""
OPTIONS = {"labels": "labels", "input_size": "input", "mean": "mean", "std": "std", "channels": "channels"}
"""Fields of a spec that only some parsers take, and the command line's option for each."""


@dataclass(frozen=True)
class ParserSpec:
    """Which parser, with which weights file (None: its own), on which device; cheap to send to a worker.

    labels: name of its label set. input_size: (height, width). mean, std: three values each, of pixels in [0, 1] or,
    where one of the six is above 1, in [0, 255]. channels: rgb or bgr. remote_code: the model whose own code may run.
    These are None where the parser knows better.
    """

    name: str = "street"
    weights: Path | None = None
    device: str = "cpu"
    labels: str | None = None
    input_size: Size | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    channels: str | None = None
    remote_code: str | None = None


def find_parser(spec: ParserSpec) -> Parser:
    """Build and load the parser; InputError lists the names there are, or the options that it lacks or does not take.

    An adapter is imported here and not above: one with a missing extra must not be in the way of the others.
    """
    kind, _, place = spec.name.partition(":")
    if spec.name == "street":
        from .street import StreetParser

        _only(spec, "weights")
        return StreetParser(spec.weights, spec.device)
    if spec.name in PARSERS and kind.startswith("schp-"):
        from .schp import SCHPParser

        _only(spec, "weights")
        return SCHPParser(spec.name, spec.weights, spec.device)
    if kind == "hf" and place:
        from .huggingface import HuggingFaceParser

        _only(spec, "labels", "input_size", "remote_code")
        return HuggingFaceParser(place, spec.device, spec.labels, spec.input_size, spec.remote_code)
    if kind == "smp" and place:
        from .smp_model import SmpParser

        labels, input_size = _given(spec)
        return SmpParser(Path(place), labels, input_size, spec.device, **_normalisation(spec))
    if kind in ("torchscript", "onnx") and place:
        from .exported import ExportedParser

        labels, input_size = _given(spec)
        return ExportedParser(kind, Path(place), labels, input_size, spec.device, **_normalisation(spec))
    raise InputError(f"no parser {spec.name!r}; there are {', '.join(PARSERS)}")


def _only(spec: ParserSpec, *taken: str) -> None:
    """Refuse what was given and would be ignored."""
    for field in ("weights", *OPTIONS, "remote_code"):
        if field not in taken and getattr(spec, field) is not None:
            option = OPTIONS.get(field, field).replace("_", "-")
            raise InputError(f"--{option} {getattr(spec, field)}: parser {spec.name} does not take it")


def _given(spec: ParserSpec) -> tuple[str, Size]:
    """Label set and input size, which a file without a description of itself cannot do without."""
    _only(spec, *OPTIONS)
    if spec.labels is None or spec.input_size is None:
        raise InputError(f"--parser {spec.name}: say what it answers and takes, with --labels NAME --input HxW")
    return spec.labels, spec.input_size


def _normalisation(spec: ParserSpec) -> dict[str, Any]:
    """Those of mean, std and channels that were given, in [0, 1]."""
    values = {"mean": spec.mean, "std": spec.std}
    scale = 255 if any(v > 1 for vs in values.values() if vs is not None for v in vs) else 1
    given: dict[str, Any] = {k: tuple(v / scale for v in vs) for k, vs in values.items() if vs is not None}
    return given | ({"channels": spec.channels} if spec.channels is not None else {})
