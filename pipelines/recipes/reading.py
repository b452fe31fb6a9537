"""Recipes: all that decides a training run, as frozen dataclasses read from TOML; unknown keys are refused."""

import dataclasses
import math
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from difflib import get_close_matches
from importlib.resources import files
from itertools import takewhile
from pathlib import Path
from typing import Any, Literal

import tomli_w

from cscl.config import LossConfig, ModelConfig, ModelOptions
from data.loading.augmentation import AugmentConfig
from parsing.errors import InputError, MissingError
from parsing.files import parse_toml

from . import METHODS, Method


@dataclass(frozen=True, kw_only=True)
class DataRecipe:
    """size: (height, width) of the network's input. scheme: part scheme. split: of RegDB, from 1.

    select: `last` keeps the last weights; `val` trains without the validation identities, scores them after every
    `evaluate_every` epochs and keeps the best. min_confidence: masks below it are ignored (0 keeps all).
    masks: `own`, or as a control `other`: every image gets the mask of another one of its modality, drawn by the seed.
    """

    size: tuple[int, int] = (288, 144)
    scheme: str = "reid4"
    split: int = 1
    select: Literal["last", "val"] = "last"
    evaluate_every: int = 5
    min_confidence: float = 0.0
    masks: Literal["own", "other"] = "own"

    def __post_init__(self) -> None:
        if min(self.size) < 16:
            raise InputError(f"size = {list(self.size)}; give [height, width], each at least 16")
        _at_least(1, self, "split", "evaluate_every")
        if not 0 <= self.min_confidence <= 1:
            raise InputError(f"min_confidence = {self.min_confidence}; give a number in [0, 1]")


@dataclass(frozen=True, kw_only=True)
class ModelRecipe(ModelOptions):
    """pretrained: true for ImageNet weights, false for none, `street` for the built-in parser's encoder (with
    backbone = efficientnet_lite0), or a file of weights of the backbone. The rest is `cscl.config.ModelOptions`.
    """

    pretrained: bool | str = True

    def config(self, identities: int, parts: int, flipped: tuple[int, ...]) -> ModelConfig:
        """Return the network for a data set of so many training identities and a scheme of so many parts."""
        chosen = {f.name: getattr(self, f.name) for f in fields(ModelOptions)}
        return ModelConfig(identities=identities, parts=parts, flipped=flipped, **chosen)


@dataclass(frozen=True, kw_only=True)
class TrainRecipe:
    """identities x images of each modality a step; steps an epoch, 0 for as many as show each image about once.

    accumulate: pieces that a step's images go through the network in, to save memory; the losses see all of them.

    schedule: `step` divides by 10 at each of `milestones` (epochs), `cosine` falls to 0; both after a linear
    warm-up of `warmup` epochs, by the `step` or, constant within each, by the `epoch`.
    `learning_rate` is that of necks and classifiers; `backbone_rate`, `module_rate` (the other modules of PAM and
    SPAM) and `scalar_rate` (PAM's g, GeM's exponent) are factors of it.
    decay: which parameters `weight_decay` is for, `matrices` or `all`. clip: largest norm of the gradient, 0 for any.

    guided: the share of training over which the cached masks guide less and less; with `step` it must end before the
    rate first falls.
    guide_confidence: the masks below it guide nothing.
    """

    epochs: int = 80
    steps: int = 0
    identities: int = 8
    images: int = 4
    accumulate: int = 1
    optimiser: Literal["sgd", "adamw"] = "sgd"
    learning_rate: float = 0.1
    backbone_rate: float = 0.1
    module_rate: float = 0.1
    scalar_rate: float = 0.001
    weight_decay: float = 5e-4
    decay: Literal["matrices", "all"] = "matrices"
    clip: float = 10.0
    warmup: int = 10
    warmup_by: Literal["step", "epoch"] = "step"
    schedule: Literal["step", "cosine"] = "step"
    milestones: tuple[int, ...] = (20, 50)
    guided: float = 0.2
    guide_confidence: float = 0.5

    def __post_init__(self) -> None:
        _at_least(1, self, "epochs", "identities", "images", "accumulate")
        _at_least(0, self, "steps", "warmup", "backbone_rate", "module_rate", "scalar_rate", "weight_decay", "clip")
        for name in ("guided", "guide_confidence"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name} = {getattr(self, name)}; give a number in [0, 1]")
        if not 0 < self.learning_rate < math.inf:
            raise InputError(f"learning_rate = {self.learning_rate}; give a number above 0")
        if self.schedule == "step" and self.milestones and self.guided * self.epochs > min(self.milestones):
            raise InputError(
                f"guided = {self.guided} of {self.epochs} epochs, but the rate falls first at {min(self.milestones)}; "
                "the parts must learn from their own attention before that: give at most "
                f"{min(self.milestones) / self.epochs:.2f}"
            )


