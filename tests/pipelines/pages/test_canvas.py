"""A canvas of 256 colours."""

from pathlib import Path

import numpy as np
from PIL import Image

from pipelines.pages.canvas import Canvas
from pipelines.pages.sheets import HUES


def test_a_legend_keeps_its_colours_in_a_picture_of_256(tmp_path: Path) -> None:
    """Head and feet, two kinds of orange, became one colour beside an image of many."""
    sheet = Canvas(300, 100)
    sheet.draw_image(np.random.default_rng(0).integers(0, 255, (100, 100, 3), np.uint8), (0, 0, 100, 100))
    for number, colour in enumerate(HUES.values()):
        sheet.draw_box((110 + 20 * number, 10, 120 + 20 * number, 20), colour)
    with Image.open(sheet.save(tmp_path / "a.png", quantized=True)) as picture:
        assert picture.mode == "P"
        shown = np.asarray(picture.convert("RGB"))
    assert [tuple(shown[30, 230 + 40 * number]) for number in range(len(HUES))] == list(HUES.values())
    assert (shown[150, 300:] == 255).all()
