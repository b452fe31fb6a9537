"""What every data set answers: images with identity, camera and modality; training part; protocols."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from parsing.words import listed

from .words import endings

Modality = Literal["visible", "infrared"]
Skip = Literal["nothing", "sysu-same-place", "same-identity-and-camera"]


@dataclass(frozen=True, slots=True)
class Record:
    """One image.

    name: path below the data set's root with forward slashes; the image's key in a mask cache.
    identity: the data set's own number for the person; -1 where it is not known.
    camera: the data set's own number, from 1; 0 where it is not known.
    """

    name: str
    identity: int
    camera: int
    modality: Modality


@dataclass(frozen=True, slots=True)
class Trial:
    """Query and gallery of one trial; the order of the gallery breaks ties."""

    query: tuple[Record, ...]
    gallery: tuple[Record, ...]


@dataclass(frozen=True, slots=True)
class Protocol:
    """A way to evaluate: its trials are averaged.

    skip: which gallery images a query does not see. `sysu-same-place`: queries of camera 3 skip camera 2.
    deduplicated: CMC on the ranking with each gallery identity counted once (SYSU-MM01, LLCM).
    gallery_rule: how the galleries were drawn, e.g. `seeded`, `official`, `all`.
    """

    name: str
    trials: tuple[Trial, ...]
    skip: Skip
    deduplicated: bool
    gallery_rule: str


@dataclass(frozen=True, slots=True)
class Finding:
    """Something to say of a data set's folder in a line: `count` of `what`, which of them (`note`), and whether that
    is wrong or only worth knowing."""

    what: str
    count: int
    note: str = ""
    wrong: bool = False

    def line(self) -> str:
        return f"{self.count:,} {self.what}" + (f": {self.note}" if self.note else "")


class DataSet(ABC):
    """A data set below `root`. Building one reads its lists and raises MissingError or InputError."""

    name: ClassVar[str]
    folder: ClassVar[str]
    """The folder's usual name, looked for under $CSCL_DATA and data/."""
    published: ClassVar[Mapping[str, int]]
    """Counts that the authors published, keyed as `counts()`; empty where there are none."""
    tree: ClassVar[str]
    """What the folder must look like, one line a folder; errors show it."""
    parts: ClassVar[tuple[str, ...]]
    """Paths below the root without which the data set cannot be read."""
    skip: ClassVar[Skip] = "nothing"
    """Which gallery images a query does not see, in every protocol."""
    root: Path
    others: tuple[str, ...] = ()
    """Files beside the images that are none: nobody reads them."""
    strays: tuple[str, ...] = ()
    """What lies where folders are named by four digits and has another name: nobody looks into it."""

    def __init__(self, root: Path) -> None:
        self.root = Path(root)

    @property
    @abstractmethod
    def images(self) -> tuple[Record, ...]:
        """Every image of the data set, sorted by name."""

    @property
    def listed(self) -> frozenset[int]:
        """Identities that the data set's lists name, whether or not they have images."""
        return frozenset(image.identity for image in self.images if image.identity >= 0)

    def person(self, identity: int) -> str:
        """What the data set's folder calls an identity."""
        return str(identity)

    def findings(self) -> tuple[Finding, ...]:
        """What a user has to know of this folder, beside its counts; nothing where there is nothing to say."""
        others = sorted(self.others)
        found = [Finding("files that are no image", len(others), endings(others), True)] if others else []
        if self.strays:
            found.append(
                Finding(
                    "folders or files not named by four digits, as 0001", len(self.strays), listed(self.strays), True
                )
            )
        return tuple(found)

    @abstractmethod
    def train(self, split: int = 1) -> tuple[Record, ...]:
        """Training images, sorted by name; `split` counts from 1 and matters to RegDB alone."""

    @abstractmethod
    def protocols(self, gallery: str = "seeded", split: int = 1) -> tuple[Protocol, ...]:
        """The protocols of the data set."""

    @abstractmethod
    def counts(self) -> dict[str, int]:
        """What this folder holds, to compare with `published`."""
