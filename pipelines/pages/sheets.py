"""Draw pictures made of images, as PNG: images with their part masks, sheets of masks, ranked galleries."""

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from parsing.errors import InputError
from parsing.labels import IGNORED

from .pictures import write_picture

Pixels = NDArray[np.uint8]
Colour = tuple[int, int, int]

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
RIGHT: Colour = (22, 150, 80)
WRONG: Colour = (208, 36, 36)
UNKNOWN: Colour = (150, 150, 150)

_INK, _FAINT, _PAPER = (34, 34, 34), (110, 110, 110), (255, 255, 255)
_GAP = 12


@dataclass(frozen=True, eq=False)
class MaskItem:
    """One image and its mask.

    Attributes:
        image: (H, W, 3) uint8.
        labels: as `overlay` takes them.
        modality: heading of the block in which it is shown.
    """

    image: Pixels
    labels: NDArray[np.number]
    modality: str
    caption: str = ""


@dataclass(frozen=True, eq=False)
class RankedImage:
    """One image of a ranking.

    Attributes:
        image: (H, W, 3) uint8.
        identity, camera: -1 and 0 if unknown.
        similarity: to the query; shown below the image.
        attention: (Q+1, h, w), part attention; drawn on a copy of the image below it.
    """

    image: Pixels
    identity: int = -1
    camera: int = 0
    name: str = ""
    similarity: float | None = None
    attention: NDArray[np.floating] | None = None


@dataclass(frozen=True, eq=False)
class RankedRow:
    """A query and its gallery images, nearest first."""

    query: RankedImage
    gallery: Sequence[RankedImage]


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


