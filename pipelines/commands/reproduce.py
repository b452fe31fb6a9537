"""`cscl reproduce`."""

from typing import Any

import click

from .ending import print_result, resumable
from .options import (
    Existing,
    Place,
    device_option,
    json_option,
    parser_options,
    precision_option,
    take_parser,
    verbosity_options,
)


@click.command()
@click.option("--dataset", type=click.Choice(("sysu", "regdb", "llcm")), required=True)
@click.option("--root", type=Place, help="The data set's folder.  [default: as for `cscl parse`]")
@click.option("--out", type=Place, help="Folder for cache, runs and page.  [default: reproduce/DATASET]")
@click.option("--masks", type=Existing(file=True), help="A cache that exists.  [default: parse into --out]")
@click.option("--parser", default="street", help="The human parser; `cscl parser list` shows all.")
@click.option("--workers", type=click.IntRange(0), help="Processes for parsing.  [default: one per core or GPU]")
@click.option(
    "--row",
    "rows",
    multiple=True,
    metavar="NAME",
    help="agw, baseline, pam, cscl or icm; may repeat.  [default: all on sysu, else agw, baseline and cscl]",
)
@click.option("--splits", metavar="1-10", help="RegDB: splits to train.  [default: all ten]")
@click.option("--seeds", metavar="0-4", default="0", help="One training per seed, averaged.")
@click.option("--recipe", type=Place, help="Recipe of every row.  [default: that of the data set]")
@click.option("--set", "changes", multiple=True, metavar="A.B=C", help="Change an entry of every recipe; may repeat.")
@click.option("--dry-run", is_flag=True, help="Print how long it would take, from a few steps that are measured.")
@device_option
@precision_option
@verbosity_options
@parser_options
@json_option
def reproduce(
    parser: str,
    device: str,
    splits: str | None,
    seeds: str,
    dry_run: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Do all that the paper's tables need, and write one page.

    Checks the data set, parses it, trains and evaluates CSCL, its baselines and ablations, and shows their figures
    beside the published ones. The same command continues what was stopped.
    """
    from data.registry import find_root
    from pipelines.reproduce.plan import ReproduceConfig, plan
    from pipelines.training.series import read_numbers

    numbers = read_numbers(splits, "--splits") if splits is not None else ()
    spec = take_parser(parser, device, options)
    config = ReproduceConfig(
        parser=spec, device=device, splits=numbers, seeds=read_numbers(seeds, "--seeds"), **options
    )
    plan(config)
    find_root(config.dataset, config.root)
    if dry_run:
        from pipelines.reproduce.estimate import estimate

        print_result(estimate(config), as_json)
        return
    from pipelines.reproduce.run import reproduce as run

    with resumable("the same command continues"):
        print_result(run(config), as_json)
