"""HITSZ-VCM and BUPTCampus, data sets of video: frames, people, and the protocols that rank tracklets."""

from collections.abc import Callable
from pathlib import Path

import pytest

from data.readers.buptcampus import BUPTCampus
from data.readers.hitsz import HITSZ
from data.registry import open_data_set
from parsing.errors import InputError, MissingError

FRAMES = {
    "train": ["0001M2D3T1F1.jpg", "0001M2D3T1F6.jpg", "0001M1D12T2F1.jpg", "0002M1D2T1F3.jpg"],
    "test": ["0503M2D1T1F1.jpg", "0503M1D2T1F1.jpg"],
}
FILES = ["0001/rgb/D3/1.jpg", "0001/rgb/D3/6.jpg", "0001/ir/D12/1.jpg", "0002/ir/D2/3.jpg", "0503/rgb/D1/1.jpg",
         "0503/ir/D2/1.jpg"]  # fmt: skip


@pytest.fixture(params=["halves", "one folder"])
def hitsz_root(request: pytest.FixtureRequest, plant: Callable[..., Path], tmp_path: Path) -> Path:
    halves = request.param == "halves"
    images = [f"{'Train/' if n < 4 else 'Test/'}{file}" if halves else file for n, file in enumerate(FILES)]
    lists = {f"{'info/' if halves else ''}{half}_name.txt": "\n".join(names) + "\n" for half, names in FRAMES.items()}
    return plant(tmp_path / "HITSZ-VCM", images, lists)


def test_frames_of_hitsz_are_those_of_its_lists(hitsz_root: Path) -> None:
    data = open_data_set("hitsz", hitsz_root)
    found = {"/".join(i.name.split("/")[-4:]): (i.identity, i.camera, i.modality) for i in data.images}
    assert found == {
        "0001/rgb/D3/1.jpg": (1, 3, "visible"),
        "0001/rgb/D3/6.jpg": (1, 3, "visible"),
        "0001/ir/D12/1.jpg": (1, 12, "infrared"),
        "0002/ir/D2/3.jpg": (2, 2, "infrared"),
        "0503/rgb/D1/1.jpg": (503, 1, "visible"),
        "0503/ir/D2/1.jpg": (503, 2, "infrared"),
    }
    assert all((hitsz_root / image.name).is_file() for image in data.images)
    assert {image.identity for image in data.train()} == {1, 2}
    assert data.counts() == {
        "identities": 3, "training identities": 2, "test identities": 1, "images": 6, "images, visible": 3,
        "images, infrared": 3,
    }  # fmt: skip
    assert HITSZ.published.keys() == data.counts().keys()
    assert sum(HITSZ.published[f"images, {m}"] for m in ("visible", "infrared")) == HITSZ.published["images"]


def test_lists_of_hitsz_that_do_not_fit_are_refused(hitsz_root: Path) -> None:
    (path,) = hitsz_root.rglob("train_name.txt")
    for text, said in (
        (
            "0001M2D3T1F1.jpg\n0001M2D3T1F7.jpg\n",
            r"lists 1 frames that are not there, the first is .*0001/rgb/D3/7\.jpg",
        ),
        ("0001M3D3T1F1.jpg\n", "'0001M3D3T1F1.jpg' is no frame"),
        ("0001M2D3T1F../../../x.jpg\n", "is no frame"),
        ("\n", "is empty"),
    ):
        path.write_text(text)
        with pytest.raises(InputError, match=said):
            HITSZ(hitsz_root)
    path.unlink()
    with pytest.raises(MissingError, match=r"has no info/train_name\.txt"):
        HITSZ(hitsz_root)