def mask_sheet(items: Iterable[MaskItem], out_png: Path, classes: Sequence[str], columns: int = 6) -> Path:
    """Draw images beside their overlays, one block per modality in order of appearance, and a legend."""
    blocks: dict[str, list[MaskItem]] = {}
    for item in items:
        blocks.setdefault(item.modality, []).append(item)
    if not blocks or columns < 1:
        raise InputError("a sheet of masks needs at least one image and one column")
    tile = (96, 192)
    cell = (2 * tile[0] + 2, tile[1] + 22)
    columns = min(columns, max(map(len, blocks.values())))
    width = max(300, _GAP + columns * (cell[0] + _GAP))  # room for a block's heading
    legend = _place_legend([c for c in classes if c != "background"], width - 2 * _GAP)
    heights = [34 + -(-len(block) // columns) * (cell[1] + _GAP) for block in blocks.values()]
    sheet = Image.new("RGB", (width, _GAP + sum(heights) + legend[-1][2] + 30), _PAPER)
    draw = ImageDraw.Draw(sheet)
    top = _GAP
    for (modality, block), height in zip(blocks.items(), heights, strict=True):
        draw.text((_GAP, top + 4), f"{modality.capitalize()}: image and its parts", _INK, _load_font(16))
        for i, item in enumerate(block):
            x = _GAP + i % columns * (cell[0] + _GAP)
            y = top + 34 + i // columns * (cell[1] + _GAP)
            _paste(sheet, image=item.image, place=(x, y), tile=tile)
            _paste(sheet, image=overlay(item.image, item.labels, classes), place=(x + tile[0] + 2, y), tile=tile)
            draw.text((x, y + tile[1] + 4), _shorten_text(item.caption, cell[0]), _FAINT, _load_font(12))
        top += height
    colours = palette(classes)
    for name, x, y in legend:
        box = (_GAP + x, top + y, _GAP + x + 14, top + y + 14)
        red, green, blue = (int(v) for v in colours[list(classes).index(name)])
        draw.rectangle(box, (red, green, blue), (90, 90, 90))
        draw.text((box[2] + 6, box[1] - 1), name, _INK, _load_font(13))
    return _save_sheet(sheet, out_png)


def draw_ranked_gallery(rows: Iterable[RankedRow], out_png: Path, top: int = 10, parts: Sequence[str] = ()) -> Path:
    """Return each query and its nearest `top` gallery images: green frame and tick for the same person, red frame
    and cross for another, grey if an identity is unknown; camera and identity below each image.

    parts: names of the Q parts of the shots' attention, which is then shown below each image, over the image."""
    rows = list(rows)
    shown = min(top, max((len(row.gallery) for row in rows), default=0))
    if shown < 1:
        raise InputError("a ranked gallery needs at least one query with one gallery image")
    tile, frame, caption, head = (84, 168), 4, 36, 30
    step = tile[0] + 2 * frame + 6
    gallery_left = _GAP + step + 18  # the query stands apart
    framed = tile[1] + 2 * frame
    attended = (tile[1] + frame) * bool(parts)
    row_height = framed + attended + caption + 8
    width = max(480, gallery_left + shown * step + _GAP - 6)
    legend = _place_legend(parts, width - 2 * _GAP) if parts else []
    size = (width, head + len(rows) * row_height + 28 + (legend[-1][2] + 22 if legend else 0))
    colours = palette(("background", *parts))
    sheet = Image.new("RGB", size, _PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((_GAP + frame, 8), "Query", _INK, _load_font(14))
    for k in range(shown):
        draw.text((gallery_left + k * step + step // 2 - 5, 8), str(k + 1), _INK, _load_font(14), anchor="ma")
    for r, row in enumerate(rows):
        y = head + r * row_height
        for k, shot in enumerate([row.query, *row.gallery[:shown]]):
            x = _GAP if k == 0 else gallery_left + (k - 1) * step
            known = k > 0 and row.query.identity >= 0 and shot.identity >= 0
            right = shot.identity == row.query.identity
            if k:
                outer = (x, y, x + tile[0] + 2 * frame - 1, y + framed - 1)
                draw.rectangle(outer, _PAPER, UNKNOWN if not known else RIGHT if right else WRONG, frame)
            _paste(sheet, image=shot.image, place=(x + frame, y + frame), tile=tile)
            if parts and shot.attention is not None:
                tinted = overlay(shot.image, shot.attention, ("background", *parts))
                _paste(sheet, image=tinted, place=(x + frame, y + framed), tile=tile)
            if known:
                _draw_mark(draw, (x + tile[0] - 12, y + frame), right)
            for i, line in enumerate(_captions(shot)):
                place = (x + frame, y + framed + attended + 2 + 15 * i)
                draw.text(place, _shorten_text(line, tile[0]), _INK if i == 0 else _FAINT, _load_font(12))
    x, y = _GAP + frame, head + len(rows) * row_height + 4
    for name, right_of, below in legend:
        red, green, blue = (int(v) for v in colours[1 + list(parts).index(name)])
        box = (x + right_of, y + 22 + below, x + right_of + 14, y + 36 + below)
        draw.rectangle(box, (red, green, blue), (90, 90, 90))
        draw.text((box[2] + 6, box[1] - 1), name, _INK, _load_font(13))
    for colour, words in ((RIGHT, "same person"), (WRONG, "another person"), (UNKNOWN, "identity unknown")):
        draw.rectangle((x, y, x + 14, y + 14), _PAPER, colour, frame)
        draw.text((x + 20, y - 1), words, _INK, _load_font(13))
        x += 44 + int(_load_font(13).getlength(words))
    return _save_sheet(sheet, out_png)


def _mix(colour: Colour, end: int, share: float) -> Colour:
    """Return the colour moved by this share towards black (end 0) or white (255)."""
    red, green, blue = (round(value * (1 - share) + end * share) for value in colour)
    return red, green, blue


def _captions(shot: RankedImage) -> list[str]:
    """Return the lines below an image: identity, camera and similarity as far as they are known, then its name."""
    known = f"id {shot.identity}  " * (shot.identity >= 0) + f"cam {shot.camera}" * (shot.camera > 0)
    known += f"cos {shot.similarity:.2f}" if shot.similarity is not None else ""
    return [line for line in (known.strip(), shot.name) if line]


def _place_legend(names: Sequence[str], width: int) -> list[tuple[str, int, int]]:
    """Return (name, x, y) of every entry, in lines that are at most `width` pixels wide."""
    places, x, y = [], 0, 0
    for name in names:
        step = 38 + int(_load_font(13).getlength(name))
        if x and x + step > width:
            x, y = 0, y + 22
        places.append((name, x, y))
        x += step
    return places


def _paste(sheet: Image.Image, image: Pixels, place: tuple[int, int], tile: tuple[int, int]) -> None:
    """Paste the whole image as large as possible into the middle of the tile at `place`, on pale grey."""
    picture = Image.fromarray(np.asarray(image))
    scale = min(tile[0] / picture.width, tile[1] / picture.height)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    sheet.paste((238, 238, 238), (*place, place[0] + tile[0], place[1] + tile[1]))
    corner = (place[0] + (tile[0] - size[0]) // 2, place[1] + (tile[1] - size[1]) // 2)
    sheet.paste(picture.resize(size, Image.Resampling.LANCZOS), corner)


def _draw_mark(draw: ImageDraw.ImageDraw, corner: tuple[int, int], right: bool) -> None:
    """Draw a tick or a cross in a badge of 16 pixels, for readers who cannot tell the colours of the frame."""
    x, y = corner
    draw.rectangle((x, y, x + 15, y + 15), RIGHT if right else WRONG)
    strokes = [[(3, 8), (6, 11), (12, 4)]] if right else [[(4, 4), (11, 11)], [(11, 4), (4, 11)]]
    for stroke in strokes:
        draw.line([(x + a, y + b) for a, b in stroke], _PAPER, 2)


def _shorten_text(text: str, width: int) -> str:
    """Return the text, its front cut off if it is wider than `width` pixels: names differ at their ends."""
    if _load_font(12).getlength(text) <= width:
        return text
    while text and _load_font(12).getlength("…" + text) > width:
        text = text[1:]
    return "…" + text


@cache
def _load_font(size: int) -> ImageFont.FreeTypeFont:
    """Return the font that matplotlib contains, so that none needs to be installed."""
    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", size)


def _save_sheet(sheet: Image.Image, out_png: Path) -> Path:
    file = io.BytesIO()
    sheet.save(file, format="PNG", optimize=True)
    return write_picture(out_png, file)
