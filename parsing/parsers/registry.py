"""Human parsers by the name that `--parser` takes: one table, a row per form of a name, and what derives from it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from .sources import (
    HUB_MODELS,
    SCHP,
    SCHP_LICENCE,
    STREET_LICENCE,
    hf_at_hand,
    hf_files,
    schp_at_hand,
    schp_file,
)

if TYPE_CHECKING:  # a command's help reads the table, and torch takes seconds to load
    from .base import Parser, ParserInfo

DESCRIPTION = ("labels", "input_size", "mean", "std", "channels")
"""Fields of a spec that describe a file which does not describe itself."""
OPTIONS = ("weights", *DESCRIPTION, "remote_code", "narrow", "bf16")
"""Fields of a spec that only some parsers take."""


@dataclass(frozen=True)
class ParserSpec:
    """Which parser, with which weights file, on which device; small enough to send to a worker.

    Attributes:
        name: as `--parser` takes it.
        weights: file of weights; None for the parser's own.
        device: a device of torch.
        labels: name of its label set, or a TOML file.
        input_size: (height, width).
        mean, std: three values each, of pixels in [0, 1] or, if one of the six is above 1, in [0, 255].
        channels: rgb or bgr.
        remote_code: the model whose own code may run.
        narrow, bf16: see parsing.parsers.schp.SCHPParser.
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

    @property
    def place(self) -> str:
        """The part of the name behind the colon: a folder, a file or a model of the hub."""
        return self.name.partition(":")[2]

    def absolute(self) -> "ParserSpec":
        """Return the same spec for processes in other folders."""
        labels = self.labels
        if labels is not None and labels.endswith(".toml"):
            labels = str(Path(labels).resolve())
        return replace(self, weights=self.weights and self.weights.resolve(), labels=labels)


@dataclass(frozen=True)
class Backend:
    """A form of a parser's name, and all that is known of such parsers before one is loaded.

    Attributes:
        form: the name itself, or `prefix:PLACE`.
        module: in this package; its `build(spec)` loads the parser.
        options: fields of a spec, of `OPTIONS`, that it takes.
        labels: its label set, or where that comes from.
        input: (height, width) of its input, or where that comes from.
        licence: of its weights.
        source: where the weights or the files come from.
        weights: `here`, `not here`, `hub`, or `yours` for files of the user's own.
        fetch: get from the hub what a spec needs, before torch is loaded; errors as those of the parser itself.
        extra, packages: the extra of cscl that it needs, and what that installs.
        named: whether its name and weights file say all, so that a cache can be parsed again without more.
    """

    form: str
    module: str
    options: tuple[str, ...]
    labels: str
    input: tuple[int, int] | str
    licence: str
    source: str
    weights: Callable[[], str]
    fetch: Callable[[ParserSpec], object] = lambda spec: None
    extra: str = ""
    packages: tuple[str, ...] = ()
    named: bool = False

    @property
    def prefix(self) -> str:
        """The form without its place: what a name of this form begins with."""
        return self.form.partition(":")[0]

    @property
    def needs(self) -> str:
        """The command that installs what is missing for it; nothing if all is there."""
        missing = [package for package in self.packages if find_spec(package) is None]
        return f'pip install "cscl[{self.extra}]"' if missing else ""


def _schp(name: str) -> Backend:
    published = SCHP[name]
    return Backend(
        form=name,
        module="schp",
        options=("weights", "narrow", "bf16"),
        labels=published.labels,
        input=published.input_size,
        licence=SCHP_LICENCE,
        source=published.source,
        weights=lambda: "here" if schp_at_hand(name) else "not here",
        fetch=lambda spec: spec.weights or schp_file(name),
        named=True,
    )


def _hf(form: str, source: str, weights: Callable[[], str], labels: str = "", licence: str = "") -> Backend:
    return Backend(
        form=form,
        module="huggingface",
        options=("labels", "input_size", "remote_code"),
        labels=labels or "of its config",
        input="its own",
        licence=licence or _OF_THE_MODEL,
        source=source,
        weights=weights,
        fetch=lambda spec: hf_files(spec.place, spec.remote_code == spec.place),
        extra="hf",
        packages=("transformers", "huggingface_hub"),
    )


def _described(form: str, module: str, source: str, extra: str = "", packages: tuple[str, ...] = ()) -> Backend:
    return Backend(
        form=form,
        module=module,
        options=DESCRIPTION,
        labels="--labels",
        input="--input",
        licence=_OF_THE_MODEL,
        source=source,
        weights=lambda: "yours",
        extra=extra,
        packages=packages,
    )


_OF_THE_MODEL = "that of the model"

BACKENDS = (
    Backend(
        form="street",
        module="street",
        options=("weights",),
        labels="street",
        input=(256, 128),
        licence=STREET_LICENCE,
        source="in the package",
        weights=lambda: "here",
        named=True,
    ),
    *map(_schp, SCHP),
    _hf("hf:ORG/NAME", "https://huggingface.co/ORG/NAME", lambda: "hub"),
    _hf("hf:DIR", "a folder of save_pretrained", lambda: "yours"),
    _described("smp:DIR", "smp", "a folder of save_pretrained"),
    _described("torchscript:FILE", "exported", "a file of torch.jit.save"),
    _described("onnx:FILE", "exported", "an exported file", extra="onnx", packages=("onnx", "onnxruntime")),
    Backend(
        form="python:FILE",
        module="python_file",
        options=("weights",),
        labels="of its code",
        input="its own",
        licence=_OF_THE_MODEL,
        source="code of your own, docs/parsers.md",
        weights=lambda: "yours",
    ),
)
PARSERS = tuple(backend.form for backend in BACKENDS)
"""Every form of a parser's name."""


def known_models() -> list[Backend]:
    """Return a row per model of the hub whose label set and licence are known."""

    def row(model: str) -> Backend:
        return _hf(
            f"hf:{model}",
            f"https://huggingface.co/{model}",
            lambda: "here" if hf_at_hand(model) else "not here",
            HUB_MODELS[model].labels,
            HUB_MODELS[model].licence,
        )

    return [row(model) for model in HUB_MODELS]


def find_backend(name: str) -> Backend:
    """Return the row of a parser's name.

    Raises:
        InputError: if there is none; it lists the forms there are.
    """
    prefix, colon, place = name.partition(":")
    for backend in BACKENDS:
        if backend.prefix == prefix and (":" in backend.form) == bool(colon) == bool(place):
            return backend
    raise InputError(f"no parser {name!r}; there are {', '.join(PARSERS)}")


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
    read_info = getattr(import_module(f".{backend.module}", __package__), "read_info", None)
    if read_info is None:  # only running such a network shows whether it answers as it should
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


def option(field: str) -> str:
    """Return the command line's option for a field of a spec."""
    return "--input" if field == "input_size" else "--" + field.replace("_", "-")


def takers(field: str) -> str:
    """Return the prefixes of the parsers that take an option, for its help.

    >>> takers("channels")
    'smp, torchscript, onnx'
    """
    return ", ".join(dict.fromkeys(b.prefix for b in BACKENDS if field in b.options))


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
