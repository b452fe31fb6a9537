"""`cscl train`: stage 2."""

import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from parsing.errors import InputError
from parsing.words import quote_path
from pipelines.images import find_images
from pipelines.recipes import METHODS

from .ending import print_values, resumable
from .options import (
    Existing,
    Place,
    device_option,
    json_option,
    open_cache,
    precision_option,
    root_option,
    verbosity_options,
)

if TYPE_CHECKING:
    from parsing import MaskCache
    from pipelines.training.config import TrainConfig


def _list_recipes(ctx: click.Context, param: click.Parameter, value: Path | None) -> Path | None:
    """Print the shipped recipes for `--recipe list` and end; click would miss the absent --masks only afterwards."""
    if value != Path("list"):
        return value
    from pipelines.recipes.reading import list_shipped, read_purpose

    purposes = {name: read_purpose(name) for name in list_shipped()}
    lines = [f"{name:{max(map(len, purposes))}s}  {purpose}" for name, purpose in purposes.items()]
    print_values(purposes, lines, ctx.params["as_json"])
    ctx.exit()


@click.command()
@click.option("--masks", type=Place, required=True, help="The mask cache; it names its data set and root.")
@click.option("--run", type=Place, help="The run's folder.  [default: runs/DATASET-RECIPE-splitN-seedN]")
@click.option("--method", type=click.Choice(METHODS), help="baseline: the same code with CSCL's parts off.")
@click.option(
    "--recipe",
    type=Place,
    callback=_list_recipes,
    help="A TOML file or a shipped recipe; `list` prints these.  [default: cscl]",
)
@click.option("--set", "changes", multiple=True, metavar="A.B=C", help="Change an entry of the recipe; may repeat.")
@click.option("--splits", metavar="1-10", help="One run per split, one after the other, below the folder --run.")
@click.option("--seeds", metavar="0-4", help="One run per seed, in the same way.")
@root_option
@click.option(
    "--resume",
    is_flag=True,
    help="Continue the run from its last checkpoint; --set train.epochs=N makes it longer. Of several runs those that "
    "are finished are left alone.",
)
@click.option("--init", type=Existing(folder=True), help="Start from the weights of this run.")
@device_option
@precision_option
@click.option(
    "--logger",
    "loggers",
    multiple=True,
    metavar="NAME",
    help="`wandb` or MODULE:NAME, beside TensorBoard; may repeat.",
)
@verbosity_options
@json_option
def train(
    masks: Path,
    run: Path | None,
    method: str | None,
    recipe: Path | None,
    changes: tuple[str, ...],
    splits: str | None,
    seeds: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Stage 2: train CSCL, or a baseline, on a mask cache.

    With --splits or --seeds several runs, which `cscl evaluate` averages.

    The first training decodes the images into a folder beside the cache, sysu_masks.images for sysu_masks.h5; all
    processes of a machine and later trainings share it. `rm -r` removes it; the next training writes it again.
    """
    from pipelines.training.series import plan_runs, read_numbers

    cache = open_cache(masks)
    members = plan_runs(
        cache.data_set,
        recipe=recipe,
        method=method,
        changes=changes,
        splits=read_numbers(splits, "--splits") if splits is not None else (),
        seeds=read_numbers(seeds, "--seeds") if seeds is not None else (),
        run=run,
        resume=options["resume"],
    )
    from pipelines.training.config import TrainConfig

    configs = [TrainConfig(masks, folder, made, **options) for folder, made in members]
    _train_all(configs, cache, series=splits is not None or seeds is not None, as_json=as_json)


def _repeat(config: "TrainConfig") -> str:
    """Return the options that a command which continues a run must repeat, as text."""
    given = {
        "--root": None if config.root is None else quote_path(config.root),
        "--device": config.device,
        "--precision": config.precision,
    }
    loggers = [f" --logger {shlex.quote(name)}" for name in config.loggers]
    return "".join(
        [*(f" {option} {value}" for option, value in given.items() if value not in (None, "auto")), *loggers]
    )


def _train_all(configs: "Sequence[TrainConfig]", cache: "MaskCache", series: bool, as_json: bool) -> None:
    """Check all runs, then train one after the other; of a series, skip what is finished and begin what is absent."""
    from pipelines.training.launch import count_processes, is_first
    from pipelines.training.series import is_finished

    if series and count_processes() > 1:
        raise InputError("--splits, --seeds: several processes train one run; start them once per split and seed")
    todo = []
    for config in configs:
        if series and config.resume:
            if is_finished(config.run, config.recipe):
                click.echo(f"{config.run}: finished", err=True)
                continue
            begun = (config.run / "recipe.toml").is_file()  # a run that has begun goes on from its own weights
            config = replace(config, resume=begun, init=None if begun else config.init)
        config.check_run()
        todo.append(config)
    find_images(configs[0].masks, cache.root, configs[0].root)
    from pipelines.training.train import train as start

    for number, config in enumerate(todo, 1):
        if series:
            click.echo(f"{config.run}: run {number} of {len(todo)}", err=True)
        again = (
            f"cscl train --masks {quote_path(config.masks)} --run {quote_path(config.run)} --resume{_repeat(config)}"
        )
        with resumable("the same command with --resume continues" if series else f"`{again}` continues"):
            start(config, cache)
    if not is_first():
        return
    runs = [config.run for config in configs]
    evaluation = f"cscl evaluate {shlex.join(map(str, runs))}"
    if series:
        print_values({"runs": runs}, [f"{len(runs)} runs trained; `{evaluation}` averages them"], as_json)
    else:
        print_values({"run": runs[0]}, [f"{runs[0]}: trained; `{evaluation}` scores it"], as_json)
