"""Making the simulated data sets: the same bytes from any number of processes, readable, pictured."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.places import SHARED

from data.registry import open_data_set
from data.simulators.layouts import label_name, simulation
from parsing.errors import InputError, MissingError
from pipelines.datasets.simulate import contact_sheet, make_collage, make_pedestrians
from pipelines.pages.sheets import HUES


def digest(root: Path) -> dict[str, str]:
    files = (path for path in root.rglob("*") if path.is_file())
    return {p.relative_to(root).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("made") / "figures"
    return make_pedestrians(out, train=3, test=2, shots=1, workers=1)


@pytest.fixture(scope="module")
def ccp() -> Path:
    if not (SHARED / "ccp" / "meta.json").is_file():
        pytest.skip("the annotated photographs are not beside the checkout")
    return SHARED / "ccp"


def test_two_processes_write_the_same_bytes_as_one(figures: Path, tmp_path: Path) -> None:
    again = make_pedestrians(tmp_path / "again", train=3, test=2, shots=1, workers=2)
    assert digest(again) == digest(figures)


def test_another_seed_makes_other_people(figures: Path, tmp_path: Path) -> None:
    other = digest(make_pedestrians(tmp_path / "o", train=3, test=2, shots=1, seed=1, workers=1))
    same = [name for name, value in digest(figures).items() if other[name] == value]
    assert [name for name in same if name.endswith(".jpg")] == []


def test_more_shots_leave_the_first_ones_as_they_are(figures: Path, tmp_path: Path) -> None:
    more = digest(make_pedestrians(tmp_path / "m", train=3, test=2, shots=2, workers=1))
    images = {name: value for name, value in digest(figures).items() if name.endswith((".jpg", ".png"))}
    assert images.items() <= more.items()


def test_the_data_set_opens_with_a_label_map_for_every_image(figures: Path) -> None:
    records = open_data_set("sysu", figures).images
    assert len(records) == simulation(figures)["images"] == 30
    for record in records:
        with (
            Image.open(figures / record.name) as image,
            Image.open(figures / label_name(record.name)) as labels,
        ):
            assert image.size == labels.size
            assert (np.asarray(labels) > 0).any()


def test_regdb_is_thermal_and_others_near_infrared_unless_told(figures: Path, tmp_path: Path) -> None:
    thermal = make_pedestrians(tmp_path / "r", "regdb", train=2, test=1, shots=1, workers=1)
    assert simulation(thermal)["infrared"] == "thermal"
    assert simulation(figures)["infrared"] == "near"


def test_wrong_options_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="layout"):
        make_pedestrians(tmp_path / "x", layout="market")
    with pytest.raises(InputError, match="workers"):
        make_pedestrians(tmp_path / "x", workers=0)
    with pytest.raises(InputError, match="infrared"):
        make_pedestrians(tmp_path / "x", infrared="far")  # type: ignore[arg-type]
    with pytest.raises(MissingError, match="photos"):
        make_collage(tmp_path / "none", tmp_path / "x")
    assert not list(tmp_path.iterdir())


def test_a_contact_sheet_shows_as_many_people_as_asked(figures: Path, tmp_path: Path) -> None:
    with Image.open(contact_sheet(figures, tmp_path / "a.png", rows=1, columns=2)) as small:
        assert len(small.getcolors(1 << 16) or []) > 50
        width, height = small.size
        legend = np.asarray(small.convert("RGB"))[-48:]
    with Image.open(contact_sheet(figures, tmp_path / "b.png", rows=2, columns=2)) as large:
        assert large.width == width
        assert large.height > 1.5 * height
    assert all((legend == colour).all(axis=-1).sum() > 300 for colour in HUES.values())
    with pytest.raises(InputError, match="row"):
        contact_sheet(figures, tmp_path / "c.png", rows=0)
    with pytest.raises(MissingError, match=r"simulated\.json"):
        contact_sheet(tmp_path, tmp_path / "c.png")


def test_a_collage_is_made_from_unseen_photos_on_demand(ccp: Path, tmp_path: Path) -> None:
    first = make_collage(ccp, tmp_path / "a", train=3, test=2, shots=1, subset="val", workers=1)
    again = make_collage(ccp, tmp_path / "b", train=3, test=2, shots=1, subset="val", workers=2)
    assert digest(first) == digest(again)
    about = simulation(first)
    assert about["data_set"] == "collage"
    assert set(about["photos"]) <= set(json.loads((ccp / "meta.json").read_text())["val"])
    assert len(set(about["photos"])) == 5


def test_doubts_about_labels_are_said_once(ccp: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "photos"
    (root / "parts").mkdir(parents=True)
    (root / "photos").symlink_to(ccp / "photos")
    meta = (ccp / "meta.json").read_text()
    (root / "meta.json").write_text(meta)
    for photo_id in json.loads(meta)["val"]:
        with Image.open(ccp / f"parts/{photo_id}.png") as grey:
            numbers = Image.fromarray(np.asarray(grey))
        numbers.putpalette([v for n in range(256) for v in (0, n, 9)])
        numbers.save(root / f"parts/{photo_id}.png")
    make_collage(root, tmp_path / "a", train=3, test=2, shots=1, subset="val", workers=1)
    assert capsys.readouterr().err.count("of no palette known for person7") == 1


def test_a_difficulty_changes_the_images_and_is_written_down(ccp: Path, tmp_path: Path) -> None:
    size = {"train": 2, "test": 1, "shots": 1, "workers": 1}
    plain = make_collage(ccp, tmp_path / "a", **size)  # type: ignore[arg-type]
    mixed = make_collage(ccp, tmp_path / "b", difficulty="mixed", **size)  # type: ignore[arg-type]
    assert [simulation(root)["difficulty"] for root in (plain, mixed)] == ["standard", "mixed"]
    images = [{k: v for k, v in digest(root).items() if k.endswith(".jpg")} for root in (plain, mixed)]
    assert images[0].keys() == images[1].keys()
    assert not images[0].items() & images[1].items()
    with pytest.raises(InputError, match="brutal"):
        make_collage(ccp, tmp_path / "c", difficulty="brutal", **size)  # type: ignore[arg-type]
    assert not (tmp_path / "c").exists()
    # as data sets of before there were difficulties
    about = simulation(plain)
    del about["difficulty"]
    (plain / "simulated.json").write_text(json.dumps(about))
    assert contact_sheet(plain, tmp_path / "a.png", rows=1, columns=1).is_file()


def test_regdbs_splits_keep_no_people_apart(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="every split of regdb draws its own training people"):
        make_collage(tmp_path, tmp_path / "a", layout="regdb", subset="apart")
