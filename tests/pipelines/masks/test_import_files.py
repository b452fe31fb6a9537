"""Which mask is of which image: nothing is taken twice, and what is left over is said."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.registry import open_data_set
from parsing import CacheError, InputError, MaskCache
from pipelines.masks.importing import ImportConfig, import_masks
from pipelines.masks.verify import VerifyConfig, verify
from pipelines.training.batches import select_with_masks

MASK = np.zeros((60, 30), np.uint8)
MASK[5:55, 5:25] = np.repeat(np.arange(1, 6, dtype=np.uint8), 10)[:, None]


def draw(folder: Path, names: Sequence[str], picture: np.ndarray = MASK) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        with open(folder / name, "wb") as file:
            Image.fromarray(picture).save(file, "png")
    return folder


def own(place: Path, images: Sequence[str], masks: Sequence[str]) -> ImportConfig:
    """Images in the layout `folder`, and masks."""
    root = draw(place / "images", images, np.full((60, 30, 3), 99, np.uint8))
    return ImportConfig(
        draw(place / "masks", masks), labels="lip", dataset="folder", root=root, out=place / "m.h5", size=(60, 30)
    )


def alone(place: Path, masks: Sequence[str]) -> ImportConfig:
    return ImportConfig(draw(place / "masks", masks), labels="lip", out=place / "m.h5", size=(60, 30))


@pytest.mark.parametrize("names", [("a/1.png", "a/1.PNG"), ("a/1.png", "a/1.Png", "b/1.png")])
def test_two_masks_of_one_image_are_refused_by_name(tmp_path: Path, names: Sequence[str]) -> None:
    with pytest.raises(InputError, match=r"a/1.P.* and a/1.png would both be the mask of a/1.jpg; keep one"):
        import_masks(alone(tmp_path / "one", names))
    below = [f"visible/{name}" for name in names]
    with pytest.raises(InputError, match=r"visible/a/1.P.* and visible/a/1.png would be masks of one image; keep one"):
        import_masks(own(tmp_path / "two", ["visible/a/1.jpg", "infrared/a/1.jpg"], below))
    assert not list(tmp_path.rglob("m.*"))


def test_two_images_that_would_share_a_mask_are_named_with_a_path_that_keeps_them_apart(tmp_path: Path) -> None:
    images = ["visible/a/1.jpg", "visible/a/1.png", "infrared/a/1.jpg"]
    with pytest.raises(InputError, match=r"a/1.jpg and visible/a/1.png would share a mask.*\{stem\}\{suffix\}\.png'"):
        import_masks(own(tmp_path, images, ["visible/a/1.png", "infrared/a/1.png"]))
    config = own(tmp_path, images, [f"{image}.png" for image in images])
    told = ImportConfig(**{**vars(config), "path": "{dir}/{stem}{suffix}.png"})
    assert import_masks(told).masks == 3
    with pytest.raises(InputError, match=r"would share a mask.* give --path with more of their folders"):
        import_masks(own(tmp_path / "flat", ["visible/a/1.jpg", "visible/b/1.jpg", "infrared/a/1.jpg"], ["1.png"]))


def test_endings_of_any_case_are_masks(tmp_path: Path) -> None:
    config = own(tmp_path, ["visible/a/1.JPG", "infrared/a/1.JPG"], ["visible/a/1.PNG", "infrared/a/1.png"])
    assert (import_masks(config).masks, MaskCache(tmp_path / "m.h5").names) == (
        2,
        ("infrared/a/1.JPG", "visible/a/1.JPG"),
    )


def test_masks_of_no_image_are_counted(tmp_path: Path) -> None:
    images = ["visible/a/1.jpg", "infrared/a/1.jpg"]
    result = import_masks(own(tmp_path, images, ["visible/a/1.png", "infrared/a/1.png", "1.png", "b/1.png"]))
    assert result.notes == ("2 png files are the mask of no image of folder, such as 1.png",)


def test_links_to_masks_are_followed_and_linked_folders_told(tmp_path: Path) -> None:
    config = own(tmp_path, ["visible/a/1.jpg", "infrared/a/1.jpg"], ["both/a/1.png"])
    for modality in ("visible", "infrared"):
        (config.masks / modality).symlink_to(config.masks / "both")
    result = import_masks(config)
    assert (result.masks, result.notes) == (2, ())
    other = alone(tmp_path / "alone", ["a/1.png", "a/2.png"])
    (other.masks / "b").symlink_to(other.masks / "a")
    result = import_masks(other)
    assert result.masks == 2
    assert result.notes[0] == "1 folders are links to others, whose masks are taken once: b is a"
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "a").symlink_to(tmp_path / "masks" / "both")
    linked = ImportConfig(tmp_path / "linked", labels="lip", out=tmp_path / "l.h5", size=(60, 30))
    assert import_masks(linked).masks == 1  # its kind is known though the folder holds links alone


def test_names_that_differ_in_case_alone_are_kept_and_told(tmp_path: Path) -> None:
    result = import_masks(alone(tmp_path, ["a/A.png", "a/a.png", "a/b.png"]))
    assert result.masks == 3
    assert result.notes[0].startswith("2 names differ in upper and lower case alone: a/A.jpg and a/a.jpg; copies")


def test_hidden_files_do_not_decide_the_kind(tmp_path: Path) -> None:
    config = alone(tmp_path, ["a/1.png"])
    (config.masks / "a" / "._1.npy").write_bytes(b"of macOS")
    assert import_masks(config).masks == 1


def test_the_people_of_the_data_set_are_told_as_in_parsing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ["visible/anna/1.png", "infrared/anna/1.png"]
    import_masks(own(tmp_path, [name.replace("png", "jpg") for name in names], names))
    assert "note: 1 identities: anna\n" in capsys.readouterr().err


def test_a_damaged_import_names_the_command_that_mends_it(tmp_path: Path) -> None:
    names = ["visible/anna/1.png", "infrared/anna/1.png", "infrared/anna/2.png"]
    config = own(tmp_path, [name.replace("png", "jpg") for name in names], names[:2])
    import_masks(config)
    cache = MaskCache(tmp_path / "m.h5")
    records = open_data_set("folder", config.root).images
    with pytest.raises(InputError, match=r"no mask of infrared/anna/2.jpg; run `cscl masks import .* a mask of each"):
        select_with_masks(records, cache)
    shard = tmp_path / "m.shards" / "00000.h5"
    whole = bytearray(shard.read_bytes())
    whole[600:650] = bytes(50)
    shard.write_bytes(whole)
    with pytest.raises(CacheError, match="the `cscl masks import` that made it mends it"):
        MaskCache(tmp_path / "m.h5")[0]
    assert (
        "damaged; the `cscl masks import` that made it mends it" in verify(VerifyConfig(tmp_path / "m.h5")).lines()[-1]
    )
    import_masks(config)
    assert verify(VerifyConfig(tmp_path / "m.h5")).sound


def test_an_ending_of_images_that_have_names_is_refused(tmp_path: Path) -> None:
    names = ["visible/anna/1.jpg", "infrared/anna/1.jpg"]
    config = own(tmp_path, names, [name.replace("jpg", "png") for name in names])
    with pytest.raises(InputError, match=r"--suffix \.bmp: the images of --dataset folder have names"):
        replace(config, suffix=".bmp")
    for kind in ("sgiel", "coco"):
        with pytest.raises(InputError, match=f"{kind} masks name their images themselves"):
            import_masks(replace(config, dataset=None, root=None, labels="person", kind=kind, suffix=".bmp"))
