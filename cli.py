"""The `cscl` command: parses arguments, calls one function of pipelines/, prints."""

import json
import os
import shlex
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click

from parsing.errors import CsclError, InputError

Folder = click.Path(path_type=Path)
DATA_SETS = click.Choice(("sysu", "regdb", "llcm", "folder"))
pattern_option = click.option(
    "--pattern", help="folder: where paths name person and camera, as in '{identity}/{camera}/*'.  [default: by level]"
)


class Height(click.ParamType):
    """HEIGHTxWIDTH, as in 288x144."""

    name = "HxW"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        if isinstance(value, tuple):
            return value
        try:
            height, width = (int(v) for v in str(value).lower().split("x"))
        except ValueError:
            self.fail(f"{value!r} is not HEIGHTxWIDTH, as in 288x144", param, ctx)
        return height, width


class FileSize(Height):
    """HEIGHTxWIDTH, `masks` or `source`."""

    name = "HxW|masks|source"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return value if value in ("masks", "source") else super().convert(value, param, ctx)


def one_line_errors(command: Callable[..., None]) -> Callable[..., None]:
    """Print an error of ours as one line; exit code 2 for what the user got wrong, 1 for what failed."""

    @wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
        except CsclError as error:
            click.echo(f"cscl: {error}", err=True)
            sys.exit(2 if isinstance(error, InputError) else 1)

    return wrapped


@click.group(context_settings={"help_option_names": ["-h", "--help"], "show_default": True, "max_content_width": 110})
@click.version_option(package_name="cscl")
def main() -> None:
    """Human-part masks for visible-infrared person re-identification, and CSCL trained on them."""
    if not sys.stderr.isatty():  # a log file wants a line now and then, not a moving bar
        os.environ.setdefault("TQDM_MININTERVAL", "10")
    if os.environ.get("RANK", "0") != "0":  # one of several processes of a training; the first alone shows progress
        os.environ["TQDM_DISABLE"] = "1"


def parser_options(command: Callable[..., None]) -> Callable[..., None]:
    """What can be said of a parser beside its name; `_spec` takes it back out of the options."""
    for option in (
        click.option("--bf16", is_flag=True, help="schp: compute in bfloat16; `parser compare` tells the difference."),
        click.option("--narrow", is_flag=True, help="schp: half the input's width, for crops twice as tall as wide."),
        click.option("--remote-code", metavar="MODEL", help="hf: let this model run the code that comes with it."),
        click.option("--channels", type=click.Choice(("rgb", "bgr")), help="smp, torchscript, onnx.  [default: rgb]"),
        click.option("--std", type=float, nargs=3, help="Three, as --mean."),
        click.option("--mean", type=float, nargs=3, help="smp, torchscript, onnx: three.  [default: ImageNet's]"),
        click.option("--input", "input_size", type=Height(), help="hf, smp, torchscript, onnx: what the parser takes."),
        click.option("--labels", metavar="NAME", help="hf, smp, torchscript, onnx: label set of the answer, or TOML."),
        click.option("--weights", type=Folder, help="The parser's weights, instead of its own."),
    ):
        command = option(command)
    return command


def _fetch(name: str, options: dict[str, Any]) -> None:
    """Weights from the hub, before torch is loaded: without a network a command ends in seconds."""
    from parsing.parsers.sources import fetch

    fetch(name, options["weights"], options["remote_code"])


def _spec(name: str, device: str, options: dict[str, Any]) -> Any:
    """The ParserSpec of what `parser_options` added to the options, which it takes away from them."""
    from parsing.parsers.registry import OPTIONS, ParserSpec

    return ParserSpec(name, device=device, **{field: options.pop(field) for field in OPTIONS})


