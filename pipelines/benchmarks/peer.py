"""Modules of a checkout of AGW (mangye16/Cross-Modal-Re-ID-baseline) that the user names; they run as they are."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from parsing.errors import MissingError


@contextmanager
def peer_modules(folder: Path, *names: str) -> Iterator[list[Any]]:
    """Import top-level modules of a checkout; after the block they can no longer be imported by their names.

    The ImageNet weights that they would download are random ones instead.

    Args:
        folder: of the checkout.
        names: of the modules, without `.py`.

    Raises:
        MissingError: if the checkout lacks one.
    """
    for name in names:
        if not (folder / f"{name}.py").is_file():
            raise MissingError(f"--peer {folder}: no {name}.py there; give a checkout of Cross-Modal-Re-ID-baseline")
    zoo: Any = import_module("torch.utils.model_zoo")
    path, download = list(sys.path), zoo.load_url
    sys.path.insert(0, str(folder.resolve()))
    zoo.load_url = _draw_weights
    try:
        yield [import_module(name) for name in names]
    finally:
        sys.path[:], zoo.load_url = path, download
        for file in folder.glob("*.py"):
            sys.modules.pop(file.stem, None)


def _draw_weights(*_: object, **__: object) -> dict[str, Any]:
    import torchvision

    weights: dict[str, Any] = torchvision.models.resnet50(weights=None).state_dict()
    return weights
