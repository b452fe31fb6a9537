"""The page: well-formed, self-contained, escaped, scores beside chance, simulated data said above them."""

import base64
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.pages import Page

from parsing.errors import InputError, MissingError
from pipelines.pages.page import MEANINGS, Section, SummaryRow, Table, write_page

HOSTILE = "<script>alert('x')</script> & \"ID\""


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "picture.png"
    Image.fromarray(np.zeros((4, 6, 3), dtype=np.uint8)).save(path)
    return path


def read(path: Path) -> Page:
    return Page(path.read_text(encoding="utf-8"))


def test_page_is_one_file_with_its_pictures_inside(tmp_path: Path, picture: Path) -> None:
    path = write_page(tmp_path / "a" / "b", title="Run", summary=[], sections=[Section("Masks", "Parts", picture)])
    assert path == tmp_path / "a" / "b" / "index.html"
    assert [p.name for p in path.parent.iterdir()] == ["index.html"]
    page = read(path)
    (image,) = [attributes for tag, attributes in page.tags if tag == "img"]
    kind, data = (image["src"] or "").split(",")
    assert kind == "data:image/png;base64"
    assert base64.b64decode(data) == picture.read_bytes()
    assert image["alt"] == "Masks"
    assert not [tag for tag, _ in page.tags if tag in ("script", "link", "iframe")]
    assert "http" not in path.read_text(encoding="utf-8").replace(data, "")
    assert ("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}) in page.tags


def test_headline_shows_scores_beside_chance_with_what_they_mean(tmp_path: Path) -> None:
    rows = [SummaryRow("Rank-1", 0.3521, 0.0111), SummaryRow("ours", 1.0, meaning="of our own")]
    page = read(write_page(tmp_path, title="Run", summary=rows, sections=[], protocol="ten trials"))
    assert page.cells[4:] == [
        *("Rank-1", "35.2 %", "1.1 %", MEANINGS["Rank-1"]),
        *("ours", "100.0 %", "", "of our own"),
    ]
    assert ("span", {"style": "width: 35.21%"}) in page.tags
    assert "Measured on: ten trials" in page.text


def test_chance_is_not_spoken_of_where_there_is_none(tmp_path: Path) -> None:
    page = read(write_page(tmp_path, title="Run", summary=[SummaryRow("mAP", float("nan"))], sections=[]))
    assert "hance" not in page.text
    assert page.cells[3:5] == ["mAP", "not measured"]


def test_simulated_data_is_said_above_the_numbers_and_only_then(tmp_path: Path) -> None:
    rows = [SummaryRow("mAP", 0.5)]
    said = read(write_page(tmp_path, title="Run", summary=rows, sections=[], simulated="Drawn by code.")).text
    assert said.index("Simulated data. Drawn by code.") < said.index("50.0 %")
    assert "imulated" not in read(write_page(tmp_path, title="Run", summary=rows, sections=[])).text


def test_names_are_escaped_wherever_they_stand(tmp_path: Path, picture: Path) -> None:
    section = Section(
        HOSTILE,
        caption=HOSTILE,
        picture=picture,
        table=Table([HOSTILE, HOSTILE], [[HOSTILE, HOSTILE]]),
        command=HOSTILE,
    )
    path = write_page(
        tmp_path,
        title=HOSTILE,
        summary=[SummaryRow(HOSTILE, value=0.5, chance=0.1, meaning=HOSTILE)],
        sections=[section],
        lead=HOSTILE,
        protocol=HOSTILE,
        simulated=HOSTILE,
        facts={HOSTILE: HOSTILE},
    )
    page = read(path)
    assert "<script" not in path.read_text(encoding="utf-8")
    assert page.text.count(HOSTILE) == 16
    assert HOSTILE in [attributes.get("alt") for _, attributes in page.tags]


def test_sections_keep_their_order_and_tables_their_cells(tmp_path: Path) -> None:
    table = Table(["method", "Rank-1"], [["cscl", "35.0"], ["agw", "22.9"]])
    sections = [Section("First", "a", table=table), Section("Second", "b", command="cscl demo")]
    page = read(write_page(tmp_path, title="Run", summary=[], sections=sections, facts={"seed": "0"}))
    assert page.cells == ["method", "Rank-1", "cscl", "35.0", "agw", "22.9", "seed", "0"]
    assert page.text.index("First") < page.text.index("Second") < page.text.index("cscl demo")


@pytest.mark.parametrize("row", [SummaryRow("mAP", 35.2), SummaryRow("mAP", 0.3, -0.1)])
def test_a_share_outside_its_range_is_refused(tmp_path: Path, row: SummaryRow) -> None:
    with pytest.raises(InputError, match=r"mAP must be a share in \[0, 1\]"):
        write_page(tmp_path, title="Run", summary=[row], sections=[])


def test_pictures_and_tables_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="no picture at"):
        write_page(tmp_path, title="Run", summary=[], sections=[Section("A", "b", tmp_path / "none.png")])
    with pytest.raises(InputError, match="PNG or JPEG"):
        write_page(tmp_path, title="Run", summary=[], sections=[Section("A", "b", tmp_path / "page.svg")])
    with pytest.raises(InputError, match="'A': every row of its table must have 2 cells"):
        write_page(tmp_path, title="Run", summary=[], sections=[Section("A", "b", table=Table(["x", "y"], [["1"]]))])
    assert not list(tmp_path.iterdir())