@main.command()
@click.option("--dataset", type=DATA_SETS, required=True)
@click.option("--root", type=Folder, help="The data set's folder.  [default: $CSCL_DATA/SYSU-MM01 or data/SYSU-MM01]")
@click.option("--out", type=Folder, help="The cache's index file.  [default: data/DATASET_masks.h5]")
@click.option("--parser", default="street", help="The human parser; `cscl parser list` has all.")
@click.option("--size", type=Height(), default="288x144", help="Height and width of the masks.")
@click.option("--batch-size", type=int, help="Images at a time.  [default: 8 on a CPU, 32 on a GPU]")
@click.option("--device", default="auto", help="`cpu`, `cuda`, `cuda:1`; `auto` is CUDA where there is one.")
@click.option("--workers", type=click.IntRange(0), help="Processes; 0 is none but this.  [default: one a core or GPU]")
@click.option("--scheduler", metavar="ADDRESS", help="A running dask scheduler to use, as tcp://host:8786.")
@click.option("--scheduler-file", type=Folder, help="The same, by the file that it wrote; --workers N waits for N.")
@click.option("--probs", is_flag=True, help="Store class probabilities too, at a quarter of the size.")
@click.option("--flip/--no-flip", default=True, help="Average with the mirrored image.")
@click.option("--overwrite", is_flag=True, help="Replace a cache that is there.")
@click.option("--limit", type=int, help="At most so many images, spread over the data set.")
@pattern_option
@parser_options
@one_line_errors
def parse(**options: Any) -> None:
    """Stage 1: a human parser over every image of a data set; masks into an HDF5 cache."""
    _fetch(options["parser"], options)
    from pipelines.parse.run import ParseConfig
    from pipelines.parse.run import parse as run

    parser = _spec(options.pop("parser"), options.pop("device"), options)
    try:
        result = run(ParseConfig(parser=parser, **options))
    except KeyboardInterrupt:
        raise CsclError("stopped; finished shards are kept, the same command goes on from there") from None
    click.echo(
        f"{result.path}: {result.images} masks, {result.parsed} parsed now in {result.seconds:.1f} s"
        f" ({result.parsed / result.seconds:.0f} images a second), {result.empty} without a person"
    )
    failures = {"unreadable": result.unreadable, "killed every worker that parsed them": result.fatal}
    if any(failures.values()):
        listed = "; ".join(f"{len(names)} ({what}): {_first(names)}" for what, names in failures.items() if names)
        raise CsclError(f"images recorded without a mask: {listed}")


def _first(names: tuple[str, ...]) -> str:
    return ", ".join(names[:10]) + (" ..." if len(names) > 10 else "")


@main.command()
@click.option("--masks", type=Folder, required=True, help="The mask cache; it knows its data set and root.")
@click.option("--run", type=Folder, help="The run's folder.  [default: runs/DATASET-METHOD]")
@click.option(
    "--method", type=click.Choice(("cscl", "baseline", "agw")), help="baseline is the same code with CSCL's parts off."
)
@click.option("--recipe", type=Folder, help="A TOML file, or the name of a shipped one: cscl, small.  [default: cscl]")
@click.option("--set", "changes", multiple=True, metavar="A.B=C", help="Change an entry of the recipe.")
@click.option("--root", type=Folder, help="The images, where they are not where they were parsed.")
@click.option("--resume", is_flag=True, help="Go on with the run from its last checkpoint.")
@click.option("--device", default="auto", help="`cpu`, `cuda`; `auto` is CUDA where there is one.")
@click.option("--precision", default="auto", help="`32-true`, `bf16-mixed`; `auto` is bf16 on CUDA.")
@one_line_errors
def train(
    masks: Path, run: Path | None, method: str | None, recipe: Path | None, changes: tuple[str, ...], **options: Any
) -> None:
    """Stage 2: train CSCL, or a baseline, on a mask cache."""
    from parsing import MaskCache
    from pipelines.recipes.reading import read_recipe
    from pipelines.training.launch import is_first
    from pipelines.training.train import TrainConfig
    from pipelines.training.train import train as start

    if run is None:
        run = Path("runs") / f"{MaskCache(masks).data_set}-{method or 'cscl'}"
    if options["resume"] and not (recipe or changes or method):
        recipe = run / "recipe.toml"
    try:
        start(TrainConfig(masks, run, read_recipe(recipe, changes, method), **options))
    except KeyboardInterrupt as stop:
        where = f" {stop}" if str(stop) else ""
        raise CsclError(f"stopped{where}; `cscl train --masks {masks} --run {run} --resume` goes on") from None
    if is_first():
        click.echo(f"{run}: trained; `cscl evaluate --run {run}` scores it")


