"""Read recipes, TOML files with every choice of a training but its data, into frozen dataclasses."""

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
    """Section `data`: which images and masks to train on.

    Attributes:
        size: (height, width) of the network's input, in pixels.
        scheme: part scheme.
        split: number of the split of RegDB, from 1.
        select: `last` keeps the last weights. `val` trains without the validation identities, scores them after every
            `evaluate_every` epochs, and keeps the best weights.
        evaluate_every: number of epochs between two validations.
        min_confidence: masks of lower confidence have no weight and do not guide, in [0, 1]; 0 keeps all.
        masks: `own`, or as a control `other`: every image gets the mask of another image of its modality.
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
    """Section `model`: the options of the network, see `cscl.config.ModelOptions`, and its weights at the start.

    Attributes:
        pretrained: True for ImageNet weights, False for none, `street` for the encoder of the built-in parser (with the
            backbone `efficientnet_lite0`), or a file with weights of the backbone.
    """

    pretrained: bool | str = True

    def config(self, identities: int, parts: int, flipped: tuple[int, ...]) -> ModelConfig:
        """Return the options of a network for this number of training identities and parts."""
        chosen = {f.name: getattr(self, f.name) for f in fields(ModelOptions)}
        return ModelConfig(identities=identities, parts=parts, flipped=flipped, **chosen)


@dataclass(frozen=True, kw_only=True)
class TrainRecipe:
    """Section `train`: batches, optimiser and schedule.

    Attributes:
        epochs: number of epochs.
        steps: number of steps per epoch; 0 for as many as show each image about once.
        identities: number of identities per batch.
        images: number of visible images per identity, and of infrared images.
        accumulate: number of pieces in which a batch passes the network, to save memory; losses see the whole batch.
        compile: whether `torch.compile` compiles the network, which takes minutes at the start of a training and needs
            a C++ compiler, on a GPU also Triton.
        optimiser: its name.
        learning_rate: of necks and classifiers.
        backbone_rate: factor of `learning_rate` for the backbone.
        module_rate: factor of `learning_rate` for the other modules of PAM and SPAM.
        scalar_rate: factor of `learning_rate` for the scalars (g of PAM, exponent of GeM).
        weight_decay: of the parameters that `decay` selects.
        decay: the parameters that decay: `matrices` only, or `all`.
        clip: largest norm of the gradient; 0 for no limit.
        warmup: number of epochs over which the rates rise linearly.
        warmup_by: whether they rise at every `step` or every `epoch`.
        schedule: after the warm-up, `step` divides the rates by 10 at each milestone, `cosine` lowers them to 0.
        milestones: epochs at which the schedule `step` divides the rates.
        guided: share of training over which the cached masks guide SPAM's pooling less and less, in [0, 1]. With the
            schedule `step` it must end before the first milestone.
        guide_confidence: masks of lower confidence do not guide, nor those that `data.min_confidence` leaves out, in
            [0, 1].
    """

    epochs: int = 80
    steps: int = 0
    identities: int = 8
    images: int = 4
    accumulate: int = 1
    compile: bool = False
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
        ends = self.guided * self.epochs - 1e-9  # a share such as 1/6 is rounded
        if self.schedule == "step" and self.milestones and ends > min(self.milestones):
            raise InputError(
                f"guided = {self.guided} of {self.epochs} epochs, but the rate falls first at {min(self.milestones)}; "
                "the parts must learn from their own attention before that: give at most "
                f"{math.floor(1000 * min(self.milestones) / self.epochs) / 1000:g}"
            )


def _at_least(least: int, recipe: Any, *names: str) -> None:
    """Raise InputError if one of these fields is below `least`."""
    for name in names:
        if not least <= getattr(recipe, name) < math.inf:
            raise InputError(f"{name} = {getattr(recipe, name)}; give at least {least}")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All choices of a training that decide the weights, except its data; docs/method.md explains the terms.

    Attributes:
        method: the method whose values the recipe started from.
        seed: of weights, batches and augmentation.
        data, model, loss, augment, train: sections.
    """

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

    @property
    def title(self) -> str:
        """The method, with the values that define it if they are changed: `baseline with model.spam = true`."""
        own = flatten(read_definition(self.method))
        differing = find_differences(own, dataclasses.asdict(self))
        changed = [f"{key} = {_write_value(value)}" for key, (_, value) in differing.items() if key in own]
        return f"{self.method} with {', '.join(changed)}" if changed else self.method

    def to_toml(self) -> str:
        """Return the recipe as TOML, including all default values."""
        return tomli_w.dumps(dataclasses.asdict(self))