@pytest.fixture
def bupt_root(plant: Callable[..., Path], tmp_path: Path) -> Path:
    images = [f"DATA/{p}/{kind}/{camera}/{p}_{kind}_{camera}_1_{frame}.jpg" for p in (1, 2, 30)
              for kind in ("RGB", "IR", "FakeIR") for camera in ("TSG2", "CQ1") for frame in (7, 8)]  # fmt: skip
    lists = {
        "train.txt": "1 RGB/IR CQ1 1\n1 RGB/IR TSG2 1\n",
        "train_auxiliary.txt": "2 RGB/IR CQ1 1\n",
        "query.txt": "30 RGB CQ1 1\n30 IR CQ1 1\n",
        "gallery.txt": "30 IR TSG2 1\n30 RGB TSG2 1\n",
    }
    return plant(tmp_path / "BUPTCampus", images, lists)


def test_frames_of_buptcampus_are_real_ones_with_numbered_cameras(bupt_root: Path) -> None:
    data = open_data_set("buptcampus", bupt_root)
    assert len(data.images) == 3 * 2 * 2 * 2
    assert not any("FakeIR" in image.name for image in data.images)
    found = {image.name: (image.identity, image.camera, image.modality) for image in data.images}
    assert found["DATA/30/IR/TSG2/30_IR_TSG2_1_7.jpg"] == (30, 2, "infrared")
    assert found["DATA/1/RGB/CQ1/1_RGB_CQ1_1_8.jpg"] == (1, 1, "visible")
    assert {image.identity for image in data.train()} == {1}
    assert data.counts() == {
        "identities": 3, "training identities": 1, "auxiliary identities": 1, "test identities": 1, "cameras": 2,
        "images, visible": 12, "images, infrared": 12,
    }  # fmt: skip
    (bupt_root / "query.txt").write_text("1 RGB CQ1 1\n")
    with pytest.raises(InputError, match=r"names people \[1\] both as train and as test"):
        BUPTCampus(bupt_root)
    (bupt_root / "query.txt").write_text("one RGB CQ1 1\n")
    with pytest.raises(InputError, match="line 1: expected 'person modality camera tracklet'"):
        BUPTCampus(bupt_root)


def test_hitsz_without_its_lists_of_tracklets_is_for_masks_and_training(hitsz_root: Path) -> None:
    data = HITSZ(hitsz_root)
    assert "has no track_test_info.txt, query_IDX.txt: masks and training only" in data.untested()
    with pytest.raises(InputError, match=r"hitsz: its protocols rank tracklets, and .* has no track_test_info\.txt"):
        data.protocols()


TRACKS = [(503, 1, 2, 30), (503, 2, 1, 13), (504, 1, 2, 12), (504, 2, 2, 11), (504, 2, 2, 12), (504, 2, 3, 14)]
"""Person, modality, camera and number of frames of each tracklet; the fourth is too short."""


@pytest.fixture
def hitsz_tracks(plant: Callable[..., Path], tmp_path: Path) -> Path:
    """A folder with tracklets of two people; of person 504 two are in the camera of the query."""
    words, rows, files, at = [], [], [], 1
    for number, (person, modality, camera, count) in enumerate(TRACKS, 1):
        rows.append(f"{modality} {at} {at + count - 1} {person} {camera}")
        at += count
        for frame in range(count):
            file = f"{number * 100 + frame}.jpg"
            words.append(f"{person:04d}M{modality}D{camera}T{number}F{file}")
            files.append(f"{person:04d}/{'ir' if modality == 1 else 'rgb'}/D{camera}/{file}")
    lists = {
        "train_name.txt": "0001M2D3T1F1.jpg\n",
        "test_name.txt": "\n".join(words),
        "track_test_info.txt": "\n".join(rows),
        "query_IDX.txt": "1 3",
    }
    return plant(tmp_path / "VCM", ["0001/rgb/D3/1.jpg", *files], lists)


