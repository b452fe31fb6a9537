"""Rank a folder of images by their similarity to query images, as a list and a picture (`cscl search`)."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from cscl.embedder import Embedder
from cscl.ranking import stable_order
from cscl.similarity import compute_similarity
from data.loading.images import load_image
from data.readers.listing import list_below
from data.records import Modality, Record
from data.words import count_endings
from parsing.errors import InputError, MissingError, first_line
from parsing.images import UnreadableImageError, read_image
from parsing.words import list_briefly

from ..devices import find_device
from ..pages.rankings import RankedImage, RankedRow, draw_ranked_gallery
from ..runs.embed import embed
from ..runs.folder import load_model
from ..runs.provenance import read_run
from ..runs.scheme import read_scheme
from .report import list_part_names

SHOWN = 12
"""Largest number of queries in the picture; the list contains all."""
ACROSS = 10
"""Largest number of gallery images beside a query in the picture."""


@dataclass(frozen=True, kw_only=True)
class SearchConfig:
    """The arguments of a search.

    Attributes:
        run: folder of a finished run.
        queries: image files, or folders of them.
        gallery: folder of images, at any depth.
        query_modality: modality of the queries.
        gallery_modality: modality of the gallery; None for the other one.
        top: number of gallery images to list per query.
        flip: whether to average the embeddings of an image and its mirror image.
        out: file of the picture; None for search.png in the run.
        device: `auto`, `cpu`, `cuda` or `cuda:1`.
    """

    run: Path
    queries: tuple[Path, ...]
    gallery: Path
    query_modality: Modality = "infrared"
    gallery_modality: Modality | None = None
    top: int = 10
    flip: bool = True
    out: Path | None = None
    device: str = "auto"


@dataclass(frozen=True)
class Match:
    """A gallery image and its similarity to the query, in [-1, 1] (`cscl.similarity`)."""

    image: str
    similarity: float


@dataclass(frozen=True)
class SearchResult:
    """Result of a search.

    Attributes:
        picture: file of the picture.
        searched: number of gallery images.
        query_modality, gallery_modality: modalities of queries and gallery.
        rankings: path of each query and its nearest gallery images.
        unreadable: reason for each image that could not be read and was left out.
        others: files in the folders that are no images.
        linked: folders that are links to others, whose images are searched once.
        undrawn: reason why there is no picture; empty if there is one.
    """

    picture: Path
    searched: int
    query_modality: Modality
    gallery_modality: Modality
    rankings: tuple[tuple[str, tuple[Match, ...]], ...]
    unreadable: tuple[str, ...]
    others: tuple[str, ...] = ()
    linked: tuple[str, ...] = ()
    undrawn: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the result for `cscl search --json`."""
        return {
            "picture": None if self.undrawn else str(self.picture),
            "searched": self.searched,
            "query_modality": self.query_modality,
            "gallery_modality": self.gallery_modality,
            "results": [
                {"query": query, "matches": [{"image": m.image, "similarity": m.similarity} for m in matches]}
                for query, matches in self.rankings
            ],
            "unreadable": list(self.unreadable),
            "others": list(self.others),
            "linked": list(self.linked),
        }

    def lines(self) -> list[str]:
        """Return the lists that `cscl search` prints, as lines."""
        shown = [f"{self.searched} {self.gallery_modality} images searched, with their similarity"]
        for query, matches in self.rankings:
            shown.append(f"{self.query_modality} {query}")
            shown += [f"{place:4d}  {m.similarity:6.3f}  {m.image}" for place, m in enumerate(matches, 1)]
        if self.others:
            shown.append(f"note: {len(self.others)} files are no image: {count_endings(self.others)}")
        if self.linked:
            shown.append(
                f"note: {len(self.linked)} folders are links to others, whose images are searched once: "
                f"{list_briefly(self.linked, 3)}"
            )
        if self.undrawn:
            return shown
        left = len(self.rankings) - SHOWN
        return [*shown, f"{self.picture}: picture" + (f" of the first {SHOWN} queries" if left > 0 else "")]


