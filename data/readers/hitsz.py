"""HITSZ-VCM: video of twelve cameras, `0001/rgb/D1/1.jpg` and `0001/ir/D2/1.jpg`, with a list of frames per half."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from parsing.errors import InputError

from ..records import DataSet, Modality, Protocol, Record
from .lists import read_words
from .tracklets import UNTESTED, absent_files, refuse_protocols

HALVES = {"train": "Train", "test": "Test"}
FRAME = re.compile(r"([0-9]+)M([12])D([0-9]+)T[0-9]+F([^/\\]+)")
"""A frame in the lists, `0001M2D3T1F24.jpg`: person, modality (1 infrared, 2 visible), camera, tracklet, file."""
MODALITY: dict[str, Modality] = {"1": "infrared", "2": "visible"}
FOLDERS: dict[Modality, str] = {"visible": "rgb", "infrared": "ir"}


class HITSZ(DataSet):
    """HITSZ-VCM below `root`: the frames of `train_name.txt` and `test_name.txt`, in `info/` or beside the people."""

    name = "hitsz"
    folder = "HITSZ-VCM"
    published: ClassVar[Mapping[str, int]] = {
        "identities": 927,
        "training identities": 500,
        "test identities": 427,
        "images": 463259,
        "images, visible": 251452,
        "images, infrared": 211807,
    }
    tree = (
        "  HITSZ-VCM/\n"
        "    info/train_name.txt  test_name.txt   (a frame per line: 0001M2D3T1F24.jpg; or beside the people)\n"
        "    Train/0001/rgb/D1/1.jpg ...  Train/0001/ir/D2/1.jpg ...\n"
        "    Test/0503/rgb/D1/1.jpg ...                             (or all people in one folder: 0001/rgb/D1/1.jpg)"
    )
    parts = ("info/train_name.txt", "info/test_name.txt")
    signs = ("Train", "Test", "info")

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self._of = {half: self._read(half) for half in HALVES}
        trained, tested = ({image.identity for image in self._of[half]} for half in HALVES)
        if both := sorted(trained & tested):
            raise InputError(f"hitsz: people {both[:5]} are both in train_name.txt and in test_name.txt of {self.root}")
        self._images = tuple(sorted((i for half in self._of.values() for i in half), key=lambda image: image.name))

    @classmethod
    def require(cls, root: Path) -> None:
        if not all((root / f"{half}_name.txt").is_file() for half in HALVES):
            super().require(root)

    @property
    def images(self) -> tuple[Record, ...]:
        return self._images

    def train(self, split: int = 1) -> tuple[Record, ...]:
        return self._of["train"]

    def untested(self) -> str:
        return UNTESTED

    def protocols(self, gallery: str = "seeded", split: int = 1) -> tuple[Protocol, ...]:
        """Raise InputError: the published protocol ranks tracklets."""
        raise refuse_protocols(self.name)

    def counts(self) -> dict[str, int]:
        people = {half: len({image.identity for image in images}) for half, images in self._of.items()}
        return {
            "identities": sum(people.values()),
            "training identities": people["train"],
            "test identities": people["test"],
            "images": len(self._images),
            **{f"images, {m}": sum(image.modality == m for image in self._images) for m in FOLDERS},
        }

    def _read(self, half: str) -> tuple[Record, ...]:
        beside = self.root / f"{half}_name.txt"
        path = beside if beside.is_file() else self.root / "info" / f"{half}_name.txt"
        below = f"{HALVES[half]}/" if (self.root / HALVES[half]).is_dir() else ""
        found: dict[str, Record] = {}
        for word in read_words(path):
            frame = FRAME.fullmatch(word)
            if frame is None:
                raise InputError(f"{path}: {word!r} is no frame; expected such as 0001M2D3T1F24.jpg")
            modality = MODALITY[frame[2]]
            name = f"{below}{frame[1]}/{FOLDERS[modality]}/D{frame[3]}/{frame[4]}"
            found[name] = Record(name, identity=int(frame[1]), camera=int(frame[3]), modality=modality)
        if not found:
            raise InputError(f"{path} is empty; expected frames such as 0001M2D3T1F24.jpg")
        if absent := absent_files(self.root, found):
            raise InputError(f"{path} lists {len(absent)} frames that are not there, the first is {absent[0]}")
        return tuple(found[name] for name in sorted(found))
