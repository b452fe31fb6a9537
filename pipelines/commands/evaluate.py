"""`cscl evaluate`."""

from pathlib import Path
from typing import Any

import click

from parsing.errors import CsclError, InputError
from parsing.words import list_briefly
from pipelines.runs import FORMATS, Format

from .ending import print_result, print_values
from .options import (
    Existing,
    Place,
    device_option,
    flip_option,
    json_option,
    protocol_options,
    rerank_option,
    root_option,
)


@click.command()
@click.argument("more", metavar="RUN...", nargs=-1, type=Place)
@click.option("--run", "runs", type=Place, multiple=True, hidden=True, help="The same as RUN.")
@root_option
@protocol_options
@rerank_option
@flip_option
@click.option("--figures", is_flag=True, help="Draw CMC, rankings, embeddings, part attention into RUN/figures.")
@click.option(
    "--figure-format",
    type=click.Choice(("png", "pdf", "svg")),
    default="png",
    help="Format of the figures; pdf and svg are written beside the PNG files of the page.",
)
@click.option("--masks", type=Existing(file=True), help="A cache to compare the parts with.  [default: the run's own]")
@click.option(
    "--baseline", type=Existing(file=True), help="Another run's evaluation.json: differences with a bootstrap interval."
)
@click.option("--out", type=Place, help="Write the result here too; a mean of several runs is written only here.")
@click.option(
    "--format", "kind", type=click.Choice(FORMATS), default="text", help="Print the table alone, to paste it."
)
@device_option
@json_option
def evaluate(more: tuple[Path, ...], runs: tuple[Path, ...], kind: Format, as_json: bool, **options: Any) -> None:
    """Score runs under every protocol of their data set.

    Of several runs, which differ in seed or split, the mean and its standard deviation are printed.
    """
    from pipelines.runs.provenance import check_trained, find_run_images, read_run

    if options["figure_format"] != "png" and not options["figures"]:
        raise InputError(f"--figure-format {options['figure_format']}: give --figures too, which draws them")
    if as_json and kind != "text":
        raise InputError(f"--format {kind} --json: give one of them")
    every = (*more, *runs)
    if not every:
        raise click.UsageError("give at least one RUN, a folder that `cscl train` wrote")
    for run in every:
        check_trained(run)
        find_run_images(run, read_run(run)[1], options["root"])
    from pipelines.retrieval.evaluate import evaluate_runs

    result = evaluate_runs(every, **options)
    if options["masks"] is not None and result.parts is None:
        click.echo(
            f"note: nothing is compared with --masks {options['masks']}: the network has no part attention, or no test "
            "image has a mask there",
            err=True,
        )
    if kind == "text":
        print_result(result, as_json)
    else:
        print_values(result.to_json(), result.table(kind), as_json)
    plain = kind == "text" and not as_json
    if result.written:
        click.echo(f"written: {list_briefly([str(file) for file in result.written], 12)}", err=not plain)
    if len(every) > 1 and options["out"] is None:
        click.echo("note: the mean is not written; --out FILE.json keeps it", err=True)
    if result.unwritten:
        reasons, out = dict(result.unwritten), options["out"]
        if out is None or out in reasons:
            raise CsclError(f"{list_briefly(list(reasons.values()))}; give --out FILE in a folder that can be written")
        click.echo(f"note: {list_briefly(list(reasons.values()))}", err=True)
