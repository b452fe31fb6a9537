"""`python:FILE`: a parser that a Python file of the user's own builds; docs/parsers.md writes one."""

import hashlib
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import torch

from ..errors import InputError, MissingError
from ..files import file_hash
from .base import Parser
from .spec import ParserSpec

ATTRIBUTES = ("labels", "licence", "weights_hash", "input_size", "device")
"""What an adapter must set; its name is that of its file, and its hash gets the file's own mixed in."""


def build(spec: ParserSpec) -> Parser:
    """Build the parser of a Python file."""
    return own_parser(Path(spec.place), spec.weights, spec.device)


def own_parser(file: Path, weights: Path | None = None, device: str | torch.device = "cpu") -> Parser:
    """Return the parser that `build(weights, device)` of the file makes; its code runs with all rights of ours."""
    if not file.is_file():
        raise MissingError(f"python:{file}: there is no such file")
    found = spec_from_file_location(f"cscl_parser_{file.stem}", file)
    if found is None or found.loader is None:
        raise InputError(f"python:{file}: give a file that ends in .py")
    module = module_from_spec(found)
    found.loader.exec_module(module)
    build = getattr(module, "build", None)
    if not callable(build):
        raise InputError(f"python:{file} has no function build(weights, device)")
    parser = build(weights, device)
    if not isinstance(parser, Parser):
        raise InputError(f"python:{file}: build returns {type(parser).__name__}, not a parsing.parsers.base.Parser")
    for attribute in ATTRIBUTES:
        if not hasattr(parser, attribute):
            raise InputError(f"python:{file}: its parser does not set {attribute}")
    parser.name = f"python:{file.name}"
    parser.weights_hash = hashlib.sha256(f"{file_hash(file)} {parser.weights_hash}".encode()).hexdigest()
    return parser
