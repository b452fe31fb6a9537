"""Photographs out of a small clone of Clothing Co-Parsing: readable, the same bytes again, nothing half made."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from scipy.io import savemat
from support.places import SHARED

from cli import main
from data.photographs.ccp import CLASSES
from data.photographs.classes import person7_parts
from data.photographs.library import Photos
from parsing.errors import InputError
from parsing.resize import resize_labels
from pipelines.datasets.photographs import make_photos

SIZE = (120, 70)
ANNOTATED = ("0001", "0007", "0013", "0536")
"""One each to train, to validate and to test, and one without a person."""


def drawn(number: int) -> np.ndarray:
    """Hair, a face, a shirt, a bare arm, trousers and shoes; the last photograph shows none of them."""
    classes = np.zeros(SIZE, np.uint8)
    if number < len(ANNOTATED) - 1:
        for name, rows, columns in (
            ("hair", (8, 14), (30, 42)),
            ("skin", (14, 24), (32, 40)),
            ("shirt", (24, 60), (26, 46 + number)),
            ("skin", (30, 62), (50, 54)),
            ("pants", (60, 104), (28, 44)),
            ("shoes", (104, 112), (26, 46)),
        ):
            classes[slice(*rows), slice(*columns)] = CLASSES.index(name)
    return classes


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    root = tmp_path / "clone"
    (root / "photos").mkdir(parents=True)
    (root / "annotations/pixel-level").mkdir(parents=True)
    (root / "LICENSE").write_text("terms")
    rng = np.random.default_rng(0)
    for name in (*ANNOTATED, "1005"):
        Image.fromarray(rng.integers(0, 255, (*SIZE, 3), dtype=np.uint8)).save(root / f"photos/{name}.jpg")
    for number, name in enumerate(ANNOTATED):
        savemat(root / f"annotations/pixel-level/{name}.mat", {"groundtruth": drawn(number)}, do_compression=True)
    return root


def digest(root: Path) -> dict[str, str]:
    files = (path for path in root.rglob("*") if path.is_file())
    return {p.relative_to(root).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def test_the_folder_opens_with_photos_parts_and_the_split(clone: Path, tmp_path: Path) -> None:
    made = make_photos(clone, tmp_path / "out")
    photos = Photos(made.out)
    assert (photos.train, photos.val, photos.unlabelled) == (("0001",), ("0007",), ("1005",))
    assert (made.test, made.left_out) == (("0013",), ("0536",))
    assert json.loads((made.out / "meta.json").read_text())["test"] == ["0013"]
    assert photos.photo("0001").shape == (512, 299, 3)
    assert photos.photo("1005", labelled=False).shape == (384, 224, 3)
    assert np.array_equal(photos.parts("0001"), person7_parts(resize_labels(drawn(0), (512, 299))))
    assert set(np.unique(photos.parts("0001"))) == {0, 1, 2, 3, 4, 6}
    assert not (made.out / "photos/0536.jpg").exists()
    assert (made.out / "LICENSE").read_text() == "terms"


def test_twice_the_same_bytes_and_replaced_only_on_demand(clone: Path, tmp_path: Path) -> None:
    first = digest(make_photos(clone, tmp_path / "out").out)
    with pytest.raises(InputError, match="--overwrite"):
        make_photos(clone, tmp_path / "out")
    (tmp_path / "out/photos/0001.jpg").unlink()
    assert digest(make_photos(clone, tmp_path / "out", overwrite=True).out) == first
    assert sorted(p.name for p in tmp_path.iterdir()) == ["clone", "out"]


def test_a_folder_of_somebody_else_is_never_replaced(clone: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "meta.json").write_text('{"train": [], "val": []}')
    with pytest.raises(InputError, match="mine"):
        make_photos(clone, mine, overwrite=True)
    with pytest.raises(InputError, match="clone"):
        make_photos(clone, clone, overwrite=True)
    assert (mine / "meta.json").read_text() == '{"train": [], "val": []}'


def test_wrong_input_is_one_line_and_leaves_nothing(clone: Path, tmp_path: Path) -> None:
    mat = clone / "annotations/pixel-level/0007.mat"
    whole = mat.read_bytes()
    cases = {"0007.mat": whole[: len(whole) // 2], "photos": None}
    for named, content in cases.items():
        if content is None:
            (clone / "photos").rename(clone / "pictures")
        else:
            mat.write_bytes(content)
        answer = CliRunner().invoke(main, ["data", "make", "photos", "--ccp", str(clone), "--out", str(tmp_path / "o")])
        assert answer.exit_code == 2
        last = answer.stderr.splitlines()[-1]
        assert named in last
        assert "Traceback" not in answer.stderr
        assert sorted(p.name for p in tmp_path.iterdir()) == ["clone"]


def test_the_command_counts_what_it_made(clone: Path, tmp_path: Path) -> None:
    answer = CliRunner().invoke(main, ["data", "make", "photos", "--ccp", str(clone), "--out", str(tmp_path / "o")])
    assert answer.exit_code == 0, answer.output
    assert "1 to train, 1 to validate, 1 to test; 1 unlabelled" in answer.stdout
    assert "0536" in answer.stdout


def test_skin_is_divided_as_in_the_photographs_that_trained_the_parser() -> None:
    root = SHARED / "ccp"
    if not (root / "meta.json").is_file():
        pytest.skip("the annotated photographs are not beside the checkout")
    meta = json.loads((root / "meta.json").read_text())
    assert tuple(meta["classes"]) == CLASSES
    same = total = 0
    for photo_id in sorted(meta["train"] + meta["val"])[::30]:
        with Image.open(root / f"labels/{photo_id}.png") as file:
            classes = np.asarray(file)
        with Image.open(root / f"parts/{photo_id}.png") as file:
            skin = classes == CLASSES.index("skin")
            same += int((person7_parts(classes) == np.asarray(file))[skin].sum())
        total += int(skin.sum())
    assert same > 0.99 * total
