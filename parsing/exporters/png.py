"""`png`: one PNG an image, in the data set's own folders."""

from pathlib import PurePosixPath

from ..cache.reader import MaskCache
from ..schemes import part_scheme
from .base import Exporter, FileOptions, png


class PngExporter(Exporter):
    """Classes of the cache's label set, or the parts of `scheme`, as grey values or with a palette."""

    name = "png"
    reader = "anything"
    path = "{dir}/{stem}.png"
    takes = frozenset({"palette", "scheme"})

    def __init__(self, cache: MaskCache, options: FileOptions) -> None:
        super().__init__(cache, options)
        self.palette = options.palette
        self.scheme = None if options.scheme is None else part_scheme(options.scheme)
        if self.scheme is not None:
            self.scheme.table(cache.labels)  # a scheme that does not know the label set is refused before any file

    def encode(self, number: int, target: PurePosixPath) -> bytes:
        return png(self.labels(number, self.scheme), self.palette)
