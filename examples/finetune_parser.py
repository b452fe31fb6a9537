"""Fine-tune the built-in parser on ten annotated images; score it before and after on thirty others.

    cscl data make pedestrians --out data/SYSU-MM01
    python examples/finetune_parser.py --root data/SYSU-MM01 --out mine.safetensors

The true labels of drawn pedestrians stand in for masks that you painted. With your own, write the same folder: colour
images `photos/ID.jpg`, person7 classes `parts/ID.png`, and `meta.json` with the ids to train and to score. The training
turns the colour images into grey, near-infrared and thermal ones too, and takes some five minutes of one core. The
figures of simulated pedestrians say that the code works, no more.
"""

import json
import shutil
from pathlib import Path

import click

from data.registry import open_data_set
from data.simulators.layouts import label_name
from parsing.labels import label_set
from parsing.parsers.spec import ParserSpec
from pipelines.parsers.recipe import read_parser_recipe
from pipelines.parsers.score import score_parser
from pipelines.parsers.train import train_parser

TRAINED, SCORED = 10, 30


def write_photos(root: Path, photos: Path) -> None:
    """Write the folder that `cscl parser train` reads: one visible image of each of 40 people, and its labels."""
    data_set = open_data_set("sysu", root)
    first = {r.identity: r for r in data_set.images if r.modality == "visible"}
    ids = []
    for folder in ("photos", "parts"):
        (photos / folder).mkdir(parents=True)
    for identity, record in sorted(first.items())[: TRAINED + SCORED]:
        ids.append(f"{identity:04d}")
        shutil.copy(data_set.root / record.name, photos / "photos" / f"{ids[-1]}.jpg")
        shutil.copy(data_set.root / label_name(record.name), photos / "parts" / f"{ids[-1]}.png")
    split = {"train": ids[:TRAINED], "val": ids[TRAINED:]}
    (photos / "meta.json").write_text(json.dumps({"parts": label_set("person7").classes, **split}))


@click.command()
@click.option("--root", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--photos", type=click.Path(path_type=Path), default="photos", help="A new folder.", show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default="mine.safetensors", show_default=True)
@click.option("--epochs", type=click.IntRange(1), default=100, show_default=True, help="Of ten images each.")
def main(root: Path, photos: Path, out: Path, epochs: int) -> None:
    """Fine-tune, and print the mIoU in each spectrum before and after."""
    write_photos(root, photos)
    recipe = read_parser_recipe(changes=(f"epochs={epochs}", "batch_size=10", "self_epochs=0", "learning_rate=2e-3"))
    before = score_parser(photos, ParserSpec("street"))
    train_parser(photos, out=out, recipe=recipe, init=Path("street"))
    after = score_parser(photos, ParserSpec("street", weights=out))
    for spectrum in before.iou:
        click.echo(f"{spectrum}: mIoU {100 * before.mean(spectrum):.1f} before, {100 * after.mean(spectrum):.1f} after")


if __name__ == "__main__":
    main()
