"""Human parsers by the name that `--parser` takes; the code of each is imported when it is asked for."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError

if TYPE_CHECKING:  # torch is imported with an adapter: a command checks its arguments before
    from .base import Parser
    from .described import Description

PARSERS = (
    "street", "schp-lip", "schp-atr", "schp-pascal",
    "hf:ORG/NAME", "hf:DIR", "smp:DIR", "torchscript:FILE", "onnx:FILE", "python:FILE",
)  # fmt: skip
"""Every form of a parser's name."""
DESCRIPTION = ("labels", "input_size", "mean", "std", "channels")
"""Fields of a spec that describe a file which does not describe itself."""
OPTIONS = ("weights", *DESCRIPTION, "remote_code", "narrow", "bf16")
"""Fields of a spec that only some parsers take."""


@dataclass(frozen=True)
class ParserSpec:
    """Which parser, with which weights file (None: its own), on which device; cheap to send to a worker.

    labels: name of its label set, or a TOML file. input_size: (height, width). mean, std: three values each, of pixels
    in [0, 1] or, where one of the six is above 1, in [0, 255]. channels: rgb or bgr. remote_code: the model whose own
    code may run. These are None where the parser knows better. narrow, bf16: see parsing.parsers.schp.SCHPParser.
    """

    name: str = "street"
    weights: Path | None = None
    device: str = "cpu"
    labels: str | None = None
    input_size: tuple[int, int] | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    channels: str | None = None
    remote_code: str | None = None
    narrow: bool = False
    bf16: bool = False

    def absolute(self) -> "ParserSpec":
        """The same in whatever folder a worker stands."""
        labels = self.labels
        if labels is not None and labels.endswith(".toml"):
            labels = str(Path(labels).resolve())
        return replace(self, weights=self.weights and self.weights.resolve(), labels=labels)


def find_parser(spec: ParserSpec) -> "Parser":
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

        _only(spec, "weights", "narrow", "bf16")
        return SCHPParser(spec.name, spec.weights, spec.device, spec.narrow, spec.bf16)
    if kind == "hf" and place:
        from .huggingface import HuggingFaceParser

        _only(spec, "labels", "input_size", "remote_code")
        return HuggingFaceParser(place, spec.device, spec.labels, spec.input_size, spec.remote_code)
    if kind == "smp" and place:
        from .smp import SmpParser

        return SmpParser(Path(place), _described(spec), spec.device)
    if kind in ("torchscript", "onnx") and place:
        from .exported import ExportedParser

        return ExportedParser(kind, Path(place), _described(spec), spec.device)
    if kind == "python" and place:
        from .python_file import own_parser

        _only(spec, "weights")
        return own_parser(Path(place), spec.weights, spec.device)
    raise InputError(f"no parser {spec.name!r}; there are {', '.join(PARSERS)}")


def option(field: str) -> str:
    """The command line's option for a field of a spec."""
    return "--input" if field == "input_size" else "--" + field.replace("_", "-")


def _only(spec: ParserSpec, *taken: str) -> None:
    """Refuse what was given and would be ignored."""
    for field in OPTIONS:
        value = getattr(spec, field)
        if field not in taken and value is not None and value is not False:
            given = option(field) if value is True else f"{option(field)} {value}"
            raise InputError(f"{given}: parser {spec.name} does not take it")


def _described(spec: ParserSpec) -> "Description":
    """Label set and input size, which a file cannot do without, and those of the others that were given, in [0, 1]."""
    from .described import Description

    _only(spec, *DESCRIPTION)
    if spec.labels is None or spec.input_size is None:
        raise InputError(f"--parser {spec.name}: say what it answers and takes, with --labels NAME --input HxW")
    values = {"mean": spec.mean, "std": spec.std}
    scale = 255 if any(v > 1 for vs in values.values() if vs is not None for v in vs) else 1
    given: dict[str, Any] = {k: tuple(v / scale for v in vs) for k, vs in values.items() if vs is not None}
    if spec.channels is not None:
        given["channels"] = spec.channels
    return Description(spec.labels, spec.input_size, **given)
