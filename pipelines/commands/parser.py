"""`cscl parser`: list, train, score and compare human parsers."""

import shlex
from pathlib import Path
from typing import Any

import click

from data.photographs import MOST_MISPLACED
from parsing.errors import CsclError, InputError
from parsing.words import quote_path

from .ending import OrderedGroup, print_result, print_values
from .options import (
    Existing,
    HeightWidth,
    NewFile,
    Place,
    device_option,
    flip_option,
    json_option,
    parser_options,
    photos_option,
    take_parser,
)


@click.group(cls=OrderedGroup)
def parser() -> None:
    """List, train, score and compare human parsers."""


@parser.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List parsers: labels, input, licence, source, weights."""
    from pipelines.parsers.catalogue import list_parsers

    print_result(list_parsers(), as_json)


@parser.command()
@photos_option
@click.option(
    "--out",
    type=NewFile(".safetensors"),
    required=True,
    help="The weights' file, .safetensors; a log is written beside it.",
)
@click.option("--init", type=Place, help="Weights to start from: a file, or `street` for the built-in ones.")
@click.option("--recipe", type=Place, help="A TOML file.  [default: street, the built-in parser's]")
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE", help="Change an entry of the recipe: epochs=8.")
@device_option
@json_option
def train(
    photos: Path,
    out: Path,
    init: Path | None,
    recipe: Path | None,
    changes: tuple[str, ...],
    device: str,
    as_json: bool,
) -> None:
    """Train or fine-tune a parser like the built-in one."""
    from pipelines.parsers.recipe import read_parser_recipe

    wanted = read_parser_recipe(recipe, changes)
    from pipelines.parsers.train import train_parser

    train_parser(photos, out=out, recipe=wanted, init=init, device=device)
    weights = f"--weights {quote_path(out)}"
    line = f"{out}: trained; `cscl parse {weights}` uses it, `cscl parser score {weights}` scores it"
    print_values({"weights": out}, [line], as_json)


@parser.command()
@photos_option
@click.option("--parser", "name", default="street", help="The human parser; `cscl parser list` shows all.")
@click.option("--subset", type=click.Choice(("train", "val", "test")), default="val", help="Subset of the photographs.")
@click.option(
    "--width",
    "widths",
    type=click.IntRange(4),
    multiple=True,
    help="Also score crops reduced to this width; may repeat.",
)
@click.option(
    "--box-error",
    "box_errors",
    type=click.FloatRange(0, MOST_MISPLACED, min_open=True),
    multiple=True,
    help="Also score crops whose sides are off by up to this share of the person; may repeat.",
)
@click.option("--sheet", type=NewFile(".png"), help="PNG to write: best, median and worst answers in each spectrum.")
@click.option("--scheme", help="Compare in a part scheme; a parser of another label set needs one.")
@click.option("--border", type=click.IntRange(0), default=0, help="Ignore pixels this close to another true class.")
@flip_option
@click.option("--device", default="cpu", help="`cpu`, `cuda`; `auto` is CUDA if there is one.")
@parser_options
@json_option
def score(photos: Path, name: str, device: str, as_json: bool, **options: Any) -> None:
    """Score a parser on annotated photographs, in four spectra.

    IoU in colour, grey, and simulated near-infrared and thermal.
    """
    spec = take_parser(name, device, options)
    from pipelines.parsers.score import score_parser

    scores = score_parser(photos, spec, **options)
    print_result(scores, as_json)
    if scores.undrawn:
        raise CsclError(f"{scores.undrawn}; give --sheet FILE.png elsewhere")


@click.command("PARSER", add_help_option=False)
@click.argument("name", metavar="PARSER")
@flip_option
@parser_options
def _setting(**_: Any) -> None:
    """A parser and its options in one argument of `parser compare`."""


def _read_setting(text: str) -> dict[str, Any]:
    try:
        return _setting.make_context("PARSER", shlex.split(text)).params
    except (click.UsageError, ValueError) as error:
        reason = error.format_message() if isinstance(error, click.UsageError) else error
        raise InputError(f"{text!r} is no parser with its options: {reason}") from error


@parser.command()
@click.argument("first")
@click.argument("second")
@click.option("--images", type=Existing(folder=True), required=True, help="A folder of images, at any depth.")
@click.option("--scheme", help="Compare in a part scheme; parsers of different label sets need one.")
@click.option("--size", type=HeightWidth(), default="288x144", help="Height and width of the compared masks.")
@click.option("--batch-size", type=click.IntRange(1), default=8, help="Images per batch.")
@click.option("--limit", type=click.IntRange(1), help="At most this many images, spread over the folder.")
@click.option("--worst", type=click.IntRange(0), default=5, help="Number of images to list, lowest agreement first.")
@device_option
@json_option
def compare(first: str, second: str, images: Path, device: str, as_json: bool, **options: Any) -> None:
    """Compare answers and speed of two parsers on a folder of images.

    FIRST and SECOND are a parser with its options, in quotes; two settings of one parser may be compared:

    \b
    cscl parser compare "schp-lip --weights W" "schp-lip --weights W --narrow" --images DIR
    """
    given = [(text, _read_setting(text)) for text in (first, second)]
    specs = [(text, take_parser(one.pop("name"), device, one), one["flip"]) for text, one in given]
    from pipelines.parsers.compare import Setting, compare_parsers

    left, right = (Setting(text, spec, flip) for text, spec, flip in specs)
    print_result(compare_parsers(images, left, right, **options), as_json)
