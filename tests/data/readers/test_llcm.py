"""LLCM: lists to train, seeded galleries in both directions."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from data.readers.llcm import LLCM
from parsing.errors import InputError


def seeded_by_the_letter(root: Path, folders: list[str], trial: int) -> list[str]:
    """The rule restated on the file system, on Python's global generator."""
    state = random.getstate()
    random.seed(trial)
    gallery = []
    for identity in sorted(f"{int(word):04d}" for word in (root / "idx/test_id.txt").read_text().split(",")):
        for folder in folders:
            if (root / folder / identity).is_dir():
                files = sorted((root / folder / identity).iterdir())
                gallery.append(random.choice(files).relative_to(root).as_posix())
    random.setstate(state)
    return gallery


def test_training_images_take_identity_and_camera_from_their_path_and_modality_from_their_list(
    llcm_root: Path,
) -> None:
    train = LLCM(llcm_root).train()
    assert [(image.name, image.identity, image.camera, image.modality) for image in train] == [
        (
            f"{light}/{identity:04d}/{identity:04d}_c0{camera}_s1_f{camera}_{light}.jpg",
            identity,
            camera,
            modality,
        )
        for light, modality in (("nir", "infrared"), ("vis", "visible"))
        for identity in (1, 4)
        for camera in (1, 6)
    ]


def test_every_test_image_of_one_modality_queries_ten_seeded_galleries_of_the_other(llcm_root: Path) -> None:
    visible = [f"test_vis/cam{camera}" for camera in range(1, 10)]
    infrared = [f"test_nir/cam{camera}" for camera in (1, 2, 4, 5, 6, 7, 8, 9)]
    there, back = LLCM(llcm_root).protocols()
    assert (there.name, back.name) == ("visible-to-nir", "nir-to-visible")
    for protocol, light, queries, folders in ((there, "vis", 85, infrared), (back, "nir", 75, visible)):
        assert (protocol.skip, protocol.deduplicated) == (LLCM.skip, True)
        assert (protocol.gallery_rule, len(protocol.trials)) == ("seeded", 10)
        for number, trial in enumerate(protocol.trials):
            assert len(trial.query) == queries
            assert all(image.name.startswith(f"test_{light}/cam{image.camera}/") for image in trial.query)
            assert [image.name for image in trial.gallery] == seeded_by_the_letter(llcm_root, folders, number)
    assert len({protocol.trials[0].gallery for protocol in (there, back)}) == 2


def test_images_are_the_training_and_the_test_images_once_each(llcm_root: Path, plant: Callable[..., Path]) -> None:
    plant(llcm_root, ["vis/0002/0002_c01_s1_f1_vis.jpg", "labels/vis/0001/0001_c01_s1_f1_vis.png"], {})
    llcm = LLCM(llcm_root)
    names = [image.name for image in llcm.images]
    assert names == sorted(set(names))
    assert len(names) == 8 + 85 + 75
    assert llcm.counts() == {
        "identities": 4,
        "images": 168,
        "training identities": 2,
        "training images": 8,
        "test identities": 2,
        "test images": 160,
    }
    assert llcm.counts().keys() == LLCM.published.keys()


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("idx/train_vis.txt", "../vis/0001/a.jpg 0", "must be a path below"),
        ("idx/train_nir.txt", "/vis/0001/a.jpg 0", "must be a path below"),
        (
            "idx/train_nir.txt",
            "nir/0001/gone.jpg 0",
            r"lists 1 images that are not there, first nir/0001/gone\.jpg",
        ),
        ("idx/train_vis.txt", "vis/0001/0001_c01_s1_f1_vis.jpg 1", "contradict"),
        (
            "idx/train_nir.txt",
            "vis/0001/0001_c01_s1_f1_vis.jpg 0",
            r"train_nir\.txt lists vis/0001/.*in the other list too",
        ),
        ("idx/train_vis.txt", "vis\\0001\\0001_c01_s1_f1_vis.jpg 0", "with forward slashes"),
        ("idx/train_vis.txt", "D:\\LLCM\\vis\\0001\\0001_c01_s1_f1_vis.jpg 0", "with forward slashes"),
        ("idx/test_id.txt", "2,4", r"identities \[4\] are both"),
        ("idx/test_id.txt", " ", "names no identity"),
    ],
)
def test_lists_are_not_trusted(llcm_root: Path, plant: Callable[..., Path], name: str, text: str, message: str) -> None:
    plant(llcm_root, [], {name: text})
    with pytest.raises(InputError, match=message):
        LLCM(llcm_root)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("\n", "\r\n"),
        lambda text: "\ufeff" + text,
        lambda text: text.replace("\n", " \t\n\n"),
        lambda text: text + text.splitlines()[0] + "\n",
        lambda text: text.rstrip(),
    ],
)
def test_how_an_editor_saved_a_list_changes_nothing(llcm_root: Path, change: Callable[[str], str]) -> None:
    before = LLCM(llcm_root)
    for name in ("train_vis.txt", "train_nir.txt", "test_id.txt"):
        file = llcm_root / "idx" / name
        with file.open("r+", encoding="utf-8", newline="") as opened:
            text = opened.read()
            opened.seek(0)
            opened.truncate()
            opened.write(change(text))
    after = LLCM(llcm_root)
    assert (after.images, after.test_identities) == (before.images, frozenset((2, 3)))


def test_what_is_not_read_is_said(llcm_root: Path, plant: Callable[..., Path]) -> None:
    (llcm_root / "test_vis/cam1/0002").rename(llcm_root / "test_vis/cam1/2")
    plant(llcm_root, ["test_nir/cam1/0003/notes.txt", "test_nir/cam1/._0003"], {})
    assert [finding.line() for finding in LLCM(llcm_root).findings()] == [
        "1 files that are no image: 1 .txt; the first is test_nir/cam1/0003/notes.txt",
        "1 folders or files not named by four digits, as 0001: test_vis/cam1/2",
    ]


def test_only_the_seeded_rule_exists(llcm_root: Path) -> None:
    with pytest.raises(InputError, match="'official'"):
        LLCM(llcm_root).protocols("official")
