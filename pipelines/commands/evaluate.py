"""`cscl evaluate`."""

from typing import Any

import click

from parsing.errors import CsclError
from parsing.words import list_briefly

from .ending import print_result
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
@click.option(
    "--run", "runs", type=Place, required=True, multiple=True, help="A run's folder; several are averaged (splits)."
)
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
@device_option
@json_option
def evaluate(as_json: bool, **options: Any) -> None:
    """Score a run under every protocol of its data set."""
    from pipelines.runs.provenance import check_trained, find_run_images, read_run

    for run in options["runs"]:
        check_trained(run)
        find_run_images(run, read_run(run)[1], options["root"])
    from pipelines.retrieval.evaluate import evaluate_runs

    result = evaluate_runs(**options)
    print_result(result, as_json)
    if result.unwritten:
        reasons, out = dict(result.unwritten), options["out"]
        if out is None or out in reasons:
            raise CsclError(f"{list_briefly(list(reasons.values()))}; give --out FILE in a folder that can be written")
        click.echo(f"note: {list_briefly(list(reasons.values()))}", err=True)
    for run in result.runs if options["figures"] and not result.unwritten else ():
        click.echo(f"figures: {run / 'figures' / 'index.html'}", err=as_json)
