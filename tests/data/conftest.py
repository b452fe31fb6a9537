"""Fixtures of the data sets' tests: small trees of empty files in each layout, and photographs of drawn people."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.places import ORACLES

from data.photographs.library import Photos
from data.simulators.collage.people import people
from data.simulators.collage.simulator import Collage
from data.simulators.pedestrians.simulator import draw, make_identity, make_shot
from parsing.labels import label_set

Plant = Callable[[Path, Iterable[str], Mapping[str, str]], Path]


def plant_files(root: Path, images: Iterable[str], lists: Mapping[str, str]) -> Path:
    """Empty images and written lists below `root`."""
    folders: set[Path] = set()
    for name in (*images, *lists):
        path = root / name
        if path.parent not in folders:
            path.parent.mkdir(parents=True, exist_ok=True)
            folders.add(path.parent)
        path.write_text(lists.get(name, ""))
    return root


@pytest.fixture(scope="session")
def plant() -> Plant:
    """`plant(root, images, lists)` makes empty images and writes lists; it answers `root`."""
    return plant_files


@pytest.fixture
def sysu_root(tmp_path: Path) -> Path:
    """Identities 1, 2 to train, 5 to validate, 3, 12 to test; camera 2 never sees 12, no list names 9."""
    images = [
        f"cam{camera}/{identity:04d}/{number:04d}.jpg"
        for camera in range(1, 7)
        for identity in (1, 2, 3, 5, 9, 12)
        for number in range(1, 13)
        if (camera, identity) != (2, 12)
    ]
    lists = {"exp/train_id.txt": "1,2\n", "exp/val_id.txt": "5", "exp/test_id.txt": "12,3\n"}
    return plant_files(tmp_path / "SYSU-MM01", images, lists)


@pytest.fixture
def regdb_root(tmp_path: Path) -> Path:
    """Four identities of two images a modality, three splits; split k tests identities k and k + 1."""
    images = [
        f"{folder}/{identity}/{number}_{folder[0].lower()}_{identity}.bmp"
        for folder in ("Visible", "Thermal")
        for identity in range(1, 5)
        for number in (1, 2)
    ]
    lists = {}
    for split in (1, 2, 3):
        people = {
            "test": [split + 1, split],
            "train": [i for i in range(1, 5) if i not in (split, split + 1)],
        }
        for part, identities in people.items():
            for folder in ("Visible", "Thermal"):
                lines = [
                    f"{image} {label}"
                    for label, identity in enumerate(identities)
                    for image in images
                    if image.startswith(f"{folder}/{identity}/")
                ]
                lists[f"idx/{part}_{folder.lower()}_{split}.txt"] = "\n".join(lines) + "\n"
    return plant_files(tmp_path / "RegDB", images, lists)


@pytest.fixture
def llcm_root(tmp_path: Path) -> Path:
    """Identities 1 and 4 to train, 2 and 3 to test; camera 3 has no infrared, camera 9 never sees 3."""
    train = {
        light: [f"{light}/{i:04d}/{i:04d}_c0{c}_s1_f{c}_{light}.jpg" for i in (1, 4) for c in (1, 6)]
        for light in ("vis", "nir")
    }
    test = [
        f"test_{light}/cam{camera}/{i:04d}/{i:04d}_c0{camera}_s1_f{n}_{light}.jpg"
        for light in ("vis", "nir")
        for camera in range(1, 10)
        for i in (2, 3)
        for n in range(5)
        if (light, camera) != ("nir", 3) and (i, camera) != (3, 9)
    ]
    lists = {
        f"idx/train_{light}.txt": "".join(f"{name} {int('0004' in name)}\n" for name in names)
        for light, names in train.items()
    }
    lists["idx/test_id.txt"] = "3,2\n"
    return plant_files(tmp_path / "LLCM", [*train["vis"], *train["nir"], *test], lists)


@pytest.fixture
def folder_root(tmp_path: Path) -> Path:
    """anna, ben and zoe; cora in infrared only; one image of nobody."""
    images = [
        "visible/anna/1.jpg",
        "visible/hall/cam3/ben/2.PNG",
        "visible/zoe/z_c4_1.jpeg",
        "visible/nobody.bmp",
        "infrared/anna/cam2/1.jpg",
        "infrared/ben/1.jpg",
        "infrared/zoe/1.jpg",
        "infrared/cora/c12s3_1.jpg",
        "infrared/anna/.hidden.jpg",
        "infrared/anna/notes.txt",
        "labels/visible/anna/1.png",
    ]
    return plant_files(tmp_path / "own", images, {})


@pytest.fixture(scope="session")
def permutations() -> Path:
    return ORACLES / "sysu_protocol" / "rand_perm_cam.mat"


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Photos:
    """Eight photographs of drawn people, each in the middle of a wide background."""
    root = tmp_path_factory.mktemp("photos")
    ids = [f"{number:02d}" for number in range(8)]
    for name in ("photos", "parts"):
        (root / name).mkdir()
    rng = np.random.default_rng(0)
    for number, photo_id in enumerate(ids):
        shot = replace(
            make_shot(0, number=number, camera=1, index=0, band="visible"),
            occluder="none",
            foot=(0.5, 0.95),
            scale=0.85,
        )
        image, labels = draw(make_identity(0, number), shot)
        sides = rng.integers(0, 255, (image.shape[0], 60, 3), dtype=np.uint8)
        Image.fromarray(np.hstack((sides, image, sides))).save(root / f"photos/{photo_id}.jpg")
        Image.fromarray(np.pad(labels, ((0, 0), (60, 60)))).save(root / f"parts/{photo_id}.png")
    meta = {"train": ids[:6], "val": ids[6:], "parts": label_set("person7").classes}
    (root / "meta.json").write_text(json.dumps(meta))
    return Photos(root)


@pytest.fixture(scope="session")
def collage(photos: Photos) -> Collage:
    return Collage(photos.root, people(photos, "all", 5, 3, seed=0), seed=0)
