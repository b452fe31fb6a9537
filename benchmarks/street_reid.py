"""CSCL beside AGW at one budget on the simulated `street` data set, and the IoU of the masks they were trained on.

    python benchmarks/street_reid.py --photos DIR --out WORK --epochs 12 --readme README.md

Makes the data set (600 simulated identities from annotated photographs), parses it with the built-in parser, trains
every method with the `small` recipe, evaluates, and writes WORK/results.json and the Markdown table between the marks
in README.md. What is finished in WORK is not done again.
"""

import json
import os
import platform
import time
from pathlib import Path
from typing import Any

import click
import torch

from pipelines.config import read_recipe
from pipelines.evaluate import evaluate
from pipelines.make import make_street
from pipelines.masks_score import score_masks
from pipelines.parse import ParseConfig, parse
from pipelines.train import TrainConfig, train

PROTOCOL = "all-single"
METHODS = ("agw", "cscl")
BEGIN, END = "<!-- results: benchmarks/street_reid.py -->", "<!-- end of results -->"


@click.command()
@click.option("--photos", type=click.Path(path_type=Path), required=True)
@click.option("--out", type=click.Path(path_type=Path), required=True)
@click.option("--epochs", default=12, show_default=True)
@click.option("--seeds", default=1, show_default=True)
@click.option("--device", default="auto", show_default=True)
@click.option("--readme", type=click.Path(path_type=Path, exists=True))
def main(photos: Path, out: Path, epochs: int, seeds: int, device: str, readme: Path | None) -> None:
    """Run the comparison and write its table."""
    root, masks = out / "SYSU-MM01", out / "sysu_masks.h5"
    if not root.exists():
        make_street(photos, root, train=400, test=200, shots=1)
    parse(ParseConfig("sysu", root, masks, device=device))
    results: dict[str, Any] = {
        "epochs": epochs,
        "machine": machine(),
        "masks": score_masks(masks).to_json(),
        "runs": [],
    }
    for seed in range(seeds):
        for method in METHODS:
            results["runs"].append(run(masks, out / f"{method}-{epochs}-{seed}", method, epochs, seed, device))
    (out / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    text = "\n".join(table(results))
    click.echo(text)
    if readme is not None:
        before, rest = readme.read_text(encoding="utf-8").split(BEGIN)
        readme.write_text(f"{before}{BEGIN}\n{text}\n{END}{rest.split(END)[1]}", encoding="utf-8")


def run(masks: Path, folder: Path, method: str, epochs: int, seed: int, device: str) -> dict[str, Any]:
    """Train and evaluate one method; the time is kept beside the run, not in it."""
    recipe = read_recipe(Path("small"), [f"train.epochs={epochs}", f"seed={seed}"], method)
    timing = folder.with_suffix(".seconds")
    if not timing.exists():
        began = time.monotonic()
        train(TrainConfig(masks, folder, recipe, resume=(folder / "recipe.toml").exists(), device=device))
        timing.write_text(f"{time.monotonic() - began:.0f}")
    evaluation = evaluate(folder, device=device).to_json()
    return {"method": method, "seed": seed, "seconds": int(timing.read_text()), **evaluation}


def table(results: dict[str, Any]) -> list[str]:
    """Markdown lines: one row a run and one for chance, then what the figures are."""
    lines = ["| method | Rank-1 | Rank-10 | mAP | mINP | training |", "| --- | --- | --- | --- | --- | --- |"]
    for one in results["runs"]:
        r = next(r for r in one["results"] if r["protocol"] == PROTOCOL)
        cmc = {int(k): v for k, v in r["cmc"].items()}
        values = " | ".join(f"{100 * v:.1f}" for v in (cmc[1], cmc[10], r["mAP"], r["mINP"]))
        lines.append(f"| {one['method']}, seed {one['seed']} | {values} | {one['seconds'] / 60:.0f} min |")
    lines.insert(2, f"| chance | {100 * r['chance_rank1']:.1f} | | {100 * r['chance_map']:.1f} | | |")
    iou = results["masks"]["mIoU"]
    return [
        *lines,
        "",
        f"Simulated data (`street`: 400 identities to train, 200 to test, one shot a camera), SYSU-MM01's {PROTOCOL} "
        f"protocol: {r['queries']} near-infrared queries, {r['gallery']} visible gallery images, {r['trials']} seeded "
        f"trials, cosine distance, flip averaged, not re-ranked. ResNet-18 from scratch at 128x64, {results['epochs']} "
        "epochs of 50 steps of 64 images, last weights, no test data selected anything. Machine: "
        f"{results['machine']}. Masks by the built-in parser, mIoU with the true ones "
        + ", ".join(f"{m} {100 * v:.1f}" for m, v in iou.items())
        + " % (most of these photographs were in its training set).",
    ]


def machine() -> str:
    """Processor, cores, accelerator and torch version in a few words."""
    name = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), name)
    accelerator = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return f"{name}, {os.cpu_count()} cores, {accelerator}, torch {torch.__version__}"


if __name__ == "__main__":
    main()
