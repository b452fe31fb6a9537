"""Draw ranked galleries: queries and the gallery images nearest to them, as PNG, PDF or SVG."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from parsing.errors import InputError

from .canvas import WHITE, Box, Canvas, Colour, Pixels, measure_text, wrap_text
from .sheets import FAINT, GAP, INK, LINE, choose_tile, draw_classes, fit_image, overlay, palette, place_legend
from .style import FigureFormat

# Blue and red, which differ for every kind of colour blindness; neither is the colour of a part.
RIGHT: Colour = (0, 90, 181)
WRONG: Colour = (220, 50, 32)
UNKNOWN: Colour = (150, 150, 150)

FRAME = 4
"""Width of a frame, outside the image."""
_FRAMES = {
    "right": (RIGHT, "same person"),
    "wrong": (WRONG, "another person"),
    "unknown": (UNKNOWN, "identity unknown"),
}


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


def draw_ranked_gallery(
    rows: Iterable[RankedRow], out_png: Path, top: int = 10, parts: Sequence[str] = (),
    figure_format: FigureFormat = "png",
) -> Path:  # fmt: skip
    """Draw each query and its nearest `top` gallery images, and return the picture.

    Frames say whether an image is right: blue with a tick for the same person, red with a cross for another, grey if
    an identity is unknown. If no query's identity is known, nothing is right or wrong and there are no frames.
    Identity, camera and the whole name are below each image.

    Args:
        rows: queries with their gallery images, nearest first.
        out_png: file to write.
        top: largest number of gallery images per query.
        parts: names of the Q parts of the images' attention, which is then shown below each image, over the image.
        figure_format: format to write beside the PNG.
    """
    rows = list(rows)
    shown = min(top, max((len(row.gallery) for row in rows), default=0))
    if shown < 1:
        raise InputError("a ranked gallery needs at least one query with one gallery image")
    shots = [[row.query, *row.gallery[:shown]] for row in rows]
    tile = choose_tile([shot.image for row in shots for shot in row], 168)
    head = 30
    step = tile[0] + 2 * FRAME + 6
    gallery_left = GAP + step + 18  # the query stands apart
    framed = tile[1] + 2 * FRAME
    attended = (tile[1] + FRAME) * bool(parts)
    captions = [[_captions(shot, tile[0]) for shot in row] for row in shots]
    heights = [framed + attended + 10 + LINE * max(map(len, row)) for row in captions]
    width = max(480, gallery_left + shown * step + GAP - 6)
    legend = place_legend(parts, width - 2 * GAP) if parts else []
    judged = [[_judge(row.query, shot) for shot in row.gallery[:shown]] for row in rows]
    kinds = [kind for kind in _FRAMES if any(kind in row for row in judged)]
    framing = any(row.query.identity >= 0 for row in rows)
    sheet = Canvas(width, head + sum(heights) + 28 * framing + (legend[-1][2] + 26 if legend else 0))
    sheet.draw_text((GAP + FRAME, 8), "Query", INK, 14)
    for k in range(shown):
        sheet.draw_text((gallery_left + k * step + step // 2 - 3, 8), str(k + 1), INK, 14, centered=True)
    y = head
    for shots_of_row, verdicts, texts, height in zip(shots, judged, captions, heights, strict=True):
        for k, shot in enumerate(shots_of_row):
            x = (GAP if k == 0 else gallery_left + (k - 1) * step) + FRAME
            box = fit_image(shot.image, (x, y + FRAME), tile)
            sheet.draw_image(shot.image, box)
            if k and framing:
                draw_frame(sheet, box, verdicts[k - 1])
            if parts and shot.attention is not None:
                tinted = overlay(shot.image, shot.attention, ("background", *parts))
                sheet.draw_image(tinted, fit_image(shot.image, (x, y + framed), tile))
            for i, text in enumerate(texts[k]):
                sheet.draw_text((x, y + framed + attended + 2 + LINE * i), text, INK if i == 0 else FAINT)
        y += height
    x, y = GAP + FRAME, y + 4
    if framing:
        draw_frame_legend(sheet, (x, y), kinds)
    draw_classes(
        sheet, legend, palette(("background", *parts)), ["background", *parts], (GAP + FRAME, y + 24 * framing)
    )
    return sheet.save(out_png, figure_format)


def _captions(shot: RankedImage, width: int) -> list[str]:
    """Return the lines below an image: identity, camera and similarity as far as they are known, then its name."""
    known = f"id {shot.identity}  " * (shot.identity >= 0) + f"cam {shot.camera}" * (shot.camera > 0)
    known += f"cos {shot.similarity:.2f}" if shot.similarity is not None else ""
    return [line for text in (known.strip(), shot.name) if text for line in wrap_text(text, width, 12)]


def _judge(query: RankedImage, shot: RankedImage) -> str:
    """Return the key of _FRAMES for a gallery image."""
    if query.identity < 0 or shot.identity < 0:
        return "unknown"
    return "right" if shot.identity == query.identity else "wrong"


def draw_frame(sheet: Canvas, box: Box, kind: str) -> None:
    """Draw the frame of an image in `box`, with its mark; kind: `right`, `wrong` or `unknown`."""
    left, upper, right, lower = box
    outer = (left - FRAME, upper - FRAME, right + FRAME, lower + FRAME)
    sheet.draw_box(outer, outline=_FRAMES[kind][0], width=FRAME)
    _draw_mark(sheet, (right - 16, upper), kind)


def draw_frame_legend(sheet: Canvas, corner: tuple[float, float], kinds: Sequence[str]) -> float:
    """Draw what the frames of these kinds mean, to the right of a corner; return where the next entry would stand."""
    x, y = corner
    for kind in kinds:
        colour, words = _FRAMES[kind]
        sheet.draw_box((x, y, x + 15, y + 15), outline=colour, width=FRAME)
        _draw_mark(sheet, (x + 20, y - 1), kind)
        x += 20 * (kind != "unknown")
        sheet.draw_text((x + 21, y), words, INK, 13)
        x += 44 + int(measure_text(words, 13))
    return x


def _draw_mark(sheet: Canvas, corner: tuple[float, float], kind: str) -> None:
    """Draw a tick or a cross in a badge of 16 by 16, for readers who cannot tell the colours of the frame."""
    strokes = {"right": [[(3, 8), (6, 11), (12, 4)]], "wrong": [[(4, 4), (11, 11)], [(11, 4), (4, 11)]]}.get(kind, [])
    x, y = corner
    if strokes:
        sheet.draw_box((x, y, x + 16, y + 16), fill=_FRAMES[kind][0])
    for stroke in strokes:
        sheet.draw_line([(x + a, y + b) for a, b in stroke], WHITE, 2)
