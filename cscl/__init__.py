"""The CSCL network and its losses: tensors in, tensors out; `load` alone opens a file, a trained run's weights."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .embedder import Embedder, load

__all__ = ["Embedder", "load"]


def __getattr__(name: str) -> Any:
    """`Embedder` and `load` on demand: `import cscl` alone does not import torch."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import embedder

    return getattr(embedder, name)
