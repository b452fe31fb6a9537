"""What each part of CSCL is worth on simulated people, and its controls: one table, one figure.

    python benchmarks/street_ablation.py --photos DIR --out WORK --page docs/results.md

Makes `collage` people of whom every image has a difficulty of its own (`--difficulty mixed`), and the test people once
more at each difficulty; trains every row of ROWS with every seed on the mixed images; evaluates it at each.
A finished training is a line of benchmarks/street_ablation.jsonl and is not done again while that line is there: the
table can grow over several machines and days; lines of other code than this checkout's are counted in the page.
"""

import hashlib
import json
import shutil
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from page import machine, put_table
from street_parts import compare_with_masks, rate_occlusion, score_under_masks
from street_rows import (
    HARDEST,
    LEVELS,
    OTHERS,
    PROTOCOL,
    ROWS,
    RUNS,
    SEED,
    SHORT,
    TEST,
    TRAIN,
    read_lines,
    read_runs,
    read_seeds,
)
from street_tables import draw_figure, make_other_table, make_part_table, make_table

from data.photographs.library import Photos
from data.simulators.collage.people import people
from data.simulators.collage.simulator import Collage
from data.simulators.layouts import MARK, plan, save
from parsing import MaskCache
from parsing.files import write_file
from parsing.parsers.registry import ParserSpec
from parsing.parsers.sources import BUILT_IN
from pipelines.datasets.simulate import make_collage
from pipelines.masks.importing import ImportConfig, import_masks
from pipelines.masks.score import score_masks
from pipelines.parse.run import ParseConfig, parse
from pipelines.recipes.reading import read_recipe
from pipelines.retrieval.evaluate import evaluate
from pipelines.retrieval.significance import read_result
from pipelines.training.config import TrainConfig
from pipelines.training.train import train

ROOT = Path(__file__).resolve().parents[1]
PICTURE = "street_ablation.png"
BEGIN, END = "<!-- results: benchmarks/street_ablation.py -->", "<!-- end of results -->"


@click.command()
@click.option("--photos", type=click.Path(path_type=Path), required=True)
@click.option("--out", type=click.Path(path_type=Path), required=True)
@click.option("--rows", help="Names with ; between them; `list` prints them.  [default: all]")
@click.option("--seeds", default="0-2", show_default=True, help="First and last.")
@click.option("--page", type=click.Path(path_type=Path, exists=True), help="Put table and figure there.")
@click.option(
    "--evaluate-again", "again", is_flag=True, help="Evaluate again, by today's code, the runs that --out has."
)
@click.option("--readme", type=click.Path(path_type=Path, exists=True), help="Put the SHORT rows there.")
def main(
    photos: Path, out: Path, rows: str | None, seeds: str, page: Path | None, again: bool, readme: Path | None
) -> None:  # fmt: skip
    """Train what is not trained yet, then write the table and the figure."""
    if rows == "list":
        click.echo("\n".join(ROWS))
        return
    chosen = rows.split(";") if rows is not None else list(ROWS)
    epochs = read_recipe(Path("small")).train.epochs
    done = read_runs()
    for seed in read_seeds(seeds):
        for name in chosen:
            if name and (name, seed) not in done:
                caches = prepare(photos, out)
                line = run(name, seed=seed, out=out, caches=caches)
                with RUNS.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(line) + "\n")
                click.echo(f"{name}, seed {seed}: {100 * line['levels'][HARDEST]['mAP']:.1f}")
    if again:
        evaluate_again(out, prepare(photos, out))
    whole = read_runs()
    lines = [*make_table(whole, epochs, tuple(ROWS)), "", *make_part_table(whole, "recipe")]
    for other in OTHERS:
        lines += ["", *make_other_table(read_runs(other), other)]
    text = "\n".join(lines)
    click.echo(text)
    if page is not None:
        draw_figure(whole, page.parent / PICTURE)
        put_table(page, begin=BEGIN, end=END, table=text)
    if readme is not None:
        put_table(readme, begin=BEGIN, end=END, table="\n".join(make_table(whole, epochs, SHORT)))


def prepare(photos: Path, out: Path) -> dict[str, Path]:
    """Images and caches by name, made once: all people at mixed levels, the test people at each; parsed and true."""
    mixed = out / "mixed" / "SYSU-MM01"
    if not mixed.exists():
        make_collage(photos, mixed, train=TRAIN, test=TEST, shots=1, subset="apart", seed=SEED, difficulty="mixed")
    caches = {"built-in": out / "built_in.h5", "true": out / "true.h5"}
    parse(ParseConfig("sysu", root=mixed, out=caches["built-in"], parser=ParserSpec()))
    truth(mixed, caches["true"])
    for level in LEVELS:
        root = out / level / "SYSU-MM01"
        if not root.exists():
            film_people(photos, root, level, people(Photos(photos), "apart", TRAIN, TEST, SEED))
        caches[level] = truth(root, out / f"{level}.h5")
        caches[f"{level}, parsed"] = out / f"{level}_parsed.h5"
        parse(ParseConfig("sysu", root=root, out=caches[f"{level}, parsed"], parser=ParserSpec()))
    return caches


def truth(root: Path, cache: Path) -> Path:
    """The cache of a simulated data set's own labels."""
    if not cache.exists():
        import_masks(
            ImportConfig(
                root / "labels", labels="person7", dataset="sysu", root=root, out=cache, path="{dir}/{stem}.png"
            )
        )
    return cache


