"""Draw the figures of a run and their page (`cscl evaluate --figures`): CMC, rankings, embeddings, parts, curves."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cscl.embedder import Embedder
from cscl.ranking import stable_order
from data.records import DataSet, Protocol, Record
from parsing.images import read_image
from parsing.modality import MODALITIES
from parsing.schemes import PartScheme

from ..pages.charts import cmc_curve, curves, embedding_map
from ..pages.page import Section, SummaryRow, Table, write_page
from ..pages.rankings import RankedImage, RankedRow, draw_ranked_gallery
from ..pages.sheets import MaskItem, mask_sheet
from ..pages.style import FigureFormat
from ..recipes.reading import Recipe
from ..runs.scheme import read_scheme
from ..runs.scores import Result, compute_distances, list_needed_records
from .part_table import PartTable

FOLDER = "figures"
"""Subfolder of a run with the pictures and their page."""


def draw_figures(
    run: Path,
    recipe: Recipe,
    embedder: Embedder,
    data_set: DataSet,
    protocols: Sequence[Protocol],
    results: Sequence[Result],
    features: Mapping[str, NDArray[np.float64]],
    measured: str,
    simulated: bool,
    part_table: PartTable | None = None,
    figure_format: FigureFormat = "png",
) -> Path:
    """Draw all figures of an evaluation into the folder `run`/figures, and return their page, index.html.

    Args:
        run: folder of the run.
        recipe: of the run.
        embedder: its network.
        data_set: of the test images.
        protocols: at least one; rankings and headline are those of the first.
        results: one per protocol.
        features: embeddings (D,) of length 1 by image name.
        measured: conditions of the results, for the headline.
        simulated: whether the images are simulated.
        part_table: agreement of the network's parts with the masks, if it was measured.
        figure_format: format to write beside the PNG files, which the page shows.

    Raises:
        OSError: if a file cannot be written.
    """
    out = run / FOLDER
    first, result = protocols[0], results[0]
    parts = list_part_names(read_scheme(run, recipe.data.scheme)[0], embedder)
    records = list(list_needed_records(protocols).values())
    sections = [
        Section(
            "CMC",
            "Share of the queries whose person is among the first k of the gallery.",
            cmc_curve({r.protocol: r.curve for r in results}, out / "cmc.png", figure_format=figure_format),
            half=True,
        ),
        Section(
            "Embeddings",
            "The two directions in which the embeddings of all test images vary most (PCA). A person's two modalities "
            "should lie together; modalities that lie apart are what the network has not bridged.",
            embedding_map(
                np.stack([features[r.name] for r in records]),
                identities=np.array([r.identity for r in records]),
                infrared=np.array([r.modality == "infrared" for r in records]),
                out_png=out / "embeddings.png",
                figure_format=figure_format,
            ),
            half=True,
        ),
        Section(
            "Ranked galleries",
            f"Queries of {first.name}, first trial (left), and the gallery images that rank first: a blue frame is "
            "the same person, a red one another."
            + " Below each image: where the network sees each part."
            * bool(parts),
            draw_rankings(
                out / "rankings.png",
                embedder=embedder,
                root=data_set.root,
                protocol=first,
                features=features,
                parts=parts,
                rerank=result.reranked,
                figure_format=figure_format,
            ),
        ),
    ]
    if parts:
        held = "" if part_table is None else (
            " The table holds it against the cached masks, in per cent: inside, the share of a part's attention "
            "inside the part; ideal, what the mask itself has at this grid; AUC of the visibility v for whether the "
            "part shows; absent, the same without the images that show only a little of it."
        )  # fmt: skip
        sections.append(
            Section(
                "Part attention",
                caption="Where the network sees each part (P of SPAM, without the cached masks), tinted by how sure it "
                f"is.{held}",
                picture=draw_attention(
                    out / "attention.png",
                    embedder=embedder,
                    root=data_set.root,
                    records=records,
                    parts=parts,
                    figure_format=figure_format,
                ),
                table=None if part_table is None else Table(*part_table.cells()),
            )
        )
    if (run / "metrics.jsonl").is_file():
        picture = curves(run / "metrics.jsonl", out / "curves.png", figure_format)
        sections.append(Section("Training", "Losses, learning rate and validation over the steps.", picture))
    return write_page(
        out,
        title=f"{recipe.title} on {data_set.name}",
        summary=[
            SummaryRow("Rank-1", result.cmc[1], result.chance_rank1),
            SummaryRow("mAP", result.mAP, result.chance_map),
            SummaryRow("mINP", result.mINP),
        ],
        sections=sections,
        protocol=f"{first.name}; {measured}",
        simulated="The images are simulated; the figures say nothing about photographs of people." if simulated else "",
    )


def list_part_names(scheme: PartScheme, embedder: Embedder) -> tuple[str, ...]:
    """Return the names of the network's Q parts, which its run's scheme has; none without part attention."""
    spam = embedder.network.spam
    return () if spam is None or spam.pooling != "parsing" else scheme.parts


def draw_rankings(
    png: Path,
    embedder: Embedder,
    root: Path,
    protocol: Protocol,
    features: Mapping[str, NDArray[np.float64]],
    parts: Sequence[str] = (),
    rerank: bool = False,
    queries: int = 6,
    figure_format: FigureFormat = "png",
) -> Path:
    """Draw the rankings of some queries in the first trial, and return the picture.

    Args:
        png: file to write.
        embedder: the network.
        root: folder of the images.
        protocol: its first trial is shown.
        features: embeddings (D,) of length 1 by image name.
        parts: names of the parts whose attention is drawn below each image; empty for none.
        rerank: whether to re-rank.
        queries: number of queries, at equal distances in the list of all.
        figure_format: format to write beside the PNG.
    """
    trial = protocol.trials[0]
    # Rank all queries, although few are drawn: the result of re-ranking depends on all of them.
    distances = compute_distances(protocol, trial=trial, features=features, rerank=rerank, blocks=embedder.blocks)
    spread = sorted({i * len(trial.query) // queries for i in range(queries)})
    rows = []
    for number in spread:
        (order,) = stable_order(distances[number : number + 1])
        nearest = [trial.gallery[i] for i in order if np.isfinite(distances[number, i])][:10]
        shots = [
            _read_ranked_image(embedder, root=root, record=record, attended=bool(parts))
            for record in (trial.query[number], *nearest)
        ]
        rows.append(RankedRow(shots[0], shots[1:]))
    return draw_ranked_gallery(rows, png, parts=parts, figure_format=figure_format)


def draw_attention(
    png: Path, embedder: Embedder, root: Path, records: Sequence[Record], parts: Sequence[str], each: int = 12,
    figure_format: FigureFormat = "png",
) -> Path:  # fmt: skip
    """Draw `each` images per modality beside the network's part attention, and return the picture."""
    items = []
    for modality in MODALITIES:
        of = [r for r in records if r.modality == modality]
        for record in of[:: max(1, len(of) // each)][:each]:
            shot = _read_ranked_image(embedder, root, record, attended=True)
            if shot.attention is not None:
                items.append(MaskItem(shot.image, labels=shot.attention, modality=modality, caption=record.name))
    return mask_sheet(items, png, ("background", *parts), figure_format=figure_format)


def _read_ranked_image(embedder: Embedder, root: Path, record: Record, attended: bool) -> RankedImage:
    """Return an image, the first of a tracklet, for `draw_ranked_gallery`, if `attended` with the part attention."""
    image = read_image(root / record.images[0].name)
    seen = embedder.attention(image, record.modality == "infrared") if attended else None
    attention = None if seen is None else seen[0].numpy()
    return RankedImage(image, identity=record.identity, camera=record.camera, name=record.name, attention=attention)
