"""`cscl train`: stage 2."""

import shlex
from pathlib import Path
from typing import Any

import click

from .ending import print_values, resumable
from .options import Place, device_option, json_option, root_option


@click.command()
@click.option("--masks", type=Place, required=True, help="The mask cache; it names its data set and root.")
@click.option("--run", type=Place, help="The run's folder.  [default: runs/DATASET-METHOD]")
@click.option(
    "--method", type=click.Choice(("cscl", "baseline", "agw")), help="baseline: the same code with CSCL's parts off."
)
@click.option("--recipe", type=Place, help="A TOML file or the name of a shipped recipe.  [default: cscl]")
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
    """Stage 2: train CSCL, or a baseline, on a mask cache."""
    from parsing import MaskCache
    from pipelines.recipes.reading import read_recipe

    cache = MaskCache(masks)
    if run is None:
        run = Path("runs") / f"{cache.data_set}-{method or 'cscl'}"
    if options["resume"] and not (recipe or changes or method):
        recipe = run / "recipe.toml"
    wanted = read_recipe(recipe, changes, method)
    from pipelines.training.processes import is_first
    from pipelines.training.train import TrainConfig
    from pipelines.training.train import train as start

    again = f"cscl train --masks {shlex.quote(str(masks))} --run {shlex.quote(str(run))} --resume"
    with resumable(f"`{again}` continues"):
        start(TrainConfig(masks, run, wanted, **options))
    if is_first():
        evaluation = f"cscl evaluate --run {shlex.quote(str(run))}"
        print_values({"run": run}, [f"{run}: trained; `{evaluation}` scores it"], as_json)
