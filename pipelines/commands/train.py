"""`cscl train`: stage 2."""

from pathlib import Path
from typing import Any

import click

from parsing.words import quote_path
from pipelines.images import find_images
from pipelines.recipes import METHODS

from .ending import print_values, resumable
from .options import Place, device_option, json_option, open_cache, root_option


def _list_recipes(ctx: click.Context, param: click.Parameter, value: Path | None) -> Path | None:
    """Print the shipped recipes for `--recipe list` and end; eager, so that no other option is needed."""
    if value != Path("list"):
        return value
    from pipelines.recipes.reading import list_shipped, read_purpose

    names = list_shipped()
    for name in names:
        click.echo(f"{name:{max(map(len, names))}s}  {read_purpose(name)}")
    ctx.exit()


@click.command()
@click.option("--masks", type=Place, required=True, help="The mask cache; it names its data set and root.")
@click.option("--run", type=Place, help="The run's folder.  [default: runs/DATASET-METHOD]")
@click.option("--method", type=click.Choice(METHODS), help="baseline: the same code with CSCL's parts off.")
@click.option(
    "--recipe",
    type=Place,
    callback=_list_recipes,
    is_eager=True,
    help="A TOML file or a shipped recipe; `list` prints these.  [default: cscl]",
)
@click.option("--set", "changes", multiple=True, metavar="A.B=C", help="Change an entry of the recipe; may repeat.")
@root_option
@click.option("--resume", is_flag=True, help="Continue the run from its last checkpoint.")
@device_option
@click.option("--precision", default="auto", help="`32-true`, `bf16-mixed`; `auto` is bf16 on CUDA.")
@json_option
def train(
    masks: Path,
    run: Path | None,
    method: str | None,
    recipe: Path | None,
    changes: tuple[str, ...],
    as_json: bool,
    **options: Any,
) -> None:
    """Stage 2: train CSCL, or a baseline, on a mask cache.

    The first training decodes the images into a folder beside the cache, sysu_masks.images for sysu_masks.h5; all
    processes of a machine and later trainings share it. `rm -r` removes it; the next training writes it again.
    """
    from pipelines.recipes.reading import read_recipe
    from pipelines.training.config import TrainConfig

    cache = open_cache(masks)
    if run is None:
        run = Path("runs") / f"{cache.data_set}-{method or 'cscl'}"
    if options["resume"] and not (recipe or changes or method):
        recipe = run / "recipe.toml"
    config = TrainConfig(masks, run, read_recipe(recipe, changes, method), **options)
    config.check_run()
    find_images(masks, cache.root, config.root)
    from pipelines.training.launch import is_first
    from pipelines.training.train import train as start

    again = f"cscl train --masks {quote_path(masks)} --run {quote_path(run)} --resume"
    with resumable(f"`{again}` continues"):
        start(config, cache)
    if is_first():
        evaluation = f"cscl evaluate --run {quote_path(run)}"
        print_values({"run": run}, [f"{run}: trained; `{evaluation}` scores it"], as_json)
