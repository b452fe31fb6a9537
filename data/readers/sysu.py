"""SYSU-MM01: `cam1..cam6/ID4/IMG4.jpg`, with lists of the identities to train, to validate and to test."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from parsing.errors import InputError, MissingError

from ..records import DataSet, Modality, Protocol, Record, Trial
from . import galleries
from .listing import find_strays, list_folder
from .lists import read_ids

VISIBLE = (1, 2, 4, 5)
INFRARED = (3, 6)
SAME_PLACE = (3, 2)
"""An infrared and a visible camera that see the same place."""
SEARCHES = {"all": (1, 2, 4, 5), "indoor": (1, 2)}
SHOTS = {"single": 1, "multi": 10}


class SYSU(DataSet):
    """SYSU-MM01 below `root`; images of identities that no list names are left out.

    permutations: `rand_perm_cam.mat` of the evaluation kit, for `official` galleries; None looks in exp/.
    """

    name = "sysu"
    folder = "SYSU-MM01"
    options = ("permutations",)
    walked = True
    published: ClassVar[Mapping[str, int]] = {
        "identities": 491,
        "training identities": 395,
        "validation identities, part of training": 99,
        "training images, visible": 22258,
        "training images, infrared": 11909,
        "test identities": 96,
        "queries": 3803,
        "queries of camera 3": 1883,
        "queries of camera 6": 1920,
        "gallery, all-single": 301,
        "gallery, all-multi": 3010,
        "gallery, indoor-single": 112,
        "gallery, indoor-multi": 1120,
    }
    tree = (
        "  SYSU-MM01/\n"
        "    cam1/0001/0001.jpg ...   cam2/  cam4/  cam5/   (visible)\n"
        "    cam3/0001/0001.jpg ...   cam6/                 (infrared)\n"
        "    exp/train_id.txt  val_id.txt  test_id.txt      (one comma-separated line of identities each)"
    )
    parts = (
        *(f"cam{camera}" for camera in range(1, 7)),
        *(f"exp/{part}_id.txt" for part in ("train", "val", "test")),
    )

    signs = ("cam1", "cam3")

    def __init__(self, root: Path, permutations: Path | None = None) -> None:
        super().__init__(root)
        lists = {part: read_ids(self.root / f"exp/{part}_id.txt") for part in ("train", "val", "test")}
        for part in ("train", "test"):
            if not lists[part]:
                raise InputError(f"{self.root / f'exp/{part}_id.txt'} names no identity; expected such as 1,2,5")
        self.validation_identities = frozenset(lists["val"])
        self.train_identities = frozenset(lists["train"]) | self.validation_identities
        self.test_identities = frozenset(lists["test"])
        if both := sorted(self.train_identities & self.test_identities):
            raise InputError(f"{self.root / 'exp'}: identities {both[:5]} are both to train and to test; keep one")
        if permutations is not None and not permutations.is_file():
            raise MissingError(f"sysu: there is no {permutations}; give rand_perm_cam.mat of the evaluation kit")
        self._permutations = permutations or self.root / "exp" / galleries.PERMUTATIONS
        self._by_camera = self._list()
        self._images = tuple(sorted((i for pair in self._by_camera.values() for i in pair), key=lambda i: i.name))
        if not self._images:
            raise InputError(f"sysu: no listed identity has an image in {self.root}. Expected:\n{self.tree}")

    @staticmethod
    def skip(trial: Trial) -> NDArray[np.bool_]:
        """Return (Nq, Ng): queries of camera 3 do not see the gallery of camera 2, which is in the same place."""
        query, gallery = (np.array([r.camera for r in side]) for side in (trial.query, trial.gallery))
        infrared, visible = SAME_PLACE
        hidden: NDArray[np.bool_] = (query == infrared)[:, None] & (gallery == visible)
        return hidden

    @property
    def images(self) -> tuple[Record, ...]:
        return self._images

    @property
    def listed(self) -> frozenset[int]:
        return self.train_identities | self.test_identities

    def train(self, split: int = 1) -> tuple[Record, ...]:
        """Return the images of the training and the validation identities, as all published figures use them."""
        return tuple(image for image in self._images if image.identity in self.train_identities)

    def validation_people(self, training: Iterable[int]) -> frozenset[int]:
        """Return the identities of exp/val_id.txt; every fifth of `training` if the list is empty."""
        return self.validation_identities or super().validation_people(training)

    def protocols(self, gallery: str = "seeded", split: int = 1) -> tuple[Protocol, ...]:
        """Return all-single, all-multi, indoor-single and indoor-multi; `gallery` is `seeded` or `official`."""
        if gallery not in ("seeded", "official"):
            raise InputError(f"sysu: galleries are drawn by the rule 'seeded' or 'official', got {gallery!r}")
        draw = galleries.draw_seeded if gallery == "seeded" else galleries.Permutations(self._permutations).draw
        query = self._query()
        return tuple(
            Protocol(
                name=f"{search}-{shot}",
                trials=tuple(
                    Trial(query, draw(self._by_camera, self.test_identities, cameras, trial, shots))
                    for trial in range(galleries.TRIALS)
                ),
                skip=self.skip,
                deduplicated=True,
                gallery_rule=gallery,
            )
            for search, cameras in SEARCHES.items()
            for shot, shots in SHOTS.items()
        )

    def counts(self) -> dict[str, int]:
        train, query = self.train(), self._query()
        with_images = {image.identity for image in self._images}
        return {
            "identities": len(with_images),
            "training identities": len(with_images & self.train_identities),
            "validation identities, part of training": len(with_images & self.validation_identities),
            "training images, visible": sum(image.modality == "visible" for image in train),
            "training images, infrared": sum(image.modality == "infrared" for image in train),
            "test identities": len(with_images & self.test_identities),
            "queries": len(query),
            **{f"queries of camera {camera}": sum(i.camera == camera for i in query) for camera in INFRARED},
            **{
                f"gallery, {search}-{shot}": sum(
                    min(shots, len(files))
                    for (identity, camera), files in self._by_camera.items()
                    if identity in self.test_identities and camera in cameras
                )
                for search, cameras in SEARCHES.items()
                for shot, shots in SHOTS.items()
            },
        }

    def _query(self) -> tuple[Record, ...]:
        pairs = ((identity, camera) for identity in sorted(self.test_identities) for camera in INFRARED)
        return tuple(image for pair in pairs for image in self._by_camera.get(pair, ()))

    def _list(self) -> dict[tuple[int, int], tuple[Record, ...]]:
        images: dict[tuple[int, int], tuple[Record, ...]] = {}
        for camera in sorted(VISIBLE + INFRARED):
            modality: Modality = "visible" if camera in VISIBLE else "infrared"
            self.strays += find_strays(self.root, f"cam{camera}")
            for identity in sorted(self.listed):
                folder = f"cam{camera}/{identity:04d}"
                files, others, _ = list_folder(f"{self.root}/{folder}")
                self.others += tuple(f"{folder}/{file}" for file in others)
                if files:
                    images[identity, camera] = tuple(
                        Record(f"{folder}/{file}", identity=identity, camera=camera, modality=modality)
                        for file in files
                    )
        return images