def _write_value(value: Any) -> str:
    """Return a value as TOML."""
    return tomli_w.dumps({"value": value}).strip().removeprefix("value = ")


def find_differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return the keys of nested values, such as `train.epochs`, that differ, with both values; absent ones are None."""
    one, other = flatten(before), flatten(after)
    keys = dict.fromkeys((*one, *other))
    return {key: (one.get(key), other.get(key)) for key in keys if one.get(key) != other.get(key)}


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested values with keys such as `train.epochs`."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= flatten(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return found


def list_shipped(folder: str = ".") -> list[str]:
    """Return the names of the shipped recipes; `folder` is `.` for `cscl train`, `parsers` for `cscl parser train`."""
    return sorted(Path(p.name).stem for p in (files(__package__) / folder).iterdir() if p.name.endswith(".toml"))


def read_purpose(name: str) -> str:
    """Return the purpose of a shipped recipe of `cscl train`: the first sentence of the comment at its top."""
    text = (files(__package__) / f"{name}.toml").read_text(encoding="utf-8")
    comment = " ".join(line[1:].strip() for line in takewhile(lambda line: line.startswith("#"), text.splitlines()))
    return comment.partition(". ")[0].removesuffix(".")


def read_recipe(source: Path | None = None, changes: Sequence[str] = (), method: str | None = None) -> Recipe:
    """Return a recipe from a file or a shipped recipe.

    If a key is given several times, the last value counts, in this order: the file of the recipe's own method, the
    recipe, the file of `method` if it is another one, `changes`. Another method first undoes what the recipe's own one
    sets.

    Args:
        source: TOML file, or the name of a shipped recipe; None for `cscl`.
        changes: `section.key=value` each.
        method: method that replaces that of the recipe.

    Raises:
        InputError: if a key is unknown or its value does not fit; the message names the key.
        MissingError: if there is no such recipe.
    """
    return make_recipe(read_values(source, "cscl"), changes, method)


def make_recipe(said: Mapping[str, Any], changes: Sequence[str] = (), method: str | None = None) -> Recipe:
    """Return the recipe of the values that a file holds, with `changes` and `method` as in `read_recipe`."""
    own = said.get("method", "cscl")
    values = read_method(own)
    _update(values, said)
    if method not in (None, own):
        _update(values, _default_values(read_method(own)))
        _update(values, read_method(method))
    values["method"] = method or own
    if any(change.partition("=")[0].strip() == "method" for change in changes):
        raise InputError("--set method=...: use --method, which sets what the method needs")
    recipe: Recipe = build(Recipe, change(values, changes))
    return recipe


def read_method(name: Any) -> dict[str, Any]:
    """Return the values that a method's file sets, by section; none for `cscl`, whose values are the defaults.

    Raises:
        InputError: if the method is unknown.
    """
    if name not in METHODS:
        raise InputError(f"there is no method {name!r}; choose one of {', '.join(METHODS)}")
    return read_values(None, name, "methods") if name in list_shipped("methods") else {}


def read_definition(name: Any) -> dict[str, Any]:
    """Return the values that define a method, by section: its file's, and of network and losses all that others set."""
    values: dict[str, Any] = {}
    for each in list_shipped("methods"):
        _update(
            values, {part: v for part, v in _default_values(read_method(each)).items() if part in ("model", "loss")}
        )
    _update(values, read_method(name))
    return values


