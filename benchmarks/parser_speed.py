"""Images a second of every kind of parser, flip averaged, and the built-in one's mIoU: the table of docs/parsers.md.

    python benchmarks/parser_speed.py --photos DIR --docs docs/parsers.md

Networks whose weights are not at hand get random ones, which are as fast. Figures are kept in benchmarks/
parser_speed.json by machine, so that a run with --device cuda elsewhere adds its column; medians of several runs.
"""

import json
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from street_reid import machine

from parsing.parser import Parser
from parsing.registry import ParserSpec, find_parser
from parsing.schp_network import SCHPNetwork
from parsing.street import StreetParser
from pipelines.parser_score import score_parser

RESULTS = Path(__file__).with_suffix(".json")
BEGIN, END = "<!-- parsers: benchmarks/parser_speed.py -->", "<!-- end of parsers -->"
SIZE = (288, 144)
SEGFORMERS = {"B0": ([2, 2, 2, 2], [32, 64, 160, 256], 256), "B2": ([3, 4, 6, 3], [64, 128, 320, 512], 768)}
"""Depths, widths and the decoder's width of published SegFormers."""


@dataclass(frozen=True)
class Row:
    """One parser of the table. spec: makes what is needed in a folder and says which parser it is."""

    name: str
    labels: str
    classes: str
    licence: str
    spec: Callable[[Path], ParserSpec]


def schp(name: str, classes: int, **options: bool) -> Callable[[Path], ParserSpec]:
    """Random weights of SCHP's network."""

    def make(folder: Path) -> ParserSpec:
        file = folder / f"{name}.pth"
        if not file.is_file():
            torch.save(SCHPNetwork(classes).state_dict(), file)
        return ParserSpec(name, file, **options)

    return make


def segformer(size: str) -> Callable[[Path], ParserSpec]:
    """A SegFormer of random weights and 18 classes, at 512x512, as `save_pretrained` writes it."""

    def make(folder: Path) -> ParserSpec:
        from transformers import SegformerConfig, SegformerForSemanticSegmentation, SegformerImageProcessor

        depths, widths, decoder = SEGFORMERS[size]
        config = SegformerConfig(
            depths=depths, hidden_sizes=widths, decoder_hidden_size=decoder, num_labels=18,
        )  # fmt: skip
        SegformerForSemanticSegmentation(config).save_pretrained(folder / size)
        SegformerImageProcessor(size={"height": 512, "width": 512}).save_pretrained(folder / size)
        return ParserSpec(f"hf:{folder / size}", labels="atr")

    return make


def smp(folder: Path) -> ParserSpec:
    """A U-Net with a ResNet-34 of random weights."""
    import segmentation_models_pytorch as library

    library.Unet("resnet34", encoder_weights=None, classes=20).save_pretrained(folder / "unet")
    return ParserSpec(f"smp:{folder / 'unet'}", labels="lip", input_size=(256, 128))


def exported(kind: str) -> Callable[[Path], ParserSpec]:
    """The built-in parser's network as a file of this kind."""

    def make(folder: Path) -> ParserSpec:
        street = StreetParser()
        example = torch.zeros(1, 3, *street.input_size)
        file = folder / f"street.{kind}"
        if kind == "torchscript":
            torch.jit.save(torch.jit.trace(street.network, example), str(file))
        else:
            torch.onnx.export(
                street.network, (example,), str(file), input_names=["image"], output_names=["logits"],
                dynamic_axes={"image": {0: "n"}, "logits": {0: "n"}}, dynamo=False,
            )  # fmt: skip
        return ParserSpec(f"{kind}:{file}", labels="street", input_size=street.input_size)

    return make


MIT, NVIDIA, OWN = "MIT", "NVIDIA, non-commercial", "the model's"
ROWS = (
    Row("`street`", "street", "8", MIT, lambda _: ParserSpec()),
    Row("`schp-lip`", "lip", "20", MIT, schp("schp-lip", 20)),
    Row("`schp-lip --narrow`", "lip", "20", MIT, schp("schp-lip", 20, narrow=True)),
    Row("`schp-lip --bf16`", "lip", "20", MIT, schp("schp-lip", 20, bf16=True)),
    Row("`schp-atr`", "atr", "18", MIT, schp("schp-atr", 18)),
    Row("`schp-pascal`", "pascal", "7", MIT, schp("schp-pascal", 7)),
    Row("`hf:mattmdjaga/segformer_b0_clothes`", "atr", "18", NVIDIA, segformer("B0")),
    Row("`hf:mattmdjaga/segformer_b2_clothes`", "atr", "18", NVIDIA, segformer("B2")),
    Row("`smp:DIR`, U-Net with ResNet-34", "lip", "20", OWN, smp),
    Row("`torchscript:FILE` of `street`", "street", "8", OWN, exported("torchscript")),
    Row("`onnx:FILE` of `street`", "street", "8", OWN, exported("onnx")),
)


