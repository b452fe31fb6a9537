"""`cscl evaluate --figures`: CMC, ranked galleries, embeddings, part attention and curves of a run, and their page."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cscl.embedder import Embedder
from cscl.ranking import stable_order
from data.records import DataSet, Protocol, Record
from parsing.images import read_image
from parsing.modality import MODALITIES
from parsing.schemes import part_scheme

from ..pages.charts import cmc_curve, curves, embedding_map
from ..pages.page import Section, SummaryRow, Table, write_page
from ..pages.sheets import MaskItem, RankedImage, RankedRow, mask_sheet, ranked_gallery
from ..recipes.reading import Recipe
from ..runs.scores import Result, distances
from .part_table import PartTable

FOLDER = "figures"
"""Of the run's folder; holds the pictures and the page of them."""


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
) -> Path:
    """Draw into `run`/figures and answer the page, index.html, which holds all pictures.

    features: unit embeddings (D,) by image name; measured: what the page's headline was measured on.
    """
    out = run / FOLDER
    first, result = protocols[0], results[0]
    parts = part_names(recipe, embedder)
    records = list({r.name: r for p in protocols for t in p.trials for r in (*t.query, *t.gallery)}.values())
    sections = [
        Section(
            "CMC",
            "Share of the queries whose person is among the first k of the gallery.",
            cmc_curve({r.protocol: r.curve for r in results}, out / "cmc.png"),
        ),
        Section(
            "Ranked galleries",
            f"Queries of {first.name}, first trial (left), and the gallery images that rank first: green is the same "
            "person, red another." + " Below each image is where the network sees each part." * bool(parts),
            rankings(out / "rankings.png", embedder, data_set.root, first, features, parts, result.reranked),
        ),
        Section(
            "Embeddings",
            "The two directions in which the embeddings of all test images vary most (PCA). A person's two modalities "
            "should lie together; modalities that lie apart are what the network has not bridged.",
            embedding_map(
                np.stack([features[r.name] for r in records]),
                np.array([r.identity for r in records]),
                np.array([r.modality == "infrared" for r in records]),
                out / "embeddings.png",
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
                "Where the network sees each part (P of SPAM, without the cached masks), tinted by how sure it is."
                + held,
                attention_sheet(out / "attention.png", embedder, data_set.root, records, parts),
                None if part_table is None else Table(*part_table.cells()),
            )
        )
    if (run / "metrics.jsonl").is_file():
        picture = curves(run / "metrics.jsonl", out / "curves.png")
        sections.append(Section("Training", "Losses, learning rate and validation over the steps.", picture))
    return write_page(
        out,
        f"{recipe.method} on {data_set.name}",
        [
            SummaryRow("Rank-1", result.cmc[1], result.chance_rank1),
            SummaryRow("mAP", result.mAP, result.chance_map),
            SummaryRow("mINP", result.mINP),
        ],
        sections,
        protocol=f"{first.name}; {measured}",
        simulated="The images are simulated; the figures say nothing about photographs of people." if simulated else "",
    )


def part_names(recipe: Recipe, embedder: Embedder) -> tuple[str, ...]:
    """Return names of the network's Q parts; none for a network without part attention."""
    spam = embedder.network.spam
    return () if spam is None or spam.pooling != "parsing" else part_scheme(recipe.data.scheme).parts


def rankings(
    png: Path,
    embedder: Embedder,
    root: Path,
    protocol: Protocol,
    features: Mapping[str, NDArray[np.float64]],
    parts: Sequence[str] = (),
    rerank: bool = False,
    queries: int = 6,
) -> Path:
    """Return the first trial's ranking of queries spread over the test people, with the attention to `parts`."""
    trial = protocol.trials[0]
    # Every query is ranked, even if few are drawn: re-ranking sees them all.
    ranked = distances(protocol, trial, features, rerank)
    spread = sorted({i * len(trial.query) // queries for i in range(queries)})
    rows = []
    for number in spread:
        (order,) = stable_order(ranked[number : number + 1])
        nearest = [trial.gallery[i] for i in order if np.isfinite(ranked[number, i])][:10]
        shots = [_shot(embedder, root, record, bool(parts)) for record in (trial.query[number], *nearest)]
        rows.append(RankedRow(shots[0], shots[1:]))
    return ranked_gallery(rows, png, parts=parts)


def attention_sheet(
    png: Path, embedder: Embedder, root: Path, records: Sequence[Record], parts: Sequence[str], each: int = 12
) -> Path:
    """Images of each modality, spread over the records, beside the network's part attention."""
    items = []
    for modality in MODALITIES:
        of = [r for r in records if r.modality == modality]
        for record in of[:: max(1, len(of) // each)][:each]:
            shot = _shot(embedder, root, record, attended=True)
            if shot.attention is not None:
                items.append(MaskItem(shot.image, shot.attention, modality, record.name))
    return mask_sheet(items, png, ("background", *parts))


def _shot(embedder: Embedder, root: Path, record: Record, attended: bool) -> RankedImage:
    image = read_image(root / record.name)
    seen = embedder.attention(image, record.modality == "infrared") if attended else None
    attention = None if seen is None else seen[0].numpy()
    return RankedImage(image, record.identity, record.camera, record.name, attention=attention)
