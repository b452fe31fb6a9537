"""`png`: one PNG an image, in the data set's own folders."""

from pathlib import PurePosixPath

from ..cache.reader import MaskCache
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

    def encode(self, number: int, target: PurePosixPath) -> bytes:
        return png(self.labels(number), self.palette)
