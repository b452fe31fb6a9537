"""The mask cache: an index file over HDF5 shards. Read it with `MaskCache`, write one of your own with
`CacheWriter`.

This package needs only numpy, h5py and the standard library.
"""

from .reader import MaskCache
from .writer import CacheWriter

__all__ = ["CacheWriter", "MaskCache"]
