"""Run all steps on simulated pedestrians, and write a page that shows each of them (`cscl demo`)."""

import json
import platform
import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from data.registry import open_data_set
from parsing.cache.reader import MaskCache
from parsing.errors import CsclError, InputError
from parsing.images import read_image
from parsing.parsers.registry import ParserSpec
from parsing.words import quote_path

from .datasets.simulate import contact_sheet, make_pedestrians
from .masks.score import MaskScores, score_masks
from .pages.charts import curves
from .pages.page import Section, SummaryRow, Table, write_page
from .pages.sheets import MaskItem, mask_sheet
from .parse.run import ParseConfig, parse
from .recipes.reading import read_recipe
from .retrieval.evaluate import Evaluation, evaluate
from .retrieval.report import draw_rankings, list_part_names
from .runs.folder import load_model
from .runs.provenance import read_run
from .runs.scheme import read_scheme
from .training.config import TrainConfig
from .training.train import train

SIZE = (144, 72)
TRAIN, TEST, SHOTS = 32, 16, 2
PROTOCOL = "all-single"


@dataclass(frozen=True)
class DemoResult:
    """Figures of the demo, in [0, 1]: mIoU of the masks by modality, retrieval under PROTOCOL beside chance."""

    page: Path
    mask_iou: dict[str, float]
    rank1: float
    map: float
    chance_rank1: float
    chance_map: float
    minutes: float
    cores: int

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "page": str(self.page), "protocol": PROTOCOL, "simulated": True}

    def lines(self) -> list[str]:
        return [
            "masks      mIoU with the true parts "
            + ", ".join(f"{modality} {100 * iou:.1f} %" for modality, iou in self.mask_iou.items()),
            f"retrieval  Rank-1 {100 * self.rank1:.1f} % (chance {100 * self.chance_rank1:.1f} %), mAP "
            f"{100 * self.map:.1f} % (chance {100 * self.chance_map:.1f} %): simulated pedestrians, {PROTOCOL}",
            f"took       {self.minutes:.1f} minutes on {self.cores} cores",
            f"open       {self.page}",
        ]


def demo(out: Path, seed: int = 0) -> DemoResult:
    """Run everything below `out`, which is replaced if a demo made it."""
    began = time.monotonic()
    mark = out / "demo.json"
    if out.exists() and not mark.is_file() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} holds something else than a demo; give another --out")
    if out.exists():
        shutil.rmtree(out)
    out.mkdir(parents=True)
    mark.write_text(json.dumps({"seed": seed}) + "\n", encoding="utf-8")
    root, masks, run = out / "SYSU-MM01", out / "sysu_masks.h5", out / "run"
    make_pedestrians(root, train=TRAIN, test=TEST, shots=SHOTS, seed=seed)
    parse(ParseConfig("sysu", root, masks, parser=ParserSpec(), size=SIZE, flip=False))
    train(TrainConfig(masks, run, read_recipe(Path("demo"), [f"seed={seed}"]), device="cpu"))
    evaluation = evaluate(run, device="cpu")
    if evaluation.unwritten:
        raise CsclError(evaluation.unwritten[0][1])
    scores = score_masks(MaskCache(masks))
    minutes = (time.monotonic() - began) / 60
    page = _page(out, root=root, masks=masks, run=run, evaluation=evaluation, scores=scores, minutes=minutes)
    result = next(r for r in evaluation.results if r.protocol == PROTOCOL)
    return DemoResult(
        page=page,
        mask_iou={modality: scores.mean(modality) for modality in scores.iou},
        rank1=result.cmc[1],
        map=result.mAP,
        chance_rank1=result.chance_rank1,
        chance_map=result.chance_map,
        minutes=minutes,
        cores=torch.get_num_threads(),
    )


