"""Images per second of every kind of parser, flip averaged, and the built-in one's mIoU: the table of docs/parsers.md.

    python benchmarks/parser_speed.py --photos DIR --docs docs/parsers.md

Networks whose weights are not at hand get random ones, which are as fast. Figures are kept in benchmarks/
parser_speed.json by machine, so that a run with --device cuda elsewhere adds its column; medians of several runs.
"""

import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from page import machine, put_table

from parsing.parsers.folding import fold_batch_norms
from parsing.parsers.labelling import label_images, stack_images
from parsing.parsers.registry import ParserSpec, find_parser
from parsing.parsers.schp_network import SCHPNetwork
from parsing.parsers.street import BUILT_IN, load_street
from pipelines.parse.work import choose_batch_size
from pipelines.parsers.score import score_parser

RESULTS = Path(__file__).with_suffix(".json")
BEGIN, END = "<!-- parsers: benchmarks/parser_speed.py -->", "<!-- end of parsers -->"
SIZE = (288, 144)
RUN = 4.0
"""Seconds that a run takes, or those of one image."""
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


def schp(name: str, classes: int, narrow: bool = False, bf16: bool = False) -> Callable[[Path], ParserSpec]:
    """Random weights of SCHP's network."""

    def make(folder: Path) -> ParserSpec:
        file = folder / f"{name}.pth"
        if not file.is_file():
            torch.save(SCHPNetwork(classes).state_dict(), file)
        return ParserSpec(name, file, narrow=narrow, bf16=bf16)

    return make


