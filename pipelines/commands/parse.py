"""`cscl parse`: stage 1."""

from typing import Any

import click

from parsing.errors import CsclError
from parsing.words import list_briefly

from .ending import print_result, print_values, resumable
from .options import (
    DATA_SETS,
    Place,
    device_option,
    flip_option,
    json_option,
    out_cache_option,
    parser_options,
    pattern_option,
    size_option,
    take_parser,
)


@click.command()
@click.option("--dataset", type=DATA_SETS, required=True)
@click.option("--root", type=Place, help="The data set's folder.  [default: $CSCL_DATA/SYSU-MM01 or data/SYSU-MM01]")
@out_cache_option
@click.option("--parser", default="street", help="The human parser; `cscl parser list` shows all.")
@size_option
@click.option("--batch-size", type=int, help="Images per batch.  [default: 8 on a CPU, 32 on a GPU]")
@device_option
@click.option("--workers", type=click.IntRange(0), help="Processes; 0: this one only.  [default: one per core or GPU]")
@click.option("--scheduler", metavar="ADDRESS", help="A running dask scheduler to use, as tcp://host:8786.")
@click.option("--scheduler-file", type=Place, help="Its file instead of its address; --workers N waits for N.")
@click.option("--probs", is_flag=True, help="Store class probabilities too, at a quarter of the size.")
@flip_option
@click.option("--overwrite", is_flag=True, help="Replace an existing cache.")
@click.option("--limit", type=int, help="Parse at most this many images, spread over the data set.")
@pattern_option
@click.option("--dry-run", is_flag=True, help="Print what would be done, and what is done already.")
@parser_options
@json_option
def parse(dry_run: bool, as_json: bool, **options: Any) -> None:
    """Stage 1: parse the images of a data set into a mask cache.

    A human parser labels the body parts in every image; the masks go into HDF5 shards beside the index file.
    """
    from data.registry import find_root
    from pipelines.parse.config import ParseConfig

    parser = take_parser(options.pop("parser"), options.pop("device"), options, fetching=not dry_run)
    config = ParseConfig(parser=parser, **options)
    find_root(config.dataset, config.root)
    if dry_run:
        from pipelines.parse.preview import preview

        print_result(preview(config), as_json)
        return
    from pipelines.parse.run import parse as run

    with resumable("finished shards are kept, the same command continues"):
        result = run(config)
    rate = f" ({result.parsed / result.seconds:.0f} images per second)" if result.parsed else ""
    line = (
        f"{result.path}: {result.images} masks, {result.parsed} parsed now in {result.seconds:.1f} s{rate},"
        f" {result.empty} without a person"
    )
    print_values(vars(result), [line], as_json)
    failures = {"unreadable": result.unreadable, "killed every worker that parsed them": result.fatal}
    if any(failures.values()):
        named = "; ".join(
            f"{len(names)} ({what}): {list_briefly(names, 10)}" for what, names in failures.items() if names
        )
        raise CsclError(f"images recorded without a mask: {named}")