@main.command()
@click.option(
    "--run", "runs", type=Folder, required=True, multiple=True, help="A run's folder; several are averaged (splits)."
)
@click.option("--root", type=Folder, help="The images, where they are not where they were.")
@click.option(
    "--protocol", "protocols", multiple=True, help="One protocol of the data set; repeat for more.  [default: all]"
)
@click.option(
    "--gallery", type=click.Choice(("seeded", "official")), default="seeded", help="SYSU-MM01's gallery rule."
)
@click.option("--permutations", type=Folder, help="rand_perm_cam.mat, for official galleries.  [default: in exp/]")
@click.option("--rerank", is_flag=True, help="k-reciprocal re-ranking; the table says so.")
@click.option("--flip/--no-flip", default=True, help="Average with the mirrored image.")
@click.option("--figures", is_flag=True, help="Draw CMC, rankings, embeddings, part attention into RUN/figures.")
@click.option("--masks", type=Folder, help="A cache to hold the parts against.  [default: the run's own]")
@click.option("--baseline", type=Folder, help="Another run's evaluation.json: differences with a bootstrap interval.")
@click.option("--out", type=Folder, help="Write the result here too; the mean of several runs is written nowhere else.")
@click.option("--device", default="auto")
@click.option("--json", "as_json", is_flag=True)
@one_line_errors
def evaluate(as_json: bool, **options: Any) -> None:
    """Score a run under every protocol of its data set."""
    from pipelines.retrieval.evaluate import evaluate_runs

    result = evaluate_runs(**options)
    click.echo(json.dumps(result.to_json(), indent=1) if as_json else "\n".join(result.lines()))
    for run in result.runs if options["figures"] else ():
        click.echo(f"figures: {run / 'figures' / 'index.html'}", err=as_json)


@main.command()
@click.option("--run", type=Folder, required=True, help="The run whose network is used.")
@click.option(
    "--query", "queries", type=Folder, multiple=True, required=True, metavar="IMG...", help="Images, folders."
)
@click.argument("more", nargs=-1, type=Folder, metavar="")
@click.option("--gallery", type=Folder, required=True, help="A folder of images, at any depth.")
@click.option("--query-modality", type=click.Choice(("infrared", "visible")), default="infrared")
@click.option("--gallery-modality", type=click.Choice(("infrared", "visible")), help="[default: the other one]")
@click.option("--top", type=int, default=10, help="So many of the nearest images.")
@click.option("--flip/--no-flip", default=True, help="Average with the mirrored image.")
@click.option("--out", type=Folder, help="The picture of the ranking, a PNG.  [default: search.png in the run]")
@click.option("--device", default="auto")
@click.option("--json", "as_json", is_flag=True)
@one_line_errors
def search(queries: tuple[Path, ...], more: tuple[Path, ...], as_json: bool, **options: Any) -> None:
    """Rank the images of a folder by their likeness to the query images."""
    from pipelines.retrieval.search import SearchConfig
    from pipelines.retrieval.search import search as run

    result = run(SearchConfig(queries=(*queries, *more), **options))
    click.echo(json.dumps(result.to_json(), indent=1) if as_json else "\n".join(result.lines()))
    if result.unreadable:
        shown = "; ".join(result.unreadable[:10]) + (" ..." if len(result.unreadable) > 10 else "")
        raise CsclError(f"{len(result.unreadable)} images cannot be read and were left out: {shown}")


@main.command("export")
@click.option("--run", type=Folder, required=True)
@click.option("--out", type=Folder, help="The file, .onnx.  [default: model.onnx in the run]")
@click.option("--flip/--no-flip", default=True, help="Average with the mirrored image, as `evaluate` does.")
@one_line_errors
def export_model(**options: Any) -> None:
    """The embedder of a run as an ONNX file, compared with torch before it is kept."""
    from pipelines.retrieval.onnx_export import AGREEMENT, OPSET, export

    made = export(**options)
    click.echo(
        f"{made.path}: opset {OPSET}, images uint8 (batch, 3, {made.size[0]}, {made.size[1]}) and infrared bool (batch)"
        f" to embeddings (batch, {made.dim}), flip {'averaged' if made.flip else 'not averaged'}; "
        f"onnxruntime differs from torch by at most {made.difference:.1e} (allowed {AGREEMENT:.0e})"
    )


@main.command()
@click.option("--out", type=Folder, default=Path("demo"), help="Where to; replaced if a demo made it.")
@click.option("--seed", type=int, default=0)
@one_line_errors
def demo(out: Path, seed: int) -> None:
    """Everything on simulated pedestrians: make, parse, train, evaluate, and a page that shows it."""
    from pipelines.demo import demo as run

    click.echo(run(out, seed))