def film_people(photos: Path, root: Path, level: str, ids: tuple[str, ...]) -> None:
    """The people to test of a data set of photographs `ids`, those to train first, at one level; alone in its folder.

    The same shots at every level, framed and hidden otherwise.
    """
    layout = plan("sysu", train=TRAIN, test=len(ids) - TRAIN, shots=1, seed=SEED)
    collage = Collage(photos, ids, SEED, difficulty=level)
    draft = root.with_name(root.name + ".part")
    shutil.rmtree(draft, ignore_errors=True)
    for slot in layout.slots:
        if slot.person >= TRAIN:
            image, labels = collage.shoot(slot)
            save(draft, slot, image, labels, quality=90)
    for name, text in layout.lists.items():
        (draft / name).parent.mkdir(parents=True, exist_ok=True)
        (draft / name).write_text(text, encoding="utf-8")
    (draft / MARK).write_text(json.dumps({"simulation": True, "format_version": 1, "difficulty": level}) + "\n")
    draft.rename(root)


def run_folder(out: Path, name: str, seed: int) -> Path:
    return out / "runs" / f"{''.join(c if c.isalnum() else '-' for c in name)}-{seed}"


def run(name: str, seed: int, out: Path, caches: Mapping[str, Path]) -> dict[str, Any]:
    """Train and evaluate one row with one seed: the line of RUNS."""
    row = ROWS[name]
    folder = run_folder(out, name=name, seed=seed)
    recipe = read_recipe(Path("small"), [f"seed={seed}", *row.changes], row.method)
    resume = (folder / "recipe.toml").exists()
    masks = caches[row.masks]
    train(TrainConfig(masks, folder, recipe, resume=resume, device="cpu"))
    log = [json.loads(line) for line in (folder / "metrics.jsonl").open()]
    line: dict[str, Any] = {
        "row": name, "seed": seed,
        "code": code(), "machine": machine(), "masks": MaskCache(masks).fingerprint,
        "scalars": {k: round(log[-1][k], 4) for k in ("g2", "g3", "g4", "p") if k in log[-1]},
    }  # fmt: skip
    if row.masks == "built-in":
        line["mask_iou"] = score_masks(MaskCache(masks)).to_json()["mIoU"]
    return line | judge(name, folder, out, caches)


def judge(name: str, folder: Path, out: Path, caches: Mapping[str, Path]) -> dict[str, Any]:
    """Evaluate a trained row: what its line has beside the training."""
    levels = {}
    for level in LEVELS:
        found = evaluate(folder, out / level / "SYSU-MM01", [PROTOCOL], masks=caches[level], device="cpu")
        (result,) = found.results
        queries = read_result(folder / "evaluation.json")["queries"][PROTOCOL]
        levels[level] = {
            "Rank-1": result.cmc[1], "mAP": result.mAP, "mINP": result.mINP,
            "chance": [result.chance_rank1, result.chance_map], "people": by_person(queries),
            **({"parts": found.parts.to_json()} if found.parts else {}),
        }  # fmt: skip
    return {"levels": levels, **(look_inside(folder, out, caches) if name == "recipe" else {})}


def look_inside(folder: Path, out: Path, caches: Mapping[str, Path]) -> dict[str, Any]:
    """What a line has of `recipe` alone: its parts beside the masks, and its scores if masks guide the pooling."""
    return {
        "mixed": compare_with_masks(folder, out / "mixed" / "SYSU-MM01", caches),
        "occlusion": rate_occlusion(folder, out, caches),
        "guided": {
            level: {
                who: score_under_masks(folder, out / level / "SYSU-MM01", caches[name])
                for who, name in (("parser", f"{level}, parsed"), ("true", level))
            }
            for level in LEVELS
        },
    }


def evaluate_again(out: Path, caches: Mapping[str, Path]) -> None:
    """Put what today's code says of the runs that are still there into RUNS."""
    lines = read_lines(RUNS)
    for line in lines:
        folder = run_folder(out, name=line["row"], seed=line["seed"])
        if "trained" not in line and folder.is_dir():
            line |= judge(line["row"], folder, out, caches)
    write_file(RUNS, "".join(json.dumps(line) + "\n" for line in lines).encode())


def by_person(queries: Mapping[str, Any]) -> dict[str, float]:
    """Mean average precision of each person's queries."""
    of: dict[str, list[float]] = {}
    for identity, value in zip(queries["identities"], queries["mAP"], strict=True):
        of.setdefault(str(identity), []).append(value)
    return {identity: round(statistics.mean(values), 5) for identity, values in sorted(of.items())}


def code() -> str:
    """A hash of what decides a training: the source, and the built-in parser's weights, which start every backbone."""
    root = ROOT
    files = sorted([*root.glob("cscl/*.py"), *(root / "pipelines" / "recipes").glob("small.toml")])
    files += [root / "pipelines" / "training" / f"{name}.py" for name in ("batches", "loop", "optimiser", "step")]
    files += [root / "pipelines" / "recipes" / "reading.py"]
    files += [root / "data" / "loading" / f"{name}.py" for name in ("augmentation", "sampler", "transforms")]
    files += sorted((root / "data" / "simulators" / "collage").glob("*.py"))
    files.append(BUILT_IN)
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]


if __name__ == "__main__":
    main()
