"""A sheet of images, text and frames, drawn as pixels (PNG) or with text that stays text (PDF, SVG)."""

import io
import itertools
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from .pictures import write_picture
from .style import DPI, PAGE, STYLE, FigureFormat, encode_figure

Pixels = NDArray[np.uint8]
Colour = tuple[int, int, int]
Box = tuple[float, float, float, float]
"""Left, top, right and bottom; right and bottom lie outside."""
SCALE = 2
"""Pixels of the PNG per unit of length of the canvas."""
WHITE: Colour = (255, 255, 255)
_ASCENT = 0.93
"""Height of the font above its baseline, as a share of its size."""
_SAMPLED = 50_000
"""Number of pixels that the palette of a picture of 256 colours is made from."""
_BREAKS = "/_- "


class Canvas:
    """Records what is drawn, in units of which a PNG has SCALE pixels each; y points down."""

    def __init__(self, width: int, height: int) -> None:
        self.size = (width, height)
        self._images: list[tuple[Pixels, Box]] = []
        self._boxes: list[tuple[Box, Colour | None, Colour | None, float]] = []
        self._lines: list[tuple[Sequence[tuple[float, float]], Colour, float]] = []
        self._texts: list[tuple[float, float, str, Colour, int, bool]] = []

    def draw_image(self, image: Pixels, box: Box) -> None:
        """Draw an image (H, W, 3), stretched to the box."""
        self._images.append((np.asarray(image), box))

    def draw_box(self, box: Box, fill: Colour | None = None, outline: Colour | None = None, width: float = 1) -> None:
        """Draw a rectangle over the images; its outline lies inside the box."""
        self._boxes.append((box, fill, outline, width))

    def draw_line(self, points: Sequence[tuple[float, float]], colour: Colour, width: float) -> None:
        """Draw a line over the rectangles."""
        self._lines.append((points, colour, width))

    def draw_text(
        self, place: tuple[float, float], text: str, colour: Colour, size: int = 12, centered: bool = False
    ) -> None:
        """Draw a line of text; `place` is its upper left corner, or the middle of its upper edge if `centered`."""
        self._texts.append((*place, text, colour, size, centered))

    def save(self, out_png: Path, figure_format: FigureFormat = "png", quantized: bool = False) -> Path:
        """Write the sheet as PNG and, for another format, as that beside it; return the path of the PNG.

        quantized: whether the PNG has 256 colours, for a quarter of the bytes. Colours of text, lines and rectangles
            are exact, so that those of a legend stay apart.
        """
        file = io.BytesIO()
        sheet = self._to_pixels()
        if quantized:
            sheet = self._quantize(sheet)
        sheet.save(file, format="PNG", optimize=quantized, dpi=(2 * 96, 2 * 96))
        write_picture(out_png, file)
        if figure_format != "png":
            with matplotlib.rc_context(STYLE):
                encoded = encode_figure(self._to_figure(), figure_format)
            write_picture(out_png.with_suffix(f".{figure_format}"), encoded)
        return out_png

    def _to_pixels(self) -> Image.Image:
        sheet = Image.new("RGB", (self.size[0] * SCALE, self.size[1] * SCALE), WHITE)
        draw = ImageDraw.Draw(sheet)
        for image, box in self._images:
            left, top, right, bottom = (round(SCALE * v) for v in box)
            resized = Image.fromarray(image).resize((right - left, bottom - top), Image.Resampling.LANCZOS)
            sheet.paste(resized, (left, top))
        for box, fill, outline, width in self._boxes:
            left, top, right, bottom = (round(SCALE * v) for v in box)
            draw.rectangle((left, top, right - 1, bottom - 1), fill, outline, round(SCALE * width))
        for points, colour, width in self._lines:
            draw.line([(SCALE * x, SCALE * y) for x, y in points], colour, round(SCALE * width))
        for x, y, text, colour, size, centered in self._texts:
            place = (SCALE * x, SCALE * (y + _ASCENT * size))
            draw.text(place, text, colour, _load_font(SCALE * size), anchor="ms" if centered else "ls")
        return sheet

    def _quantize(self, sheet: Image.Image) -> Image.Image:
        drawn = {colour for _, *colours, _ in self._boxes for colour in colours if colour is not None}
        drawn |= {colour for _, colour, _ in self._lines} | {text[3] for text in self._texts} | {WHITE}
        exact = sorted(drawn)
        # A palette by k-means of all pixels takes 20 microseconds per pixel: ten seconds for a small sheet.
        share = min(1.0, (_SAMPLED / (sheet.width * sheet.height)) ** 0.5)
        small = (max(1, round(share * sheet.width)), max(1, round(share * sheet.height)))
        sample = sheet.resize(small, Image.Resampling.NEAREST)
        learnt = sample.quantize(256 - len(exact), method=Image.Quantize.MEDIANCUT, kmeans=1).getpalette() or []
        colours = [*itertools.chain(*exact), *learnt][: 3 * 256]
        palette = Image.new("P", (1, 1))
        palette.putpalette(colours + colours[-3:] * (256 - len(colours) // 3))  # an entry left out would be black
        numbers, pixels = np.array(sheet.quantize(palette=palette, dither=Image.Dither.NONE)), np.asarray(sheet)
        for number, colour in enumerate(exact):
            numbers[(pixels == colour).all(axis=-1)] = number
        picture = Image.fromarray(numbers)
        picture.putpalette(colours)
        return picture

    def _to_figure(self) -> Figure:
        """Return the sheet as a figure that is at most as wide as a page, with the images' own pixels."""
        width, height = self.size
        inch = min(PAGE / width, 1 / 96)
        figure = Figure(figsize=(width * inch, height * inch), dpi=DPI)
        FigureCanvasAgg(figure)
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_axis_off()
        for image, (left, top, right, bottom) in self._images:
            axes.imshow(image, extent=(left, right, bottom, top), interpolation="none", aspect="auto", zorder=1)
        for (left, top, right, bottom), fill, outline, line in self._boxes:
            inset = line / 2 if outline else 0
            axes.add_patch(
                Rectangle(
                    (left + inset, top + inset), right - left - 2 * inset, bottom - top - 2 * inset,
                    facecolor="none" if fill is None else _hex(fill),
                    edgecolor="none" if outline is None else _hex(outline),
                    linewidth=72 * inch * line, joinstyle="miter", zorder=2,
                )
            )  # fmt: skip
        for points, colour, line in self._lines:
            axes.plot(*zip(*points, strict=True), color=_hex(colour), linewidth=72 * inch * line, zorder=3)
        for x, y, text, colour, size, centered in self._texts:
            axes.text(
                x, y + _ASCENT * size, text, color=_hex(colour), fontsize=72 * inch * size, va="baseline",
                ha="center" if centered else "left", parse_math=False, zorder=4,
            )  # fmt: skip
        axes.set(xlim=(0, width), ylim=(height, 0))
        return figure


def measure_text(text: str, size: int) -> float:
    """Return the width of a line of text on a canvas."""
    return float(_load_font(SCALE * size).getlength(text)) / SCALE


def wrap_text(text: str, width: float, size: int) -> list[str]:
    """Return the whole text in lines that fit the width, broken behind `/`, `_`, `-` or a space if there is one."""
    lines = []
    while measure_text(text, size) > width and len(text) > 1:
        fits = 1
        while fits < len(text) and measure_text(text[: fits + 1], size) <= width:
            fits += 1
        cut = max((text.rfind(mark, 0, fits) + 1 for mark in _BREAKS), default=0) or fits
        lines.append(text[:cut].rstrip(" "))
        text = text[cut:]
    return [*lines, text]


def _hex(colour: Colour) -> str:
    return "#" + bytes(int(v) for v in colour).hex()


@cache
def _load_font(size: int) -> ImageFont.FreeTypeFont:
    """Return the font that matplotlib contains, so that none needs to be installed."""
    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", size)
