"""HITSZ-VCM and BUPTCampus, data sets of video: frames, people, and no protocol of images."""

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


def test_video_data_sets_have_no_protocol_of_images(bupt_root: Path, hitsz_root: Path) -> None:
    for data in (BUPTCampus(bupt_root), HITSZ(hitsz_root)):
        with pytest.raises(InputError, match=f"{data.name}: its published protocols rank tracklets"):
            data.protocols()
        assert "tracklets" in data.untested()