def _default_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the defaults of the keys of some values, by section."""
    defaults = dataclasses.asdict(Recipe())
    return {section: {key: defaults[section][key] for key in said} for section, said in values.items()}


def _update(values: dict[str, Any], later: Mapping[str, Any]) -> None:
    """Update `values` with those of `later`, section by section."""
    for key, value in later.items():
        if isinstance(value, dict) and isinstance(values.get(key), dict):
            values[key] = {**values[key], **value}
        else:
            values[key] = value


def read_values(source: Path | None, default: str, folder: str = ".") -> dict[str, Any]:
    """Return the values of a TOML file or a shipped recipe.

    Args:
        source: file, or name of a shipped recipe; None for `default`.
        default: name of a shipped recipe.
        folder: as in `list_shipped`.

    Raises:
        MissingError: if there is no such recipe.
        InputError: if the file is no TOML.
    """
    name = str(source or default)
    if name in list_shipped(folder):
        return parse_toml((files(__package__) / folder / f"{name}.toml").read_text(encoding="utf-8"))
    if source is None or not source.is_file():
        raise MissingError(f"there is no recipe {name}; give a .toml file or one of {', '.join(list_shipped(folder))}")
    try:
        return parse_toml(source.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"recipe {source} is no TOML: {error}") from error


def change(values: dict[str, Any], changes: Sequence[str]) -> dict[str, Any]:
    """Return `values`, changed in place by each `section.key=value` of the command line.

    Raises:
        InputError: if a change has no `=`, or names a value as a section.
    """
    for one in changes:
        key, sign, text = one.partition("=")
        if not sign:
            raise InputError(f"--set {one}: give it as section.key=value")
        _put(values, key.strip(), _value(text.strip()))
    return values


def _put(values: dict[str, Any], key: str, value: Any) -> None:
    """Set the value of a key such as `train.epochs`."""
    *sections, last = key.split(".")
    for section in sections:
        values = values.setdefault(section, {})
        if not isinstance(values, dict):
            raise InputError(f"{key}: {section} is a value, not a section of the recipe")
    values[last] = value


def _value(text: str) -> Any:
    """Return the value of a text: TOML, such as 0.1, true or [288, 144], or else the text itself."""
    try:
        return parse_toml(f"value = {text}")["value"]
    except ValueError:
        return text


def build(kind: type, values: Mapping[str, Any], where: str = "") -> Any:
    """Return the dataclass `kind`, of a recipe or a section, from values.

    Args:
        kind: dataclass; its type hints decide which values are accepted.
        values: by field.
        where: prefix of the keys in errors, such as `train.`.

    Raises:
        InputError: if a key is unknown or its value does not fit; the message names the key.
    """
    known = {f.name for f in fields(kind)}
    for key in values:
        if key not in known:
            near = _find_near(kind, key)
            hint = f"did you mean {where}{near}? " if near else ""
            names = ", ".join(sorted(known))
            raise InputError(f"recipe: there is no {where}{key}; {hint}{where[:-1] or 'it'} has {names}")
    hints = typing.get_type_hints(kind)
    given = {key: _fit(hints[key], value, f"{where}{key}") for key, value in values.items()}
    try:
        return kind(**given)
    except ValueError as error:
        raise InputError(f"recipe: {where}{error}") from error


def _find_near(kind: type, key: str) -> str:
    """Return the key of a recipe or a section that `key` probably means, such as `train.epochs`; empty if none is near.

    A key without its section is found too.
    """
    hints = typing.get_type_hints(kind)
    near: list[str] = get_close_matches(key, hints, n=1)
    if near:
        return near[0]
    sections = {name: typing.get_type_hints(hint) for name, hint in hints.items() if is_dataclass(hint)}
    inside = {inner: f"{name}.{inner}" for name, own in sections.items() for inner in own}
    near = get_close_matches(key, inside, n=1)
    return inside[near[0]] if near else ""


def _fit(hint: Any, value: Any, where: str) -> Any:
    """Return a value as the type hint of its field requires it, or raise InputError."""
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