@main.group()
def masks() -> None:
    """Look at a mask cache, hand it over, make one of masks that you have."""


@masks.command("info")
@click.argument("file", type=Folder)
@click.option("--json", "as_json", is_flag=True)
@one_line_errors
def masks_info(file: Path, as_json: bool) -> None:
    """What a cache holds and how it was made."""
    from pipelines.masks.info import info

    report = info(file)
    click.echo(json.dumps(report.to_json(), indent=1) if as_json else "\n".join(report.lines()))


@masks.command("verify")
@click.argument("cache", metavar="FILE", type=Folder)
@click.option("--repair", is_flag=True, help="Parse damaged masks again, rebuild the index, remove leftovers.")
@click.option("--root", type=Folder, help="The images, where they are not where they were parsed.")
@click.option("--weights", type=Folder, help="The parser's weights, where they are not its own.")
@click.option("--device", default="auto", help="`cpu`, `cuda`; `auto` is CUDA where there is one.")
@click.option("--workers", type=click.IntRange(0), help="Processes, as of `cscl parse`.")
@click.option("--json", "as_json", is_flag=True)
@one_line_errors
def masks_verify(as_json: bool, **options: Any) -> None:
    """Every byte of a cache against what was written; exit code 1 where something is wrong."""
    from pipelines.masks.verify import VerifyConfig, verify

    report = verify(VerifyConfig(**options))
    click.echo(json.dumps(report.to_json(), indent=1) if as_json else "\n".join(report.lines()))
    if not report.sound:
        sys.exit(1)


@masks.command("export")
@click.argument("file", type=Folder)
@click.option("--to", required=True, help="png, sgiel, bpbreid, kpr, eanet, isp, scnet or pixel-sampling.")
@click.option("-o", "--out", type=Folder, required=True, help="Folder to write to.")
@click.option("--path", help="Each file's path below it, as in 'masks/{1}/{stem}.npy'.  [default: the exporter's]")
@click.option("--size", type=FileSize(), help="Of the files: as given, as cached, or as each image.")
@click.option("--palette", is_flag=True, help="png: with colours.")
@click.option("--scheme", help="png: parts of this scheme instead of the parser's classes.")
@click.option("--workers", type=click.IntRange(1), help="Threads.  [default: one a core]")
@click.option("--overwrite", is_flag=True, help="Replace files that are there.")
@one_line_errors
def masks_export(**options: Any) -> None:
    """Masks as the files that other projects read; docs/reuse.md has a recipe for each."""
    from pipelines.masks.export import ExportConfig, export

    try:
        result = export(ExportConfig(**options))
    except KeyboardInterrupt:
        raise CsclError("stopped; files that are there are whole, the same command goes on from there") from None
    click.echo(f"{result.out}: {result.written} files written in {result.seconds:.1f} s, {result.kept} were there")
    for note in result.notes:
        click.echo(f"note: {note}")
    if result.unreadable:
        shown = ", ".join(result.unreadable[:10]) + (" ..." if len(result.unreadable) > 10 else "")
        click.echo(f"note: no file for {len(result.unreadable)} unreadable images: {shown}")


