"""BUPTCampus: video of six cameras in both modalities, `DATA/1/RGB/CQ1/*.jpg`, with lists of tracklets."""

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from parsing.errors import InputError, MissingError
from parsing.words import list_briefly

from ..records import DataSet, Modality, Protocol, Record
from .listing import list_below
from .tracklets import UNTESTED, refuse_protocols

LISTS = {"train": ("train.txt",), "auxiliary": ("train_auxiliary.txt",), "test": ("query.txt", "gallery.txt")}
"""Lists of each part, a tracklet per line: person, modality (`RGB`, `IR`, `RGB/IR`), camera, number."""
FOLDERS: dict[Modality, str] = {"visible": "RGB", "infrared": "IR"}


class BUPTCampus(DataSet):
    """BUPTCampus below `root`; `FakeIR`, made of colour images, is left out.

    Cameras are numbered in the order of their names. People of `train_auxiliary.txt` have masks, and are neither
    trained on nor tested.
    """

    name = "buptcampus"
    folder = "BUPTCampus"
    published: ClassVar[Mapping[str, int]] = {
        "identities": 3080,
        "training identities": 1074,
        "auxiliary identities": 930,
        "test identities": 1076,
    }
    tree = (
        "  BUPTCampus/\n"
        "    DATA/1/RGB/CQ1/1_RGB_CQ1_1_8535.jpg ...  DATA/1/IR/CQ1/1_IR_CQ1_1_8535.jpg ...\n"
        "    train.txt  train_auxiliary.txt  query.txt  gallery.txt\n"
        "    (lines 'person modality camera tracklet': 1 RGB/IR CQ1 1)"
    )
    parts = ("DATA", "train.txt", "train_auxiliary.txt", "query.txt", "gallery.txt")
    signs = ("DATA", "train_auxiliary.txt")

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self._people = {part: self._read(part) for part in LISTS}
        for one, other in (("train", "auxiliary"), ("train", "test"), ("auxiliary", "test")):
            if both := sorted(self._people[one] & self._people[other]):
                raise InputError(f"buptcampus: {self.root} names people {both[:5]} both as {one} and as {other}")
        found = [(name, person, modality) for person in sorted(self.listed) for name, modality in self._frames(person)]
        self._cameras = sorted({name.split("/")[3] for name, _, _ in found})
        numbers = {camera: number for number, camera in enumerate(self._cameras, 1)}
        records = (
            Record(name, identity=person, camera=numbers[name.split("/")[3]], modality=modality)
            for name, person, modality in found
        )
        self._images = tuple(sorted(records, key=lambda image: image.name))
        if not self._images:
            raise MissingError(f"buptcampus: no listed person has an image in {self.root}. Expected:\n{self.tree}")

    @property
    def images(self) -> tuple[Record, ...]:
        return self._images

    @property
    def listed(self) -> frozenset[int]:
        return frozenset().union(*self._people.values())

    def train(self, split: int = 1) -> tuple[Record, ...]:
        return tuple(image for image in self._images if image.identity in self._people["train"])

    def untested(self) -> str:
        return UNTESTED

    def protocols(self, gallery: str = "seeded", split: int = 1) -> tuple[Protocol, ...]:
        """Raise InputError: the published protocol ranks tracklets."""
        raise refuse_protocols(self.name)

    def counts(self) -> dict[str, int]:
        there = {image.identity for image in self._images}
        names = {"train": "training", "auxiliary": "auxiliary", "test": "test"}
        return {
            "identities": len(there),
            **{f"{names[part]} identities": len(there & people) for part, people in self._people.items()},
            "cameras": len(self._cameras),
            **{f"images, {m}": sum(image.modality == m for image in self._images) for m in FOLDERS},
        }

    def _frames(self, person: int) -> list[tuple[str, Modality]]:
        frames: list[tuple[str, Modality]] = []
        for modality, kind in FOLDERS.items():
            folder = f"DATA/{person}/{kind}"
            if not (self.root / folder).is_dir():
                continue
            names, others = list_below(self.root, folder)
            self.others += tuple(others)
            if flat := [name for name in names if name.count("/") != 4]:
                raise InputError(
                    f"buptcampus: {list_briefly(flat, 2)} in {self.root} lie in no camera's folder below {kind}/"
                )
            frames += [(name, modality) for name in names]
        return frames

    def _read(self, part: str) -> frozenset[int]:
        people = set()
        for file in LISTS[part]:
            path = self.root / file
            for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), 1):
                words = line.split()
                if words and (len(words) != 4 or not (words[0].isascii() and words[0].isdigit())):
                    raise InputError(f"{path}, line {number}: expected 'person modality camera tracklet', got {line!r}")
                people |= {int(word) for word in words[:1]}
        if not people:
            raise InputError(f"{self.root / LISTS[part][0]} is empty; expected lines such as 1 RGB/IR CQ1 1")
        return frozenset(people)
