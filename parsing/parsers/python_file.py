"""`python:FILE`: a parser that a Python file of the user's own builds; docs/parsers.md writes one."""

import hashlib
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import torch

from ..errors import CsclError, InputError, MissingError, first_line
from ..files import file_hash
from .answers import is_softmax, noise
from .base import Parser
from .spec import ParserSpec

ATTRIBUTES = ("labels", "licence", "weights_hash", "input_size", "device")
"""What an adapter must set; its name is that of its file, and its hash gets the file's own mixed in."""


def build(spec: ParserSpec) -> Parser:
    """Build the parser of a Python file."""
    return build_own_parser(Path(spec.place), spec.weights, spec.device)


def build_own_parser(file: Path, weights: Path | None = None, device: str | torch.device = "cpu") -> Parser:
    """Return the parser that `build(weights, device)` of the file makes; its code runs with all rights of ours."""
    if not file.is_file():
        raise MissingError(f"python:{file}: there is no such file")
    found = spec_from_file_location(f"cscl_parser_{file.stem}", file)
    if found is None or found.loader is None:
        raise InputError(f"python:{file}: give a file that ends in .py")
    module = module_from_spec(found)
    with _own_code(file):
        found.loader.exec_module(module)
    build = getattr(module, "build", None)
    if not callable(build):
        raise InputError(f"python:{file} has no function build(weights, device)")
    with _own_code(file):
        parser = build(weights, device)
    if not isinstance(parser, Parser):
        raise InputError(f"python:{file}: build returns {type(parser).__name__}, not a parsing.parsers.base.Parser")
    for attribute in ATTRIBUTES:
        if not hasattr(parser, attribute):
            raise InputError(f"python:{file}: its parser does not set {attribute}")
    parser.name = f"python:{file.name}"
    _try(file, parser)
    parser.weights_hash = hashlib.sha256(f"{file_hash(file)} {parser.weights_hash}".encode()).hexdigest()
    return parser


def _try(file: Path, parser: Parser) -> None:
    """Give the parser two images of noise; InputError says what of its `prepare` or `forward` cannot be used."""
    height, width = parser.input_size
    drawn = noise((height, 2 * width), torch.device("cpu"))[0].permute(1, 2, 0).numpy()
    with _own_code(file):
        prepared = [parser.prepare(image) for image in (drawn, drawn[:, :width])]
    for image in prepared:
        if not isinstance(image, torch.Tensor) or image.shape != (3, height, width):
            shape = tuple(image.shape) if hasattr(image, "shape") else type(image).__name__
            raise InputError(f"{parser.name}: prepare answers {shape}, not a tensor (3, {height}, {width})")
    with _own_code(file), torch.inference_mode():
        answer = parser.forward_checked(torch.stack(prepared).to(parser.device))
    if is_softmax(parser.name, answer, channels=1):
        raise InputError(f"{parser.name} answers probabilities; a parser answers logits: take their logarithm")


@contextmanager
def _own_code(file: Path) -> Iterator[None]:
    """Raise an error in the file's own code as InputError with its line: only its author can mend it."""
    try:
        yield
    except CsclError:
        raise
    except Exception as error:
        own = file.resolve()
        lines = [
            frame.lineno for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename).resolve() == own
        ]
        where = f", line {lines[-1]}" if lines else ""
        raise InputError(f"python:{file}{where}: {type(error).__name__}: {first_line(error)}") from error