@masks.command("import")
@click.argument("folder", metavar="DIR", type=Folder)
@click.option("--from", "kind", type=click.Choice(("png",)), required=True, help="What the masks are.")
@click.option("--labels", required=True, help="Label set of their values: lip, atr, pascal, cihp ...")
@click.option("--dataset", type=DATA_SETS, help="The images they belong to.  [default: one image a mask]")
@click.option("--root", type=Folder, help="The images' folder.")
@click.option("--out", type=Folder, help="The cache's index file.  [default: data/DATASET_masks.h5]")
@click.option("--size", type=Height(), default="288x144", help="Height and width of the cached masks.")
@click.option("--path", help="Where an image's mask lies below DIR.  [default: '{dir}/{stem}.png', then '{stem}.png']")
@pattern_option
@click.option("--suffix", default=".jpg", help="Without --dataset: what the images' names end in.")
@click.option(
    "--values", multiple=True, metavar="N=CLASS", help="The class of a number or range: 255=person, 128-255=1; repeat."
)
@click.option("--numbers", is_flag=True, help="Palette PNGs: numbers are classes whatever their colours.")
@click.option("--letterbox", "fit", flag_value="letterbox", help="Images were padded evenly to the masks' shape: undo.")
@click.option("--letterbox-corner", "fit", flag_value="corner", help="They were padded on the right or below: undo.")
@click.option("--stretch", "fit", flag_value="stretch", help="They were stretched to the masks' shape: undo.")
@click.option("--as-stored", is_flag=True, help="Masks lie on the pixels as stored: turn them as EXIF turns images.")
@click.option("--licence", default="not stated: imported masks", help="Of the masks; kept in the cache.")
@click.option("--overwrite", is_flag=True, help="Replace a cache that is there.")
@one_line_errors
def masks_import(folder: Path, kind: str, fit: Any, **options: Any) -> None:
    """A cache out of masks that you have: PNGs whose values are class numbers, or painted in a known palette."""
    from pipelines.masks.importing import ImportConfig, import_masks

    result = import_masks(ImportConfig(folder, fit=fit or "same", **options))
    click.echo(
        f"{result.path}: {result.masks} masks imported, {len(result.empty)} of them empty"
        + (f", the first is {result.empty[0]}" if result.empty else "")
    )
    for note in result.notes:
        click.echo(f"note: {note}")
    if result.without:
        click.echo(f"note: {len(result.without)} images have no mask, the first is {result.without[0]}")
    if options["dataset"] is None:
        click.echo(
            "note: of no data set: `cscl train` cannot use these masks, everything else can; --dataset names one"
        )


@masks.command("score")
@click.argument("file", type=Folder)
@click.option("--scheme", help="A part scheme (reid4, reid6, body) instead of the street classes.")
@click.option("--root", type=Folder, help="The data set with its labels/, where it is not where it was.")
@click.option("--json", "as_json", is_flag=True)
@one_line_errors
def masks_score(file: Path, scheme: str | None, root: Path | None, as_json: bool) -> None:
    """IoU of a simulated data set's cached masks with its true label maps."""
    from pipelines.masks.score import score_masks

    scores = score_masks(file, scheme, root)
    click.echo(json.dumps(scores.to_json(), indent=1) if as_json else "\n".join(scores.lines()))


@masks.command("report")
@click.argument("file", type=Folder)
@click.option("-o", "--out", type=Folder, required=True, help="Folder for the page, index.html.")
@click.option("--root", type=Folder, help="The images, where they are not where they were parsed.")
@click.option("--thumbnails", type=click.IntRange(0, 5000), default=300, help="Images in the gallery.")
@click.option("--images/--no-images", default=True, help="Show the images, or the masks alone.")
@one_line_errors
def masks_report(**options: Any) -> None:
    """A page on a cache: provenance, counts, confidence, classes, failures, and a gallery, worst first."""
    from pipelines.masks.report import ReportConfig, report

    result = report(ReportConfig(**options))
    click.echo(f"{result.page}: open it in a browser; {result.page.stat().st_size / 2**20:.1f} MiB, no network needed")
    if result.missing:
        click.echo(f"note: {result.missing} of its {result.shown} images were not found; --root says where they are")


@masks.command("compare")
@click.argument("first", type=Folder)
@click.argument("second", type=Folder)
@click.option("--scheme", help="Compare in a part scheme; caches of different label sets need one.")
@click.option("--worst", type=click.IntRange(0), default=10, help="How many of the images that agree least to name.")
@click.option("--json", "as_json", is_flag=True)
@one_line_errors
def masks_compare(as_json: bool, **options: Any) -> None:
    """Agreement of two caches: IoU of their masks with each other, and the images that agree least."""
    from pipelines.masks.compare import compare

    found = compare(**options)
    click.echo(json.dumps(found.to_json(), indent=1) if as_json else "\n".join(found.lines()))


@main.group("parser")
def parser_group() -> None:
    """Train, score and list human parsers."""


@parser_group.command("list")
@click.option("--json", "as_json", is_flag=True)
@one_line_errors
def parser_list(as_json: bool) -> None:
    """The parsers there are: label set, input, licence, source, and whether the weights are at hand."""
    from pipelines.parsers.catalogue import list_parsers

    found = list_parsers()
    click.echo(json.dumps(found.to_json(), indent=1) if as_json else "\n".join(found.lines()))


