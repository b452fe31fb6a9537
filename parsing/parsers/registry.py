"""Human parsers by the name that `--parser` takes; importing this loads neither torch nor an adapter."""

from collections.abc import Mapping
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from .backends import BACKENDS, PARSERS, Backend, find_backend, known_models, list_takers
from .sources import SCHP
from .spec import DESCRIPTION, OPTIONS, ParserSpec, option

if TYPE_CHECKING:  # a command's help reads the table, and torch takes seconds to load
    from .base import Parser
    from .info import ParserInfo

__all__ = [
    "BACKENDS",
    "DESCRIPTION",
    "OPTIONS",
    "PARSERS",
    "Backend",
    "ParserSpec",
    "check_options",
    "describe_parser",
    "find_backend",
    "find_parser",
    "known_models",
    "list_takers",
    "option",
    "spec_from_cache",
]


def find_parser(spec: ParserSpec) -> "Parser":
    """Build and load a parser.

    Raises:
        InputError: if there is none of this name, or it lacks an option or does not take one that was given.
        MissingError: if a file of it is missing.
    """
    backend = find_backend(spec.name)
    check_options(backend, spec)
    # imported here and not above: an adapter with a missing extra must not be in the way of the others
    parser: Parser = import_module(f".{backend.module}", __package__).build(spec)
    return parser


def describe_parser(spec: ParserSpec) -> "ParserInfo":
    """Return what a cache records of a parser, if possible without loading its network.

    Raises:
        InputError, MissingError: as `find_parser`: whatever would keep the parser from being loaded is found here.
    """
    backend = find_backend(spec.name)
    check_options(backend, spec)
    read_info = getattr(import_module(f".{backend.info or backend.module}", __package__), "read_info", None)
    if read_info is None:
        # An exported file does not say whether it answers logits or probabilities, nor TorchScript what shape: only an
        # answer to an image shows that. Only transformers knows which weights fit, as it renames them by rules of each
        # version; it maps the file and copies nothing, so that a network of 109 MB adds 39 MiB to the driver's peak.
        # And only its own code knows what a parser of a Python file is.
        return find_parser(replace(spec, device="cpu")).info
    info: ParserInfo = read_info(spec)
    return info


def check_options(backend: Backend, spec: ParserSpec) -> None:
    """Raise InputError for an option that was given and would be ignored."""
    for field in OPTIONS:
        value = getattr(spec, field)
        if field not in backend.options and value is not None and value is not False:
            given = option(field) if value is True else f"{option(field)} {value}"
            raise InputError(f"{given}: parser {spec.name} does not take it")


def spec_from_cache(made_by: Mapping[str, Any], weights: Path | None, device: str) -> ParserSpec | None:
    """Return the spec that parses as the parser of a cache did.

    Args:
        made_by: that of the cache.
        weights: the file of weights, if it was not the parser's own.
        device: where to parse now.

    Returns:
        None if the cache does not know where the parser's files are.
    """
    name, preprocessing = made_by["parser"], made_by["preprocessing"]
    row = next((backend for backend in BACKENDS if backend.form == name), None)
    if row is None or not row.named:
        return None
    narrow = name in SCHP and preprocessing.get("input") == list(SCHP[name].narrow)
    return ParserSpec(name, weights, device, narrow=narrow, bf16=preprocessing.get("precision") == "bfloat16")
