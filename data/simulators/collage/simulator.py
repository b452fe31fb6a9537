"""The `collage` simulation: people from annotated photographs before other backgrounds, in two modalities.

One photograph is one identity. The labels are those of the photograph, moved as the person moves, and therefore exact.
It is a simulation, and every number from it must say so.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from parsing.errors import InputError

from ...records import Infrared
from ..layouts import Frame, Slot
from .camera import Camera, Film, make_camera
from .cutouts import Cutout, bend_person, draw_bend, mirror_person, resize_person
from .difficulty import Box, detect_box, level, surroundings
from .levels import DIFFICULTIES, REMAINS, STANDARD, Difficulty, check_difficulty
from .scene import Cast, Scene

"""Image (H, W, 3) RGB and labels (H, W)."""


@dataclass(frozen=True)
class Collage:
    """Films `ids` (one photograph, one person, in that order) on simulated streets.

    root: the annotated photographs. infrared: kind of the infrared cameras. difficulty: one of `difficulty.CHOICES`.
    Raises InputError for an unknown kind or difficulty, and if `root` is no folder of annotated photographs.
    """

    root: Path
    ids: tuple[str, ...]
    seed: int
    infrared: Infrared = "near"
    difficulty: str = STANDARD

    def __post_init__(self) -> None:
        if self.infrared not in ("near", "thermal"):
            raise InputError(f"infrared is 'near' or 'thermal', got {self.infrared!r}")
        check_difficulty(self.difficulty)
        _ = self._cast.photos  # raises if this is no folder of photographs

    @property
    def notes(self) -> tuple[str, ...]:
        """Doubts about the labels that this process has read, for the user."""
        return self._cast.photos.notes

    @property
    def _cast(self) -> Cast:
        return Cast(self.root, self.ids, self.seed)

    def level(self, slot: Slot) -> str:
        """Return how hard the image of the slot is: `standard` or a key of `DIFFICULTIES`."""
        return level(self.difficulty, self.seed, slot)

    def shoot(self, slot: Slot) -> Frame:
        """Return the image and the labels of a slot, a pure function of the seed and the slot."""
        rng = np.random.default_rng((self.seed, 0x57EE7, slot.person, slot.camera, slot.index))
        camera = make_camera(self.seed, slot.camera)
        tall = int(rng.integers(150, 291))
        person = resize_person(self._cast.cutout(slot.person), tall)
        person = bend_person(mirror_person(person) if camera.mirror else person, draw_bend(rng))
        name = self.level(slot)
        if name != STANDARD:
            return self._cropped(slot, camera=camera, person=person, tall=tall, difficulty=DIFFICULTIES[name])
        canvas, corner = _frame(person, tall, rng)
        scene = Scene.empty(self._cast, slot=slot, canvas=canvas, rng=rng)
        frame = Box(0, 0, *canvas)
        if rng.random() < 0.3:
            scene.add_other(tall, frame, rng)
        scene.add(person, corner)
        if rng.random() < 0.33:
            scene.occlude(tall, frame, rng)
        film = Film(self.seed, self.infrared)
        return film.expose(scene.image, labels=scene.labels, slot=slot, camera=camera, rng=rng), scene.labels

    def _cropped(self, slot: Slot, camera: Camera, person: Cutout, tall: int, difficulty: Difficulty) -> Frame:
        """Return what a detector cuts out of a scene.

        The scene and the noise are the same at every level but for what hides the person: crops of one slot at two
        levels agree in the part that both show.
        """
        key = (self.seed, 0xB0C5, slot.person, slot.camera, slot.index)
        scenery, finding, hiding, filming = np.random.default_rng(key).spawn(4)
        shown = _extent(person.labels)
        around = surroundings(shown)
        frame = shown.within(around)
        scene = Scene.empty(self._cast, slot=slot, canvas=(around.height, around.width), rng=scenery)
        if scenery.random() < 0.3:
            scene.add_other(tall, frame, scenery)
        scene.add(person, (-around.top, -around.left))
        box = detect_box(frame, difficulty.box_error, finding).pixels
        if hiding.random() < difficulty.occlusion:
            hidden = scene.copy()
            hidden.occlude(tall, frame, hiding)
            # nothing stands in front of a person of whom too little would remain in the box
            if hidden.labels[box].any(1).sum() >= REMAINS * frame.height:
                scene = hidden
        film = Film(self.seed, self.infrared)
        image = film.expose(
            scene.image, labels=scene.labels, slot=slot, camera=camera, rng=filming, person=frame.height
        )
        return image[box], scene.labels[box]


def _frame(person: Cutout, tall: int, rng: np.random.Generator) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the size (H, W) of a detector's crop, and row and column of the person's canvas in it."""
    rows, columns = np.flatnonzero(person.labels.any(1)), np.flatnonzero(person.labels.any(0))
    wide = columns[-1] - columns[0]
    left, right = rng.uniform(-0.06, 0.3, 2) * wide
    top, bottom = rng.uniform(-0.03, 0.08, 2) * tall
    if rng.random() < 0.08:
        bottom = -rng.uniform(0.05, 0.3) * tall
    height = int(rows[-1] - rows[0] + top + bottom)
    width = int(wide + left + right)
    # crops of the real data sets are 1:2 to 1:2.6
    least, most = int(height / 2.8), int(height / 1.9)
    extra = max(0, least - width)
    width = max(least, min(width, most))
    return (height, width), (int(top - rows[0]), int(left + extra / 2 - columns[0]))


def _extent(labels: NDArray[np.uint8]) -> Box:
    """Return the tight box around all classes but the background in labels (H, W)."""
    rows, columns = np.flatnonzero(labels.any(1)), np.flatnonzero(labels.any(0))
    return Box(int(rows[0]), left=int(columns[0]), bottom=int(rows[-1]) + 1, right=int(columns[-1]) + 1)
