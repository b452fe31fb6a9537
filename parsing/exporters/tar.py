"""`webdataset`: images and masks side by side in tar files, as WebDataset and its kin read them in sequence."""

import json
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from ..cache.reader import MaskCache
from ..errors import InputError, MissingError
from ..images import UnreadableImageError, orientation
from ..modality import MODALITIES
from ..words import list_briefly
from .base import FileOptions, JointExporter, png

IMAGES = 1000
"""Images per file."""
_BLOCK = 512
_SUFFIXES = ("mask.png", "json")


class WebDatasetExporter(JointExporter):
    """`masks-000000.tar` ... with three members per image: itself, `KEY.mask.png` and `KEY.json`.

    KEY is the image's path without its ending, with `_` for further dots of the file's name, since such loaders cut
    the key at the first of them. Times and owners are zero, so that the same cache and images make the same bytes.
    """

    name = "webdataset"
    reader = "webdataset, torchdata, DALI"
    path = "masks-000000.tar"

    def __init__(self, cache: MaskCache, options: FileOptions) -> None:
        super().__init__(cache, options)
        self._keys: dict[str, str] = {}
        for number in self.numbers():
            name = cache.names[number]
            if self._keys.setdefault(_key(name), name) != name:
                raise InputError(
                    f"webdataset: {self._keys[_key(name)]} and {name} would both be the sample {_key(name)}; rename one"
                )
        self._turned = self._find_turned()

    def held_images(self) -> tuple[str, ...]:
        return tuple(self._keys.values())

    def notes(self) -> list[str]:
        said = (
            f"{len(self._turned)} images are turned by EXIF and go in as they are stored, their masks are upright: "
            f"have your loader turn them ({list_briefly(self._turned, 3)})"
        )
        return [*super().notes(), *([said] if self._turned else [])]

    def _find_turned(self) -> list[str]:
        """Return the images with an EXIF orientation; raise InputError for one of another size than was parsed."""
        turned = []
        for number in self.numbers():
            name, parsed = self.cache.names[number], self.cache.source_size[number].tolist()
            try:
                stored, turn = orientation(self.cache.root / name)
            except UnreadableImageError as error:
                raise MissingError(f"webdataset: {error}; the files hold the images") from error
            if min(parsed) > 0 and sorted(stored) != sorted(parsed):
                raise InputError(
                    f"webdataset: {self.cache.root / name} has another size than the image that was parsed; parse "
                    "again, or put the parsed images back"
                )
            if turn > 1:
                turned.append(name)
        return turned

    def files(self) -> dict[PurePosixPath, tuple[int, ...]]:
        numbers = self.numbers()
        return {
            PurePosixPath(f"masks-{start // IMAGES:06d}.tar"): numbers[start : start + IMAGES]
            for start in range(0, len(numbers), IMAGES)
        }

    def stream(self, target: PurePosixPath) -> Iterator[bytes]:
        for number in self.files()[target]:
            name = self.cache.names[number]
            key, image = _key(name), self.cache.root / name
            yield _member(f"{key}{image.suffix.lower() or '.img'}", _read(image))
            yield _member(f"{key}.mask.png", png(self.labels(number), palette=False))
            yield _member(f"{key}.json", json.dumps(self._describe(number), ensure_ascii=False).encode())
        yield bytes(2 * _BLOCK)

    def _describe(self, number: int) -> dict[str, object]:
        cache = self.cache
        return {
            "name": cache.names[number],
            "identity": int(cache.identity[number]),
            "camera": int(cache.camera[number]),
            "modality": MODALITIES[cache.modality[number]],
            "confidence": round(float(cache.confidence[number]), 4),
            "classes": self.classes,
        }


def _key(name: str) -> str:
    path = PurePosixPath(name)
    return str(path.with_name(path.stem.replace(".", "_")))


def _read(image: Path) -> bytes:
    try:
        return image.read_bytes()
    except OSError as error:
        raise MissingError(
            f"webdataset: {image} cannot be read: {error.strerror}; the files hold the images"
        ) from error


def _member(name: str, content: bytes) -> bytes:
    """Return a member of a tar file: its header, its content, and zeros up to the next block."""
    head = tarfile.TarInfo(name)
    head.size = len(content)
    padding = bytes(-len(content) % _BLOCK)
    return head.tobuf(tarfile.PAX_FORMAT, "utf-8", "strict") + content + padding
