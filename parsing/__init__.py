"""Human parsers, label sets, part schemes and the mask cache.

Importing this is light: the standard library alone, and numpy and h5py once a name is used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .cache.reader import MaskCache
    from .cache.writer import CacheWriter
    from .errors import CacheError, CsclError, InputError, MissingError
    from .labels import LABEL_SETS, LabelSet, label_set
    from .schemes import PART_SCHEMES, PartScheme, part_scheme

__all__ = [
    "LABEL_SETS",
    "PART_SCHEMES",
    "CacheError",
    "CacheWriter",
    "CsclError",
    "InputError",
    "LabelSet",
    "MaskCache",
    "MissingError",
    "PartScheme",
    "label_set",
    "part_scheme",
]
_HOMES = {
    "cache.reader": ("MaskCache",),
    "cache.writer": ("CacheWriter",),
    "errors": ("CacheError", "CsclError", "InputError", "MissingError"),
    "labels": ("LABEL_SETS", "LabelSet", "label_set"),
    "schemes": ("PART_SCHEMES", "PartScheme", "part_scheme"),
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is used: `cscl --help` needs the errors, and neither numpy nor h5py."""
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f".{module}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
