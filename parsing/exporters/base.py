"""What an exporter is: masks as the bytes of files that another project's loader reads."""

import io
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..cache.reader import MaskCache
from ..cache.shard import Status
from ..errors import InputError
from ..importers.palettes import voc_colours
from ..labels import IGNORED
from ..modality import Modality
from ..resize import Size, resize_labels
from ..schemes import PartScheme, part_scheme
from ..words import list_briefly

SizeRule = Size | Literal["masks", "source"]


@dataclass(frozen=True)
class FileOptions:
    """How the files are to be.

    size: (height, width), `masks` for that of the cache, `source` for that of each image, None for the exporter's
    own. palette: with colours. scheme: parts of this scheme instead of the parser's classes. training: names of the
    data set's training images by modality, sorted by person, camera and name, for an exporter that `needs_training`.
    """

    size: SizeRule | None = None
    palette: bool = False
    scheme: str | None = None
    training: Mapping[Modality, tuple[str, ...]] | None = None


class AnyExporter(ABC):
    """Makes files of the masks of `cache`: one per image (`Exporter`), or of many images each (`JointExporter`)."""

    name: ClassVar[str]
    reader: ClassVar[str]
    """Who reads the files."""
    path: ClassVar[str]
    """Where the files go below the folder of the export."""
    default_size: ClassVar[SizeRule] = "masks"
    soft: ClassVar[bool] = False
    """Whether probabilities make the files better."""
    takes: ClassVar[frozenset[str]] = frozenset()
    """Options beside the size: `palette`, `scheme`."""
    needs_training: ClassVar[bool] = False
    """Whether the files are of the data set's training images alone."""

    def __init__(self, cache: MaskCache, options: FileOptions) -> None:
        for option, given in (("palette", options.palette), ("scheme", options.scheme is not None)):
            if given and option not in self.takes:
                raise InputError(f"--{option}: {self.name} files have their own, leave it out")
        self.cache = cache
        self.size: SizeRule = options.size or self.default_size
        self.parts = None if options.scheme is None else part_scheme(options.scheme)
        if self.parts is not None:
            self.parts.table(cache.labels)  # a scheme that does not know the label set is refused before any file

    def notes(self) -> list[str]:
        """Return what the user should know of these files."""
        said = []
        if self.soft and not self.cache.made_by["probs"]:
            said.append("hard 0/1 masks: this cache holds no probabilities, `cscl parse --probs` makes one that does")
        if empty := [self.cache.names[n] for n in np.flatnonzero(self.cache.status == Status.EMPTY)]:
            said.append(f"nobody was found on {len(empty)} images, which are background alone: {list_briefly(empty)}")
        return said

    def held_images(self) -> tuple[str, ...]:
        """Return the names of the images that are in the files themselves, beside their masks."""
        return ()

    def size_of(self, number: int) -> Size:
        """Return (height, width) of the file for image `number`."""
        if self.size == "masks":
            return self.cache.size
        if self.size == "source":
            height, width = self.cache.source_size[number]
            if min(height, width) < 1:
                raise InputError(
                    f"the cache does not say how large the image {self.cache.names[number]} is; give --size HxW, or "
                    "--size masks"
                )
            return int(height), int(width)
        return self.size

    def labels(self, number: int, scheme: PartScheme | None = None) -> NDArray[np.uint8]:
        """Return classes, or parts of `scheme` or of the scheme that the user chose, at the file's size."""
        scheme = scheme or self.parts
        found = self.cache[number] if scheme is None else self.cache.part_labels(number, scheme)
        return resize_labels(found, self.size_of(number))

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the values of `labels`, background first."""
        return self.cache.labels.classes if self.parts is None else ("background", *self.parts.parts)

    def maps(self, number: int, scheme: PartScheme) -> NDArray[np.float32]:
        """Return parts (Q, H, W) in [0, 1] at the file's size, soft if the cache has probabilities."""
        return self.cache.parts(number, scheme, size=self.size_of(number))


class Exporter(AnyExporter):
    """One file per image; a subclass has their `path`, a template that `paths.fill` takes, and writes `encode`."""

    full_path: ClassVar[str | None] = None
    """`path` with all of an image's folders, for data sets that repeat file names; None if `path` has them."""
    holes: ClassVar[bool] = False
    """Whether the files are mostly zeros, which need no place on the disk (`parsing.files.write_file`)."""

    @abstractmethod
    def encode(self, number: int, target: PurePosixPath) -> bytes:
        """Return the content of file `target` for image `number` of the cache."""

    def beside(self, targets: Sequence[PurePosixPath]) -> dict[PurePosixPath, bytes]:
        """Return the content of files that go with all masks `targets`, such as a list of them, by path."""
        return {}


class JointExporter(AnyExporter):
    """Files that hold the masks of many images each; a subclass writes `files` and `stream`."""

    takes = frozenset({"scheme"})

    def numbers(self) -> tuple[int, ...]:
        """Return the numbers of the images that have a mask."""
        return tuple(np.flatnonzero(self.cache.has_mask).tolist())

    @abstractmethod
    def files(self) -> dict[PurePosixPath, tuple[int, ...]]:
        """Return the numbers of the images of each file, in their order."""

    @abstractmethod
    def stream(self, target: PurePosixPath) -> Iterator[bytes]:
        """Yield the content of one of the `files`, in pieces; the same cache makes the same bytes."""


class PartIdExporter(Exporter):
    """Single-channel PNGs of another project's own part ids."""

    palette: ClassVar[bool] = False
    scheme: ClassVar[PartScheme]
    """The ids' names, from 1; those that a label set lacks stay empty."""

    def __init__(self, cache: MaskCache, options: FileOptions) -> None:
        super().__init__(cache, options)
        self.scheme.table(cache.labels)  # refused before any file

    def encode(self, number: int, target: PurePosixPath) -> bytes:
        ids = self.labels(number, self.scheme)
        return png(np.where(ids == IGNORED, 0, ids).astype(np.uint8), self.palette)

    def notes(self) -> list[str]:
        return [*super().notes(), *note_missing_parts(self.cache, self.scheme)]


def note_missing_parts(cache: MaskCache, scheme: PartScheme) -> list[str]:
    """Return a note of the parts that the cache's label set has no class for; InputError if none has a class."""
    present = set(scheme.table(cache.labels).tolist())
    absent = [part for number, part in enumerate(scheme.parts, 1) if number not in present]
    if not absent:
        return []
    return [f"label set {cache.labels.name} has no class for {', '.join(absent)}: never in these files"]


def png(labels: NDArray[np.uint8], palette: bool) -> bytes:
    """Return labels (H, W) as a PNG: grey values, or the same values with PASCAL VOC's colours as a palette."""
    image = Image.fromarray(labels)
    if palette:
        image.putpalette(voc_colours())
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def npy(array: NDArray[np.float32]) -> bytes:
    """Return an array as the bytes of a .npy file."""
    file = io.BytesIO()
    np.save(file, np.ascontiguousarray(array), allow_pickle=False)
    return file.getvalue()


def npy_header(shape: tuple[int, ...]) -> bytes:
    """Return how the .npy file of a uint8 array of this shape begins; the array's bytes follow."""
    file = io.BytesIO()
    header = {"descr": np.lib.format.dtype_to_descr(np.dtype(np.uint8)), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
    return file.getvalue()
