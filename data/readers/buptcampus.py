"""BUPTCampus: video of six cameras in both modalities, `DATA/1/RGB/CQ1/*.jpg`, with lists of tracklets."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from parsing.errors import InputError, MissingError
from parsing.words import list_briefly

from ..records import Modality, Record, Tracklet, Trial
from .listing import list_below
from .lists import is_number, read_lines
from .tracklets import VideoDataSet

LISTS = {"train": ("train.txt",), "auxiliary": ("train_auxiliary.txt",), "test": ("query.txt", "gallery.txt")}
"""Lists of each part, a tracklet per line: person, modality (`RGB`, `IR`, `RGB/IR`), camera, number."""
FOLDERS: dict[Modality, str] = {"visible": "RGB", "infrared": "IR"}
FRAME = re.compile(r"[0-9]+_(?:RGB|IR)_[^_]+_([0-9]+)_([0-9]+)\.[^.]+")
"""A file's name, `1_RGB_CQ1_1_8535.jpg`: person, modality, camera, tracklet, frame."""
SAMPLED = 10
"""Frames that count of each tracklet, at equal distances, as in the authors' evaluation."""
Key = tuple[int, Modality, str, int]
"""A tracklet: person, modality, name of the camera, number."""


class BUPTCampus(VideoDataSet):
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

    @property
    def absent_lists(self) -> tuple[str, ...]:
        return ()  # a folder without them is refused when it is opened

    def trials(self) -> dict[str, Trial]:
        """Return `query.txt` against `gallery.txt` across modalities, within each, and all at once."""
        frames = self._tracklets()
        query, gallery = (self._listed_tracklets(name, frames) for name in LISTS["test"])
        directions: tuple[tuple[str, str], ...] = (
            ("visible", "infrared"), ("infrared", "visible"), ("visible", "visible"), ("infrared", "infrared"),
        )  # fmt: skip
        made = {
            f"{one}-to-{other}": Trial(
                tuple(t for t in query if t.modality == one), tuple(t for t in gallery if t.modality == other)
            )
            for one, other in directions
        }
        return made | {"all": Trial(query, gallery)}

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
            names, others, linked = list_below(self.root, folder)
            self.others += tuple(others)
            self.linked += tuple(linked)
            if flat := [name for name in names if name.count("/") != 4]:
                raise InputError(
                    f"buptcampus: {list_briefly(flat, 2)} in {self.root} lie in no camera's folder below {kind}/"
                )
            frames += [(name, modality) for name in names]
        return frames

    def _tracklets(self) -> dict[Key, tuple[Record, ...]]:
        """Return the frames of each tracklet of the test people, in the order of their numbers."""
        found: dict[Key, list[tuple[int, Record]]] = {}
        for image in self._images:
            if image.identity not in self._people["test"]:
                continue
            camera, file = image.name.split("/")[3:]
            frame = FRAME.fullmatch(file)
            if frame is None:
                raise InputError(f"buptcampus: {image.name} in {self.root} is not named as 1_RGB_CQ1_1_8535.jpg")
            key = (image.identity, image.modality, camera, int(frame[1]))
            found.setdefault(key, []).append((int(frame[2]), image))
        return {key: tuple(image for _, image in sorted(rows, key=lambda row: row[0])) for key, rows in found.items()}

    def _listed_tracklets(self, file: str, frames: Mapping[Key, tuple[Record, ...]]) -> tuple[Tracklet, ...]:
        path = self.root / file
        found = []
        for number, (person, kind, camera, tracklet) in self._lines(path):
            modality = next((m for m, folder in FOLDERS.items() if folder == kind), None)
            if modality is None or not is_number(tracklet):
                raise InputError(f"{path}, line {number}: expected RGB or IR and a number, got {kind} and {tracklet}")
            shown = frames.get((int(person), modality, camera, int(tracklet)))
            if shown is None:
                raise InputError(
                    f"{path}, line {number}: tracklet {tracklet} of person {person}, {kind}, camera {camera} has no "
                    f"images in {self.root}"
                )
            sampled = tuple(shown[len(shown) * n // SAMPLED] for n in range(SAMPLED))
            name = f"{shown[0].name.rpartition('/')[0]}/tracklet {tracklet}"
            found.append(
                Tracklet(name, identity=int(person), camera=shown[0].camera, modality=modality, sampled=sampled)
            )
        return tuple(found)

    def _read(self, part: str) -> frozenset[int]:
        people = {int(words[0]) for file in LISTS[part] for _, words in self._lines(self.root / file)}
        if not people:
            raise InputError(f"{self.root / LISTS[part][0]} is empty; expected lines such as 1 RGB/IR CQ1 1")
        return frozenset(people)

    @staticmethod
    def _lines(path: Path) -> list[tuple[int, list[str]]]:
        """Return the four words of each line that is not empty, with the line's number."""
        found = []
        for number, line in enumerate(read_lines(path), 1):
            words = line.split()
            if words and (len(words) != 4 or not is_number(words[0])):
                raise InputError(f"{path}, line {number}: expected 'person modality camera tracklet', got {line!r}")
            if words:
                found.append((number, words))
        return found
