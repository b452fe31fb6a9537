"""The picture at the top of the README: images of both modalities, their masks, and what a trained network retrieves.

    python benchmarks/overview.py --run RUN --out docs/overview.png

RUN: a training of `recipe` by benchmarks/street_ablation.py, whose images and masks are still there. The people are
the first of the test identities, not chosen by hand; none of them was trained on.
"""

import io
from pathlib import Path

import click
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray
from PIL import Image

from cscl import load
from data.records import Record
from parsing import MaskCache
from parsing.images import read_image
from pipelines.pages.sheets import overlay, palette
from pipelines.runs.embed import embed, make_loader
from pipelines.runs.provenance import open_images, read_run

PROTOCOL, PEOPLE, NEAREST = "all-single", 3, 4
RIGHT, WRONG = "#0072b2", "#d55e00"
"""Blue and vermilion of Okabe and Ito, which colour-blind readers tell apart."""


@click.command()
@click.option("--run", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="A PNG.")
def main(run: Path, out: Path) -> None:
    """Draw the picture."""
    _, info = read_run(run)
    data_set = open_images(run, info, None)
    cache = MaskCache(run / info.masks)
    (protocol,) = (p for p in data_set.protocols() if p.name == PROTOCOL)
    trial = protocol.trials[0]
    records = [*trial.query, *trial.gallery]
    embedder = load(run)
    features = embed(embedder, records, make_loader(data_set.root, embedder.size)).numpy()
    queries, gallery = features[: len(trial.query)], features[len(trial.query) :]
    people = sorted({r.identity for r in trial.query})[:PEOPLE]
    chosen = [next(n for n, r in enumerate(trial.query) if r.identity == identity) for identity in people]
    rows = []
    for number in chosen:
        query = trial.query[number]
        seen = next(r for r in trial.gallery if r.identity == query.identity)
        nearest = np.argsort(-(gallery @ queries[number]), kind="stable")[:NEAREST]
        rows.append((query, seen, [trial.gallery[n] for n in nearest]))
    draw(rows, root=data_set.root, cache=cache, out=out)


def draw(rows: list[tuple[Record, Record, list[Record]]], root: Path, cache: MaskCache, out: Path) -> None:
    """Draw a row per person: visible image and mask, infrared image and mask, then the nearest visible images."""
    figure = Figure(figsize=(8, 1.66 * len(rows) + 0.7))
    ratios = [1, 1, 0.12, 1, 1, 0.3, *[1] * NEAREST]
    grid = figure.add_gridspec(
        len(rows), len(ratios), width_ratios=ratios, wspace=0.06, hspace=0.06, left=0.01, right=0.99,
        top=1 - 0.32 / figure.get_figheight(), bottom=0.36 / figure.get_figheight(),
    )  # fmt: skip
    titles = {0: "visible", 1: "mask", 3: "infrared", 4: "mask", 6: "nearest: 1st", 7: "2nd", 8: "3rd", 9: "4th"}
    for line, (query, seen, nearest) in enumerate(rows):
        pictures: list[tuple[int, NDArray[np.uint8], str | None]] = []
        for column, record in ((0, seen), (3, query)):
            image = read_image(root / record.name)
            pictures.append((column, image, None))
            pictures.append((column + 1, overlay(image, cache[record.name], cache.labels.classes), None))
        for column, record in enumerate(nearest, 6):
            colour = RIGHT if record.identity == query.identity else WRONG
            pictures.append((column, read_image(root / record.name), colour))
        for column, picture, frame in pictures:
            axes = figure.add_subplot(grid[line, column])
            axes.imshow(picture, aspect="auto")
            axes.set(xticks=[], yticks=[])
            for spine in axes.spines.values():
                spine.set(visible=frame is not None, color=frame, linewidth=2.5)
            if line == 0:
                axes.set_title(titles[column], fontsize=9, pad=4)
    colours = palette(cache.labels.classes) / 255
    handles = [Patch(color=colours[n], label=name) for n, name in enumerate(cache.labels.classes) if n]
    frames = ((RIGHT, "same person"), (WRONG, "another"))
    handles += [Patch(fill=False, edgecolor=colour, linewidth=2, label=text) for colour, text in frames]
    figure.legend(
        handles=handles, loc="lower center", ncols=len(handles), fontsize=7.5, frameon=False, handlelength=1.1,
        columnspacing=1.1, handletextpad=0.4, borderaxespad=0.2,
    )  # fmt: skip
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=180)
    with Image.open(drawn) as drawn_picture:  # 256 colours: a quarter of the bytes
        drawn_picture.convert("RGB").quantize(256, Image.Quantize.MEDIANCUT).save(out, optimize=True)


if __name__ == "__main__":
    main()