def segformer(size: str) -> Callable[[Path], ParserSpec]:
    """A SegFormer of random weights and 18 classes, at 512x512, as `save_pretrained` writes it."""

    def make(folder: Path) -> ParserSpec:
        from transformers import SegformerConfig, SegformerForSemanticSegmentation, SegformerImageProcessor

        depths, widths, decoder = SEGFORMERS[size]
        config = SegformerConfig(  # type: ignore[call-arg]  # its base class takes `num_labels`
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
        network, config, _ = load_street(BUILT_IN)
        example = torch.zeros(1, 3, *config.input_size)
        network = fold_batch_norms(network.eval(), example)
        file = folder / f"street.{kind}"
        if kind == "torchscript":
            torch.jit.save(torch.jit.trace(network, example), str(file))
        else:
            torch.onnx.export(
                network, (example,), str(file), input_names=["image"], output_names=["logits"],
                dynamic_axes={"image": {0: "n"}, "logits": {0: "n"}}, dynamo=False,
            )  # fmt: skip
        return ParserSpec(f"{kind}:{file}", labels="person7", input_size=config.input_size)

    return make


MIT, NVIDIA, OWN = "MIT", "NVIDIA, non-commercial", "the model's"
ROWS = (
    Row("`street`", labels="person7", classes="8", licence=MIT, spec=lambda _: ParserSpec()),
    Row("`schp-lip`", labels="lip", classes="20", licence=MIT, spec=schp("schp-lip", 20)),
    Row("`schp-lip --narrow`", labels="lip", classes="20", licence=MIT, spec=schp("schp-lip", 20, narrow=True)),
    Row("`schp-lip --bf16`", labels="lip", classes="20", licence=MIT, spec=schp("schp-lip", 20, bf16=True)),
    Row("`schp-atr`", labels="atr", classes="18", licence=MIT, spec=schp("schp-atr", 18)),
    Row("`schp-pascal`", labels="pascal", classes="7", licence=MIT, spec=schp("schp-pascal", 7)),
    Row("`hf:mattmdjaga/segformer_b0_clothes`", labels="atr", classes="18", licence=NVIDIA, spec=segformer("B0")),
    Row("`hf:mattmdjaga/segformer_b2_clothes`", labels="atr", classes="18", licence=NVIDIA, spec=segformer("B2")),
    Row("`smp:DIR`, U-Net with ResNet-34", labels="lip", classes="20", licence=OWN, spec=smp),
    Row("`torchscript:FILE` of `street`", labels="person7", classes="8", licence=OWN, spec=exported("torchscript")),
    Row("`onnx:FILE` of `street`", labels="person7", classes="8", licence=OWN, spec=exported("onnx")),
)


def measure(spec: ParserSpec, threads: int, runs: int) -> list[float]:
    """Images per second of each run, from pixels to labels at 288x144, flip averaged."""
    torch.set_num_threads(threads)
    parser, random = find_parser(spec), np.random.default_rng(0)

    def seconds(batch: int) -> float:
        images = random.integers(0, 256, (batch, *SIZE, 3), dtype=np.uint8)
        began = time.perf_counter()
        prepared = stack_images([parser.prepare(image) for image in images])
        for piece in prepared.split(choose_batch_size(parser)):
            label_images(parser, batch=piece, sources=[SIZE] * len(piece), size=SIZE)
        return time.perf_counter() - began

    seconds(1)
    batch = int(min(max(RUN / seconds(1), 1), 64))  # a batch a run
    if batch > 1:
        seconds(batch)
    return [batch / seconds(batch) for _ in range(runs)]


@click.command()
@click.option("--device", default="cpu", show_default=True)
@click.option("--processes", default=2, show_default=True, help="On a CPU, with one thread each, as `cscl parse` does.")
@click.option("--runs", default=3, show_default=True)
@click.option("--only", multiple=True, help="Rows whose name holds this.")
@click.option("--photos", type=click.Path(path_type=Path), help="Annotated photographs, for the built-in one's mIoU.")
@click.option("--docs", type=click.Path(path_type=Path, exists=True), help="The page with the table.")
def main(device: str, processes: int, runs: int, only: tuple[str, ...], photos: Path | None, docs: Path | None) -> None:
    """Measure, and write the table."""
    processes = processes if device == "cpu" else 1
    torch.manual_seed(0)
    results: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"machines": {}, "mIoU": {}}
    where = f"{machine()}, {processes} processes" if device == "cpu" else f"{machine()}, on the GPU"
    on = results["machines"].setdefault(where, {})
    for row in ROWS:
        if only and not any(word in row.name for word in only):
            continue
        load = os.getloadavg()[0]
        with tempfile.TemporaryDirectory() as folder:
            spec = replace(row.spec(Path(folder)), device=device)
            size = find_parser(spec).input_size
            with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
                each = [pool.submit(measure, spec, 1, runs) for _ in range(processes)]
                speeds = [sum(run) for run in zip(*(one.result() for one in each), strict=True)]
        on[row.name] = {"input": list(size), "speeds": speeds, "median": statistics.median(speeds), "load": load}
        click.echo(f"{row.name}: {on[row.name]['median']:.2f} images a second")
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    if photos is not None:
        scores = score_parser(photos, ParserSpec(device=device))
        results["mIoU"] = {"weights": scores.weights, "images": scores.images, **scores.to_json()["mIoU"]}
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    text = "\n".join(table(results))
    click.echo(text)
    if docs is not None:
        put_table(docs, begin=BEGIN, end=END, table=text)


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
        score = "weights not here" if row.labels != "person7" else "as `street`"
        if row.name == "`street`":
            score = "not measured"
        if row.name == "`street`" and results["mIoU"]:
            score = ", ".join(f"{100 * results['mIoU'][s]:.1f} {s}" for s in ("colour", "near-infrared"))
        lines.append(f"| {' | '.join([row.name, row.labels, row.classes, size, row.licence, *speeds, score])} |")
    told = [
        f"[{n + 1}] {m}, load average {min(r['load'] for r in rows.values()):.1f} to "
        f"{max(r['load'] for r in rows.values()):.1f} before the rows"
        for n, (m, rows) in enumerate(results["machines"].items())
    ]
    found = results["mIoU"]
    scored = (
        f"of {found['images']} validation photographs, weights {found['weights'][:12]}" if found else "not measured"
    )
    return [
        *lines,
        "",
        "Images per second from pixels to labels at 288x144 with flip averaging, one thread per process as "
        f"`cscl parse` has, median of several runs; random weights for all but `street`. {'; '.join(told)}. A load "
        "above the processes of the measurement is other work on the same cores, which slows it. "
        f"mIoU {scored}, near-infrared simulated (see below).",
    ]


if __name__ == "__main__":
    main()
