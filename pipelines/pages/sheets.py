"""Draw images with their part masks and sheets of them, as PNG, PDF or SVG."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from parsing.errors import InputError
from parsing.labels import IGNORED

from .canvas import Box, Canvas, Colour, Pixels, measure_text, wrap_text
from .style import FigureFormat

# Okabe and Ito's colours, which colour-blind readers tell apart, in the order of the person7 classes.
HUES = {
    "head": (230, 159, 0),
    "upper": (0, 114, 178),
    "arms": (86, 180, 233),
    "lower": (0, 158, 115),
    "legs": (240, 228, 66),
    "feet": (213, 94, 0),
    "bag": (204, 121, 167),
}
INK, FAINT = (34, 34, 34), (110, 110, 110)
GAP, LINE = 12, 15


@dataclass(frozen=True, eq=False)
class MaskItem:
    """One image and its mask.

    Attributes:
        image: (H, W, 3) uint8.
        labels: as `overlay` takes them.
        modality: heading of the block in which it is shown.
        truth: labels to show between the image and the mask, in all items of a sheet or in none.
    """

    image: Pixels
    labels: NDArray[np.number]
    modality: str
    caption: str = ""
    truth: NDArray[np.number] | None = None


def palette(classes: Sequence[str]) -> Pixels:
    """Return (C, 3) RGB colours, distinct and always the same.

    Classes of person7 have fixed colours. The others take, in order, the remaining hues, then darker and lighter ones.
    Background is black.
    """
    others = [c for c in classes if c not in HUES and c != "background"]
    free = [hue for name, hue in HUES.items() if name not in classes]
    levels = -(-max(0, len(others) - len(free)) // (2 * len(HUES)))
    for level in range(1, levels + 1):
        for end in (0, 255):
            free += [_mix(hue, end, level / (levels + 1)) for hue in HUES.values()]
    colours = {"background": (0, 0, 0)} | HUES | dict(zip(others, free, strict=False))
    return np.array([colours[c] for c in classes], dtype=np.uint8)


def overlay(image: Pixels, labels: NDArray[np.number], classes: Sequence[str], colours: Pixels | None = None) -> Pixels:
    """Return the image (H, W, 3) with its parts tinted and outlined; background and ignored pixels are unchanged.

    Args:
        labels: (h, w) classes, or (C, h, w) probabilities. Both are resized to the image; probabilities tint in
            proportion and have no outline.
        colours: (C, 3); None for `palette`.

    Raises:
        InputError: if the image is of another kind, or a label is no class.
    """
    image, labels = np.asarray(image), np.asarray(labels)
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise InputError(f"an image to overlay must be (H, W, 3) uint8, got {image.dtype} {image.shape}")
    table = palette(classes) if colours is None else np.asarray(colours)
    if labels.ndim == 3 and len(labels) == len(classes):
        return _tint(image, labels, table)
    unknown = np.setdiff1d(labels, [*range(len(classes)), IGNORED])
    if labels.ndim != 2 or len(unknown):
        fit = f"classes 0..{len(classes) - 1} or {IGNORED}"
        raise InputError(f"labels must be (h, w) of {fit}; got {labels.shape} with {unknown[:5]}")
    height, width = image.shape[:2]
    stretched = Image.fromarray(labels.astype(np.uint8)).resize((width, height), Image.Resampling.NEAREST)
    shown = np.asarray(stretched)
    edge = np.zeros(shown.shape, dtype=bool)
    edge[:, 1:] |= shown[:, 1:] != shown[:, :-1]
    edge[1:] |= shown[1:] != shown[:-1]
    part = (shown > 0) & (shown != IGNORED)
    opacity = (part * np.where(edge, 1.0, 0.6))[..., None]
    mixed: NDArray[np.float64] = image * (1 - opacity) + table[np.where(part, shown, 0)] * opacity
    return np.round(mixed).astype(np.uint8)


def _tint(image: Pixels, shares: NDArray[np.number], colours: Pixels) -> Pixels:
    """Return the image mixed with each part's colour by the part's share (C, h, w) of every pixel, background first."""
    size = (image.shape[1], image.shape[0])
    mixed = image.astype(np.float64)
    for share, colour in zip(shares[1:], colours[1:], strict=True):
        smooth = np.asarray(Image.fromarray(share.astype(np.float32)).resize(size, Image.Resampling.BILINEAR))
        mixed += 0.75 * smooth[..., None] * (colour.astype(np.float64) - image)
    return np.round(mixed.clip(0, 255)).astype(np.uint8)


def mask_sheet(
    items: Iterable[MaskItem], out_png: Path, classes: Sequence[str], columns: int = 6, height: int = 192,
    figure_format: FigureFormat = "png", quantized: bool = False,
) -> Path:  # fmt: skip
    """Draw images beside their overlays, one block per modality in order of appearance, and a legend.

    Args:
        items: images with their masks.
        out_png: file to write.
        classes: of the masks, background first or absent.
        columns: largest number of items beside each other.
        height: of each image, in units of which the PNG has two pixels.
        figure_format: format to write beside the PNG.
        quantized: as in `Canvas.save`.
    """
    blocks: dict[str, list[MaskItem]] = {}
    for item in items:
        blocks.setdefault(item.modality, []).append(item)
    if not blocks or columns < 1:
        raise InputError("a sheet of masks needs at least one image and one column")
    tile = choose_tile([item.image for block in blocks.values() for item in block], height)
    with_truth = any(item.truth is not None for block in blocks.values() for item in block)
    cell = (2 + with_truth) * (tile[0] + 2) - 2
    columns = min(columns, max(map(len, blocks.values())))
    width = max(300, GAP + columns * (cell + GAP))  # room for a block's heading
    names = {id(item): wrap_text(item.caption, cell, 12) for block in blocks.values() for item in block}
    rows = [(m, block[i : i + columns], i == 0) for m, block in blocks.items() for i in range(0, len(block), columns)]
    heights = [34 * first + tile[1] + 6 + LINE * max(len(names[id(i)]) for i in row) + GAP for _, row, first in rows]
    legend = place_legend([c for c in classes if c != "background"], width - 2 * GAP)
    sheet = Canvas(width, GAP + sum(heights) + legend[-1][2] + 30)
    top = GAP
    for (modality, row, first), height in zip(rows, heights, strict=True):
        if first:
            shown = "image, truth and parser" if with_truth else "image and its parts"
            sheet.draw_text((GAP, top + 4), f"{modality.capitalize()}: {shown}", INK, 16)
        y = top + 34 * first
        for i, item in enumerate(row):
            x = GAP + i * (cell + GAP)
            sheet.draw_image(item.image, fit_image(item.image, (x, y), tile))
            for place, labels in enumerate((item.labels,) if item.truth is None else (item.truth, item.labels), 1):
                tinted = overlay(item.image, labels, classes)
                sheet.draw_image(tinted, fit_image(item.image, (x + place * (tile[0] + 2), y), tile))
            for line, text in enumerate(names[id(item)]):
                sheet.draw_text((x, y + tile[1] + 4 + LINE * line), text, FAINT)
        top += height
    draw_classes(sheet, legend, palette(classes), list(classes), (GAP, top))
    return sheet.save(out_png, figure_format)


def _mix(colour: Colour, end: int, share: float) -> Colour:
    """Return the colour moved by this share towards black (end 0) or white (255)."""
    red, green, blue = (round(value * (1 - share) + end * share) for value in colour)
    return red, green, blue


def place_legend(names: Sequence[str], width: int) -> list[tuple[str, int, int]]:
    """Return (name, x, y) of every entry, in lines that are at most `width` wide."""
    places, x, y = [], 0, 0
    for name in names:
        step = 38 + int(measure_text(name, 13))
        if x and x + step > width:
            x, y = 0, y + 22
        places.append((name, x, y))
        x += step
    return places


def draw_classes(
    sheet: Canvas, legend: Sequence[tuple[str, int, int]], colours: Pixels, classes: list[str],
    corner: tuple[int, int],
) -> None:  # fmt: skip
    """Draw the entries of a legend, placed by `place_legend`, below and to the right of a corner."""
    for name, right_of, below in legend:
        x, y = corner[0] + right_of, corner[1] + below
        red, green, blue = (int(v) for v in colours[classes.index(name)])
        sheet.draw_box((x, y, x + 15, y + 15), (red, green, blue), (90, 90, 90))
        sheet.draw_text((x + 21, y), name, INK, 13)


def choose_tile(images: Sequence[Pixels], height: int) -> tuple[int, int]:
    """Return width and height of the tiles that the images are fitted into: no wider than the images need.

    A width of at least 0.4 of the height leaves room for captions; at most 0.75 keeps one wide image from making the
    sheet wide.
    """
    widest = max(image.shape[1] / image.shape[0] for image in images)
    return round(height * min(0.75, max(0.4, widest))), height


def fit_image(image: Pixels, place: tuple[float, float], tile: tuple[int, int]) -> Box:
    """Return where the whole image fits, as large as possible, into the middle of the tile at `place`."""
    height, width = image.shape[:2]
    scale = min(tile[0] / width, tile[1] / height)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    left, top = place[0] + (tile[0] - size[0]) // 2, place[1] + (tile[1] - size[1]) // 2
    return left, top, left + size[0], top + size[1]
