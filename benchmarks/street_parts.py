"""How well the parts of a training of benchmarks/street_ablation.py fit the masks, and what better ones would give."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from street_rows import HARDEST, LEVELS, PROTOCOL
from torch import Tensor

from cscl import load
from cscl.config import ModelOptions
from cscl.spam import mask_distribution
from data.readers.sysu import SYSU
from data.records import Record
from parsing import MaskCache
from parsing.schemes import PartScheme, part_scheme
from pipelines.retrieval.judge import score_features
from pipelines.retrieval.part_table import compute_auc, measure_parts
from pipelines.runs.embed import make_loader
from pipelines.runs.provenance import read_own_recipe
from pipelines.training.batches import read_part_labels


def part_table_of(folder: Path, root: Path, cache: Path) -> dict[str, Any]:
    """How well the parts of a run fit the cached masks of all test images below `root`."""
    found = measure_parts(
        load(folder), records=test_images(root), root=root, cache=MaskCache(cache), scheme=scheme_of(folder)
    )
    assert found is not None
    return found.to_json()


def compare_with_masks(folder: Path, root: Path, caches: Mapping[str, Path]) -> dict[str, dict[str, Any]]:
    """How well the attention and v of a run, and the parser's masks, agree with the true masks of the test people.

    The network learns from the parser's masks, so theirs says how much of its own they allow. Per part: `ratio`, the
    share of its weight that lies inside the part, of the best possible share; `auc` for whether the true mask shows it;
    `absent`, the same against images without a pixel of it. Each is (of the network, of the masks).
    """
    table = part_table_of(folder, root, caches["true"])
    records, scheme = test_images(root), scheme_of(folder)
    size, grid = load(folder).size, tuple(table["grid"])
    maps, areas = [], []
    for name in ("built-in", "true"):
        cache = MaskCache(caches[name])
        labels = read_part_labels(cache, records=records, table=scheme.table(cache.labels), size=size)
        maps.append(mask_distribution(labels.long(), len(scheme), grid)[:, 1:].flatten(2).numpy())
        areas.append(measure_areas(labels, len(scheme)))
    found: dict[str, dict[str, Any]] = {}
    for q, row in enumerate(table["rows"]):
        (parser, true), (parsed, area) = (m[:, q] for m in maps), (a[:, q] for a in areas)
        shown = area >= ModelOptions().tau
        clear = shown | (area == 0)
        inside = (parser * true).sum(1)[shown] / parser.sum(1)[shown].clip(1e-9)
        ideal = np.square(true).sum(1)[shown] / true.sum(1)[shown]
        found[row["part"]] = {
            "ratio": [row["inside"] / row["ideal"], float(inside.mean() / ideal.mean())],
            "auc": [row["auc"], compute_auc(parsed, shown)],
            "absent": [row["auc_absent"], compute_auc(parsed[clear], shown[clear])],
        }
    return found


@torch.inference_mode()
def rate_occlusion(folder: Path, out: Path, caches: Mapping[str, Path]) -> dict[str, dict[str, Any]]:
    """How well v tells at HARDEST whether a part is hidden, among the people whose true masks have it where boxes fit.

    Without the others, whose long dresses the annotation calls upper garments, it is about occlusion alone. Per part:
    `people` who have it, images that `hide` it, and `auc` and `absent` as in `compare_with_masks`.
    """
    embedder, scheme = load(folder), scheme_of(folder)
    areas = {}
    for level in (LEVELS[0], HARDEST):
        records, cache = test_images(out / level / "SYSU-MM01"), MaskCache(caches[level])
        labels = read_part_labels(cache, records=records, table=scheme.table(cache.labels), size=embedder.size)
        areas[level] = measure_areas(labels, len(scheme))
        people = np.array([record.identity for record in records])  # the same shots at every level
    read, visibility = make_loader(out / HARDEST / "SYSU-MM01", embedder.size), []
    for start in range(0, len(records), 64):
        batch = records[start : start + 64]
        infrared = torch.tensor([record.modality == "infrared" for record in batch])
        visibility.append(embedder.parts(torch.stack([read(r) for r in batch]), infrared).visibility.numpy())
    v = np.concatenate(visibility)
    found: dict[str, dict[str, Any]] = {}
    for q, part in enumerate(scheme.parts):
        owners = set(people[areas[LEVELS[0]][:, q] >= ModelOptions().tau].tolist())
        own, area = np.isin(people, list(owners)), areas[HARDEST][:, q]
        shown = area >= ModelOptions().tau
        clear = own & (shown | (area == 0))
        found[part] = {
            "people": len(owners),
            "hide": int((own & ~shown).sum()),
            "auc": compute_auc(v[own, q], shown[own]),
            "absent": compute_auc(v[clear, q], shown[clear]),
        }
    return found


def measure_areas(labels: Tensor, parts: int) -> NDArray[np.float32]:
    """Return the share (N, Q) of each image that each part covers, of part labels (N, H, W)."""
    return np.stack([(labels == q + 1).float().mean((1, 2)).numpy() for q in range(parts)], 1)


def scheme_of(folder: Path) -> PartScheme:
    """Return the part scheme that a run was trained with."""
    return part_scheme(read_own_recipe(folder).data.scheme)


def test_images(root: Path) -> list[Record]:
    """Return every query and gallery image of PROTOCOL once."""
    (protocol,) = (p for p in SYSU(root).protocols() if p.name == PROTOCOL)
    return list({r.name: r for t in protocol.trials for r in (*t.query, *t.gallery)}.values())


@torch.inference_mode()
def score_under_masks(folder: Path, root: Path, cache: Path) -> float:
    """Return the mAP of a run if its part features are averages under cached masks (alpha = 1), not its attention."""
    embedder, records, scheme = load(folder), test_images(root), scheme_of(folder)
    masks, read = MaskCache(cache), make_loader(root, embedder.size)
    labels = read_part_labels(masks, records=records, table=scheme.table(masks.labels), size=embedder.size)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (embedder.mean, embedder.std))
    features = []
    for start in range(0, len(records), 64):
        batch = records[start : start + 64]
        images = (torch.stack([read(record) for record in batch]) / 255 - mean) / std
        infrared = torch.tensor([record.modality == "infrared" for record in batch])
        guides = mask_distribution(labels[start : start + 64].long(), len(scheme))
        features.append(embedder.network.embed(images, infrared, guides, torch.ones(len(batch))))
    names = [record.name for record in records]
    found = score_features(
        torch.cat(features).numpy(), SYSU(root), names=names, protocols=[PROTOCOL], blocks=embedder.blocks
    )
    return found.results[0].mAP
