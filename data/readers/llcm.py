"""LLCM: nine cameras, visible and near-infrared; index lists to train, one list of identities to test."""

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from parsing.errors import InputError

from ..records import DataSet, Modality, Protocol, Record, Trial
from . import galleries
from .galleries import TRIALS
from .listing import find_strays, list_folder
from .lists import IndexLine, read_ids, read_index
from .naming import camera_of

FOLDERS: dict[Modality, str] = {"visible": "test_vis", "infrared": "test_nir"}
CAMERAS: dict[Modality, tuple[int, ...]] = {
    "visible": (1, 2, 3, 4, 5, 6, 7, 8, 9),
    "infrared": (1, 2, 4, 5, 6, 7, 8, 9),
}
LISTS: dict[Modality, str] = {"visible": "idx/train_vis.txt", "infrared": "idx/train_nir.txt"}


class LLCM(DataSet):
    """LLCM below `root`. An image's identity is the number of its folder, not the training lists' label."""

    name = "llcm"
    folder = "LLCM"
    published: ClassVar[Mapping[str, int]] = {
        "identities": 1064,
        "images": 46767,
        "training identities": 713,
        "training images": 30921,
        "test identities": 351,
        "test images": 46767 - 30921,
    }
    tree = (
        "  LLCM/\n"
        "    idx/train_vis.txt  train_nir.txt   (lines 'path label': 'vis/0001/0001_c01_s1_f1_vis.jpg 0')\n"
        "    idx/test_id.txt                    (one comma-separated line of identities)\n"
        "    test_vis/cam1/0001/*.jpg ... to cam9/\n"
        "    test_nir/cam1/0001/*.jpg ... to cam9/\n"
        "    and the images that the lists to train name"
    )
    parts = (*LISTS.values(), "idx/test_id.txt", *FOLDERS.values())

    signs = tuple(FOLDERS.values())

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.test_identities = frozenset(read_ids(self.root / "idx/test_id.txt"))
        if not self.test_identities:
            raise InputError(f"{self.root / 'idx/test_id.txt'} names no identity; expected such as 1,2,5")
        lines = dict(zip(LISTS, read_index(self.root, LISTS.values()), strict=True))
        self._train = self._read_train(lines)
        self.train_identities = frozenset(image.identity for image in self._train)
        if both := sorted(self.train_identities & self.test_identities):
            raise InputError(f"{self.root / 'idx'}: identities {both[:5]} are both to train and to test; keep one")
        self._test = {modality: self._list(modality) for modality in CAMERAS}
        test = (image for pairs in self._test.values() for files in pairs.values() for image in files)
        self._images = tuple(sorted((*self._train, *test), key=lambda image: image.name))

    @staticmethod
    def skip(trial: Trial) -> NDArray[np.bool_]:
        """Return (Nq, Ng): queries do not see the gallery images of their own person in their own camera."""
        sides = (trial.query, trial.gallery)
        cameras, people = (
            [np.array([getattr(r, of) for r in side]) for side in sides] for of in ("camera", "identity")
        )
        hidden: NDArray[np.bool_] = (cameras[0][:, None] == cameras[1]) & (people[0][:, None] == people[1])
        return hidden

    @property
    def images(self) -> tuple[Record, ...]:
        return self._images

    @property
    def listed(self) -> frozenset[int]:
        return self.train_identities | self.test_identities

    def train(self, split: int = 1) -> tuple[Record, ...]:
        return self._train

    def protocols(self, gallery: str = "seeded", split: int = 1) -> tuple[Protocol, ...]:
        """Return visible-to-nir and nir-to-visible, query first; galleries have one image per identity and camera.

        DEEN's test script names the directions the other way round.
        """
        if gallery != "seeded":
            raise InputError(f"llcm: galleries are drawn by the rule 'seeded', got {gallery!r}")
        directions: tuple[tuple[str, tuple[Record, ...], Modality], ...] = (
            ("visible-to-nir", self._query("visible"), "infrared"),
            ("nir-to-visible", self._query("infrared"), "visible"),
        )
        return tuple(
            Protocol(
                name=name,
                trials=tuple(
                    Trial(
                        query,
                        galleries.draw_seeded(
                            self._test[to], identities=self.test_identities, cameras=CAMERAS[to], trial=trial, shots=1
                        ),
                    )
                    for trial in range(TRIALS)
                ),
                skip=self.skip,
                deduplicated=True,
                gallery_rule=gallery,
            )
            for name, query, to in directions
        )

    def counts(self) -> dict[str, int]:
        with_images = {image.identity for image in self._images}
        return {
            "identities": len(with_images),
            "images": len(self._images),
            "training identities": len(self.train_identities),
            "training images": len(self._train),
            "test identities": len(with_images & self.test_identities),
            "test images": len(self._images) - len(self._train),
        }

    def _query(self, modality: Modality) -> tuple[Record, ...]:
        pairs = ((identity, camera) for identity in sorted(self.test_identities) for camera in CAMERAS[modality])
        return tuple(image for pair in pairs for image in self._test[modality].get(pair, ()))

    def _read_train(self, lists: dict[Modality, list[IndexLine]]) -> tuple[Record, ...]:
        on_disk: dict[str, frozenset[str]] = {}
        images: dict[str, Record] = {}
        for modality, lines in lists.items():
            absent = []
            for line in lines:
                folder, file = str(PurePosixPath(line.name).parent), PurePosixPath(line.name).name
                if folder not in on_disk:
                    files, others = list_folder(f"{self.root}/{folder}")
                    self.others += tuple(f"{folder}/{other}" for other in others)
                    on_disk[folder] = frozenset(files)
                if file not in on_disk[folder]:
                    absent.append(line.name)
                if line.name in images:
                    raise InputError(f"{self.root / LISTS[modality]} lists {line.name}, which is in the other list too")
                images[line.name] = Record(
                    line.name, identity=line.identity, camera=camera_of(line.name), modality=modality
                )
            if absent:
                raise InputError(
                    f"{self.root / LISTS[modality]} lists {len(absent)} images that are not there, first {absent[0]}"
                )
        return tuple(sorted(images.values(), key=lambda image: image.name))

    def _list(self, modality: Modality) -> dict[tuple[int, int], tuple[Record, ...]]:
        images: dict[tuple[int, int], tuple[Record, ...]] = {}
        for camera in CAMERAS[modality]:
            self.strays += find_strays(self.root, f"{FOLDERS[modality]}/cam{camera}")
        for identity in sorted(self.test_identities):
            for camera in CAMERAS[modality]:
                folder = f"{FOLDERS[modality]}/cam{camera}/{identity:04d}"
                files, others = list_folder(f"{self.root}/{folder}")
                self.others += tuple(f"{folder}/{file}" for file in others)
                if files:
                    images[identity, camera] = tuple(
                        Record(f"{folder}/{file}", identity=identity, camera=camera, modality=modality)
                        for file in files
                    )
        return images
