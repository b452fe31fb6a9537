"""The picture at the top of the README: images of both modalities, their masks, and what a trained network retrieves.

    python benchmarks/overview.py --run WORK/runs/recipe-0 --out docs/overview.png

The run: `recipe`, all epochs of `small` and seed 0, as benchmarks/street_ablation.py trains it into WORK, where the
test people's images at each level still are. The people are the first of them, not chosen by hand; none was trained on.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
from street_rows import LEVELS

from cscl import load
from data.records import Record
from data.registry import open_data_set
from parsing import MaskCache
from parsing.images import read_image
from pipelines.pages.canvas import Box, Canvas
from pipelines.pages.rankings import draw_frame, draw_frame_legend
from pipelines.pages.sheets import GAP, INK, draw_classes, overlay, palette, place_legend
from pipelines.parse.config import ParseConfig
from pipelines.parse.run import parse
from pipelines.runs.embed import embed, make_loader

PROTOCOL, PEOPLE, NEAREST = "all-single", 3, 4
WIDTH, HEIGHT = 88, 176
"""Of an image, in units of the canvas: the picture is as wide as a README is shown."""
LEFT = (12, 104, 220, 312, *(444 + 109 * n for n in range(NEAREST)))
"""Left edges of the columns: image and mask of each modality, then the ranking, whose frames need room."""


@dataclass(frozen=True)
class Shown:
    """A test person: a visible image, the infrared query, and the gallery images nearest to the query."""

    visible: Record
    query: Record
    nearest: list[Record]


@click.command()
@click.option("--run", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--level", type=click.Choice(LEVELS), default="mild", show_default=True, help="Of the images.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="A PNG.")
def main(run: Path, level: str, out: Path) -> None:
    """Draw the picture."""
    data_set = open_data_set("sysu", run.parents[1] / level / "SYSU-MM01")
    (protocol,) = (p for p in data_set.protocols() if p.name == PROTOCOL)
    trial = protocol.trials[0]
    embedder = load(run)
    records = [*trial.query, *trial.gallery]
    features = embed(embedder, records, make_loader(data_set.root, embedder.size))
    similarity = embedder.similarity(features[: len(trial.query)], features[len(trial.query) :]).numpy()
    rows = []
    for identity in sorted({r.identity for r in trial.query})[:PEOPLE]:
        number = next(n for n, r in enumerate(trial.query) if r.identity == identity)
        order = np.argsort(-similarity[number], kind="stable")[:NEAREST]
        visible = next(r for r in trial.gallery if r.identity == identity)
        rows.append(Shown(visible, trial.query[number], [trial.gallery[n] for n in order]))
    people = len({r.identity for r in trial.gallery})
    with tempfile.TemporaryDirectory() as folder:
        parsed = parse(ParseConfig("sysu", root=data_set.root, out=Path(folder) / "masks.h5"))
        draw(rows, people=people, root=data_set.root, cache=MaskCache(parsed.path), out=out)


def draw(rows: list[Shown], people: int, root: Path, cache: MaskCache, out: Path) -> None:
    """Draw a row per person, with headings above and the legend below; people: number of those in the gallery."""
    head, step = 46, HEIGHT + 14
    parts = [name for name in cache.labels.classes if name != "background"]
    sheet = Canvas(880, head + len(rows) * step + 24)
    for left, right, text in (
        (LEFT[0], LEFT[1] + WIDTH, "Visible image, its mask"),
        (LEFT[2], LEFT[3] + WIDTH, "Infrared query, its mask"),
        (LEFT[4], LEFT[-1] + WIDTH, f"Nearest visible images of {people} people, none trained on"),
    ):
        sheet.draw_text(((left + right) / 2, 4), text, INK, 14, centered=True)
    for place, left in enumerate(LEFT[4:], 1):
        sheet.draw_text((left + WIDTH / 2, 24), str(place), INK, 13, centered=True)
    for line, row in enumerate(rows):
        boxes: list[Box] = [(x, head + line * step, x + WIDTH, head + line * step + HEIGHT) for x in LEFT]
        for record, pair in ((row.visible, boxes[:2]), (row.query, boxes[2:4])):
            image = read_image(root / record.name)
            sheet.draw_image(image, pair[0])
            sheet.draw_image(overlay(image, cache[record.name], cache.labels.classes), pair[1])
        for record, box in zip(row.nearest, boxes[4:], strict=True):
            sheet.draw_image(read_image(root / record.name), box)
            draw_frame(sheet, box, "right" if record.identity == row.query.identity else "wrong")
    below = head + len(rows) * step
    draw_classes(
        sheet, place_legend(parts, 880), palette(cache.labels.classes), list(cache.labels.classes), (GAP, below)
    )
    draw_frame_legend(sheet, (LEFT[4] + 60, below), ("right", "wrong"))
    sheet.save(out, quantized=True)


if __name__ == "__main__":
    main()