@parser_group.command("train")
@click.option("--photos", type=Folder, required=True, help="Annotated photographs: photos/, parts/, meta.json.")
@click.option("--out", type=Folder, required=True, help="The weights' file, .safetensors; a log lies beside it.")
@click.option("--init", type=Folder, help="Weights to start from: a file, or `street` for the built-in ones.")
@click.option("--recipe", type=Folder, help="A TOML file.  [default: street, the built-in parser's]")
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE", help="Change an entry of the recipe: epochs=8.")
@click.option("--device", default="auto", help="`cpu`, `cuda`; `auto` is CUDA where there is one.")
@one_line_errors
def parser_train(
    photos: Path, out: Path, init: Path | None, recipe: Path | None, changes: tuple[str, ...], device: str
) -> None:
    """Train a parser like the built-in one, with simulated infrared, or fine-tune it."""
    from pipelines.parsers.train import read_parser_recipe, train_parser

    train_parser(photos, out, read_parser_recipe(recipe, changes), init, device)
    click.echo(f"{out}: trained; `cscl parse --weights {out}` uses it, `cscl parser score --weights {out}` scores it")


@parser_group.command("score")
@click.option("--photos", type=Folder, required=True, help="Annotated photographs: photos/, parts/, meta.json.")
@click.option("--parser", default="street", help="The human parser; `cscl parser list` has all.")
@click.option(
    "--part", type=click.Choice(("train", "val", "test")), default="val", show_default=True, help="Which photographs."
)
@click.option(
    "--width", "widths", type=click.IntRange(4), multiple=True, help="Score crops reduced to it too; may repeat."
)
@click.option("--sheet", type=Folder, help="PNG to write: best, median and worst answers in each spectrum.")
@click.option("--scheme", help="Compare in a part scheme; a parser of another label set needs it.")
@click.option("--border", type=click.IntRange(0), default=0, help="Leave out pixels this near to another true class.")
@click.option("--flip/--no-flip", default=True, help="Average with the mirrored image.")
@click.option("--device", default="cpu")
@parser_options
@click.option("--json", "as_json", is_flag=True)
@one_line_errors
def parser_score(photos: Path, parser: str, device: str, as_json: bool, **options: Any) -> None:
    """IoU with annotated photographs, in colour, grey and simulated infrared."""
    _fetch(parser, options)
    from pipelines.parsers.score import score_parser

    spec = _spec(parser, device, options)
    scores = score_parser(photos, spec, **options)
    click.echo(json.dumps(scores.to_json(), indent=1) if as_json else "\n".join(scores.lines()))


@click.command("PARSER", add_help_option=False)
@click.argument("name", metavar="PARSER")
@click.option("--flip/--no-flip", default=True)
@parser_options
def _setting(**_: Any) -> None:
    """A parser and its options in one argument of `parser compare`."""


def _read_setting(text: str) -> dict[str, Any]:
    try:
        return _setting.make_context("PARSER", shlex.split(text)).params
    except (click.UsageError, ValueError) as error:
        reason = error.format_message() if isinstance(error, click.UsageError) else error
        raise InputError(f"{text!r} is no parser with its options: {reason}") from error


@parser_group.command("compare")
@click.argument("first")
@click.argument("second")
@click.option("--images", type=Folder, required=True, help="A folder of images, at any depth.")
@click.option("--scheme", help="Compare in a part scheme; parsers of different label sets need one.")
@click.option("--size", type=Height(), default="288x144", help="Height and width of the compared masks.")
@click.option("--batch-size", type=click.IntRange(1), default=8)
@click.option("--limit", type=click.IntRange(1), help="At most so many images, spread over the folder.")
@click.option("--worst", type=click.IntRange(0), default=5, help="How many of the images that agree least to name.")
@click.option("--device", default="auto", help="`cpu`, `cuda`; `auto` is CUDA where there is one.")
@click.option("--json", "as_json", is_flag=True)
@one_line_errors
def parser_compare(first: str, second: str, images: Path, device: str, as_json: bool, **options: Any) -> None:
    """Agreement and speed of two parsers, or of two settings of one, on a folder of images.

    FIRST and SECOND are a parser with its options, in quotes:

    \b
    cscl parser compare "schp-lip --weights W" "schp-lip --weights W --narrow" --images DIR
    """
    given = {text: _read_setting(text) for text in (first, second)}
    for one in given.values():
        _fetch(one["name"], one)
    from pipelines.parsers.compare import Setting, compare_parsers

    left, right = (
        Setting(text, _spec(given[text]["name"], device, dict(given[text])), given[text]["flip"])
        for text in (first, second)
    )
    found = compare_parsers(images, left, right, **options)
    click.echo(json.dumps(found.to_json(), indent=1) if as_json else "\n".join(found.lines()))


