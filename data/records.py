"""The interface of a data set: its images, its training part, its protocols, and the rules that belong to it alone."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from parsing.errors import InputError, MissingError
from parsing.modality import Modality as Modality
from parsing.names import same_but_for_case
from parsing.words import list_briefly

from .words import count_endings, is_text

Infrared = Literal["near", "thermal"]
"""Kinds of infrared cameras: near-infrared ones see reflected light, thermal ones heat."""


@dataclass(frozen=True, slots=True)
class Record:
    """One image.

    name: path below the data set's root with forward slashes; the image's key in a mask cache.
    identity: the data set's own number for the person; -1 if it is unknown.
    camera: the data set's own number, from 1; 0 if it is unknown.
    """

    name: str
    identity: int
    camera: int
    modality: Modality

    @property
    def images(self) -> tuple["Record", ...]:
        """The images whose mean feature stands for this record in a ranking: itself."""
        return (self,)


@dataclass(frozen=True, slots=True)
class Tracklet(Record):
    """A person's images on one way past a camera, ranked as one by their mean feature.

    name: of the tracklet, which is no image's. sampled: those of its images that count, in their order; an image that
    occurs twice counts twice.
    """

    sampled: tuple[Record, ...]

    @property
    def images(self) -> tuple[Record, ...]:
        """The sampled images."""
        return self.sampled


@dataclass(frozen=True, slots=True)
class Trial:
    """Query and gallery of one trial, images or tracklets; the order of the gallery breaks ties."""

    query: tuple[Record, ...]
    gallery: tuple[Record, ...]


Skip = Callable[[Trial], NDArray[np.bool_] | None]
"""Return (Nq, Ng), true if a query does not see a gallery image; None if every query sees the whole gallery."""


@dataclass(frozen=True, slots=True)
class Protocol:
    """A way to evaluate: the scores of its trials are averaged.

    skip: which gallery images a query does not see; the data set's rule, `DataSet.skip`.
    deduplicated: whether the CMC counts each gallery identity once (SYSU-MM01, LLCM).
    gallery_rule: how the galleries were drawn, e.g. `seeded`, `official`, `all`.
    """

    name: str
    trials: tuple[Trial, ...]
    skip: Skip
    deduplicated: bool
    gallery_rule: str


@dataclass(frozen=True, slots=True)
class Finding:
    """A remark about a data set's folder: `count` of `what`, with examples in `note`, and whether it is an error."""

    what: str
    count: int
    note: str = ""
    wrong: bool = False

    def line(self) -> str:
        """Return the remark in one line."""
        return f"{self.count:,} {self.what}" + (f": {self.note}" if self.note else "")


def same_person_and_camera(trial: Trial) -> NDArray[np.bool_]:
    """Return (Nq, Ng), true if query and gallery are of one person in one camera: what LLCM and HITSZ-VCM skip."""
    sides = (trial.query, trial.gallery)
    cameras, people = ([np.array([getattr(r, of) for r in side]) for side in sides] for of in ("camera", "identity"))
    hidden: NDArray[np.bool_] = (cameras[0][:, None] == cameras[1]) & (people[0][:, None] == people[1])
    return hidden