def search(config: SearchConfig) -> SearchResult:
    """Embed queries and gallery, rank the gallery for each query, and draw the nearest images.

    Images that cannot be read are left out and named in the result.

    Raises:
        MissingError: if a path does not exist.
        InputError: if no query or no gallery image can be read.
    """
    if config.top < 1:
        raise InputError(f"--top {config.top}: show at least 1")
    recipe, _ = read_run(config.run)
    embedder = load_model(config.run, find_device(config.device))
    other: Modality = "visible" if config.query_modality == "infrared" else "infrared"
    gallery_modality = config.gallery_modality or other
    others: list[str] = []
    linked: list[str] = []
    queries = [
        r
        for path in config.queries
        for r in _list_records(path, modality=config.query_modality, option="--query", others=others, linked=linked)
    ]
    if not config.gallery.is_dir():
        raise MissingError(f"--gallery {config.gallery}: there is no such folder")
    gallery = _list_records(config.gallery, modality=gallery_modality, option="--gallery", others=others, linked=linked)
    unreadable: dict[str, str] = {}
    queries, query_features = _embed(embedder, records=queries, config=config, unreadable=unreadable)
    gallery, gallery_features = _embed(embedder, records=gallery, config=config, unreadable=unreadable)
    for what, records in (("--query", queries), ("--gallery", gallery)):
        if not records:
            first = next(iter(unreadable.values()))
            raise InputError(f"{what}: none of the images can be read; the first: {first}")
    rankings = []
    for query, feature in zip(queries, query_features, strict=True):
        similarity = compute_similarity(feature[None], gallery_features, embedder.blocks)
        (order,) = stable_order(-similarity)
        nearest = order[: config.top]
        rankings.append((query.name, tuple(Match(gallery[i].name, float(similarity[0, i])) for i in nearest)))
    scheme, edited = read_scheme(config.run, recipe.data.scheme)
    parts = list_part_names(scheme, embedder)
    if parts and edited:
        tqdm.write(f"note: {edited}", file=sys.stderr)
    picture = config.out or config.run / "search.png"
    modalities = (config.query_modality, gallery_modality)
    undrawn = ""
    try:
        _draw(
            embedder,
            rankings=rankings[:SHOWN],
            modalities=modalities,
            folders=(config.gallery, *config.queries),
            parts=parts,
            picture=picture,
            across=min(config.top, ACROSS),
        )
    except OSError as error:  # the ranking must not be lost with its picture
        undrawn = f"{picture} cannot be written: {error.strerror or first_line(error)}"
    return SearchResult(
        picture,
        len(gallery),
        *modalities,
        rankings=tuple(rankings),
        unreadable=tuple(unreadable.values()),
        others=tuple(others),
        linked=tuple(linked),
        undrawn=undrawn,
    )


def _list_records(path: Path, modality: Modality, option: str, others: list[str], linked: list[str]) -> list[Record]:
    """Return records of unknown identity for an image, or for all images below a folder in the order of their names.

    Files in the folder that are no images are appended to `others`, links to folders listed already to `linked`.
    """
    if path.is_dir():
        names, beside, below = list_below(path, ".")
        others += [str(path / name) for name in beside]
        linked += [f"{path}: {link}" for link in below]
        if not names:
            unread = f", but {len(beside)} files that are none: {count_endings(beside)}" if beside else ""
            raise InputError(f"{option} {path}: there is no image in this folder{unread}")
        return [Record(str(path / name), identity=-1, camera=0, modality=modality) for name in names]
    if not path.is_file():
        raise MissingError(f"{option} {path}: there is no such file or folder")
    return [Record(str(path), identity=-1, camera=0, modality=modality)]


def _embed(
    embedder: Embedder, records: Sequence[Record], config: SearchConfig, unreadable: dict[str, str]
) -> tuple[list[Record], NDArray[np.float64]]:
    """Return the records that can be read, and their embeddings (N, D).

    The reasons why the others cannot be read are added to `unreadable`, by name.
    """

    def read(record: Record) -> Tensor:
        try:
            return load_image(Path(record.name), embedder.size)
        except UnreadableImageError as error:
            unreadable[record.name] = str(error)
            return torch.zeros((3, *embedder.size), dtype=torch.uint8)

    features = embed(embedder, records, read, flip=config.flip).double().numpy()
    good = [n for n, record in enumerate(records) if record.name not in unreadable]
    return [records[n] for n in good], features[good]


def _draw(
    embedder: Embedder,
    rankings: Sequence[tuple[str, tuple[Match, ...]]],
    modalities: tuple[Modality, Modality],
    folders: Sequence[Path],
    parts: Sequence[str],
    picture: Path,
    across: int,
) -> None:
    """Draw the rankings, with SPAM's attention over each image if the network has SPAM.

    An image is named by its path in the one of `folders` that it was found in.
    """

    def read(path: str, modality: Modality, similarity: float | None = None) -> RankedImage:
        image = read_image(Path(path))
        seen = embedder.attention(image, infrared=modality == "infrared")
        name = next((str(Path(path).relative_to(f)) for f in folders if f in Path(path).parents), Path(path).name)
        return RankedImage(image, name=name, similarity=similarity, attention=None if seen is None else seen[0].numpy())

    rows = [
        RankedRow(read(query, modalities[0]), [read(m.image, modalities[1], m.similarity) for m in matches[:across]])
        for query, matches in rankings
    ]
    draw_ranked_gallery(rows, out_png=picture, top=across, parts=parts)