def _page(
    out: Path, root: Path, masks: Path, run: Path, evaluation: Evaluation, scores: MaskScores, minutes: float
) -> Path:
    pictures = out / "pictures"
    pictures.mkdir()
    data_set, cache = open_data_set("sysu", root), MaskCache(masks)
    recipe, info = read_run(run)
    embedder = load_model(run)
    protocol = next(p for p in data_set.protocols() if p.name == PROTOCOL)
    result = next(r for r in evaluation.results if r.protocol == PROTOCOL)
    sections = [
        Section(
            "1. Images",
            "Procedural pedestrians in the layout of SYSU-MM01: two visible images and two near-infrared ones of each "
            "person, each beside its true parts.",
            contact_sheet(root, pictures / "images.png"),
            command=f"cscl data make pedestrians --out {quote_path(root)} --train {TRAIN} --test {TEST} "
            f"--shots {SHOTS} --seed {recipe.seed}",
        ),
        Section(
            "2. Masks",
            caption="What the built-in parser found, in both modalities. It was trained on photographs and has never "
            "seen a drawn figure. The table is its IoU with the true parts, in per cent.",
            picture=_mask_picture(pictures / "masks.png", root, cache),
            table=Table(("modality", "mIoU", *scores.classes), scores.rows()),
            command=f"cscl parse --dataset sysu --root {quote_path(root)} --out {quote_path(masks)} "
            f"--size {SIZE[0]}x{SIZE[1]} --no-flip",
        ),
        Section(
            "3. Training",
            f"CSCL on the encoder of the built-in parser, {recipe.train.epochs} epochs of {recipe.train.steps} steps. "
            "The accuracy is that of the validation people, who are neither trained on nor tested on.",
            curves(run / "metrics.jsonl", pictures / "curves.png"),
            command=f"cscl train --masks {quote_path(masks)} --recipe demo --set seed={recipe.seed} "
            f"--run {quote_path(run)}",
        ),
        Section(
            "4. Retrieval",
            "Infrared queries of the test people (left) and the visible images that rank first: a blue frame is "
            "the right person, a red one another. Below each image is where the network sees each part.",
            draw_rankings(
                pictures / "rankings.png",
                embedder=embedder,
                root=root,
                protocol=protocol,
                features=_features(run),
                parts=list_part_names(read_scheme(run, recipe.data.scheme)[0], embedder),
            ),
            command=f"cscl evaluate {quote_path(run)}",
        ),
        Section("5. All protocols", "Means over ten trials.", table=_table(evaluation)),
    ]
    return write_page(
        out,
        title="cscl demo",
        summary=[
            SummaryRow("Rank-1", result.cmc[1], result.chance_rank1),
            SummaryRow("mAP", result.mAP, result.chance_map),
            SummaryRow("mINP", result.mINP),
        ],
        sections=sections,
        lead="Find a person seen by an infrared camera among images of colour cameras. Everything on this page was "
        "made on this machine: images, masks, network and figures.",
        protocol=f"{PROTOCOL} of SYSU-MM01's protocol on {result.queries} queries and {result.gallery} gallery images, "
        f"{result.trials} seeded trials, {evaluation.about['distance']}, flip averaged, not re-ranked; epoch "
        f"{info.epoch} of {recipe.train.epochs} selected on validation people",
        simulated="These pedestrians are drawn by code. The figures show that the software works, not how well it does "
        "on people.",
        facts={
            "time": f"{minutes:.1f} minutes",
            "machine": f"{platform.machine()}, {torch.get_num_threads()} cores",
            "seed": str(recipe.seed),
            "training people": str(info.identities),
            "mask cache": cache.fingerprint[:16],
            "versions": f"torch {torch.__version__}, Python {platform.python_version()}",
        },
    )


def _mask_picture(png: Path, root: Path, cache: MaskCache) -> Path:
    """Six images of each modality, spread over the cache."""
    items = []
    for modality, name in enumerate(("visible", "near-infrared")):
        numbers = np.flatnonzero(cache.modality == modality)
        for number in numbers[:: max(1, len(numbers) // 6)][:6]:
            shown = cache.names[number]
            items.append(MaskItem(read_image(root / shown), labels=cache[int(number)], modality=name, caption=shown))
    return mask_sheet(items, png, cache.labels.classes)


def _features(run: Path) -> dict[str, NDArray[np.float64]]:
    with np.load(run / "embeddings.npz", allow_pickle=False) as stored:
        return dict(zip(stored["names"].tolist(), stored["embeddings"].astype(np.float64), strict=True))


def _table(evaluation: Evaluation) -> Table:
    rows = [
        [r.protocol, *(f"{100 * v:.1f}" for v in (*r.cmc.values(), r.mAP, r.mINP, r.chance_rank1, r.chance_map))]
        for r in evaluation.results
    ]
    ranks = (f"Rank-{k}" for k in evaluation.results[0].cmc)
    return Table(("protocol", *ranks, "mAP", "mINP", "chance Rank-1", "chance mAP"), rows)
