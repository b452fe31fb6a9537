"""The table of human parsers: a row per form of a name, with all that is known before one is loaded."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec

from ..errors import InputError
from .sources import (
    HUB_MODELS,
    SCHP,
    SCHP_LICENCE,
    STREET_LICENCE,
    hf_at_hand,
    hf_files,
    is_hub_model,
    schp_at_hand,
    schp_file,
)
from .spec import DESCRIPTION, ParserSpec


@dataclass(frozen=True)
class Backend:
    """A form of a parser's name, and all that is known of such parsers before one is loaded.

    Attributes:
        form: the name itself, or `prefix:PLACE`.
        module: in this package; its `build(spec)` loads the parser.
        info: the module with `read_info`, if that is another one, which needs no torch.
        options: fields of a spec, of `OPTIONS`, that it takes.
        labels: its label set, or where that comes from.
        input: (height, width) of its input, or where that comes from.
        licence: of its weights.
        source: where the weights or the files come from.
        weights: `here`, `not here`, `hub`, or `yours` for files of the user's own.
        fetch: get from the hub what a spec needs, before torch is loaded; errors as those of the parser itself.
        at_hand: whether a spec needs nothing from the hub that is not on this machine.
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
    at_hand: Callable[[ParserSpec], bool] = lambda spec: True
    extra: str = ""
    packages: tuple[str, ...] = ()
    named: bool = False
    info: str = ""

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
        at_hand=lambda spec: spec.weights is not None or schp_at_hand(name),
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
        at_hand=lambda spec: not is_hub_model(spec.place) or hf_at_hand(spec.place),
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
        info="street_file",
        options=("weights",),
        labels="person7",
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
            source=f"https://huggingface.co/{model}",
            weights=lambda: "here" if hf_at_hand(model) else "not here",
            labels=HUB_MODELS[model].labels,
            licence=HUB_MODELS[model].licence,
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


def list_takers(field: str) -> str:
    """Return the prefixes of the parsers that take an option, for its help.

    >>> list_takers("channels")
    'smp, torchscript, onnx'
    """
    return ", ".join(dict.fromkeys(b.prefix for b in BACKENDS if field in b.options))
