"""The CSCL network and its losses: tensors in, tensors out. Only `load` opens a file, the weights of a trained run."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .embedder import Embedder, load

__all__ = ["Embedder", "load"]


def __getattr__(name: str) -> Any:
    """Import `Embedder` and `load` on first use, so that `import cscl` alone does not import torch."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import embedder

    return getattr(embedder, name)
