"""`cscl benchmark`."""

from typing import Any

import click

from pipelines.benchmarks.parts import PARTS

from .ending import print_result
from .options import Existing, device_option, json_option


@click.command()
@click.argument("parts", nargs=-1, type=click.Choice(PARTS))
@click.option("--images", type=Existing(folder=True), help="Images to parse.  [default: drawn ones]")
@click.option("--count", type=click.IntRange(1), default=240, help="parse: images.")
@click.option("--masks", type=click.IntRange(1), default=2000, help="read, start: masks in the cache.")
@click.option(
    "--runs", type=click.IntRange(1), default=5, help="Runs of each side, alternating; the median is reported."
)
@click.option(
    "--peer",
    "peers",
    type=Existing(folder=True),
    multiple=True,
    help="A checkout that runs too: of SCHP (parse), of AGW (train, evaluate).",
)
@device_option
@json_option
def benchmark(as_json: bool, **options: Any) -> None:
    """Measure this machine: ours beside plain ways to do the same.

    Without PARTS all of them. No data is needed; nothing is kept.
    """
    from pipelines.benchmarks.run import BenchmarkConfig, run_benchmarks

    print_result(run_benchmarks(BenchmarkConfig(**options)), as_json)
