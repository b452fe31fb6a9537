"""Writes simulated images in the layouts of SYSU-MM01, RegDB and LLCM, as readers of the real ones expect.

Beside the images lie the true label maps, `labels/<the image's path>.png`, and `simulated.json`, which says
that the folder is a simulation and how it was made.
"""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from parsing.errors import InputError, MissingError

from ..drafts import draft_folder
from ..readers import galleries
from ..readers import llcm as of_llcm
from ..readers import regdb as of_regdb
from ..readers import sysu as of_sysu
from ..records import DataSet, Modality
from ..registry import data_set
from . import LAYOUT_NAMES

Frame = tuple[NDArray[np.uint8], NDArray[np.uint8]]
"""An image (H, W, 3) in RGB and its label map (H, W)."""

FORMAT_VERSION = 1
MARK = "simulated.json"
LABELS = "labels"


def is_simulated(root: Path) -> bool:
    """Return whether `cscl data make` wrote the data set in `root`."""
    return (root / MARK).is_file()


@dataclass(frozen=True, slots=True)
class Slot:
    """One image to make: its path in the data set, who is on it (from 0), which camera took it, and the shot.

    place: cameras of one place see the same surroundings.
    """

    name: str
    person: int
    camera: int
    index: int
    modality: Modality
    place: int


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that a folder in some layout holds.

    slots: the images. lists, files: content by path. copies: the image of a slot, by the path where it lies once more.
    """

    slots: tuple[Slot, ...]
    lists: Mapping[str, str]
    files: Mapping[str, bytes] = field(default_factory=dict)
    copies: Mapping[str, str] = field(default_factory=dict)


def sysu(train: int, test: int, shots: int, seed: int) -> Plan:
    """Return a plan as SYSU-MM01; the last quarter of the training people is in val_id.txt.

    `rand_perm_cam.mat` has a permutation for everybody, as that of the evaluation kit.
    """
    one_place = dict([of_sysu.SAME_PLACE])
    slots = [
        Slot(
            f"cam{camera}/{person + 1:04d}/{index + 1:04d}.jpg",
            person=person,
            camera=camera,
            index=index,
            modality="infrared" if camera in of_sysu.INFRARED else "visible",
            place=one_place.get(camera, camera),
        )
        for camera in sorted(of_sysu.VISIBLE + of_sysu.INFRARED)
        for person in range(train + test)
        for index in range(shots)
    ]
    first_val = train - max(1, train // 4)
    ids = [str(person + 1) for person in range(train + test)]
    lists = {
        "exp/train_id.txt": ",".join(ids[:first_val]) + "\n",
        "exp/val_id.txt": ",".join(ids[first_val:train]) + "\n",
        "exp/test_id.txt": ",".join(ids[train:]) + "\n",
    }
    counts = {
        (person + 1, camera): shots
        for camera in sorted(of_sysu.VISIBLE + of_sysu.INFRARED)
        for person in range(train + test)
    }
    permutations = galleries.make_permutations(counts, seed)
    return Plan(tuple(slots), lists, {f"exp/{galleries.PERMUTATIONS}": permutations})


def regdb(train: int, test: int, shots: int, seed: int) -> Plan:
    """Return a plan as RegDB; each of the ten splits draws its own training people. Labels count from 0."""
    folders = of_regdb.FOLDERS
    images = {
        (folder, person): [f"{folder}/{person + 1}/{index + 1:02d}_{person + 1}.jpg" for index in range(shots)]
        for folder in folders
        for person in range(train + test)
    }
    slots = [
        Slot(
            name,
            person=person,
            camera=of_regdb.CAMERAS[folders[folder]],
            index=index,
            modality=folders[folder],
            place=1,
        )
        for (folder, person), names in images.items()
        for index, name in enumerate(names)
    ]
    lists = {}
    for split in range(1, of_regdb.SPLITS + 1):
        order = np.random.default_rng((seed, 0x4E6, split)).permutation(train + test).tolist()
        for part, people in (("train", sorted(order[:train])), ("test", sorted(order[train:]))):
            for folder in folders:
                lines = [f"{name} {label}\n" for label, p in enumerate(people) for name in images[folder, p]]
                lists[f"idx/{part}_{folder.lower()}_{split}.txt"] = "".join(lines)
    return Plan(tuple(slots), lists)


def llcm(train: int, test: int, shots: int, seed: int) -> Plan:
    """Return a plan as LLCM; each camera number is one place.

    Images of test people lie in `vis/` and `nir/` too, where `test_vis.txt` and `test_nir.txt` name them.
    """
    lights: dict[str, Modality] = {"vis": "visible", "nir": "infrared"}
    slots: list[Slot] = []
    lists: dict[str, str] = {}
    copies: dict[str, str] = {}
    for light, modality in lights.items():
        lines: dict[str, list[str]] = {"train": [], "test": []}
        for person in range(train + test):
            for camera in of_llcm.CAMERAS[modality]:
                for index in range(shots):
                    identity = f"{person + 1:04d}"
                    file = f"{identity}/{identity}_c{camera:02d}_s{index + 1}_f{index + 1}_{light}.jpg"
                    beside, apart = f"{light}/{file}", f"test_{light}/cam{camera}/{file}"
                    # shots of the two modalities differ, so the near-infrared ones have numbers of their own
                    number = camera if light == "vis" else camera + len(of_llcm.CAMERAS["visible"])
                    slots.append(
                        Slot(
                            beside if person < train else apart,
                            person=person,
                            camera=number,
                            index=index,
                            modality=modality,
                            place=camera,
                        )
                    )
                    if person < train:
                        lines["train"].append(f"{beside} {person}\n")
                    else:
                        lines["test"].append(f"{beside} {person - train}\n")
                        copies[beside] = apart
        lists |= {f"idx/{part}_{light}.txt": "".join(named) for part, named in lines.items()}
    lists["idx/test_id.txt"] = ",".join(str(p + 1) for p in range(train, train + test)) + "\n"
    return Plan(tuple(slots), lists, copies=copies)


LAYOUTS: dict[str, Callable[[int, int, int, int], Plan]] = dict(zip(LAYOUT_NAMES, (sysu, regdb, llcm), strict=True))


def find_imitated(layout: str) -> type[DataSet]:
    """Return the reader of the data set that `layout` imitates, for its rules; raise InputError if there is none."""
    if layout not in LAYOUTS:
        raise InputError(f"there is no layout {layout!r}; choose one of {', '.join(LAYOUTS)}")
    return data_set(layout)


def plan(layout: str, train: int, test: int, shots: int, seed: int = 0) -> Plan:
    """Return what a data set of `train` and `test` people holds in `layout`, `shots` images per person and camera."""
    find_imitated(layout)
    if train < 2 or test < 1 or shots < 1:
        raise InputError(f"a data set needs 2 people to train, 1 to test and 1 shot; got {train}, {test} and {shots}")
    return LAYOUTS[layout](train, test, shots, seed)


def save(root: Path, slot: Slot, image: NDArray[np.uint8], labels: NDArray[np.uint8], quality: int) -> None:
    """Write an image (H, W, 3) as JPEG and its labels (H, W) as a grey PNG whose values are classes."""
    if image.shape[:2] != labels.shape:
        raise InputError(f"{slot.name}: image {image.shape} and labels {labels.shape} differ in size")
    path, truth = root / slot.name, root / label_name(slot.name)
    for target in (path, truth):
        target.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path, quality=quality)
    Image.fromarray(labels).save(truth)


def label_name(name: str) -> str:
    """Return the path, below the root, of the true labels of the image `name`."""
    return f"{LABELS}/{PurePosixPath(name).with_suffix('.png')}"


def simulation(root: Path) -> dict[str, Any]:
    """Return the content of a folder's `simulated.json`; MissingError if it is no simulation of this project."""
    try:
        about = json.loads((root / MARK).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise MissingError(f"{root} has no {MARK}: it was not made by `cscl data make`") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{root / MARK} cannot be read: {error}") from error
    if not isinstance(about, dict) or about.get("format_version") != FORMAT_VERSION:
        raise InputError(f"{root / MARK}: expected format version {FORMAT_VERSION}; make the data set again")
    return about


@contextmanager
def draft_data_set(out: Path, plan: Plan, about: Mapping[str, Any], overwrite: bool) -> Iterator[Path]:
    """Yield a temporary folder to save images in; it becomes `out`, with lists and mark, if the block succeeds.

    InputError if `out` holds anything, unless it is a simulation and `overwrite` is set.
    """
    with draft_folder(out, ours=is_simulated, kind="a simulated data set", overwrite=overwrite) as draft:
        yield draft
        contents = {name: text.encode() for name, text in plan.lists.items()}
        for name, content in {**contents, **plan.files}.items():
            (draft / name).parent.mkdir(parents=True, exist_ok=True)
            (draft / name).write_bytes(content)
        for name, image in plan.copies.items():
            (draft / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(draft / image, draft / name)
        note = {"simulation": True, "format_version": FORMAT_VERSION, "images": len(plan.slots), **about}
        (draft / MARK).write_text(json.dumps(note, indent=2, sort_keys=True) + "\n", encoding="utf-8")
