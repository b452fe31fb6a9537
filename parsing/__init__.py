"""Human parsers, label sets, part schemes and the mask cache.

Importing this is light: numpy, h5py and the standard library.
"""

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
