"""`cscl search`."""

from pathlib import Path
from typing import Any

import click

from parsing.errors import CsclError
from parsing.words import list_briefly

from .ending import print_result
from .options import Existing, NewFile, Place, device_option, flip_option, json_option

IMAGES = Existing(file=True, folder=True)
MODALITY = click.Choice(("infrared", "visible"))


@click.command()
@click.option("--run", type=Place, required=True, help="The run whose network is used.")
@click.option(
    "--query", "queries", type=IMAGES, multiple=True, required=True, metavar="IMG...", help="Images or folders of them."
)
@click.argument("more", nargs=-1, type=IMAGES, metavar="")
@click.option("--gallery", type=Existing(folder=True), required=True, help="A folder of images, at any depth.")
@click.option("--query-modality", type=MODALITY, default="infrared", help="Modality of the queries.")
@click.option("--gallery-modality", type=MODALITY, help="Modality of the gallery.  [default: the other one]")
@click.option("--top", type=int, default=10, help="Number of nearest images to show.")
@flip_option
@click.option(
    "--out", type=NewFile(".png"), help="The picture of the ranking, a PNG.  [default: search.png in the run]"
)
@device_option
@json_option
def search(queries: tuple[Path, ...], more: tuple[Path, ...], as_json: bool, **options: Any) -> None:
    """Rank the images of a folder by similarity to query images."""
    from pipelines.runs.provenance import check_trained

    check_trained(options["run"])
    from pipelines.retrieval.search import SearchConfig
    from pipelines.retrieval.search import search as run

    result = run(SearchConfig(queries=(*queries, *more), **options))
    print_result(result, as_json)
    if result.undrawn:
        raise CsclError(f"{result.undrawn}; give --out FILE.png elsewhere")
    if result.unreadable:
        raise CsclError(
            f"{len(result.unreadable)} images cannot be read and were left out: {list_briefly(result.unreadable, 10)}"
        )
