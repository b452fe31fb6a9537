"""`cscl demo`."""

from pathlib import Path

import click

from .ending import print_result
from .options import Place, json_option


@click.command()
@click.option("--out", type=Place, default=Path("demo"), help="Folder to write to; replaced if a demo made it.")
@click.option("--seed", type=int, default=0, help="Seed of all random numbers.")
@json_option
def demo(out: Path, seed: int, as_json: bool) -> None:
    """Try everything on simulated pedestrians, without a download.

    Makes a data set, parses it, trains and evaluates, and writes a page that shows each step.
    """
    from pipelines.demo import demo as run

    print_result(run(out, seed), as_json)