class DataSet(ABC):
    """A data set below `root`. Creating one reads its lists and raises MissingError or InputError.

    A subclass states every rule of its data set; code outside data/ asks here and never for a data set's name.
    """

    name: ClassVar[str]
    folder: ClassVar[str]
    """The folder's usual name, searched under $CSCL_DATA and data/; empty if the user must name the folder."""
    published: ClassVar[Mapping[str, int]]
    """Counts that the authors published, keyed as `counts()`; empty if there are none."""
    tree: ClassVar[str]
    """The expected folders, one per line; shown in errors."""
    parts: ClassVar[tuple[str, ...]]
    """Paths below the root without which the data set cannot be read."""
    signs: ClassVar[tuple[str, ...]]
    """Folders that together identify the data set's layout."""
    options: ClassVar[tuple[str, ...]] = ()
    """Arguments of the reader beside `root`, such as `pattern`."""
    infrared: ClassVar[Infrared] = "near"
    """Kind of the infrared cameras."""
    split_count: ClassVar[int] = 1
    """Number of published splits into people to train and people to test."""
    walked: ClassVar[bool] = False
    """Whether public loaders find the training images by walking the folders, person by person, not in lists."""
    root: Path
    others: tuple[str, ...] = ()
    """Files beside the images that are no images; they are not read."""
    linked: tuple[str, ...] = ()
    """Folders that are links to a folder listed already, as `visible/b is visible/a`; they are not read again."""
    strays: tuple[str, ...] = ()
    """Entries that are not named by four digits in a place where every folder should be; they are not read."""

    def __init__(self, root: Path) -> None:
        self.root = Path(root)
        self.require(self.root)

    def check_split(self, split: int, option: str) -> None:
        """Raise InputError, with the name of the option that gave it, if there is no split of this number, from 1."""
        if not 1 <= split <= self.split_count:
            raise InputError(f"{option}: {self.name} has the splits 1 to {self.split_count}")

    @classmethod
    def require(cls, root: Path) -> None:
        """Raise InputError or MissingError, with the expected tree, unless `root` is a folder that has all `parts`."""
        if not is_text(str(root)):
            raise InputError(f"{cls.name}: the folder's name {str(root)!a} is not UTF-8; rename it")
        expected = f"Expected:\n{cls.tree}"
        if not root.exists():
            raise MissingError(f"{cls.name}: there is no folder {root}. {expected}")
        if not root.is_dir():
            raise InputError(f"{cls.name}: {root} is a file, not a folder. {expected}")
        absent = [part for part in cls.parts if not (root / part).exists()]
        if absent:
            lacks = f"has no {', '.join(absent)}" if any(root.iterdir()) else "is empty"
            raise MissingError(f"{cls.name}: {root} {lacks}. {expected}")

    @staticmethod
    def skip(trial: Trial) -> NDArray[np.bool_] | None:
        """Return which gallery images (Nq, Ng) a query does not see, in every protocol; None if it sees all."""
        return None

    @property
    @abstractmethod
    def images(self) -> tuple[Record, ...]:
        """All images of the data set, sorted by name."""

    @property
    def listed(self) -> frozenset[int]:
        """Identities that the data set's lists name, with or without images."""
        return frozenset(image.identity for image in self.images if image.identity >= 0)

    def person(self, identity: int) -> str:
        """Return the name of an identity in the data set's folder."""
        return str(identity)

    def findings(self) -> tuple[Finding, ...]:
        """Return what a user should know about this folder beside its counts."""
        others = sorted(self.others)
        found = (
            [Finding("files that are no image", count=len(others), note=count_endings(others), wrong=True)]
            if others
            else []
        )
        if self.linked:
            found.append(
                Finding(
                    "folders that are links to others, whose images are taken once",
                    count=len(self.linked),
                    note=list_briefly(self.linked, 3),
                )
            )
        if alike := same_but_for_case(image.name for image in self.images):
            found.append(
                Finding(
                    "images whose names differ in upper and lower case alone",
                    count=sum(map(len, alike)),
                    note=f"{' and '.join(alike[0])}; copies of them to Windows or macOS are one file",
                )
            )
        if self.strays:
            found.append(
                Finding(
                    "folders or files not named by four digits, as 0001",
                    count=len(self.strays),
                    note=list_briefly(self.strays),
                    wrong=True,
                )
            )
        return tuple(found)

    @abstractmethod
    def train(self, split: int = 1) -> tuple[Record, ...]:
        """Return the training images, sorted by name.

        Args:
            split: number of the split, from 1 to `split_count`; ignored by data sets with a single split.
        """

    def validation_people(self, training: Iterable[int]) -> frozenset[int]:
        """Return which of the `training` identities to hold out for validation: by default every fifth."""
        return frozenset(sorted(set(training))[::5])

    def untested(self) -> str:
        """Return why nobody is held out for a test, for the user; empty if somebody is."""
        return ""

    @abstractmethod
    def protocols(self, gallery: str = "seeded", split: int = 1) -> tuple[Protocol, ...]:
        """Return the protocols of the data set; `gallery` is the rule by which galleries are drawn."""

    @abstractmethod
    def counts(self) -> dict[str, int]:
        """Return the counts of this folder, keyed as `published`."""
