"""Drawing galleries from the images of each identity and camera: the `seeded` and the `official` rule."""

import io
import random
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from parsing.errors import InputError, MissingError

from ..records import Record

TRIALS = 10
PERMUTATIONS = "rand_perm_cam.mat"
CAMERAS = 6

Images = Mapping[tuple[int, int], Sequence[Record]]
"""Images by (identity, camera), each sorted by name; a pair without images may be absent."""


def draw_seeded(
    images: Images, identities: Iterable[int], cameras: Sequence[int], trial: int, shots: int
) -> tuple[Record, ...]:
    """Return the gallery of the public baselines: a generator seeded with the trial; by identity, then camera.

    One shot is a `choice`, more are a `sample`; a pair with fewer images than `shots` gives all.
    """
    generator = random.Random(trial)
    gallery: list[Record] = []
    for identity in sorted(identities):
        for camera in cameras:
            files = images.get((identity, camera), ())
            if not files:
                continue
            if shots == 1:
                gallery.append(generator.choice(files))
            else:
                gallery.extend(generator.sample(files, min(shots, len(files))))
    return tuple(gallery)


class Permutations:
    """The galleries of SYSU-MM01's evaluation kit: ten permutations of each camera and identity."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.is_file():
            raise MissingError(f"there is no {path}; it is {PERMUTATIONS} of SYSU-MM01's evaluation kit")
        from scipy.io import loadmat  # a second of import, which names of data sets need not pay

        try:
            self._cameras: Any = loadmat(path, variable_names=["rand_perm_cam"])["rand_perm_cam"]
        except Exception as error:  # on damaged files scipy raises whatever comes up, such as ZeroDivisionError
            raise InputError(
                f"{path} is not {PERMUTATIONS} of SYSU-MM01's evaluation kit: {str(error) or 'unreadable'}"
            ) from error
        if self._cameras.dtype != object or self._cameras.size != CAMERAS:
            raise InputError(
                f"{path}: expected {PERMUTATIONS} of SYSU-MM01's evaluation kit, {CAMERAS} cells, one per "
                f"camera, got {self._cameras.dtype} of shape {self._cameras.shape}"
            )

    def draw(
        self, images: Images, identities: Iterable[int], cameras: Sequence[int], trial: int, shots: int
    ) -> tuple[Record, ...]:
        """Return the gallery of the evaluation kit: the first `shots` entries of row `trial`, by camera.

        InputError if the permutations are of another number of images than the folder holds.
        """
        gallery: list[Record] = []
        ordered = sorted(identities)
        for camera in cameras:
            for identity in ordered:
                files = images.get((identity, camera), ())
                row = self._row(camera, identity, trial)
                # Numbers count the sorted images from 1: with a file more or less they mean other images.
                if sorted(row) != list(range(1, len(files) + 1)):
                    raise InputError(
                        f"{self.path} has {len(row)} images of camera {camera}, identity {identity}, but the "
                        f"folder has {len(files)}; official galleries need SYSU-MM01 as published, others "
                        "take the seeded ones"
                    )
                gallery.extend(files[number - 1] for number in row[:shots])
        return tuple(gallery)

    def _row(self, camera: int, identity: int, trial: int) -> list[int]:
        try:
            people = np.ravel(np.ravel(self._cameras)[camera - 1])
            if identity > len(people):
                return []
            return [int(number) for number in people[identity - 1][trial]]
        except (IndexError, TypeError, ValueError) as error:
            raise InputError(
                f"{self.path} has no trial {trial + 1} of camera {camera}, identity {identity}; "
                f"expected {PERMUTATIONS} of SYSU-MM01's evaluation kit"
            ) from error


def make_permutations(counts: Mapping[tuple[int, int], int], seed: int) -> bytes:
    """Return `rand_perm_cam.mat` in the form of the evaluation kit, drawn anew.

    A cell (6, 1), one per camera, of cells (people, 1) of `TRIALS` permutations (10, n), which count from 1.

    Args:
        counts: number of images by (identity, camera); a person below the largest identity may be absent.
        seed: of the permutations.
    """
    from scipy.io import savemat  # a second of import, which names of data sets need not pay

    people = max(identity for identity, _ in counts)
    cells = np.empty((CAMERAS, 1), object)
    for camera in range(1, CAMERAS + 1):
        cells[camera - 1, 0] = of_camera = np.empty((people, 1), object)
        for identity in range(1, people + 1):
            images = counts.get((identity, camera), 0)
            rng = np.random.default_rng((seed, 0x9E2, camera, identity))
            drawn = [rng.permutation(images) + 1 for _ in range(TRIALS)]
            of_camera[identity - 1, 0] = np.array(drawn, np.uint16).reshape(TRIALS, images)
    file = io.BytesIO()
    savemat(file, {"rand_perm_cam": cells}, do_compression=True)
    # the header's 116 bytes of text name the time, and the same data set must have the same bytes
    return (
        b"rand_perm_cam of a simulation, in the form of the evaluation kit of SYSU-MM01".ljust(116)
        + file.getvalue()[116:]
    )
