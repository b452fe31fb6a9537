"""`cscl masks`: look at a mask cache; export and import have modules of their own."""

import sys
from pathlib import Path
from typing import Any

import click

from parsing.errors import InputError
from pipelines.images import find_images

from .ending import OrderedGroup, print_result, print_values, resumable
from .masks_export import export_masks
from .masks_import import import_masks
from .options import Existing, Place, device_option, json_option, open_cache, root_option


@click.group(cls=OrderedGroup)
def masks() -> None:
    """Inspect, check, export, import and compare mask caches."""


@masks.command()
@click.argument("file", type=Place)
@json_option
def info(file: Path, as_json: bool) -> None:
    """Show what a cache holds and how it was made."""
    cache = open_cache(file)
    from pipelines.masks.info import info as run

    print_result(run(cache), as_json)


@masks.command()
@click.argument("cache", metavar="FILE", type=Place)
@click.option("--repair", is_flag=True, help="Parse damaged masks again, rebuild the index, remove leftovers.")
@root_option
@click.option("--weights", type=Existing(file=True), help="The parser's weights, if they are not its own.")
@device_option
@click.option("--workers", type=click.IntRange(0), help="Processes, as for `cscl parse`.")
@json_option
def verify(as_json: bool, **options: Any) -> None:
    """Check every byte of a cache; exit code 1 if it is damaged."""
    from parsing.cache.index import list_shards

    if not list_shards(options["cache"]):
        open_cache(options["cache"])  # neither index nor shards: its error says so
    for name in ("weights", "workers"):
        if options[name] is not None and not options["repair"]:
            raise InputError(f"--{name} {options[name]}: nothing is parsed without --repair; give it too")
    from pipelines.masks.verify import VerifyConfig
    from pipelines.masks.verify import verify as run

    with resumable("the same command continues"):
        report = run(VerifyConfig(**options))
    print_result(report, as_json)
    if not report.sound:
        sys.exit(1)


masks.add_command(export_masks)
masks.add_command(import_masks)


@masks.command()
@click.argument("first", type=Place)
@click.argument("second", type=Place)
@click.option("--scheme", help="Compare in a part scheme; caches of different label sets need one.")
@click.option("--worst", type=click.IntRange(0), default=10, help="Number of images to list, lowest agreement first.")
@json_option
def compare(first: Path, second: Path, scheme: str | None, worst: int, as_json: bool) -> None:
    """Compare two caches: IoU of their masks, least similar images."""
    caches = open_cache(first), open_cache(second)
    from pipelines.masks.compare import compare as run

    print_result(run(*caches, scheme=scheme, worst=worst), as_json)


@masks.command()
@click.argument("file", type=Place)
@click.option("--scheme", help="A part scheme (reid4, reid5, reid6, body) instead of the person7 classes.")
@root_option
@json_option
def score(file: Path, scheme: str | None, root: Path | None, as_json: bool) -> None:
    """Score a simulated data set's masks: IoU with the true labels."""
    cache = open_cache(file)
    find_images(file, cache.root, root)
    from pipelines.masks.score import score_masks

    print_result(score_masks(cache, scheme, root), as_json)


@masks.command()
@click.argument("file", type=Place)
@click.option("-o", "--out", type=Place, required=True, help="Folder for the page, index.html.")
@root_option
@click.option("--thumbnails", type=click.IntRange(0, 5000), default=300, help="Images that the page shows.")
@click.option("--images/--no-images", default=True, help="Show the images, or the masks alone.")
@json_option
def report(as_json: bool, **options: Any) -> None:
    """Write a page about a cache: counts, classes, failures, thumbnails."""
    cache = open_cache(options["file"])
    from pipelines.masks.report import ReportConfig
    from pipelines.masks.report import report as run

    result = run(ReportConfig(**options), cache)
    mebibytes = result.page.stat().st_size / 2**20
    lines = [f"{result.page}: open it in a browser; {mebibytes:.1f} MiB, no network needed"]
    if result.missing:
        lines.append(f"note: {result.missing} of its {result.shown} images were not found; give --root")
    print_values(vars(result), lines, as_json)
