"""`cscl masks import`."""

from pathlib import Path
from typing import Any

import click

from parsing.importers import IMPORTERS

from .ending import print_values, resumable
from .options import DATA_SETS, Place, json_option, out_cache_option, pattern_option, size_option


@click.command("import")
@click.argument("folder", metavar="MASKS", type=Place)
@click.option("--from", "kind", type=click.Choice(tuple(IMPORTERS)), help="Kind of files.  [default: by the files]")
@click.option("--labels", required=True, help="Label set of their values: lip, atr, pascal, cihp, person7, person ...")
@click.option("--dataset", type=DATA_SETS, help="The images they belong to.  [default: one image per mask]")
@click.option("--root", type=Place, help="The images' folder.")
@out_cache_option
@size_option
@click.option(
    "--path", help="Path of an image's mask below MASKS.  [default: '{dir}/{stem}', then '{stem}', and the ending]"
)
@pattern_option
@click.option("--suffix", help="png, npy, bpbreid without --dataset: ending of the images' names.  [default: .jpg]")
@click.option(
    "--values", multiple=True, metavar="N=CLASS", help="Class of a number or range: 255=person, 128-255=1; may repeat."
)
@click.option("--numbers", is_flag=True, help="Palette PNGs: numbers are classes, whatever their colours.")
@click.option("--letterbox", "fit", flag_value="letterbox", help="Undo even padding of the images to the masks' shape.")
@click.option("--letterbox-corner", "fit", flag_value="corner", help="Undo padding on the right or bottom.")
@click.option("--stretch", "fit", flag_value="stretch", help="Undo stretching to the masks' shape.")
@click.option("--as-stored", is_flag=True, help="Masks fit the pixels as stored: turn them as EXIF turns the images.")
@click.option("--licence", default="not stated: imported masks", help="Licence of the masks, stored in the cache.")
@click.option("--overwrite", is_flag=True, help="Replace an existing cache.")
@json_option
def import_masks(folder: Path, kind: str | None, fit: Any, as_json: bool, **options: Any) -> None:
    """Make a cache of existing masks.

    MASKS is a folder of PNGs whose values are class numbers, or that are painted in a known palette; of .npy files
    with a score per class (SCHP's --logits) or with BPBreID's and KPR's 36 channels; or of SGIEL's shape pictures. Or
    it is a JSON of COCO. docs/reuse.md says what each loses.
    """
    from pipelines.masks.importing import ImportConfig
    from pipelines.masks.importing import import_masks as run

    with resumable("finished shards are kept, the same command continues"):
        result = run(ImportConfig(folder, fit=fit or "same", kind=kind, **options))
    first_empty = f", the first is {result.empty[0]}" if result.empty else ""
    lines = [f"{result.path}: {result.masks} masks imported, {len(result.empty)} of them empty{first_empty}"]
    lines += [f"note: {note}" for note in result.notes]
    if result.without:
        lines.append(f"note: {len(result.without)} images have no mask, the first is {result.without[0]}")
    print_values(vars(result), lines, as_json)
