"""CSCL beside AGW at one budget on the simulated `street` data set, and the IoU of the masks they were trained on.

    python benchmarks/street_reid.py --photos DIR --out WORK --readme README.md

Makes the data set (700 simulated identities from annotated photographs; those to test are of `val`, which neither the
built-in parser nor the encoder that the networks start from ever saw), parses it with the built-in parser, trains every
method with the `small` recipe, evaluates, and writes WORK/results.json and the Markdown table between the marks in
README.md. What is finished in WORK is not done again.
"""

import json
import statistics
from pathlib import Path
from typing import Any

import click
from page import machine, put_table

from parsing import MaskCache
from parsing.registry import ParserSpec
from pipelines.config import read_recipe
from pipelines.evaluate import evaluate
from pipelines.make import make_street
from pipelines.masks_score import score_masks
from pipelines.parse import ParseConfig, parse
from pipelines.train import TrainConfig, train

PROTOCOL = "all-single"
METHODS = ("agw", "cscl")
TRAIN, TEST = 600, 100
BEGIN, END = "<!-- results: benchmarks/street_reid.py -->", "<!-- end of results -->"


@click.command()
@click.option("--photos", type=click.Path(path_type=Path), required=True)
@click.option("--out", type=click.Path(path_type=Path), required=True)
@click.option("--epochs", default=10, show_default=True)
@click.option("--seeds", default=2, show_default=True)
@click.option("--device", default="auto", show_default=True)
@click.option("--readme", type=click.Path(path_type=Path, exists=True))
def main(photos: Path, out: Path, epochs: int, seeds: int, device: str, readme: Path | None) -> None:
    """Run the comparison and write its table."""
    root, masks = out / "SYSU-MM01", out / "sysu_masks.h5"
    if not root.exists():
        make_street(photos, root, train=TRAIN, test=TEST, shots=1, part="apart")
    parse(ParseConfig("sysu", root, masks, ParserSpec(device=device)))
    results: dict[str, Any] = {
        "epochs": epochs,
        "machine": machine(),
        "masks": score_masks(masks).to_json(),
        "weights": MaskCache(masks).made_by["weights"],
        "runs": [],
    }
    for seed in range(seeds):
        for method in METHODS:
            results["runs"].append(run(masks, out / f"{method}-{epochs}-{seed}", method, epochs, seed, device))
    (out / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    text = "\n".join(table(results))
    click.echo(text)
    if readme is not None:
        put_table(readme, BEGIN, END, text)


def run(masks: Path, folder: Path, method: str, epochs: int, seed: int, device: str) -> dict[str, Any]:
    """Train and evaluate one method; a finished run is taken as it is."""
    recipe = read_recipe(Path("small"), [f"train.epochs={epochs}", f"seed={seed}"], method)
    train(TrainConfig(masks, folder, recipe, resume=(folder / "recipe.toml").exists(), device=device))
    return {"method": method, "seed": seed, **evaluate(folder, device=device).to_json()}


def table(results: dict[str, Any]) -> list[str]:
    """Markdown lines: one row a method and one for chance, then what the figures are."""
    lines = ["| method | Rank-1 | Rank-10 | mAP | mINP |", "| --- | --- | --- | --- | --- |"]
    for method in METHODS:
        found = [
            next(r for r in one["results"] if r["protocol"] == PROTOCOL)
            for one in results["runs"]
            if one["method"] == method
        ]
        columns = (
            [r["cmc"][1] for r in found],
            [r["cmc"][10] for r in found],
            [r["mAP"] for r in found],
            [r["mINP"] for r in found],
        )
        lines.append(f"| {method} | {' | '.join(spread(c) for c in columns)} |")
    r, iou = found[0], results["masks"]["mIoU"]
    lines.insert(2, f"| chance | {100 * r['chance_rank1']:.1f} | | {100 * r['chance_map']:.1f} | |")
    seeds = 1 + max(one["seed"] for one in results["runs"])
    return [
        *lines,
        "",
        f"Mean of {seeds} seeds (lowest to highest), in per cent. Simulated data (`street`: {TRAIN} identities to "
        f"train, {TEST} to test, one shot a camera), SYSU-MM01's {PROTOCOL} protocol: {r['queries']} near-infrared "
        f"queries, {r['gallery']} visible gallery images, {r['trials']} seeded trials, cosine distance, flip averaged, "
        "not re-ranked. Recipe `small`: EfficientNet-Lite0 at 128x64 from the built-in parser's encoder, "
        f"{results['epochs']} epochs of 50 steps of 32 images, last weights; no test data selected anything, and no "
        f"photograph of a test person was in the parser's training. Machine: {results['machine']}. Masks by the "
        f"built-in parser (weights {results['weights'][:12]}), mIoU with the true ones over all people "
        + ", ".join(f"{m} {100 * v:.1f}" for m, v in iou.items())
        + " %.",
    ]


def spread(values: list[float]) -> str:
    mean, low, high = (100 * v for v in (statistics.mean(values), min(values), max(values)))
    return f"{mean:.1f} ({low:.1f} to {high:.1f})" if len(values) > 1 else f"{mean:.1f}"


if __name__ == "__main__":
    main()