def measure(parser: Parser, batch: int, runs: int) -> list[float]:
    """Images a second of each run, from pixels to class probabilities at 288x144, flip averaged."""
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (batch, *SIZE, 3), dtype=np.uint8)
    speeds = []
    for run in range(runs + 1):
        began = time.perf_counter()
        prepared = torch.stack([parser.prepare(image) for image in images])
        answer, _ = parser.parse(prepared, [SIZE] * batch, SIZE)
        answer.argmax(1).cpu()
        if run:  # the first warms up
            speeds.append(batch / (time.perf_counter() - began))
    return speeds


@click.command()
@click.option("--device", default="cpu", show_default=True)
@click.option("--threads", default=2, show_default=True, help="Of torch, on a CPU.")
@click.option("--runs", default=3, show_default=True)
@click.option("--batch", type=int, help="Images a batch.  [default: 4, on a GPU 64]")
@click.option("--only", multiple=True, help="Rows whose name holds this.")
@click.option("--photos", type=click.Path(path_type=Path), help="Annotated photographs, for the built-in one's mIoU.")
@click.option("--docs", type=click.Path(path_type=Path, exists=True), help="The page with the table.")
def main(
    device: str,
    threads: int,
    runs: int,
    batch: int | None,
    only: tuple[str, ...],
    photos: Path | None,
    docs: Path | None,
) -> None:
    """Measure, and write the table."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    results: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"machines": {}, "mIoU": {}}
    on = results["machines"].setdefault(place(device, threads), {})
    for row in ROWS:
        if only and not any(word in row.name for word in only):
            continue
        with tempfile.TemporaryDirectory() as folder:
            spec = row.spec(Path(folder))
            parser = find_parser(ParserSpec(**{**spec.__dict__, "device": device}))
            speeds = measure(parser, batch or (4 if device == "cpu" else 64), runs)
        on[row.name] = {"input": list(parser.input_size), "speeds": speeds, "median": statistics.median(speeds)}
        click.echo(f"{row.name}: {on[row.name]['median']:.2f} images a second")
    if photos is not None:
        scores = score_parser(photos, ParserSpec(device=device))
        results["mIoU"] = {"weights": scores.weights, "images": scores.images, **scores.to_json()["mIoU"]}
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    text = "\n".join(table(results))
    click.echo(text)
    if docs is not None:
        before, rest = docs.read_text(encoding="utf-8").split(BEGIN)
        docs.write_text(f"{before}{BEGIN}\n{text}\n{END}{rest.split(END)[1]}", encoding="utf-8")


def place(device: str, threads: int) -> str:
    """The machine and what of it is used."""
    return f"{machine()}, {threads} threads" if device == "cpu" else f"{machine()}, on the GPU"


def table(results: dict[str, Any]) -> list[str]:
    """Markdown lines: a row a parser, a column a machine, and what the figures are."""
    machines = list(results["machines"])
    heads = [
        "parser",
        "label set",
        "classes",
        "input",
        "licence",
        *(f"images/s [{i + 1}]" for i in range(len(machines))),
    ]
    lines = [f"| {' | '.join([*heads, 'mIoU'])} |", "|" + " --- |" * (len(heads) + 1)]
    for row in ROWS:
        found = [results["machines"][m].get(row.name) for m in machines]
        size = next((f"{f['input'][0]}x{f['input'][1]}" for f in found if f), "")
        speeds = [f"{f['median']:.2g}" if f else "not measured" for f in found]
        score = "weights not here" if row.labels != "street" else ""
        if row.name == "`street`" and results["mIoU"]:
            score = ", ".join(f"{100 * results['mIoU'][s]:.1f} {s}" for s in ("colour", "near-infrared"))
        lines.append(f"| {' | '.join([row.name, row.labels, row.classes, size, row.licence, *speeds, score])} |")
    told = [f"[{i + 1}] {m}" for i, m in enumerate(machines)]
    return [
        *lines,
        "",
        "Images a second from pixels to class probabilities at 288x144 with flip averaging, one process, median of "
        f"{len(next(iter(results['machines'][machines[0]].values()))['speeds'])} runs; random weights for all but "
        f"`street`. {'; '.join(told)}. mIoU: {results['mIoU'].get('images', 'no')} validation photographs, "
        f"weights {results['mIoU'].get('weights', '')[:12]}, near-infrared simulated (see below).",
    ]


if __name__ == "__main__":
    main()
