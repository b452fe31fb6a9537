"""SYSU-MM01: splits, queries and galleries, small and at the size of the real test split."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from data.readers.sysu import SYSU
from parsing.errors import InputError, MissingError

SIZES = {"all-single": 301, "all-multi": 3010, "indoor-single": 112, "indoor-multi": 1120}


def seeded_by_the_letter(root: Path, cameras: tuple[int, ...], trial: int, shots: int) -> list[str]:
    """The rule of the public baselines restated on the file system, on Python's global generator."""
    state = random.getstate()
    random.seed(trial)
    gallery: list[str] = []
    ids = [f"{int(word):04d}" for word in (root / "exp/test_id.txt").read_text().split(",")]
    for identity in sorted(ids):
        for camera in cameras:
            folder = root / f"cam{camera}" / identity
            if folder.is_dir():
                files = sorted(f"cam{camera}/{identity}/{path.name}" for path in folder.iterdir())
                gallery += [random.choice(files)] if shots == 1 else random.sample(files, shots)
    random.setstate(state)
    return gallery


def official_by_the_letter(mat: Path, root: Path, cameras: tuple[int, ...], trial: int, shots: int) -> list[str]:
    """The evaluation kit's rule: image files are numbered from 1, so a permutation's entry is a file name."""
    table = loadmat(mat)["rand_perm_cam"]
    ids = sorted(int(word) for word in (root / "exp/test_id.txt").read_text().split(","))
    return [
        f"cam{camera}/{identity:04d}/{int(number):04d}.jpg"
        for camera in cameras
        for identity in ids
        for number in table[camera - 1, 0][identity - 1, 0][trial, :shots]
    ]


