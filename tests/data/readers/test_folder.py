"""Folders of one's own: identities and cameras by level or by pattern, and what is said where that is doubtful."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from data.readers.folder import Folder
from data.records import DataSet
from parsing.errors import InputError, MissingError
from parsing.modality import MODALITIES


def test_identities_are_numbered_by_folder_over_both_modalities(folder_root: Path) -> None:
    own = Folder(folder_root)
    assert own.people == {"anna": 1, "ben": 2, "cora": 3, "hall": 4, "zoe": 5}
    assert [(image.name, image.identity, image.camera, image.modality) for image in own.images] == [
        ("infrared/anna/cam2/1.jpg", 1, 2, "infrared"),
        ("infrared/ben/1.jpg", 2, 0, "infrared"),
        ("infrared/cora/c12s3_1.jpg", 3, 12, "infrared"),
        ("infrared/zoe/1.jpg", 5, 0, "infrared"),
        ("visible/anna/1.jpg", 1, 0, "visible"),
        ("visible/hall/cam3/ben/2.PNG", 4, 3, "visible"),
        ("visible/nobody.bmp", -1, 0, "visible"),
        ("visible/zoe/z_c4_1.jpeg", 5, 4, "visible"),
    ]


def test_without_a_list_everyone_is_trained_on_and_there_is_no_protocol(folder_root: Path) -> None:
    own = Folder(folder_root)
    assert {image.identity for image in own.train()} == {1, 2, 3, 4, 5}
    assert len(own.train()) == 7
    with pytest.raises(InputError, match=r"write the names of the people.* into .*test_id\.txt"):
        own.protocols()


@pytest.mark.parametrize("text", ["anna,zoe", "zoe\nanna\n", "zoe, anna,\n"])
def test_the_list_takes_identities_from_training_to_test(
    folder_root: Path, plant: Callable[..., Path], text: str
) -> None:
    own = Folder(plant(folder_root, [], {"test_id.txt": text}))
    assert {image.identity for image in own.train()} == {2, 3, 4}
    (protocol,) = own.protocols()
    assert (protocol.name, protocol.skip, protocol.deduplicated) == ("infrared-to-visible", DataSet.skip, False)
    assert protocol.gallery_rule == "all"
    (trial,) = protocol.trials
    assert [image.name for image in trial.query] == ["infrared/anna/cam2/1.jpg", "infrared/zoe/1.jpg"]
    assert [image.name for image in trial.gallery] == ["visible/anna/1.jpg", "visible/zoe/z_c4_1.jpeg"]
    assert own.counts()["test identities"] == 2


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("anna,dora", MissingError, r"names dora, but nobody here has that name; the people are anna, ben"),
        ("\n", InputError, r"test_id\.txt is empty"),
    ],
)
def test_lists_that_name_nobody_are_refused(
    folder_root: Path, plant: Callable[..., Path], text: str, error: type[InputError], message: str
) -> None:
    with pytest.raises(error, match=message):
        Folder(plant(folder_root, [], {"test_id.txt": text}))


def test_a_folder_without_a_test_list_says_that_nobody_is_held_out(
    folder_root: Path, plant: Callable[..., Path]
) -> None:
    assert "nobody is held out for a test" in Folder(folder_root).untested()
    assert Folder(plant(folder_root, [], {"test_id.txt": "anna"})).untested() == ""


def test_identities_to_test_must_be_seen_in_both_modalities(folder_root: Path, plant: Callable[..., Path]) -> None:
    own = Folder(plant(folder_root, [], {"test_id.txt": "cora"}))
    with pytest.raises(InputError, match="1 infrared and 0 visible"):
        own.protocols()
    with pytest.raises(InputError, match="'official'"):
        own.protocols("official")


def test_a_linked_folder_is_followed_and_a_loop_ends(folder_root: Path) -> None:
    elsewhere = folder_root.parent / "elsewhere" / "dora"
    elsewhere.mkdir(parents=True)
    (elsewhere / "1.jpg").touch()
    (folder_root / "visible/dora").symlink_to(elsewhere)
    (folder_root / "visible/anna/loop").symlink_to(folder_root / "visible")
    names = [image.name for image in Folder(folder_root).images]
    assert "visible/dora/1.jpg" in names
    assert len(names) == 9


def test_a_folder_without_images_or_without_both_modalities_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with pytest.raises(MissingError, match=r"has no visible, infrared\. Expected"):
        Folder(tmp_path)
    for modality in MODALITIES:
        (tmp_path / modality).mkdir()
        with pytest.raises(InputError, match="there are no images"):
            Folder(tmp_path)


def own(root: Path, names: list[str], plant: Callable[..., Path], pattern: str | None = None) -> Folder:
    return Folder(plant(root, names, {}), pattern)


def said(folder: Folder) -> dict[str, tuple[int, str, bool]]:
    return {finding.what: (finding.count, finding.note, finding.wrong) for finding in folder.findings()}


@pytest.mark.parametrize(
    ("below", "cameras"),
    [
        ("{person}/c2/t1/1.jpg", {2}),
        ("{person}/t1/1.jpg", {0}),
        ("{person}/c1/1.jpg", {1}),
        ("{person}/D1/1.jpg", {1}),
        ("{person}/camera3/1.jpg", {3}),
        ("{person}/cam_3/1.jpg", {3}),
        ("Cam-4/{person}/1.jpg", {4}),
        ("{person}/a_cam_5_1.jpg", {5}),
        ("{person}/a_D6_1.jpg", {6}),
        ("{person}_c1s1_000451.jpg", {1}),
        ("{person}_cam2.jpg", {2}),
        ("c3/{person}_c3s1_1.jpg", {3}),
    ],
)
def test_the_first_folder_that_is_no_cameras_is_the_person(
    below: str, cameras: set[int], tmp_path: Path, plant: Callable[..., Path]
) -> None:
    people = ("0002", "anna", "ben")
    found = own(tmp_path, [f"{m}/{below.format(person=p)}" for m in MODALITIES for p in people], plant)
    assert list(found.people) == ["0002", "anna", "ben"]
    assert {image.camera for image in found.images} == cameras
    assert all(found.person(image.identity) in image.name for image in found.images)
    assert said(found)["identities"] == (3, "0002, anna, ben", False)


@pytest.mark.parametrize(
    ("below", "pattern", "cameras"),
    [
        ("day1/{person}/1.jpg", "*/{identity}/*", {0}),
        ("hall/cam3/{person}/t1/1.jpg", "**/{camera}/{identity}/*/*", {3}),
        ("t1/a/b/{person}-7/1.jpg", "**/{identity}-{camera}/*", {7}),
        ("{person}.jpg", "{identity}.*", {0}),
        ("x_{person}_yard_1.jpg", "x_{identity}_{camera}_*", {1}),
        ("c1/{person}/1.jpg", "**/{identity}/*", {1}),
    ],
)
def test_a_pattern_says_where_identity_and_camera_are(
    below: str, pattern: str, cameras: set[int], tmp_path: Path, plant: Callable[..., Path]
) -> None:
    names = [f"{m}/{below.format(person=p)}" for m in MODALITIES for p in ("anna", "ben")]
    found = own(tmp_path, names=names, plant=plant, pattern=pattern)
    assert list(found.people) == ["anna", "ben"]
    assert {image.camera for image in found.images} == cameras
    assert set(said(found)) == {"identities", "cameras"}


def test_cameras_with_names_are_numbered_in_sorted_order_and_what_a_pattern_leaves_out_is_nobody(
    tmp_path: Path, plant: Callable[..., Path]
) -> None:
    names = ["visible/anna/yard/1.jpg", "visible/anna/c1/1.jpg", "infrared/anna/hall/1.jpg", "infrared/1.jpg"]
    found = own(tmp_path, names=names, plant=plant, pattern="{identity}/{camera}/*")
    assert [(i.name, i.identity, i.camera) for i in found.images] == [
        ("infrared/1.jpg", -1, 0),
        ("infrared/anna/hall/1.jpg", 1, 2),
        ("visible/anna/c1/1.jpg", 1, 1),
        ("visible/anna/yard/1.jpg", 1, 3),
    ]
    assert said(found)["images without an identity"][0] == 1


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("{person}/*", r"no \{person\}; there are \{identity\}"),
        ("*/{camera}/*", r"give \{identity\} once"),
        ("{identity}/{identity}", r"give \{identity\} once"),
        ("{identity}/{camera}/*", r"fits none of 2 images, such as anna/1\.jpg"),
    ],
)
def test_patterns_that_say_nothing_are_refused(
    pattern: str, message: str, tmp_path: Path, plant: Callable[..., Path]
) -> None:
    with pytest.raises(InputError, match=message):
        own(tmp_path, names=["visible/anna/1.jpg", "infrared/anna/1.jpg"], plant=plant, pattern=pattern)


def test_distractors_and_files_of_nobody_are_said_and_not_trained_on(
    tmp_path: Path, plant: Callable[..., Path]
) -> None:
    flat = [f"{m}/{p}_c1s1_000451.jpg" for m in MODALITIES for p in ("0002", "0007", "-1", "0000")]
    found = own(tmp_path, [*flat, "visible/IMG_1.jpg"], plant)
    assert {found.person(image.identity) for image in found.train()} == {"0002", "0007"}
    told = said(found)
    assert told["images directly in visible/ or infrared/"][0] == 9
    assert told["images of -1 and 0000"][::2] == (4, False)
    count, note, wrong = told["images without an identity"]
    assert (count, wrong) == (1, True)
    assert note.startswith("visible/IMG_1.jpg; --pattern says")


def test_without_anybody_training_says_how_to_name_them(tmp_path: Path, plant: Callable[..., Path]) -> None:
    found = own(tmp_path, ["visible/anna-1.jpg", "infrared/anna-1.jpg"], plant)
    with pytest.raises(
        InputError, match=r"none of 2 images .* has an identity, such as infrared/anna-1\.jpg; .*--pattern"
    ):
        found.train()
    assert said(found)["identities"] == (0, "", True)


@pytest.mark.parametrize(
    ("folders", "wrong"),
    [
        (("anna/t1", "ben/t1"), False),
        (("day1/anna", "day2/anna"), True),
        (("hall/7", "7"), True),
        (("a/t1", "b/t2"), None),
    ],
)
def test_folder_names_below_several_people_are_said(
    folders: tuple[str, ...], wrong: bool | None, tmp_path: Path, plant: Callable[..., Path]
) -> None:
    found = own(tmp_path, [f"{m}/{folder}/1.jpg" for m in MODALITIES for folder in folders], plant)
    told = said(found).get("folder names below several people")
    assert (told and told[2]) == wrong
    confirmed = Folder(tmp_path, "{identity}/**")
    assert (confirmed.people, set(said(confirmed))) == (found.people, {"identities", "cameras"})


@pytest.mark.parametrize(("one", "other"), [("Anna", "anna"), ("7", "0007"), ("ben_rgb", "ben_ir"), ("é", "e\u0301")])
def test_names_that_differ_only_in_their_writing_across_modalities_are_said(
    one: str, other: str, tmp_path: Path, plant: Callable[..., Path]
) -> None:
    found = own(tmp_path, [f"visible/{one}/1.jpg", f"infrared/{other}/1.jpg"], plant)
    count, note, wrong = said(found)["names alike in one modality alone"]
    assert (count, wrong) == (1, True)
    assert one in note
    assert other in note


def test_one_name_is_one_person_and_two_in_both_modalities_are_two(tmp_path: Path, plant: Callable[..., Path]) -> None:
    found = own(tmp_path, [f"{m}/{person}/1.jpg" for m in MODALITIES for person in ("anna", "Anna")], plant)
    assert found.people == {"Anna": 1, "anna": 2}
    assert "names alike in one modality alone" not in said(found)


def test_one_name_in_two_forms_of_unicode_is_said_though_both_modalities_have_both(
    tmp_path: Path, plant: Callable[..., Path]
) -> None:
    found = own(tmp_path, [f"{m}/{person}/1.jpg" for m in MODALITIES for person in ("zo\u00eb", "zoe\u0308")], plant)
    assert said(found)["names written in two forms of Unicode"] == (
        1, "'zoe\\u0308' and 'zo\\xeb' look the same; one person needs one name", True,
    )  # fmt: skip
    assert "names alike in one modality alone" not in said(found)


def test_a_path_that_names_two_cameras_is_said(tmp_path: Path, plant: Callable[..., Path]) -> None:
    found = own(tmp_path, ["visible/anna/c1/a_c2_1.jpg", "infrared/anna/c1/a_c1_1.jpg"], plant)
    assert {image.camera for image in found.images} == {1}
    assert said(found)["images whose path names two cameras"][::2] == (1, True)


def test_what_pillow_opens_is_taken_and_the_rest_is_counted_and_named(
    tmp_path: Path, plant: Callable[..., Path]
) -> None:
    endings = (".tif", ".TIFF", ".webp", ".gif", ".jp2", ".JPG", ".jpg.png")
    taken = [f"{m}/anna/x{ending}" for m in MODALITIES for ending in endings]
    hidden = ["visible/anna/._x.png", "visible/.git/x.png", "visible/anna/Thumbs.db"]
    left = ["visible/anna/a.heic", "visible/anna/b.heic", "visible/notes.txt", "infrared/x"]
    found = own(tmp_path, [*taken, *hidden, *left], plant)
    assert [image.name for image in found.images] == sorted(taken)
    assert said(found)["files that are no image"] == (
        4,
        "2 .heic, 1 without an ending, 1 .txt; the first is infrared/x",
        True,
    )


def test_file_names_in_another_encoding_are_refused(tmp_path: Path, plant: Callable[..., Path]) -> None:
    plant(tmp_path, ["visible/anna/1.jpg", "infrared/anna/1.jpg"], {})
    (tmp_path / os.fsdecode(b"visible/" + "\u5f20".encode("gbk"))).mkdir()
    Folder(tmp_path)  # an empty folder holds nothing back
    (tmp_path / os.fsdecode(b"visible/" + "\u5f20".encode("gbk") + b"/1.jpg")).touch()
    with pytest.raises(InputError, match=r"file name 'visible/.*1\.jpg' is not UTF-8; rename it"):
        Folder(tmp_path)


def test_a_person_keeps_the_name_of_the_folder_and_not_that_of_a_link_to_it(tmp_path: Path) -> None:
    for modality in ("visible", "infrared"):
        (tmp_path / modality / "anna").mkdir(parents=True)
        (tmp_path / modality / "anna" / "1.jpg").touch()
    (tmp_path / "visible" / "ben").symlink_to("anna")
    (tmp_path / "visible" / "anna" / "loop").symlink_to("..")
    assert [image.name for image in Folder(tmp_path).images] == ["infrared/anna/1.jpg", "visible/anna/1.jpg"]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (
            [
                "bounding_box_train/0002_c1s1_000451_03.jpg",
                "query/0003_c5s2_000001_00.jpg",
                "gt_bbox/0003_c5s2_1_00.jpg",
            ],
            [("0002", 1), ("0003", 5), ("0003", 5)],
        ),
        (["bounding_box_test/0001_c2_f0046182.jpg", "query/0005_c8_f0000001.jpg"], [("0001", 2), ("0005", 8)]),
        (
            [
                "rgb/test/A/001/cropped_rgb001.jpg",
                "rgb/test/C/001/cropped_rgb002.jpg",
                "rgb/train/023/B_cropped_rgb9.jpg",
            ],
            [("001", 1), ("001", 3), ("023", 2)],
        ),
        (["train/000_1_c4_017200.png", "test/151_2_c12_000100.png"], [("000", 4), ("151", 12)]),
    ],
    ids=["Market-1501", "DukeMTMC", "PRCC", "LTCC"],
)
@pytest.mark.parametrize("modality", MODALITIES)
def test_sets_of_one_modality_are_read_with_their_own_names(
    plant: Callable[..., Path], tmp_path: Path, names: list[str], expected: list[tuple[str, int]], modality: str
) -> None:
    own = Folder(plant(tmp_path / "own", [f"{modality}/{name}" for name in names], {}))
    found = {image.name: (own.person(image.identity), image.camera) for image in own.images}
    assert found == {f"{modality}/{name}": who for name, who in zip(names, expected, strict=True)}
    other = next(m for m in MODALITIES if m != modality)
    for use in (own.train, own.protocols):
        with pytest.raises(InputError, match=f"has no {other} images: masks can be made"):
            use()


def test_linked_folders_are_listed_once_and_told(tmp_path: Path, plant: Callable[..., Path]) -> None:
    found = own(tmp_path, ["visible/anna/1.jpg", "infrared/anna/1.jpg"], plant)
    (tmp_path / "visible/anna2").symlink_to(tmp_path / "visible/anna")
    (tmp_path / "infrared/ben").symlink_to(tmp_path / "visible/anna")  # one picture, told to be of two cameras
    again = Folder(tmp_path)
    assert again.images == found.images
    count, note, wrong = said(again)["folders that are links to others, whose images are taken once"]
    assert (count, wrong) == (2, False)
    assert note == "infrared/ben is visible/anna, visible/anna2 is visible/anna"


def test_a_modality_that_is_a_link_to_the_other_has_no_images_of_its_own(
    tmp_path: Path, plant: Callable[..., Path]
) -> None:
    plant(tmp_path, ["visible/anna/1.jpg", "visible/ben/1.jpg"], {})
    (tmp_path / "infrared").symlink_to(tmp_path / "visible")
    found = Folder(tmp_path)
    assert {image.modality for image in found.images} == {"visible"}
    assert "infrared is visible" in said(found)["folders that are links to others, whose images are taken once"][1]
    with pytest.raises(InputError, match="has no infrared images"):
        found.train()


def test_names_that_differ_in_case_alone_are_told(tmp_path: Path, plant: Callable[..., Path]) -> None:
    found = own(tmp_path, [f"{m}/anna/{n}.jpg" for m in MODALITIES for n in ("A", "a", "b")], plant)
    count, note, wrong = said(found)["images whose names differ in upper and lower case alone"]
    assert (count, wrong) == (4, False)
    assert note.startswith("infrared/anna/A.jpg and infrared/anna/a.jpg; copies of them to Windows or macOS")


def test_one_folder_that_holds_everybody_is_doubted(tmp_path: Path, plant: Callable[..., Path]) -> None:
    found = own(tmp_path, [f"{m}/day1/{p}/1.jpg" for m in MODALITIES for p in ("anna", "ben")], plant)
    count, note, wrong = said(found)["folder holds everybody"]
    assert (count, wrong) == (1, True)
    assert note.startswith("day1 is taken as one person; if its folders, anna, ben, are the people, say so with")
    assert list(Folder(tmp_path, "*/{identity}/**").people) == ["anna", "ben"]
    assert "folder holds everybody" not in said(Folder(tmp_path, "*/{identity}/**"))


def test_a_link_that_leads_nowhere_else_is_named(tmp_path: Path, plant: Callable[..., Path]) -> None:
    plant(tmp_path, ["visible/anna/1.jpg"], {})
    (tmp_path / "visible/anna/loop.jpg").symlink_to("loop.jpg")
    with pytest.raises(InputError, match=r"cannot list .*visible/anna/loop\.jpg: Too many levels"):
        Folder(tmp_path)
