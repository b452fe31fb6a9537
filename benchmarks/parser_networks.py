"""Which network for the built-in parser: accuracy against images a second, as a table and a plot.

    python benchmarks/parser_networks.py --photos PHOTOS --out networks/ [--epochs 4]

Each candidate is trained alike and briefly on the training photographs but the last 80, which it is scored on; no
photograph of `val` is looked at. Speed is the median of several runs of the network alone on one thread, batches of 8.
"""

import json
import os
import platform
import statistics
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import click
import matplotlib.pyplot as plt
import torch

from data.crops import SPECTRA
from data.photos import Photos
from parsing.registry import ParserSpec
from parsing.street import StreetNetwork, load_street
from pipelines.parser_score import score_parser
from pipelines.parser_train import ParserRecipe, train_parser

HELD_OUT = 80
FPN = {"decoder_pyramid_channels": 96, "decoder_segmentation_channels": 64}
UNET = {"decoder_channels": [96, 64, 48, 32, 16]}
LITE = "tu-tf_efficientnet_lite0"
CANDIDATES = {
    "FPN lite0 192x96": (StreetNetwork("fpn", LITE, FPN, (192, 96)), "imagenet"),
    "FPN lite0 256x128": (StreetNetwork("fpn", LITE, FPN, (256, 128)), "imagenet"),
    "FPN lite0 256x128, no ImageNet": (StreetNetwork("fpn", LITE, FPN, (256, 128)), "none"),
    "U-Net lite0 192x96": (StreetNetwork("unet", LITE, UNET, (192, 96)), "imagenet"),
    "SegFormer head lite0 256x128": (
        StreetNetwork("segformer", LITE, {"decoder_segmentation_channels": 96}, (256, 128)),
        "imagenet",
    ),
    "U-Net ResNet-10-T 192x96": (StreetNetwork("unet", "tu-resnet10t", UNET, (192, 96)), "none"),
}


@dataclass(frozen=True)
class Measured:
    """mIoU in per cent by spectrum on the photographs held out, images a second, millions of weights."""

    name: str
    miou: dict[str, float]
    speed: float
    weights: float


def measure(photos: Path, name: str, network: StreetNetwork, encoder: str, epochs: int, work: Path) -> Measured:
    file = work / f"{name.replace(' ', '_').replace(',', '')}.safetensors"
    recipe = replace(ParserRecipe(), network=network, encoder_weights=encoder, epochs=epochs, self_epochs=0)
    train_parser(photos, file, recipe, device="cpu")
    scores = score_parser(photos, ParserSpec("street", file))
    model = load_street(file)[0].eval().to(memory_format=torch.channels_last)
    batch = torch.zeros(8, 3, *network.input_size).contiguous(memory_format=torch.channels_last)
    return Measured(
        name,
        {s: 100 * scores.mean(s) for s in SPECTRA},
        speed(model, batch),
        sum(p.numel() for p in model.parameters()) / 1e6,
    )


def speed(model: torch.nn.Module, batch: torch.Tensor, runs: int = 7) -> float:
    """Images a second on one thread: the median of `runs`, after one that warms up."""
    threads, times = torch.get_num_threads(), []
    torch.set_num_threads(1)
    with torch.inference_mode():
        for _ in range(runs + 1):
            began = time.perf_counter()
            model(batch)
            times.append(time.perf_counter() - began)
    torch.set_num_threads(threads)
    return len(batch) / statistics.median(times[1:])


def held_out(photos: Path, work: Path) -> Path:
    """The training photographs as a folder of their own, whose `val` are the last of them."""
    library = Photos(photos)
    root = work / "photos"
    root.mkdir(parents=True, exist_ok=True)
    for name in ("photos", "parts"):
        if not (root / name).exists():
            (root / name).symlink_to((photos / name).resolve())
    meta = json.loads((photos / "meta.json").read_text(encoding="utf-8"))
    meta["train"], meta["val"] = library.train[:-HELD_OUT], library.train[-HELD_OUT:]
    (root / "meta.json").write_text(json.dumps(meta), encoding="utf-8")
    return root


def table(measured: Iterable[Measured], epochs: int) -> str:
    head = "| network | " + " | ".join(SPECTRA) + " | images/s, one thread | weights |"
    rows = [
        f"| {m.name} | " + " | ".join(f"{m.miou[s]:.1f}" for s in SPECTRA) + f" | {m.speed:.0f} | {m.weights:.1f} M |"
        for m in measured
    ]
    note = (
        f"mIoU in per cent on {HELD_OUT} training photographs held out, after {epochs} epochs, seed 0; near-infrared "
        f"and thermal are simulated. Machine: {platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}."
    )
    return "\n".join([head, "| --- |" + " --- |" * (len(SPECTRA) + 2), *rows, "", note])


def plot(measured: Iterable[Measured], out: Path) -> None:
    figure, axes = plt.subplots(figsize=(7, 4.5))
    for m in measured:
        y = sum(m.miou.values()) / len(m.miou)
        axes.scatter(m.speed, y)
        axes.annotate(m.name, (m.speed, y), xytext=(5, 4), textcoords="offset points", fontsize=8)
    axes.set_xlabel("images a second, one thread")
    axes.set_ylabel("mIoU, mean of the four spectra, %")
    axes.margins(x=0.25, y=0.15)
    figure.savefig(out, dpi=110, bbox_inches="tight")


@click.command()
@click.option("--photos", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for weights, table and plot.")
@click.option("--epochs", type=click.IntRange(1), default=4)
@click.option("--only", multiple=True, type=click.Choice(list(CANDIDATES)))
def main(photos: Path, out: Path, epochs: int, only: tuple[str, ...]) -> None:
    root = held_out(photos, out)
    measured = []
    for name, (network, encoder) in CANDIDATES.items():
        if not only or name in only:
            measured.append(measure(root, name, network, encoder, epochs, out))
            (out / "networks.md").write_text(table(measured, epochs) + "\n", encoding="utf-8")
            plot(measured, out / "networks.png")
    click.echo((out / "networks.md").read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
