"""Compare two parsers, or two settings of one, on images: agreement and speed (`cscl parser compare`)."""

import math
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.readers.listing import list_below
from data.words import count_endings
from parsing.errors import InputError, MissingError
from parsing.images import UnreadableImageError, read_image
from parsing.parsers.base import Parser
from parsing.parsers.labelling import label_images, stack_images
from parsing.parsers.registry import ParserSpec, find_parser
from parsing.progress import Bar
from parsing.resize import Size

from ..devices import find_device
from ..masks.score import confusion, find_common_classes, iou
from ..parse.config import check_size


@dataclass(frozen=True)
class Setting:
    """A parser with its options, and the text by which the user named it."""

    words: str
    spec: ParserSpec
    flip: bool = True


@dataclass(frozen=True)
class Side:
    """One of the two parsers: the user's text, the parser's name, and its speed including all processing."""

    words: str
    parser: str
    weights: str
    input_size: Size
    flip: bool
    device: str
    images_per_second: float


@dataclass(frozen=True)
class ParserAgreement:
    """Shares and IoU in [0, 1] over all pixels of the images; NaN (null in JSON) for a class that neither finds.

    Attributes:
        images: number of images.
        pixels: share of pixels with equal labels.
        person: the same among the pixels that either parser labels as a person.
        worst: images with their own mIoU, lowest first.
        others: files in the folder that are no images.
    """

    first: Side
    second: Side
    images: int
    unreadable: int
    size: Size
    scheme: str
    pixels: float
    person: float
    classes: tuple[str, ...]
    iou: tuple[float, ...]
    worst: tuple[tuple[str, float], ...]
    others: tuple[str, ...] = ()

    @property
    def mean(self) -> float:
        """Return the mIoU over the classes that either parser finds, including background."""
        return float(np.nanmean(self.iou))

    def to_json(self) -> dict[str, Any]:
        """Return all values for `--json`."""
        return {
            **self.__dict__,
            "first": self.first.__dict__,
            "second": self.second.__dict__,
            "person": _number(self.person),
            "mIoU": self.mean,
            "iou": {c: _number(v) for c, v in zip(self.classes, self.iou, strict=True)},
            "worst": [{"image": name, "mIoU": value} for name, value in self.worst],
        }

    def lines(self) -> list[str]:
        """Return the table as lines of text."""
        width = max(len(c) for c in (*self.classes, "mIoU"))
        person = "nobody found" if math.isnan(self.person) else f"{100 * self.person:.2f} % of the person's"
        shown = [
            *(
                f"{side.words}: {side.parser} {side.weights[:12]}, input {side.input_size[0]}x{side.input_size[1]}, "
                f"flip {side.flip}, {side.images_per_second:.1f} images per second on {side.device}"
                for side in (self.first, self.second)
            ),
            f"{self.images} images at {self.size[0]}x{self.size[1]} in {self.scheme} classes: alike are "
            f"{100 * self.pixels:.2f} % of all pixels, {person}",
            f"{'IoU in %':{width}s}",
            *(
                f"{name:{width}s} " + ("  neither finds it" if math.isnan(v) else f"{100 * v:6.1f}")
                for name, v in (("mIoU", self.mean), *zip(self.classes, self.iou, strict=True))
            ),
        ]
        if self.worst:
            shown.append("images that agree least, with the mIoU of each:")
            shown += [f"  {100 * value:5.1f}  {name}" for name, value in self.worst]
        if self.unreadable:
            shown.append(f"note: {self.unreadable} images cannot be read and were left out")
        if self.others:
            shown.append(f"note: {len(self.others)} files are no image: {count_endings(self.others)}")
        return shown


def compare_parsers(
    images: Path,
    first: Setting,
    second: Setting,
    scheme: str | None = None,
    size: Size = (288, 144),
    batch_size: int = 8,
    limit: int | None = None,
    worst: int = 5,
) -> ParserAgreement:
    """Return the agreement and speed of two parsers on the images below a folder.

    The first batch of each is parsed once before the measurement, so that work that is done only once, such as loading,
    does not reduce its speed.

    Args:
        limit: largest number of images, taken at equal distances; None for all.
        size: (height, width) of the masks that are compared.
        scheme: part scheme to compare in; necessary if the label sets differ.

    Raises:
        InputError: if the label sets differ and there is no scheme, or there are no images.
    """
    check_size(size)
    if not images.is_dir():
        raise MissingError(f"--images {images}: there is no such folder")
    names, others, _ = list_below(images, ".")
    if not names:
        raise InputError(f"--images {images}: there is no image in this folder")
    if limit is not None and limit < len(names):
        names = [names[i * len(names) // limit] for i in range(limit)]
    settings = first, second
    parsers = [find_parser(replace(s.spec, device=find_device(s.spec.device))) for s in settings]
    scheme, classes, tables = find_common_classes(
        (first.words, second.words), (parsers[0].labels, parsers[1].labels), scheme
    )
    pixels = np.zeros((len(classes), len(classes)), np.int64)
    each: list[tuple[float, str]] = []
    seconds = [0.0, 0.0]
    with Bar(total=len(names), unit="image", desc="compare parsers") as bar:
        for start in range(0, len(names), batch_size):
            batch = {
                name: image for name in names[start : start + batch_size] if (image := _read(images / name)) is not None
            }
            bar.update(min(batch_size, len(names) - start))
            if not batch:
                continue
            answers = []
            for number, (parser, setting) in enumerate(zip(parsers, settings, strict=True)):
                if not seconds[number]:
                    _parse(parser, images=list(batch.values()), size=size, flip=setting.flip)
                began = time.perf_counter()
                answers.append(
                    tables[number][_parse(parser, images=list(batch.values()), size=size, flip=setting.flip)]
                )
                seconds[number] += time.perf_counter() - began
            for name, one, other in zip(batch, *answers, strict=True):
                found = confusion(one, other, len(classes))
                pixels += found
                each.append((float(np.nanmean(iou(found))), name))
    if not each:
        raise InputError(f"--images {images}: none of {len(names)} images can be read")
    sides = [
        Side(
            s.words,
            parser=p.name,
            weights=p.weights_hash,
            input_size=p.input_size,
            flip=s.flip,
            device=str(p.device),
            images_per_second=len(each) / t,
        )
        for s, p, t in zip(settings, parsers, seconds, strict=True)
    ]
    alike, people = int(np.trace(pixels)), int(pixels.sum() - pixels[0, 0])
    return ParserAgreement(
        sides[0],
        second=sides[1],
        images=len(each),
        unreadable=len(names) - len(each),
        size=size,
        scheme=scheme,
        pixels=alike / int(pixels.sum()),
        person=(alike - int(pixels[0, 0])) / people if people else math.nan,
        classes=classes,
        iou=tuple(iou(pixels).tolist()),
        worst=tuple((name, value) for value, name in sorted(each)[:worst]),
        others=tuple(others),
    )


def _read(file: Path) -> NDArray[np.uint8] | None:
    try:
        return read_image(file)
    except UnreadableImageError:  # counted by the caller
        return None


def _parse(parser: Parser, images: list[NDArray[np.uint8]], size: Size, flip: bool) -> NDArray[np.uint8]:
    """Return classes (B, *size) of the parser's own label set."""
    prepared = stack_images([parser.prepare(image) for image in images])
    return label_images(
        parser, batch=prepared, sources=[(i.shape[0], i.shape[1]) for i in images], size=size, flip=flip
    ).labels


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value