def test_tracklets_of_hitsz_are_ranked_as_the_authors_do(hitsz_tracks: Path) -> None:
    data = HITSZ(hitsz_tracks)
    assert data.untested() == ""
    first, second = data.protocols()
    assert (first.name, second.name) == ("infrared-to-visible", "visible-to-infrared")
    assert not first.deduplicated
    (trial,) = first.trials
    assert [(t.identity, t.camera, t.modality) for t in trial.query] == [(503, 2, "infrared"), (504, 2, "infrared")]
    assert [(t.identity, t.camera) for t in trial.gallery] == [(503, 1), (504, 2), (504, 3)]  # without the short one
    assert (second.trials[0].query, second.trials[0].gallery) == (trial.gallery, trial.query)
    skipped = first.skip(trial)
    assert skipped is not None
    assert skipped.tolist() == [[False, False, False], [False, True, False]]
    frames = [[int(Path(image.name).stem) % 100 for image in track.images] for track in (*trial.query, *trial.gallery)]
    assert frames[:2] == [[0, 5, 10, 15, 20, 25], [0, 2, 4, 6, 8, 10]]
    assert frames[2] == [0, 3, 6, 9, 12, 12]  # the last again where the steps lead beyond the end
    names = {image.name for image in data.images}
    assert all(image.name in names for track in trial.gallery for image in track.images)


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("track_test_info.txt", "1 1 30 503", "line 1: expected 'modality first last person camera'"),
        ("track_test_info.txt", "1 1 31 503 2", "line 1: lines 1 to 31 of test_name.txt are not frames of modality 1"),
        ("track_test_info.txt", "1 0 3 503 2", "are not frames"),
        ("track_test_info.txt", "1 1 30 504 2", "are not frames of modality 1 of person 504"),
        ("track_test_info.txt", "1 90 900 504 2", "are not frames"),
        ("track_test_info.txt", "3 1 30 503 2", "are not frames of modality 3"),
        ("query_IDX.txt", "7", "'7' is no tracklet; track_test_info.txt has 1 to 6"),
        ("query_IDX.txt", "0", "'0' is no tracklet"),
        ("query_IDX.txt", "1.5", "is no tracklet"),
        ("query_IDX.txt", "4", "leave no query or no gallery"),
    ],
)
def test_lists_of_tracklets_that_do_not_fit_are_refused(hitsz_tracks: Path, file: str, text: str, said: str) -> None:
    (hitsz_tracks / file).write_text(text)
    with pytest.raises(InputError, match=said):
        HITSZ(hitsz_tracks).protocols()


def test_tracklets_of_buptcampus_are_ranked_within_and_across_modalities(bupt_root: Path) -> None:
    for kind in ("RGB", "IR"):
        for frame in (100, 9):
            (bupt_root / f"DATA/30/{kind}/TSG2/30_{kind}_TSG2_1_{frame}.jpg").touch()
    protocols = {p.name: p for p in BUPTCampus(bupt_root).protocols()}
    assert list(protocols) == [
        "visible-to-infrared", "infrared-to-visible", "visible-to-visible", "infrared-to-infrared", "all",
    ]  # fmt: skip
    (trial,) = protocols["visible-to-infrared"].trials
    assert [(t.name, t.identity, t.camera, t.modality) for t in trial.query] == [
        ("DATA/30/RGB/CQ1/tracklet 1", 30, 1, "visible")
    ]
    (against,) = trial.gallery
    assert (against.camera, against.modality) == (2, "infrared")
    frames = [int(image.name.rsplit("_", 1)[1].removesuffix(".jpg")) for image in against.images]
    assert frames == [7, 7, 7, 8, 8, 9, 9, 9, 100, 100]  # ten at equal distances, in the order of their numbers
    assert len(protocols["all"].trials[0].query) == len(protocols["all"].trials[0].gallery) == 2
    assert protocols["all"].skip(protocols["all"].trials[0]) is None
    with pytest.raises(InputError, match="the gallery is every tracklet, there is no rule 'official'"):
        BUPTCampus(bupt_root).protocols("official")
    (bupt_root / "gallery.txt").write_text("30 IR TSG2 2\n")
    with pytest.raises(InputError, match=r"gallery\.txt, line 1: tracklet 2 of person 30, IR, camera TSG2 has no imag"):
        BUPTCampus(bupt_root).protocols()
    (bupt_root / "gallery.txt").write_text("30 RGB/IR TSG2 1\n")
    with pytest.raises(InputError, match="line 1: expected RGB or IR and a number"):
        BUPTCampus(bupt_root).protocols()
