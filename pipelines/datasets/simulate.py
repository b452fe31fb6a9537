"""Make the simulated data sets `pedestrians` and `collage` in the layout of a real one, and draw a sheet of them."""

import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from data.photographs.library import Photos
from data.records import Infrared
from data.simulators.collage.levels import STANDARD
from data.simulators.collage.people import Subset, people
from data.simulators.collage.simulator import Collage
from data.simulators.layouts import Frame, Slot, draft_data_set, find_imitated, label_name, plan, save, simulation
from data.simulators.pedestrians.simulator import draw, make_identity, make_shot
from parsing.errors import InputError
from parsing.images import read_image
from parsing.importers.label_values import read_labels
from parsing.labels import label_set
from parsing.modality import MODALITIES
from parsing.progress import Bar
from parsing.stopping import interrupts_blocked
from pipelines.pages.canvas import Canvas
from pipelines.pages.sheets import draw_classes, overlay, palette, place_legend


class Filmer(Protocol):
    """Make the image of a slot and its labels. It has no state and is small, so that processes can share the work.

    Attributes:
        notes: facts about the labels that the user should know.
    """

    @property
    def notes(self) -> tuple[str, ...]: ...

    def shoot(self, slot: Slot) -> Frame: ...


@dataclass(frozen=True, slots=True)
class Extent:
    """Size of a data set: number of people to train and to test, number of images per camera, and the seed."""

    layout: str
    train: int
    test: int
    shots: int
    seed: int


@dataclass(frozen=True, slots=True)
class Pedestrians:
    """Film drawn pedestrians."""

    seed: int
    infrared: Infrared

    @property
    def notes(self) -> tuple[str, ...]:
        return ()

    def shoot(self, slot: Slot) -> Frame:
        band = "visible" if slot.modality == "visible" else self.infrared
        who = make_identity(self.seed, slot.person)
        return draw(
            who,
            make_shot(self.seed, number=slot.person, camera=slot.camera, index=slot.index, band=band, place=slot.place),
        )


def make_pedestrians(
    out: Path,
    layout: str = "sysu",
    train: int = 24,
    test: int = 20,
    shots: int = 4,
    seed: int = 0,
    infrared: Infrared | None = None,
    overwrite: bool = False,
    workers: int | None = None,
) -> Path:
    """Write the `pedestrians` data set to `out`; `shots` counts images a camera.

    test: public evaluators read Rank-20, which takes 20 people. shots: some draw 10 for multi-shot galleries.
    infrared: `near` or `thermal`; by default what the layout's real cameras are. workers: processes; one
    a core by default. The result does not depend on their number.
    """
    size = Extent(layout, train=train, test=test, shots=shots, seed=seed)
    infrared = _camera_kind(layout, infrared)
    return _make(
        out,
        size=size,
        filmer=Pedestrians(seed, infrared),
        about={"data_set": "pedestrians", "infrared": infrared},
        overwrite=overwrite,
        workers=workers,
    )


def make_collage(
    photos: Path,
    out: Path,
    layout: str = "sysu",
    train: int = 400,
    test: int = 200,
    shots: int = 2,
    infrared: Infrared | None = None,
    subset: Subset = "all",
    seed: int = 0,
    overwrite: bool = False,
    workers: int | None = None,
    difficulty: str = STANDARD,
) -> Path:
    """Write the `collage` data set to `out`, from the annotated photographs of `photos`; options as above.

    subset: `train`, `val` or `all` of the photographs; `val` for people the built-in parser never saw, `apart` to
        train on people of `train` and test on people of `val` (not for RegDB, whose splits mix them).
    difficulty: `standard`, a level of `collage.levels.DIFFICULTIES`, or `mixed`, a level per image.
    """
    if subset == "apart" and find_imitated(layout).split_count > 1:
        raise InputError(f"--subset apart: every split of {layout} draws its own training people; give another")
    size = Extent(layout, train=train, test=test, shots=shots, seed=seed)
    infrared = _camera_kind(layout, infrared)
    chosen = people(Photos(photos), subset, train, test, seed)
    filmer = Collage(Path(photos), ids=chosen, seed=seed, infrared=infrared, difficulty=difficulty)
    about = {
        "data_set": "collage",
        "infrared": infrared,
        "photos_subset": subset,
        "photos": list(chosen),
        "difficulty": difficulty,
    }
    return _make(out, size=size, filmer=filmer, about=about, overwrite=overwrite, workers=workers)


