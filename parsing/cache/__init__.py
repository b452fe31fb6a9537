"""The mask cache: an index file over HDF5 shards. Read it with `MaskCache`.

This package needs only numpy, h5py and the standard library.
"""

from .reader import MaskCache

__all__ = ["MaskCache"]
