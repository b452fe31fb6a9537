"""Folders of one's own: identities by folder name, cameras from paths, a list of identities to test."""

from collections.abc import Callable
from pathlib import Path

import pytest

from data.folder import Folder
from parsing.errors import InputError, MissingError


def test_identities_are_numbered_by_folder_over_both_modalities(folder_root: Path) -> None:
    own = Folder(folder_root)
    assert own.people == {"anna": 1, "ben": 2, "cora": 3, "zoe": 4}
    assert [(image.name, image.identity, image.camera, image.modality) for image in own.images] == [
        ("infrared/anna/cam2/1.jpg", 1, 2, "infrared"),
        ("infrared/ben/1.jpg", 2, 0, "infrared"),
        ("infrared/cora/c12s3_1.jpg", 3, 12, "infrared"),
        ("infrared/zoe/1.jpg", 4, 0, "infrared"),
        ("visible/anna/1.jpg", 1, 0, "visible"),
        ("visible/hall/cam3/ben/2.PNG", 2, 3, "visible"),
        ("visible/nobody.bmp", -1, 0, "visible"),
        ("visible/zoe/z_c4_1.jpeg", 4, 4, "visible"),
    ]


def test_without_a_list_everyone_is_trained_on_and_there_is_no_protocol(folder_root: Path) -> None:
    own = Folder(folder_root)
    assert {image.identity for image in own.train()} == {1, 2, 3, 4}
    assert len(own.train()) == 7
    with pytest.raises(InputError, match=r"write the names of their folders.* into .*test_id\.txt"):
        own.protocols()


@pytest.mark.parametrize("text", ["anna,zoe", "zoe\nanna\n", "zoe, anna,\n"])
def test_the_list_takes_identities_from_training_to_test(
    folder_root: Path, plant: Callable[..., Path], text: str
) -> None:
    own = Folder(plant(folder_root, [], {"test_id.txt": text}))
    assert {image.identity for image in own.train()} == {2, 3}
    (protocol,) = own.protocols()
    assert (protocol.name, protocol.skip, protocol.deduplicated) == ("infrared-to-visible", "nothing", False)
    assert protocol.gallery_rule == "all"
    (trial,) = protocol.trials
    assert [image.name for image in trial.query] == ["infrared/anna/cam2/1.jpg", "infrared/zoe/1.jpg"]
    assert [image.name for image in trial.gallery] == ["visible/anna/1.jpg", "visible/zoe/z_c4_1.jpeg"]
    assert own.counts()["test identities"] == 2


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("anna,dora", MissingError, r"names dora, but no image lies in a folder of that name"),
        ("\n", InputError, r"test_id\.txt is empty"),
    ],
)
def test_lists_that_name_nobody_are_refused(
    folder_root: Path, plant: Callable[..., Path], text: str, error: type[InputError], message: str
) -> None:
    with pytest.raises(error, match=message):
        Folder(plant(folder_root, [], {"test_id.txt": text}))


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


def test_a_folder_without_images_or_without_one_modality_is_refused(tmp_path: Path) -> None:
    (tmp_path / "visible").mkdir()
    with pytest.raises(MissingError, match=r"has no infrared\. Expected"):
        Folder(tmp_path)
    (tmp_path / "infrared").mkdir()
    with pytest.raises(InputError, match="there are no images"):
        Folder(tmp_path)