@main.group()
def data() -> None:
    """Check a data set, or make a simulated one."""


@data.command("check")
@click.option("--dataset", type=DATA_SETS, required=True)
@click.option("--root", type=Folder)
@pattern_option
@click.option("--json", "as_json", is_flag=True)
@one_line_errors
def data_check(as_json: bool, **options: Any) -> None:
    """Count a data set's folder against its published numbers and name what differs."""
    from pipelines.datasets.check import check

    report = check(**options)
    click.echo(json.dumps(report.to_json(), indent=1) if as_json else "\n".join(report.lines()))
    if not report.ok:
        sys.exit(1)


@data.group("make")
def data_make() -> None:
    """Make a simulated data set, with the true label map of every image, or the photographs for one."""


def made_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options that both simulated data sets have."""
    for option in (
        click.option("--out", type=Folder, required=True, help="Where to; a new folder."),
        click.option("--layout", type=click.Choice(("sysu", "regdb", "llcm")), default="sysu"),
        click.option("--infrared", type=click.Choice(("near", "thermal")), help="[default: what the layout has]"),
        click.option("--seed", type=int, default=0),
        click.option("--overwrite", is_flag=True, help="Replace a folder that this command made."),
        click.option("--sheet", type=Folder, help="Also write a contact sheet to this PNG."),
    ):
        command = option(command)
    return command


def _made(root: Path, sheet: Path | None) -> None:
    from pipelines.datasets.simulate import contact_sheet

    click.echo(f"{root}: a simulated data set, label maps under {root / 'labels'}")
    if sheet is not None:
        click.echo(f"{contact_sheet(root, sheet)}: contact sheet")


@data_make.command("figures")
@click.option("--train", type=click.IntRange(1), default=24, help="Training identities.")
@click.option("--test", type=click.IntRange(1), default=16, help="Test identities.")
@click.option("--shots", type=click.IntRange(1), default=4, help="Images of an identity in a camera.")
@made_options
@one_line_errors
def make_figures(sheet: Path | None, **options: Any) -> None:
    """Procedural pedestrians, drawn by code."""
    from pipelines.datasets.simulate import make_figures as run

    _made(run(**options), sheet)


@data_make.command("street")
@click.option("--photos", type=Folder, required=True, help="Annotated photographs: photos/, parts/, meta.json.")
@click.option("--train", type=click.IntRange(1), default=400, help="Training identities.")
@click.option("--test", type=click.IntRange(1), default=200, help="Test identities.")
@click.option("--shots", type=click.IntRange(1), default=2, help="Images of an identity in a camera.")
@click.option(
    "--part",
    type=click.Choice(("train", "val", "all", "apart")),
    default="all",
    help="Which photographs; apart: people to train of train, people to test of val.",
)
@click.option(
    "--difficulty",
    type=click.Choice(("standard", "aligned", "mild", "hard", "severe", "mixed")),
    default="standard",
    help="How far off the boxes are and how many people are hidden; mixed: a level for each image.",
)
@made_options
@one_line_errors
def make_street(sheet: Path | None, **options: Any) -> None:
    """People cut out of annotated photographs, before other backgrounds."""
    from pipelines.datasets.simulate import make_street as run

    _made(run(**options), sheet)


@data_make.command("photos")
@click.option("--ccp", type=Folder, required=True, help="A clone of bearpaw/clothing-co-parsing.")
@click.option("--out", type=Folder, required=True, help="Where to; a new folder.")
@click.option("--overwrite", is_flag=True, help="Replace a folder that this command made.")
@one_line_errors
def make_photos(**options: Any) -> None:
    """Photographs with street classes out of Clothing Co-Parsing, to train parsers and to make `street` from."""
    from pipelines.datasets.photographs import make_photos as run

    click.echo(run(**options).line())


if __name__ == "__main__":
    main()
