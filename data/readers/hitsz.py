"""HITSZ-VCM: video of twelve cameras, `0001/rgb/D1/1.jpg` and `0001/ir/D2/1.jpg`, with lists of its frames."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from parsing.errors import InputError

from ..records import Modality, Record, Tracklet, Trial, same_person_and_camera
from .lists import is_number, read_lines, read_words
from .tracklets import VideoDataSet, absent_files

HALVES = {"train": "Train", "test": "Test"}
FRAME = re.compile(r"([0-9]+)M([12])D([0-9]+)T[0-9]+F([^/\\]+)")
"""A frame in the lists, `0001M2D3T1F24.jpg`: person, modality (1 infrared, 2 visible), camera, tracklet, file."""
MODALITY: dict[str, Modality] = {"1": "infrared", "2": "visible"}
FOLDERS: dict[Modality, str] = {"visible": "rgb", "infrared": "ir"}
TRACKS, QUERIES = "track_test_info.txt", "query_IDX.txt"
"""Tracklets of the test half (modality, first and last line in `test_name.txt`, person, camera), and the numbers of
those that are queries, from 1; the others are the gallery."""
SHORTEST = 12
"""Tracklets of fewer frames are left out, as the authors' evaluation does."""
SAMPLED = 6
"""Frames that count of each tracklet, as in the authors' evaluation."""


class HITSZ(VideoDataSet):
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
        "    info/track_test_info.txt  query_IDX.txt   (to test: tracklets, and which of them are queries)\n"
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

    @staticmethod
    def skip(trial: Trial) -> NDArray[np.bool_]:
        """Return (Nq, Ng): queries do not see their own person in their own camera."""
        return same_person_and_camera(trial)

    @property
    def absent_lists(self) -> tuple[str, ...]:
        return tuple(name for name in (TRACKS, QUERIES) if not self._list(name).is_file())

    def trials(self) -> dict[str, Trial]:
        """Return infrared-to-visible, whose queries `query_IDX.txt` names, and the same with the sides exchanged."""
        tracks = self._read_tracks()
        path = self._list(QUERIES)
        chosen = set()
        for word in (word for line in read_words(path) for word in line.split()):
            if not is_number(word) or not 1 <= int(word) <= len(tracks):
                raise InputError(f"{path}: {word!r} is no tracklet; {TRACKS} has 1 to {len(tracks)}")
            chosen.add(int(word))
        long = {number: track for number, (track, frames) in enumerate(tracks, 1) if frames >= SHORTEST}
        query = tuple(track for number, track in long.items() if number in chosen)
        gallery = tuple(track for number, track in long.items() if number not in chosen)
        return {"infrared-to-visible": Trial(query, gallery), "visible-to-infrared": Trial(gallery, query)}

    def counts(self) -> dict[str, int]:
        people = {half: len({image.identity for image in images}) for half, images in self._of.items()}
        return {
            "identities": sum(people.values()),
            "training identities": people["train"],
            "test identities": people["test"],
            "images": len(self._images),
            **{f"images, {m}": sum(image.modality == m for image in self._images) for m in FOLDERS},
        }

    def _list(self, name: str) -> Path:
        """Return where a list lies: beside the people, or else in `info/`."""
        beside = self.root / name
        return beside if beside.is_file() else self.root / "info" / name

    def _read(self, half: str) -> tuple[Record, ...]:
        """Return the frames of a half, sorted by name; InputError if one is not there."""
        path = self._list(f"{half}_name.txt")
        found = {frame.name: frame for frame in self._read_frames(half)}
        if not found:
            raise InputError(f"{path} is empty; expected frames such as 0001M2D3T1F24.jpg")
        if absent := absent_files(self.root, found):
            raise InputError(f"{path} lists {len(absent)} frames that are not there, the first is {absent[0]}")
        return tuple(found[name] for name in sorted(found))

    def _read_frames(self, half: str) -> list[Record]:
        """Return the frames of a half in the order of its list."""
        path = self._list(f"{half}_name.txt")
        below = f"{HALVES[half]}/" if (self.root / HALVES[half]).is_dir() else ""
        found = []
        for word in read_words(path):
            frame = FRAME.fullmatch(word)
            if frame is None:
                raise InputError(f"{path}: {word!r} is no frame; expected such as 0001M2D3T1F24.jpg")
            modality = MODALITY[frame[2]]
            name = f"{below}{frame[1]}/{FOLDERS[modality]}/D{frame[3]}/{frame[4]}"
            found.append(Record(name, identity=int(frame[1]), camera=int(frame[3]), modality=modality))
        return found

    def _read_tracks(self) -> list[tuple[Tracklet, int]]:
        """Return the tracklets of the test half in the order of their list, each with its number of frames."""
        frames, path = self._read_frames("test"), self._list(TRACKS)
        found = []
        for number, line in enumerate(read_lines(path), 1):
            words = line.split()
            if not words:
                continue
            if len(words) != 5 or not all(map(is_number, words)):
                raise InputError(f"{path}, line {number}: expected 'modality first last person camera', got {line!r}")
            first, last, person, camera = map(int, words[1:])
            shown = frames[first - 1 : last] if 1 <= first <= last <= len(frames) else []
            modality = MODALITY.get(words[0])
            if not shown or {(f.modality, f.identity) for f in shown} != {(modality, person)}:
                raise InputError(
                    f"{path}, line {number}: lines {first} to {last} of test_name.txt are not frames of modality "
                    f"{words[0]} of person {person}"
                )
            step = -(-len(shown) // SAMPLED)
            sampled = tuple(shown[min(n * step, len(shown) - 1)] for n in range(SAMPLED))
            name = f"{shown[0].name.rpartition('/')[0]}/tracklet {number}"
            track = Tracklet(
                name, identity=person, camera=camera, modality=shown[0].modality, sampled=sampled,
            )  # fmt: skip
            found.append((track, len(shown)))
        return found
