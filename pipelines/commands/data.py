"""`cscl data`: check a data set, or make a simulated one."""

import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar

import click

from data.simulators import LAYOUT_NAMES
from data.simulators.collage.levels import CHOICES, STANDARD

from .ending import OrderedGroup, print_result, print_values
from .options import DATA_SETS, Command, Existing, NewFile, Place, decorate, json_option, pattern_option, photos_option


@click.group(cls=OrderedGroup)
def data() -> None:
    """Check a data set, or make a simulated one."""


@data.command()
@click.option("--dataset", type=DATA_SETS, required=True)
@click.option("--root", type=Place, help="The data set's folder.  [default: as for `cscl parse`]")
@pattern_option
@json_option
def check(as_json: bool, **options: Any) -> None:
    """Compare a data set's counts with its published numbers."""
    from pipelines.datasets.check import check as run

    report = run(**options)
    print_result(report, as_json)
    if not report.ok:
        sys.exit(1)


class MakeGroup(OrderedGroup):
    """The simulators and `photos`; names of version 0.1 still work and say the present one."""

    renamed: ClassVar = {"figures": "pedestrians", "street": "collage"}

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and (present := self.renamed.get(args[0])):
            click.echo(f"note: `cscl data make {args[0]}` is called `cscl data make {present}` now", err=True)
            args = [present, *args[1:]]
        return super().resolve_command(ctx, args)


@data.group(cls=MakeGroup)
def make() -> None:
    """Make a simulated data set, or the photographs for one."""


def size_options(train: int, test: int, shots: int) -> Callable[[Command], Command]:
    """Return the options for the number of people and images, with these defaults."""
    return decorate(
        click.option("--train", type=click.IntRange(1), default=train, help="Training identities."),
        click.option("--test", type=click.IntRange(1), default=test, help="Test identities."),
        click.option(
            "--shots",
            type=click.IntRange(1),
            default=shots,
            help="Images per identity and camera; 10 for others' multi-shot.",
        ),
    )


new_folder_option = click.option("--out", type=Place, required=True, help="A new folder.")
overwrite_option = click.option("--overwrite", is_flag=True, help="Replace a folder that this command made.")
simulation_options = decorate(
    new_folder_option,
    click.option("--layout", type=click.Choice(LAYOUT_NAMES), default=LAYOUT_NAMES[0], help="Layout of the files."),
    click.option(
        "--infrared", type=click.Choice(("near", "thermal")), help="Kind of camera.  [default: the layout's own]"
    ),
    click.option("--seed", type=int, default=0, help="Seed of all random numbers."),
    overwrite_option,
    click.option("--sheet", type=NewFile(".png"), help="Also write a contact sheet to this PNG."),
    json_option,
)


def _print_made(root: Path, sheet: Path | None, as_json: bool) -> None:
    """Print where the data set is before its picture is drawn, which may fail."""
    values, line = {"root": root, "sheet": sheet}, f"{root}: a simulated data set, label maps under {root / 'labels'}"
    print_values(values, [line], as_json)
    if sheet is not None:
        from pipelines.datasets.simulate import contact_sheet

        click.echo(f"{contact_sheet(root, sheet)}: contact sheet", err=as_json)


@make.command()
@size_options(train=24, test=20, shots=4)
@simulation_options
def pedestrians(sheet: Path | None, as_json: bool, **options: Any) -> None:
    """Draw pedestrians by code."""
    from pipelines.datasets.simulate import make_pedestrians

    _print_made(make_pedestrians(**options), sheet, as_json)


@make.command()
@photos_option
@size_options(train=400, test=200, shots=2)
@click.option(
    "--subset",
    type=click.Choice(("train", "val", "all", "apart")),
    default="all",
    help="Which photographs; apart: training people from train, test people from val.",
)
@click.option(
    "--difficulty",
    type=click.Choice(CHOICES),
    default=STANDARD,
    help="How far off the boxes are and how many people are hidden; mixed: a level per image.",
)
@simulation_options
def collage(sheet: Path | None, as_json: bool, **options: Any) -> None:
    """Put people cut from photographs before other backgrounds."""
    from pipelines.datasets.simulate import make_collage

    _print_made(make_collage(**options), sheet, as_json)


@make.command()
@click.option("--ccp", type=Existing(folder=True), required=True, help="A clone of bearpaw/clothing-co-parsing.")
@new_folder_option
@overwrite_option
@json_option
def photos(as_json: bool, **options: Any) -> None:
    """Convert Clothing Co-Parsing into photographs for `collage`.

    They also train parsers: `cscl parser train --photos`.
    """
    from pipelines.datasets.photographs import make_photos

    made = make_photos(**options)
    print_values(asdict(made), [made.line()], as_json)
