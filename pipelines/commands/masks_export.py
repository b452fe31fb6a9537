"""`cscl masks export`."""

from typing import Any

import click

from parsing.words import list_briefly

from .ending import print_values, resumable
from .options import FileSize, Place, json_option, open_cache, root_option


@click.command("export")
@click.argument("file", type=Place)
@click.option(
    "--to",
    required=True,
    help="png, sgiel, bpbreid, kpr, eanet, isp, scnet, pixel-sampling, cvat, coco, array, agw or webdataset.",
)
@click.option("-o", "--out", type=Place, required=True, help="Folder to write to.")
@click.option("--path", help="Path of each file below it, as in 'masks/{1}/{stem}.npy'.  [default: the exporter's]")
@click.option("--size", type=FileSize(), help="Size of the files: given, that of the masks, or of each image.")
@click.option("--palette", is_flag=True, help="png: with colours.")
@click.option(
    "--scheme", help="png, coco, array, agw, webdataset: parts of this scheme instead of the parser's classes."
)
@root_option
@click.option("--workers", type=click.IntRange(1), help="Threads.  [default: one per core]")
@click.option("--overwrite", is_flag=True, help="Replace existing files.")
@json_option
def export_masks(as_json: bool, **options: Any) -> None:
    """Write masks as files that other projects read.

    docs/reuse.md has a recipe for each project.
    """
    cache = open_cache(options["file"], options["root"])
    from pipelines.masks.export import ExportConfig, export

    with resumable("files that are there are whole, the same command continues"):
        result = export(ExportConfig(**options), cache)
    lines = [f"{result.out}: {result.written} files written in {result.seconds:.1f} s, {result.kept} were there"]
    lines += [f"note: {note}" for note in result.notes]
    if result.unreadable:
        lines.append(
            f"note: no file for {len(result.unreadable)} unreadable images: {list_briefly(result.unreadable, 10)}"
        )
    print_values(vars(result), lines, as_json)