def _at_least(least: int, recipe: Any, *names: str) -> None:
    for name in names:
        if not least <= getattr(recipe, name) < math.inf:
            raise InputError(f"{name} = {getattr(recipe, name)}; give at least {least}")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides the weights beside the data; docs/method.md explains the terms."""

    method: Method = "cscl"
    seed: int = 0
    data: DataRecipe = field(default_factory=DataRecipe)
    model: ModelRecipe = field(default_factory=ModelRecipe)
    loss: LossConfig = field(default_factory=LossConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    train: TrainRecipe = field(default_factory=TrainRecipe)

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**63:
            raise InputError(f"seed = {self.seed}; give a whole number of at least 0, below 2^63")

    def to_toml(self) -> str:
        """Return the recipe with every default spelt out."""
        return tomli_w.dumps(dataclasses.asdict(self))


def shipped(folder: str = ".") -> list[str]:
    """Return the names of the shipped recipes; `folder` is `.` for `cscl train`, `parsers` for `cscl parser train`."""
    return sorted(Path(p.name).stem for p in (files(__package__) / folder).iterdir() if p.name.endswith(".toml"))


def about(name: str) -> str:
    """Return what a shipped recipe of `cscl train` is for: the first sentence of the comment at its head."""
    text = (files(__package__) / f"{name}.toml").read_text(encoding="utf-8")
    comment = " ".join(line[1:].strip() for line in takewhile(lambda line: line.startswith("#"), text.splitlines()))
    return comment.partition(". ")[0].removesuffix(".")


def read_recipe(source: Path | None = None, changes: Sequence[str] = (), method: str | None = None) -> Recipe:
    """Read a recipe from a file or by the name of a shipped one (None: `cscl`).

    Of a key that is said more than once the last counts: the file of the recipe's own method, the recipe, the file of
    `method` if it is another one, then each `a.b=c` of `changes`.

    Raises:
        InputError: names the key that is unknown or whose value is of the wrong kind.
        MissingError: there is no such recipe.
    """
    said = read_values(source, "cscl")
    own = said.get("method", "cscl")
    values = read_method(own)
    _update(values, said)
    if method not in (None, own):
        _update(values, read_method(method))
    values["method"] = method or own
    if any(change.partition("=")[0].strip() == "method" for change in changes):
        raise InputError("--set method=...: use --method, which sets what the method needs")
    recipe: Recipe = build(Recipe, change(values, changes))
    return recipe


def read_method(name: Any) -> dict[str, Any]:
    """Return what a method sets, by section: its file, and the default of everything else that a method's file sets."""
    if name not in METHODS:
        raise InputError(f"there is no method {name!r}; choose one of {', '.join(METHODS)}")
    defaults = dataclasses.asdict(Recipe())
    set_by = {each: read_values(None, each, "methods") for each in shipped("methods")}
    values: dict[str, Any] = {}
    for section, said in (item for one in set_by.values() for item in one.items()):
        _update(values, {section: {key: defaults[section][key] for key in said}})
    _update(values, set_by.get(name, {}))
    return values


def _update(values: dict[str, Any], later: Mapping[str, Any]) -> None:
    """Put what `later` says into `values`, section by section."""
    for key, value in later.items():
        if isinstance(value, dict) and isinstance(values.get(key), dict):
            values[key] = {**values[key], **value}
        else:
            values[key] = value


def read_values(source: Path | None, default: str, folder: str = ".") -> dict[str, Any]:
    """Return the values of a TOML file, or of a shipped recipe by name (None: `default`); `folder` as for `shipped`."""
    name = str(source or default)
    if name in shipped(folder):
        return parse_toml((files(__package__) / folder / f"{name}.toml").read_text(encoding="utf-8"))
    if source is None or not source.is_file():
        raise MissingError(f"there is no recipe {name}; give a .toml file or one of {', '.join(shipped(folder))}")
    try:
        return parse_toml(source.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"recipe {source} is no TOML: {error}") from error


def change(values: dict[str, Any], changes: Sequence[str]) -> dict[str, Any]:
    """`values` after each `a.b=c` of the command line."""
    for one in changes:
        key, sign, text = one.partition("=")
        if not sign:
            raise InputError(f"--set {one}: give it as section.key=value")
        _put(values, key.strip(), _value(text.strip()))
    return values


def _put(values: dict[str, Any], key: str, value: Any) -> None:
    *sections, last = key.split(".")
    for section in sections:
        values = values.setdefault(section, {})
        if not isinstance(values, dict):
            raise InputError(f"{key}: {section} is a value, not a section of the recipe")
    values[last] = value


def _value(text: str) -> Any:
    """`text` as TOML if it is some, else as a string: 0.1, true, [288, 144], resnet18."""
    try:
        return parse_toml(f"value = {text}")["value"]
    except ValueError:
        return text


def build(kind: type, values: Mapping[str, Any], where: str = "") -> Any:
    """A recipe's dataclass `kind` from `values`; InputError names the key that does not fit, as `where` + key."""
    known = {f.name for f in fields(kind)}
    for key in values:
        if key not in known:
            near = get_close_matches(key, known, n=1)
            hint = f"did you mean {where}{near[0]}? " if near else ""
            names = ", ".join(sorted(known))
            raise InputError(f"recipe: there is no {where}{key}; {hint}{where[:-1] or 'it'} has {names}")
    hints = typing.get_type_hints(kind)
    given = {key: _fit(hints[key], value, f"{where}{key}") for key, value in values.items()}
    try:
        return kind(**given)
    except ValueError as error:
        raise InputError(f"recipe: {where}{error}") from error


def _fit(hint: Any, value: Any, where: str) -> Any:
    """`value` as the field wants it, or InputError."""
    if is_dataclass(hint):
        if not isinstance(value, dict):
            raise InputError(f"recipe: {where} is a section, got {value!r}")
        return build(typing.cast(type, hint), value, f"{where}.")
    origin, options = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        if value in options:
            return value
        raise InputError(f"recipe: {where} = {value!r}; choose one of {', '.join(map(str, options))}")
    if origin is types.UnionType:
        if type(value) in options:
            return value
    elif origin is tuple:
        if isinstance(value, list | tuple) and (options[-1] is Ellipsis or len(value) == len(options)):
            return tuple(_fit(options[0], v, where) for v in value)
    elif origin is dict:
        if isinstance(value, dict):
            return value
    elif type(value) is hint or (hint is float and type(value) is int):
        return hint(value)
    raise InputError(f"recipe: {where} = {value!r}; give {hint if origin else hint.__name__}")
