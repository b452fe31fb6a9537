"""RegDB: ten splits, both directions, identities by folder, and lists that are not trusted."""

from collections.abc import Callable
from pathlib import Path

import pytest

from data.readers.regdb import RegDB
from data.records import DataSet
from parsing.errors import InputError, MissingError


def test_images_carry_the_number_of_their_folder_and_one_camera_a_modality(regdb_root: Path) -> None:
    images = RegDB(regdb_root).images
    assert len(images) == 16
    assert [image.name for image in images] == sorted(image.name for image in images)
    assert {(image.modality, image.camera) for image in images} == {("visible", 1), ("infrared", 2)}
    assert all(image.identity == int(image.name.split("/")[1]) for image in images)


@pytest.mark.parametrize("split", [1, 2, 3])
def test_each_split_trains_and_tests_on_its_own_identities(regdb_root: Path, split: int) -> None:
    regdb = RegDB(regdb_root)
    tested = {split, split + 1}
    train = regdb.train(split)
    assert {image.identity for image in train} == {1, 2, 3, 4} - tested
    assert [image.name for image in train] == sorted(image.name for image in train)
    assert {image.modality for image in train} == {"visible", "infrared"}
    protocols = {protocol.name: protocol for protocol in regdb.protocols(split=split)}
    assert list(protocols) == ["visible-to-thermal", "thermal-to-visible"]
    for protocol in protocols.values():
        assert (protocol.skip, protocol.deduplicated, protocol.gallery_rule) == (DataSet.skip, False, "all")
        (trial,) = protocol.trials
        assert {image.identity for image in trial.query + trial.gallery} == tested
        assert (len(trial.query), len(trial.gallery)) == (4, 4)
    there, back = (protocols[name].trials[0] for name in protocols)
    assert {image.modality for image in there.query} == {"visible"}
    assert {image.modality for image in there.gallery} == {"infrared"}
    assert (there.query, there.gallery) == (back.gallery, back.query)


def test_galleries_keep_the_order_of_the_list(regdb_root: Path) -> None:
    gallery = RegDB(regdb_root).protocols(split=2)[0].trials[0].gallery
    listed = (regdb_root / "idx/test_thermal_2.txt").read_text().splitlines()
    assert [image.name for image in gallery] == [line.split()[0] for line in listed]
    assert gallery[0].identity == 3


def test_splits_out_of_range_or_without_lists_are_refused(regdb_root: Path) -> None:
    regdb = RegDB(regdb_root)
    assert regdb.splits == (1, 2, 3)
    with pytest.raises(InputError, match="1 to 10, got 11"):
        regdb.train(11)
    with pytest.raises(MissingError, match=r"no .*train_visible_4\.txt; splits here: 1, 2, 3"):
        regdb.protocols(split=4)
    with pytest.raises(InputError, match="'official'"):
        regdb.protocols("official")
    (regdb_root / "idx/test_thermal_3.txt").unlink()
    with pytest.raises(MissingError, match=r"test_thermal_3\.txt"):
        RegDB(regdb_root)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("/etc/1/passwd.bmp 0", "line 1: '/etc/1/passwd.bmp' must be a path below"),
        ("Visible/../../1/x.bmp 0", "line 1: .* must be a path below"),
        ("Visible\\1\\x.bmp 0", "line 1: .* with forward slashes"),
        ("C:/1/x.bmp 0", "must be a path below"),
        ("Visible/3/1_v_3.bmp", "expected 'path label'"),
        ("Visible/3/1_v_3.bmp zero", "expected 'path label'"),
        ("Visible/1_v_3.bmp 0", "folder named by its identity"),
        ("Visible/3/other.bmp 0", r"lists 1 images that are not there, first Visible/3/other\.bmp"),
        ("Thermal/3/1_t_3.bmp 0", r"list of visible images, but has Thermal/3/1_t_3\.bmp"),
        ("Visible/4/1_v_4.bmp 0", "contradict"),
        ("Visible/1/1_v_1.bmp 5", "identities .1. are both"),
        ("", "is empty"),
    ],
)
def test_lists_are_not_trusted(regdb_root: Path, plant: Callable[..., Path], line: str, message: str) -> None:
    plant(regdb_root, [], {"idx/train_visible_1.txt": line + "\n"})
    with pytest.raises(InputError, match=message):
        RegDB(regdb_root)


def test_lines_may_be_blank_or_tabbed_and_paths_may_start_with_a_dot(regdb_root: Path) -> None:
    expected = RegDB(regdb_root).train(1)
    path = regdb_root / "idx/train_visible_1.txt"
    path.write_text("\n./" + path.read_text().replace(" ", "\t").replace("\n", "\r\n", 1))
    assert RegDB(regdb_root).train(1) == expected


def test_a_list_in_another_encoding_is_an_error_of_ours(regdb_root: Path) -> None:
    (regdb_root / "idx/train_visible_1.txt").write_bytes(b"\xff\xfe\xff 0")
    with pytest.raises(InputError, match="is not UTF-8"):
        RegDB(regdb_root)


def test_folders_that_are_no_numbers_are_refused(regdb_root: Path, plant: Callable[..., Path]) -> None:
    plant(regdb_root, ["Visible/anna/1.bmp"], {})
    with pytest.raises(InputError, match=r"Visible/anna/1\.bmp must lie in a folder numbered"):
        RegDB(regdb_root)


def test_counts_are_those_of_the_tree(regdb_root: Path) -> None:
    found = RegDB(regdb_root).counts()
    assert found["identities"] == 4
    assert found["images, visible"] == found["images, thermal"] == 8
    assert found["visible images of an identity, fewest"] == found["thermal images of an identity, most"] == 2
    assert found["splits"] == 3
    assert found["split 3, training identities"] == found["split 3, test identities"] == 2
    assert found["split 2, thermal test images"] == 4
    assert set(found) <= set(RegDB.published)


def test_a_line_that_a_list_repeats_counts_once(regdb_root: Path) -> None:
    before = RegDB(regdb_root).protocols()
    file = regdb_root / "idx/test_visible_1.txt"
    file.write_text(file.read_text() + file.read_text().splitlines()[0])
    assert RegDB(regdb_root).protocols() == before