def contact_sheet(root: Path, out_png: Path, rows: int = 4, columns: int = 2) -> Path:
    """Draw a sheet of a simulated data set, in rows and columns of people.

    Each person has two visible and two infrared images, and the parts of one of each, whose colours a legend names.
    """
    about = simulation(root)
    slots = plan(*(about[key] for key in ("layout", "train", "test", "shots", "seed"))).slots
    if rows < 1 or columns < 1:
        raise InputError(f"a contact sheet needs at least one row and one column, got {rows} and {columns}")
    number = min(rows * columns, about["train"] + about["test"])
    strips = [_strip(root, [slot for slot in slots if slot.person == person]) for person in range(number)]
    tile, gap, head = (66, 156), 10, 18
    across, width = min(columns, number), len(STRIP) * tile[0]
    whole, below = across * (width + gap) - gap, head + -(-number // columns) * tile[1] + gap
    known = label_set("person7").classes
    legend = place_legend(known[1:], whole)
    sheet = Canvas(whole, below + legend[-1][2] + 24)
    for column in range(across):
        for i, name in enumerate(STRIP):
            middle = column * (width + gap) + i * tile[0] + tile[0] // 2
            sheet.draw_text((middle, 2), name, (34, 34, 34), 11, centered=True)
    for number, strip in enumerate(strips):
        top = head + number // columns * tile[1]
        for i, image in enumerate(strip):
            left = number % columns * (width + gap) + i * tile[0]
            sheet.draw_image(image, (left, top, left + tile[0], top + tile[1]))
    draw_classes(sheet, legend, palette(known), list(known), (0, below))
    return sheet.save(out_png, quantized=True)


def _camera_kind(layout: str, infrared: Infrared | None) -> Infrared:
    if infrared is None:
        return find_imitated(layout).infrared
    if infrared not in ("near", "thermal"):
        raise InputError(f"infrared is near or thermal, got {infrared!r}")
    return infrared


def _make(
    out: Path,
    size: Extent,
    filmer: Filmer,
    about: dict[str, Any],
    overwrite: bool,
    workers: int | None,
) -> Path:
    out = Path(out)
    planned = plan(size.layout, train=size.train, test=size.test, shots=size.shots, seed=size.seed)
    persons: dict[int, list[Slot]] = {}
    for slot in planned.slots:
        persons.setdefault(slot.person, []).append(slot)
    batches = list(persons.values())
    with (
        draft_data_set(out, plan=planned, about={**asdict(size), **about}, overwrite=overwrite) as draft,
        Bar(total=len(planned.slots), unit="image", desc=f"making {out.name}") as bar,
    ):
        noted = False
        for images, notes in _spread(draft, filmer=filmer, seed=size.seed, batches=batches, workers=workers):
            bar.update(images)
            if notes and not noted:  # every process finds them: say them once
                tqdm.write(f"note: {'; '.join(notes)}", file=sys.stderr)
                noted = True
    return out


def _spread(
    draft: Path, filmer: Filmer, seed: int, batches: Sequence[list[Slot]], workers: int | None
) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Make the batches, one person each, in this process or several; yield the answer of `_film` for each."""
    workers = min(os.cpu_count() or 1, len(batches)) if workers is None else workers
    if workers < 1:
        raise InputError(f"workers: at least 1 process, got {workers}")
    if workers == 1:
        yield from (_film(draft, filmer=filmer, seed=seed, slots=batch) for batch in batches)
        return
    # spawned, not forked: the caller may hold threads, of torch or of a progress bar
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        with interrupts_blocked():  # the first task starts the processes
            waiting = {pool.submit(_film, draft, filmer, seed, batch) for batch in batches}
        try:
            while waiting:
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in done)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _film(draft: Path, filmer: Filmer, seed: int, slots: Sequence[Slot]) -> tuple[int, tuple[str, ...]]:
    """Make the images of one person; return their number and what the user should know of the labels."""
    for slot in slots:
        image, labels = filmer.shoot(slot)
        quality = np.random.default_rng((seed, 0x1E6, slot.person, slot.camera, slot.index)).integers(85, 96)
        save(draft, slot, image, labels, int(quality))
    return len(slots), filmer.notes


STRIP = ("visible", "its parts", "visible", "infrared", "its parts", "infrared")
"""Headings of what `_strip` returns."""


def _strip(root: Path, slots: Sequence[Slot]) -> list[NDArray[np.uint8]]:
    """Return one person: two visible images, the first followed by its parts, and two infrared ones likewise."""
    known = label_set("person7")
    tiles = []
    for modality in MODALITIES:
        shown = [slot for slot in slots if slot.modality == modality]
        # images of two cameras if there are two
        shown = [shown[0], shown[-1]]
        for i, slot in enumerate(shown):
            image = read_image(root / slot.name)
            tiles.append(image)
            if i == 0:
                labels, _ = read_labels(root / label_name(slot.name), known)
                tiles.append(overlay(image, labels, known.classes))
    return tiles
