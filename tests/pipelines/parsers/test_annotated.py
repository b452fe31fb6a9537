"""Annotated photographs: labels of any mode are read by number, EXIF turns both, what does not fit is refused."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from parsing.errors import InputError, MissingError
from parsing.exporters.base import voc_colours
from parsing.labels import label_set
from pipelines.parsers.annotated import Annotated

PARTS = np.repeat(np.arange(8, dtype=np.uint8), 3)[:, None].repeat(12, 1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("photos", "parts"):
        (tmp_path / name).mkdir()
    Image.fromarray(np.full((24, 12, 3), 99, np.uint8)).save(tmp_path / "photos/a.jpg")
    meta = {"parts": list(label_set("street").classes), "train": [], "val": ["a"]}
    (tmp_path / "meta.json").write_text(json.dumps(meta))
    return tmp_path


def labelled(folder: Path, image: Image.Image) -> Annotated:
    image.save(folder / "parts/a.png")
    return Annotated(folder)


@pytest.mark.parametrize("mode", ["L", "I;16", "palette", "reordered", "rgb", "odd colours", "one colour"])
def test_labels_are_their_numbers_or_known_colours_and_never_luminance(folder: Path, mode: str) -> None:
    voc = np.array(voc_colours(), np.uint8).reshape(256, 3)
    image = Image.fromarray(PARTS.astype(np.uint16) if mode == "I;16" else PARTS)
    if mode == "palette":
        image.putpalette(voc.ravel().tolist())
    if mode == "reordered":
        image = Image.fromarray(255 - PARTS)
        image.putpalette(voc[::-1].ravel().tolist())
    if mode == "rgb":
        image = Image.fromarray(voc[PARTS])
    if mode == "odd colours":
        image.putpalette([v for n in range(256) for v in (0, n, 9)])
    if mode == "one colour":
        image.putpalette([0, 0, 0, *([4, 4, 4] * 255)])  # whose luminance is a class too
    assert np.array_equal(labelled(folder, image).parts("a"), PARTS)


def test_doubts_are_told_once(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = Image.fromarray(PARTS)
    image.putpalette([v for n in range(256) for v in (0, n, 9)])
    photos = labelled(folder, image)
    for _ in range(2):
        photos.parts("a")
    assert capsys.readouterr().err.count("of no palette known for street: its numbers are taken as classes") == 1


def test_a_photograph_turned_by_exif_is_upright_and_its_labels_too(folder: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = np.full((12, 24, 3), 99, np.uint8)
    stored[:, 12:] = 200
    Image.fromarray(stored).save(folder / "photos/a.jpg", exif=exif)
    for parts in (PARTS, np.rot90(PARTS)):  # drawn on the upright photograph, and on the stored pixels
        photos = labelled(folder, Image.fromarray(parts))
        assert photos.photo("a").shape == (24, 12, 3)
        assert photos.photo("a")[-1].mean() > 150
        assert np.array_equal(photos.parts("a"), PARTS)


def test_what_is_no_annotation_is_refused(folder: Path) -> None:
    with pytest.raises(MissingError, match=r"a\.png is named in meta.json but missing"):
        Annotated(folder).parts("a")
    with pytest.raises(InputError, match=r"has the value 8, but label set 'street' has the classes 0 to 7"):
        labelled(folder, Image.fromarray(PARTS + 1)).parts("a")
    with pytest.raises(InputError, match="holds 255"):
        labelled(folder, Image.fromarray(np.where(PARTS, PARTS, 255).astype(np.uint8))).parts("a")
    with pytest.raises(InputError, match="is 24x24, its photograph 24x12"):
        labelled(folder, Image.fromarray(PARTS.repeat(2, 1))).parts("a")
    (folder / "photos/a.jpg").write_bytes(b"no image")
    with pytest.raises(InputError, match="cannot be read"):
        Annotated(folder).photo("a")