@pytest.fixture(scope="module")
def real_counts_root(permutations: Path, plant: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Empty files in the numbers of the real data set: a permutation is as long as its folder has images.

    The evaluation kit names the identities to test and to train; to validate are the others that both
    modalities see.
    """
    table = loadmat(permutations)["rand_perm_cam"]
    sizes = {
        (identity, camera): images.shape[1]
        for camera in range(1, 7)
        for identity, (images,) in enumerate(table[camera - 1, 0], start=1)
        if images.shape[1]
    }
    lists = {
        part: set(loadmat(permutations.parent / f"{part}_id.mat")["id"].ravel().tolist()) for part in ("train", "test")
    }
    seen = [{identity for identity, camera in sizes if camera in cameras} for cameras in ((1, 2, 4, 5), (3, 6))]
    lists["val"] = (seen[0] & seen[1]) - lists["train"] - lists["test"]
    images = [
        f"cam{camera}/{identity:04d}/{number:04d}.jpg"
        for (identity, camera), count in sizes.items()
        for number in range(1, count + 1)
    ]
    files = {f"exp/{part}_id.txt": ",".join(str(i) for i in sorted(ids)) for part, ids in lists.items()}
    return plant(tmp_path_factory.mktemp("real") / "SYSU-MM01", images, files)


def test_real_test_split_gives_the_published_queries_and_galleries_under_both_rules(
    real_counts_root: Path, permutations: Path
) -> None:
    sysu = SYSU(real_counts_root, permutations)
    for rule in ("seeded", "official"):
        protocols = sysu.protocols(rule)
        assert [protocol.name for protocol in protocols] == list(SIZES)
        for protocol in protocols:
            assert (protocol.skip, protocol.deduplicated, protocol.gallery_rule) == (
                SYSU.skip,
                True,
                rule,
            )
            assert [len(trial.gallery) for trial in protocol.trials] == [SIZES[protocol.name]] * 10
            for trial in protocol.trials:
                assert len({image.name for image in trial.gallery}) == len(trial.gallery)
                cameras = [image.camera for image in trial.query]
                assert (len(cameras), cameras.count(3), cameras.count(6)) == (3803, 1883, 1920)


def test_real_test_split_gives_the_files_of_either_rule_restated(real_counts_root: Path, permutations: Path) -> None:
    sysu = SYSU(real_counts_root, permutations)
    for name, cameras, shots in (
        ("all-single", (1, 2, 4, 5), 1),
        ("all-multi", (1, 2, 4, 5), 10),
        ("indoor-single", (1, 2), 1),
        ("indoor-multi", (1, 2), 10),
    ):
        for rule in ("seeded", "official"):
            protocol = next(p for p in sysu.protocols(rule) if p.name == name)
            for number in (0, 3, 9):
                expected = (
                    seeded_by_the_letter(real_counts_root, cameras=cameras, trial=number, shots=shots)
                    if rule == "seeded"
                    else official_by_the_letter(
                        permutations, root=real_counts_root, cameras=cameras, trial=number, shots=shots
                    )
                )
                assert [image.name for image in protocol.trials[number].gallery] == expected


def test_counts_of_the_real_data_set_are_the_published_ones(real_counts_root: Path) -> None:
    assert SYSU(real_counts_root).counts() == SYSU.published


def test_a_data_set_of_the_real_counts_is_listed_and_its_galleries_drawn(real_counts_root: Path) -> None:
    sysu = SYSU(real_counts_root)
    assert len(sysu.images) > 40_000
    assert len(sysu.protocols()) == 4


def test_training_is_train_and_validation_and_unlisted_identities_are_left_out(sysu_root: Path) -> None:
    sysu = SYSU(sysu_root)
    assert {image.identity for image in sysu.images} == {1, 2, 3, 5, 12}
    assert {image.identity for image in sysu.train()} == {1, 2, 5}
    assert sysu.validation_identities == {5}
    assert len(sysu.train()) == 3 * 6 * 12
    names = [image.name for image in sysu.images]
    assert names == sorted(names)
    first = sysu.images[0]
    assert (first.name, first.identity, first.camera, first.modality) == (
        "cam1/0001/0001.jpg",
        1,
        1,
        "visible",
    )
    infrared = {image.camera for image in sysu.images if image.modality == "infrared"}
    assert infrared == {3, 6}


def test_hidden_and_other_files_are_no_images(sysu_root: Path, plant: Callable[..., Path]) -> None:
    before = SYSU(sysu_root).protocols()
    plant(sysu_root, ["cam1/0003/._0001.jpg", "cam1/0003/Thumbs.db", "labels/cam1/0003/0001.png"], {})
    assert SYSU(sysu_root).protocols() == before


def test_an_identity_with_fewer_than_ten_images_gives_them_all_to_multi_shot(sysu_root: Path) -> None:
    for path in sorted((sysu_root / "cam1/0003").iterdir())[4:]:
        path.unlink()
    multi = {protocol.name: protocol for protocol in SYSU(sysu_root).protocols()}["indoor-multi"]
    for trial in multi.trials:
        assert sum((image.identity, image.camera) == (3, 1) for image in trial.gallery) == 4


def write_permutations(path: Path, images: int) -> None:
    """Permutations of `images` images for identities 1 to 12 of every camera, 12 missing from camera 2."""
    rng = np.random.default_rng(5)
    cameras = np.empty((6, 1), object)
    for camera in range(6):
        people = np.empty((12, 1), object)
        for identity in range(12):
            n = 0 if (camera, identity) == (1, 11) else images
            people[identity, 0] = np.array([rng.permutation(n) + 1 for _ in range(10)], np.uint8).reshape(10, n)
        cameras[camera, 0] = people
    savemat(path, {"rand_perm_cam": cameras})


def test_official_galleries_are_found_in_exp_and_refused_when_the_folder_differs(sysu_root: Path) -> None:
    with pytest.raises(MissingError, match=r"rand_perm_cam\.mat"):
        SYSU(sysu_root).protocols("official")
    write_permutations(sysu_root / "exp/rand_perm_cam.mat", images=12)
    sizes = {p.name: {len(t.gallery) for t in p.trials} for p in SYSU(sysu_root).protocols("official")}
    assert sizes == {"all-single": {7}, "all-multi": {70}, "indoor-single": {3}, "indoor-multi": {30}}
    (sysu_root / "cam4/0003/0012.jpg").unlink()
    with pytest.raises(InputError, match="12 images of camera 4, identity 3, but the folder has 11"):
        SYSU(sysu_root).protocols("official")


@pytest.mark.parametrize("content", [b"no mat file", {"other": np.zeros(3)}, {"rand_perm_cam": np.zeros((2, 2))}])
def test_a_file_that_is_no_permutations_is_refused(sysu_root: Path, tmp_path: Path, content: Any) -> None:
    path = tmp_path / "some.mat"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        savemat(path, content)
    with pytest.raises(InputError, match=r"expected|is not rand_perm_cam\.mat"):
        SYSU(sysu_root, path).protocols("official")


def test_errors_name_what_is_wrong(sysu_root: Path, plant: Callable[..., Path]) -> None:
    with pytest.raises(InputError, match="'random'"):
        SYSU(sysu_root).protocols("random")
    with pytest.raises(MissingError, match=r"nowhere\.mat"):
        SYSU(sysu_root, sysu_root / "nowhere.mat")
    for text, message in (
        ("3,x", "'x' is not an identity"),
        ("", "names no identity"),
        ("3,5", "both to train and"),
    ):
        plant(sysu_root, [], {"exp/test_id.txt": text})
        with pytest.raises(InputError, match=message):
            SYSU(sysu_root)
    (sysu_root / "exp/test_id.txt").unlink()
    with pytest.raises(MissingError, match=r"has no exp/test_id\.txt\. Expected:\n(.*\n)+.*exp/train_id\.txt"):
        SYSU(sysu_root)


def test_lists_of_identities_that_have_no_image_at_all_are_an_error(
    sysu_root: Path, plant: Callable[..., Path]
) -> None:
    lists = {"exp/train_id.txt": "100", "exp/val_id.txt": "", "exp/test_id.txt": "101"}
    with pytest.raises(InputError, match="no listed identity has an image"):
        SYSU(plant(sysu_root, [], lists))


def test_what_is_not_read_is_said(sysu_root: Path, plant: Callable[..., Path]) -> None:
    plant(sysu_root, ["cam1/12/0001.jpg", "cam3/0003/a.heic", "cam3/0003/._0001.jpg"], {})
    assert [finding.line() for finding in SYSU(sysu_root).findings()] == [
        "1 files that are no image: 1 .heic; the first is cam3/0003/a.heic",
        "1 folders or files not named by four digits, as 0001: cam1/12",
    ]
