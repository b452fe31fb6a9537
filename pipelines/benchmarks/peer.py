"""Modules of a checkout of other people's code that the user names; they run as they are."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

from parsing.errors import MissingError


@contextmanager
def peer_modules(folder: Path, *names: str, stand_ins: Mapping[str, Any] | None = None) -> Iterator[list[Any]]:
    """Import modules of a checkout; after the block they can no longer be imported by their names.

    In the block its modules hide others of the same names, such as our `data`. The ImageNet weights that they would
    download are random ones instead.

    Args:
        folder: of the checkout.
        names: of the modules, such as `model` or `utils.eval_sysu`.
        stand_ins: what is imported in place of modules, by their full names.

    Raises:
        MissingError: if the checkout lacks one.
    """
    for name in names:
        place = folder.joinpath(*name.split("."))
        if not (place.with_name(f"{place.name}.py").is_file() or (place / "__init__.py").is_file()):
            raise MissingError(f"--peer {folder}: no {name.replace('.', '/')}.py there; give a checkout that has it")
    replaced = dict(stand_ins or {})
    own = {file.stem for file in folder.glob("*.py")} | {place.name for place in folder.iterdir() if place.is_dir()}
    zoo: Any = import_module("torch.utils.model_zoo")
    path, download, hidden = list(sys.path), zoo.load_url, _take_out(own, replaced)
    sys.path.insert(0, str(folder.resolve()))
    sys.modules.update(replaced)
    zoo.load_url = _draw_weights
    try:
        yield [import_module(name) for name in names]
    finally:
        sys.path[:], zoo.load_url = path, download
        _take_out(own, replaced)
        sys.modules.update(hidden)


def bare_package(folder: Path, name: str) -> ModuleType:
    """Return a stand-in for a package of a checkout: its modules are there, what its `__init__.py` imports is not."""
    package = ModuleType(name)
    package.__path__ = [str(folder.resolve().joinpath(*name.split(".")))]
    return package


def absent_module(name: str) -> Any:
    """Return a stand-in for a module that is not installed: whatever is taken from it is there, and does nothing."""
    return mock.MagicMock(__spec__=ModuleSpec(name, None))


def _take_out(own: set[str], replaced: Mapping[str, Any]) -> dict[str, Any]:
    """Remove what can be imported by these top-level or full names, and return it."""
    return {name: sys.modules.pop(name) for name in list(sys.modules) if name.split(".")[0] in own or name in replaced}


def _draw_weights(*_: object, **__: object) -> dict[str, Any]:
    import torchvision

    weights: dict[str, Any] = torchvision.models.resnet50(weights=None).state_dict()
    return weights
