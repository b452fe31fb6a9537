"""Other settings of the `small` recipe, tried on development people: a table of docs/results.md.

    python benchmarks/street_trials.py --photos DIR --out WORK --set loss.parsing=1.0 --seeds 0-2 --page docs/results.md

The test people of street_ablation.py must not choose the recipe that they measure. A trial trains on the images and
masks of that one's rows, in the same WORK, and is scored on photographs that no row trains or tests on. A finished
trial is a line of benchmarks/street_trials.jsonl and is not done again while that line is there.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from page import machine, put_table
from street_ablation import code, film_people, prepare, run_folder
from street_rows import BEFORE, HARDEST, LEVELS, PROTOCOL, SEED, TEST, TRAIN, read_lines, read_seeds
from street_tables import find_row, format_spread

from data.photographs.library import Photos
from data.simulators.collage.people import people
from parsing import MaskCache
from pipelines.recipes.reading import read_recipe
from pipelines.retrieval.evaluate import evaluate
from pipelines.training.config import TrainConfig
from pipelines.training.train import train

PEOPLE = 160
SCORED = (LEVELS[1], HARDEST)
RUNS = Path(__file__).resolve().with_name("street_trials.jsonl")
BEGIN, END = "<!-- trials: benchmarks/street_trials.py -->", "<!-- end of trials -->"


@click.command()
@click.option("--photos", type=click.Path(path_type=Path), required=True)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="That of street_ablation.py.")
@click.option("--set", "changes", multiple=True, help="What is changed in the recipe; may repeat.")
@click.option("--method", default="cscl", show_default=True, help="As of `cscl train`.")
@click.option("--seeds", help="First and last; the trial is not done if there are none.")
@click.option("--page", type=click.Path(path_type=Path, exists=True), help="Put the table there.")
def main(
    photos: Path, out: Path, changes: tuple[str, ...], method: str, seeds: str | None, page: Path | None
) -> None:  # fmt: skip
    """Train and score a trial with the seeds that it lacks, then write the table."""
    done = read_trials()
    for seed in read_seeds(seeds) if seeds else ():
        if (name_trial(changes, method), seed) not in done:
            line = try_changes(changes, seed, photos, out, method)
            with RUNS.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
    before = [f"Changes of {BEFORE}:", "", *make_table(read_trials(BEFORE)), ""]
    text = "\n".join([*before, "Changes of today's recipe:", "", *make_table(read_trials()), "", *describe_trials()])
    click.echo(text)
    if page is not None:
        put_table(page, begin=BEGIN, end=END, table=text)


def name_trial(changes: Sequence[str], method: str) -> str:
    """What a trial is called in the table: its changes, after the method if that is not CSCL."""
    said = [f"`{change}`" for change in sorted(changes)]
    if method != "cscl":
        said.insert(0, method)
    return ", ".join(said) or "recipe"


def read_trials(trained: str = "") -> dict[tuple[str, int], dict[str, Any]]:
    """Finished trials by name and seed: changes of today's recipe, or of BEFORE."""
    found = [one for one in read_lines(RUNS) if one.get("trained", "") == trained]
    return {(name_trial(one["changes"], one["method"]), one["seed"]): one for one in found}


def try_changes(changes: Sequence[str], seed: int, photos: Path, out: Path, method: str) -> dict[str, Any]:
    """Train and score one trial with one seed: the line of RUNS."""
    masks = prepare(photos, out)["built-in"]
    recipe = read_recipe(Path("small"), [f"seed={seed}", *changes], method)
    folder = run_folder(out, f"trial {name_trial(changes, method)}", seed=seed)
    train(TrainConfig(masks, folder, recipe, resume=(folder / "recipe.toml").exists(), device="cpu"))
    line = {"method": method, "changes": list(changes), "seed": seed, "epochs": recipe.train.epochs}
    return {
        **line,
        "code": code(),
        "machine": machine(),
        "masks": MaskCache(masks).fingerprint,
        "mAP": score_trial(folder, photos, out),
    }


def score_trial(folder: Path, photos: Path, out: Path) -> dict[str, float]:
    """Return the mAP of a run on the development people, by level."""
    ids = people(Photos(photos), "train", TRAIN, PEOPLE, SEED)
    found = {}
    for level in SCORED:
        root = out / f"development-{level}" / "SYSU-MM01"
        if not root.exists():
            film_people(photos, root, level, ids)
        (result,) = evaluate(folder, root, [PROTOCOL], device="cpu").results
        found[level] = result.mAP
    return found


def make_table(done: dict[tuple[str, int], dict[str, Any]]) -> list[str]:
    """Markdown: a line for each trial."""
    if not done:
        return ["No trial is done yet."]
    lines = [f"| changed | seeds | {' | '.join(SCORED)} |", "| --- | --- |" + " --- |" * len(SCORED)]
    for name in dict.fromkeys(name for name, _ in done):
        runs = find_row(done, name)
        cells = [format_spread([one["mAP"][level] for one in runs]) for level in SCORED]
        lines.append(f"| {name} | {len(runs)} | {' | '.join(cells)} |")
    return lines


def describe_trials() -> list[str]:
    """Markdown: what the figures are."""
    every = read_lines(RUNS)
    return [
        f"mAP in per cent, mean over the seeds (lowest to highest), of {PEOPLE} development people, whom no row of "
        f"the first table trains or tests on; chance is lower than with its {TEST}. Simulated alike; their photographs "
        "were in the parser's training, as those of the people to train on were. Recipe `small`. "
        f"Masks of the built-in parser: {', '.join(sorted({one['masks'][:12] for one in every}))}. "
        f"Machine: {'; '.join(sorted({one['machine'] for one in every}))}.",
    ]


if __name__ == "__main__":
    main()
