"""Human parsers by the name that `--parser` takes."""

from dataclasses import dataclass
from pathlib import Path

from .errors import InputError
from .parser import Parser
from .street import StreetParser

PARSERS = ("street",)


@dataclass(frozen=True)
class ParserSpec:
    """Which parser, with which weights file (None: its own), on which device; cheap to send to a worker."""

    name: str = "street"
    weights: Path | None = None
    device: str = "cpu"


def find_parser(spec: ParserSpec) -> Parser:
    """Build and load the parser; InputError lists the names there are."""
    if spec.name == "street":
        return StreetParser(spec.weights, spec.device)
    raise InputError(f"no parser {spec.name!r}; there are {', '.join(PARSERS)}")
