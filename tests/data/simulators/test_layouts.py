"""Layouts: trees and lists as the real data sets have them; no folder is overwritten by mistake."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import loadmat

from data.registry import open_data_set
from data.simulators.layouts import LAYOUTS, MARK, draft_data_set, label_name, plan, save, simulation
from parsing.errors import InputError, MissingError


def fill(out: Path, layout: str = "sysu", overwrite: bool = False) -> Path:
    planned = plan(layout, train=4, test=2, shots=2, seed=1)
    image, labels = np.zeros((8, 4, 3), np.uint8), np.full((8, 4), 3, np.uint8)
    with draft_data_set(out, plan=planned, about={"layout": layout, "seed": 1}, overwrite=overwrite) as draft:
        for slot in planned.slots:
            save(draft, slot, image, labels, 90)
    return out


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_real_data_set_reader_finds_every_image_and_split(layout: str, tmp_path: Path) -> None:
    root = fill(tmp_path / layout, layout)
    planned = plan(layout, train=4, test=2, shots=2, seed=1)
    data = open_data_set(layout, root)
    assert {r.name: (r.identity, r.modality) for r in data.images} == {
        s.name: (s.person + 1, s.modality) for s in planned.slots
    }
    train = {r.identity for r in data.train()}
    assert len(train) == 4
    for protocol in data.protocols():
        for trial in protocol.trials:
            queried = {r.identity for r in trial.query}
            assert len(queried) == 2
            assert not queried & train
            assert queried == {r.identity for r in trial.gallery}


def test_sysu_has_six_cameras_and_one_line_of_ids_a_list(tmp_path: Path) -> None:
    root = fill(tmp_path / "s")
    names = [slot.name for slot in plan("sysu", train=4, test=2, shots=2).slots]
    assert Counter(name.split("/")[0] for name in names) == {f"cam{c}": 12 for c in range(1, 7)}
    lists = {part: (root / f"exp/{part}_id.txt").read_text() for part in ("train", "val", "test")}
    assert all(text.count("\n") == 1 for text in lists.values())
    ids = [int(i) for part in ("train", "val", "test") for i in lists[part].split(",")]
    assert ids == [1, 2, 3, 4, 5, 6]
    assert lists["val"] == "4\n"


def test_sysu_cameras_two_and_three_alone_share_a_place() -> None:
    places = {slot.camera: slot.place for slot in plan("sysu", train=2, test=1, shots=1).slots}
    assert places[2] == places[3]
    assert len(set(places.values())) == len(places) - 1


def test_regdb_splits_differ_and_label_from_zero() -> None:
    lists = plan("regdb", train=4, test=4, shots=2, seed=0).lists
    assert len(lists) == 40
    texts = {lists[f"idx/train_visible_{split}.txt"] for split in range(1, 11)}
    assert len(texts) > 5
    for text in lists.values():
        assert Counter(line.split()[1] for line in text.splitlines()) == {str(label): 2 for label in range(4)}


def test_sysus_permutations_are_in_the_kits_form_and_draw_official_galleries(tmp_path: Path) -> None:
    root = fill(tmp_path / "s")
    cells = loadmat(root / "exp/rand_perm_cam.mat")["rand_perm_cam"]
    assert cells.shape == (6, 1)
    for camera in range(6):
        people = cells[camera][0].squeeze()  # as public evaluators index it
        assert people.shape == (6,)
        for person in people:
            assert person.shape == (10, 2)
            assert {tuple(sorted(row)) for row in person.tolist()} == {(1, 2)}
            assert f"{person[0].tolist()[0]:0>4d}" in ("0001", "0002")
    for protocol in open_data_set("sysu", root).protocols("official"):
        galleries = {tuple(image.name for image in trial.gallery) for trial in protocol.trials}
        assert len(galleries) > 1
    assert (
        fill(tmp_path / "again").joinpath("exp/rand_perm_cam.mat").read_bytes()
        == (root / "exp/rand_perm_cam.mat").read_bytes()
    )


def test_llcms_test_lists_name_copies_beside_the_training_images(tmp_path: Path) -> None:
    root = fill(tmp_path / "l", "llcm")
    for light, cameras in (("vis", 9), ("nir", 8)):
        lines = [line.split(" ") for line in (root / f"idx/test_{light}.txt").read_text().splitlines()]
        assert Counter(label for _, label in lines) == {"0": 2 * cameras, "1": 2 * cameras}
        for name, label in lines:
            assert int(name.split("/")[1]) == 5 + int(label)
            camera = int(name.split("c0")[1][0])  # as the authors' scripts read it
            apart = root / f"test_{light}/cam{camera}/{name.removeprefix(light + '/')}"
            assert (root / name).read_bytes() == apart.read_bytes()


def test_llcm_shots_of_the_two_lights_at_one_place_are_different_ones() -> None:
    slots = plan("llcm", train=2, test=1, shots=1).slots
    assert len({(slot.person, slot.camera, slot.index) for slot in slots}) == len(slots)
    assert {slot.place for slot in slots if slot.modality == "infrared"} == {1, 2, 4, 5, 6, 7, 8, 9}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_no_two_images_share_a_name_or_a_label_map(layout: str) -> None:
    names = [slot.name for slot in plan(layout, train=3, test=2, shots=3).slots]
    assert len(set(names)) == len(names) == len({label_name(name) for name in names})


def test_labels_lie_beside_the_images_and_keep_their_values(tmp_path: Path) -> None:
    root = fill(tmp_path / "s")
    for path in (root / "cam3").rglob("*.jpg"):
        truth = root / label_name(path.relative_to(root).as_posix())
        with Image.open(truth) as file:
            assert file.mode == "L"
            assert np.array_equal(np.asarray(file), np.full((8, 4), 3))


def test_a_simulation_says_so(tmp_path: Path) -> None:
    about = simulation(fill(tmp_path / "s"))
    assert about["simulation"] is True
    assert about["images"] == len(plan("sysu", train=4, test=2, shots=2).slots)
    (tmp_path / "s" / MARK).write_text(json.dumps({"format_version": 99}))
    with pytest.raises(InputError, match="version"):
        simulation(tmp_path / "s")
    with pytest.raises(MissingError, match=MARK):
        simulation(tmp_path)


def test_foreign_files_are_never_overwritten(tmp_path: Path) -> None:
    mine = tmp_path / "holiday"
    mine.mkdir()
    (mine / "photo.jpg").write_bytes(b"precious")
    for overwrite in (False, True):
        with pytest.raises(InputError, match="not a simulated data set"):
            fill(mine, overwrite=overwrite)
    assert (mine / "photo.jpg").read_bytes() == b"precious"
    with pytest.raises(InputError, match="is a file"):
        fill(mine / "photo.jpg", overwrite=True)


def test_a_simulation_is_replaced_only_on_demand_and_as_a_whole(tmp_path: Path) -> None:
    root = fill(tmp_path / "s")
    with pytest.raises(InputError, match="overwrite"):
        fill(root)
    fill(root, "regdb", overwrite=True)
    assert not (root / "cam1").exists()
    assert (root / "Visible").is_dir()
    assert [path.name for path in tmp_path.iterdir()] == ["s"]


def test_a_failure_on_the_way_leaves_nothing_behind(tmp_path: Path) -> None:
    planned = plan("sysu", train=2, test=1, shots=1)

    def interrupted() -> None:
        with draft_data_set(tmp_path / "s", plan=planned, about={}, overwrite=False) as draft:
            save(draft, planned.slots[0], np.zeros((8, 4, 3), np.uint8), np.zeros((8, 4), np.uint8), 90)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("wrong", [("market", 4, 2, 2), ("sysu", 1, 2, 2), ("sysu", 4, 0, 2), ("sysu", 4, 2, 0)])
def test_impossible_plans_are_refused(wrong: tuple[str, int, int, int]) -> None:
    with pytest.raises(InputError):
        plan(*wrong)


def test_labels_of_another_size_than_the_image_are_refused(tmp_path: Path) -> None:
    slot = plan("sysu", train=2, test=1, shots=1).slots[0]
    with pytest.raises(InputError, match="differ in size"):
        save(tmp_path, slot, np.zeros((8, 4, 3), np.uint8), np.zeros((4, 4), np.uint8), 90)
