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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import matplotlib
import numpy as np
from page import machine, put_table
from scipy.stats import bootstrap

from cscl import load
from cscl.config import ModelOptions
from data.photographs.library import Photos
from data.readers.sysu import SYSU
from data.records import Record
from data.simulators.collage.levels import DIFFICULTIES
from data.simulators.collage.people import people
from data.simulators.collage.simulator import Collage
from data.simulators.layouts import MARK, plan, save
from parsing import MaskCache
from parsing.files import write_file
from parsing.parsers.registry import ParserSpec
from parsing.schemes import part_scheme
from pipelines.datasets.simulate import make_collage
from pipelines.masks.importing import ImportConfig, import_masks
from pipelines.masks.score import score_masks
from pipelines.pages.style import DASHES, LINES, MARKERS, PAGE, STYLE, draw_legend, make_figure, save_figure
from pipelines.parse.run import ParseConfig, parse
from pipelines.recipes.reading import Recipe, read_recipe
from pipelines.retrieval.evaluate import evaluate
from pipelines.retrieval.part_table import compute_auc, measure_parts
from pipelines.retrieval.significance import read_result
from pipelines.training.batches import read_part_labels
from pipelines.training.config import TrainConfig
from pipelines.training.train import train

PROTOCOL = "all-single"
TRAIN, TEST, SEED = 300, 80, 0
LEVELS = tuple(DIFFICULTIES)
HARDEST = LEVELS[-1]
RECIPE_SIZE = (128, 64)
"""(height, width) of `small`."""
HERE = Path(__file__).resolve().parent
RUNS, PICTURE = HERE / "street_ablation.jsonl", "street_ablation.png"
BEGIN, END = "<!-- results: benchmarks/street_ablation.py -->", "<!-- end of results -->"


@dataclass(frozen=True)
class Row:
    """One line of the table: a method, what is changed in the recipe, and the masks that it is trained on.

    against: the row that it is compared with. masks: `built-in` or `true`.
    """

    method: str
    changes: tuple[str, ...] = ()
    against: str = ""
    masks: str = "built-in"


PAM = ("model.spam=false", "loss.division=0")
UNMASKED = ("model.pam=false", "loss.parsing=0", "loss.shown=0", "loss.division=0")
ROWS = {
    "baseline": Row("baseline"),
    "AGW": Row("agw", against="baseline"),
    "six global heads": Row("cscl", ("model.part_pooling=global", *UNMASKED), "baseline"),
    "stripes": Row("cscl", ("model.part_pooling=stripes", *UNMASKED), "baseline"),
    "+ PAM": Row("cscl", PAM, "baseline"),
    "+ SPAM": Row("cscl", ("loss.division=0",), "+ PAM"),
    "recipe": Row("cscl", (), "stripes"),
    "+ ICM": Row("cscl", ("loss.icm=0.5",), "recipe"),
    "recipe without PAM": Row("cscl", ("model.pam=false",), "recipe"),
    "recipe, true masks": Row("cscl", changes=(), against="recipe", masks="true"),
    "recipe, another image's masks": Row("cscl", ("data.masks=other",), "recipe"),
    "recipe, no masks": Row(
        "cscl", ("loss.parsing=0", "loss.shown=0", "train.guided=0", "model.pulled=true"), "recipe"
    ),
    "PAM, se gate": Row("cscl", (*PAM, "model.pam_gate=se"), "+ PAM"),
    "PAM, mam gate": Row("cscl", (*PAM, "model.pam_gate=mam"), "+ PAM"),
    "+ ICM, weight 0.1": Row("cscl", ("loss.icm=0.1",), "recipe"),
    "HC for ICM": Row("cscl", ("loss.icm=0.15", "loss.icm_form=hc"), "+ ICM"),
    "HcTri for ICM": Row("cscl", ("loss.icm=1.2", "loss.icm_form=hctri"), "+ ICM"),
}
"""`+` rows add to the one before; `recipe` is the shipped one as it is, which adds the division loss to `+ SPAM`.
The weights of HC and HcTri give their gradients the norm of ICM's at 0.5 (benchmarks/icm_gradients.py)."""
SHORT = ("baseline", "six global heads", "stripes", "recipe", "recipe, another image's masks")
"""Rows that the README shows."""


@click.command()
@click.option("--photos", type=click.Path(path_type=Path), required=True)
@click.option("--out", type=click.Path(path_type=Path), required=True)
@click.option("--rows", help="Names with ; between them; `list` prints them.  [default: all]")
@click.option("--seeds", default="0-2", show_default=True, help="First and last.")
@click.option("--epochs", default=10, show_default=True, help="Of the `small` recipe's 50 steps.")
@click.option("--page", type=click.Path(path_type=Path, exists=True), help="Put table and figure there.")
@click.option(
    "--measure-parts", "again", is_flag=True, help="Measure the parts of `recipe` again, if --out still has the run."
)
@click.option("--readme", type=click.Path(path_type=Path, exists=True), help="Put the SHORT rows there.")
def main(
    photos: Path, out: Path, rows: str | None, seeds: str, epochs: int, page: Path | None, again: bool,
    readme: Path | None,
) -> None:  # fmt: skip
    """Train what is not trained yet, then write the table and the figure."""
    if rows == "list":
        click.echo("\n".join(ROWS))
        return
    chosen = rows.split(";") if rows is not None else list(ROWS)
    first, _, last = seeds.partition("-")
    done = read_runs(epochs)
    for seed in range(int(first), int(last or first) + 1):
        for name in chosen:
            if name and (name, seed) not in done:
                caches = prepare(photos, out)
                line = run(name, seed=seed, epochs=epochs, out=out, caches=caches)
                with RUNS.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(line) + "\n")
                click.echo(f"{name}, seed {seed}: {100 * line['levels'][HARDEST]['mAP']:.1f}")
    if again:
        measure_again(epochs, out, prepare(photos, out))
    done = read_runs(epochs)
    text = "\n".join(table(done, epochs))
    click.echo(text)
    if page is not None:
        figure(done, page.parent / PICTURE)
        put_table(page, begin=BEGIN, end=END, table=text)
    if readme is not None:
        put_table(readme, begin=BEGIN, end=END, table="\n".join(table(done, epochs, SHORT)))


def read_runs(epochs: int) -> dict[tuple[str, int], dict[str, Any]]:
    """Finished trainings of this budget by row and seed."""
    lines = RUNS.read_text(encoding="utf-8").splitlines() if RUNS.is_file() else []
    found = [json.loads(line) for line in lines]
    return {(one["row"], one["seed"]): one for one in found if one["epochs"] == epochs}


def prepare(photos: Path, out: Path) -> dict[str, Path]:
    """Images and caches, made once: of all people mixed, by the parser and true; of the test people, each level."""
    mixed = out / "mixed" / "SYSU-MM01"
    if not mixed.exists():
        make_collage(photos, mixed, train=TRAIN, test=TEST, shots=1, subset="apart", seed=SEED, difficulty="mixed")
    caches = {"built-in": out / "built_in.h5", "true": out / "true.h5"}
    parse(ParseConfig("sysu", root=mixed, out=caches["built-in"], parser=ParserSpec()))
    truth(mixed, caches["true"])
    for level in LEVELS:
        root = out / level / "SYSU-MM01"
        if not root.exists():
            film_test_people(photos, root, level)
        caches[level] = truth(root, out / f"{level}.h5")
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


def film_test_people(photos: Path, root: Path, level: str) -> None:
    """The test people of `prepare` at one level: the same shots, framed and hidden otherwise."""
    layout = plan("sysu", train=TRAIN, test=TEST, shots=1, seed=SEED)
    ids = people(Photos(photos), "apart", TRAIN, TEST, SEED)
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


def recipe_of(row: Row, seed: int, epochs: int) -> Recipe:
    return read_recipe(Path("small"), [f"train.epochs={epochs}", f"seed={seed}", *row.changes], row.method)


def run_folder(out: Path, name: str, epochs: int, seed: int) -> Path:
    return out / "runs" / f"{''.join(c if c.isalnum() else '-' for c in name)}-{epochs}-{seed}"


def run(name: str, seed: int, epochs: int, out: Path, caches: Mapping[str, Path]) -> dict[str, Any]:
    """Train and evaluate one row with one seed: the line of RUNS."""
    row = ROWS[name]
    folder = run_folder(out, name=name, epochs=epochs, seed=seed)
    resume = (folder / "recipe.toml").exists()
    masks = caches[row.masks]
    train(TrainConfig(masks, folder, recipe_of(row, seed, epochs), resume=resume, device="cpu"))
    log = [json.loads(line) for line in (folder / "metrics.jsonl").open()]
    line: dict[str, Any] = {
        "row": name, "seed": seed, "epochs": epochs, "code": code(), "machine": machine(),
        "masks": MaskCache(masks).fingerprint, "levels": {},
        "scalars": {k: round(log[-1][k], 4) for k in ("g2", "g3", "g4", "p") if k in log[-1]},
    }  # fmt: skip
    if row.masks == "built-in":
        line["mask_iou"] = score_masks(MaskCache(masks)).to_json()["mIoU"]
    for level in LEVELS:
        found = evaluate(folder, out / level / "SYSU-MM01", [PROTOCOL], masks=caches[level], device="cpu")
        (result,) = found.results
        queries = read_result(folder / "evaluation.json")["queries"][PROTOCOL]
        line["levels"][level] = {
            "Rank-1": result.cmc[1], "mAP": result.mAP, "mINP": result.mINP,
            "chance": [result.chance_rank1, result.chance_map], "people": by_person(queries),
            **({"parts": found.parts.to_json()} if found.parts else {}),
        }  # fmt: skip
    if name == "recipe":
        line["visibility"] = visibility(folder, out / "mixed" / "SYSU-MM01", caches)
    return line


def measure_again(epochs: int, out: Path, caches: Mapping[str, Path]) -> None:
    """Put the tables of parts and of visibility of `recipe` into RUNS as today's code measures them."""
    lines = [json.loads(line) for line in RUNS.read_text(encoding="utf-8").splitlines()]
    for line in lines:
        folder = run_folder(out, name=line["row"], epochs=epochs, seed=line["seed"])
        if line["row"] == "recipe" and line["epochs"] == epochs and folder.is_dir():
            for level in LEVELS:
                line["levels"][level]["parts"] = part_table_of(folder, out / level / "SYSU-MM01", caches[level])
            line["visibility"] = visibility(folder, out / "mixed" / "SYSU-MM01", caches)
    write_file(RUNS, "".join(json.dumps(line) + "\n" for line in lines).encode())


def part_table_of(folder: Path, root: Path, cache: Path) -> dict[str, Any]:
    """How well the parts of a run fit the cached masks of all test images below `root`."""
    found = measure_parts(
        load(folder), records=test_images(root), root=root, cache=MaskCache(cache), scheme=part_scheme("reid4")
    )
    assert found is not None
    return found.to_json()


def visibility(folder: Path, root: Path, caches: Mapping[str, Path]) -> dict[str, dict[str, Any]]:
    """ROC-AUC for whether the true mask shows a part, on test people: of v, and of its area in the parser's mask.

    The second is what v is trained on, so it says how much of the first the parser's masks allow.
    """
    table = part_table_of(folder, root, caches["true"])
    records, scheme = test_images(root), part_scheme("reid4")
    areas = []
    for name in ("built-in", "true"):
        cache = MaskCache(caches[name])
        labels = read_part_labels(cache, records=records, table=scheme.table(cache.labels), size=RECIPE_SIZE).numpy()
        areas.append(np.stack([(labels == q + 1).mean((1, 2)) for q in range(len(scheme))], 1))
    found: dict[str, dict[str, Any]] = {}
    for q, row in enumerate(table["rows"]):
        parsed, true = areas[0][:, q], areas[1][:, q]
        shown = true >= ModelOptions().tau
        clear = shown | (true == 0)
        found[row["part"]] = {
            "v": [row["auc"], row["auc_absent"]],
            "masks": [compute_auc(parsed, shown), compute_auc(parsed[clear], shown[clear])],
        }
    return found


def test_images(root: Path) -> list[Record]:
    """Return every query and gallery image of PROTOCOL once."""
    (protocol,) = (p for p in SYSU(root).protocols() if p.name == PROTOCOL)
    return list({r.name: r for t in protocol.trials for r in (*t.query, *t.gallery)}.values())


def by_person(queries: Mapping[str, Any]) -> dict[str, float]:
    """Mean average precision of each person's queries."""
    of: dict[str, list[float]] = {}
    for identity, value in zip(queries["identities"], queries["mAP"], strict=True):
        of.setdefault(str(identity), []).append(value)
    return {identity: round(statistics.mean(values), 5) for identity, values in sorted(of.items())}


def code() -> str:
    """A hash of the source that decides a training."""
    root = HERE.parent
    files = sorted([*root.glob("cscl/*.py"), *(root / "pipelines" / "recipes").glob("small.toml")])
    files += [root / "pipelines" / "training" / f"{name}.py" for name in ("batches", "loop", "optimiser", "step")]
    files += [root / "pipelines" / "recipes" / "reading.py"]
    files += [root / "data" / "loading" / f"{name}.py" for name in ("augmentation", "sampler", "transforms")]
    files += sorted((root / "data" / "simulators" / "collage").glob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]


def table(done: Mapping[tuple[str, int], dict[str, Any]], epochs: int, names: Sequence[str] = tuple(ROWS)) -> list[str]:
    """Markdown: a line for each of the rows that has a training, then what the figures are."""
    boxes = [f"{level}, {100 * DIFFICULTIES[level].box_error:.0f} %" for level in LEVELS]
    lines = [
        f"| row | seeds | {' | '.join(boxes)} | Rank-1, {HARDEST} | {HARDEST} against |",
        "| --- |" + " --- |" * (len(LEVELS) + 3),
    ]
    for name in names:
        row, runs = ROWS[name], of_row(done, name)
        if not runs:
            continue
        cells = [spread([one["levels"][level]["mAP"] for one in runs]) for level in LEVELS]
        cells.append(spread([one["levels"][HARDEST]["Rank-1"] for one in runs]))
        lines.append(f"| {name} | {len(runs)} | {' | '.join(cells)} | {difference(done, name, row.against)} |")
    every = [one for one in done.values() if one["row"] in names]
    if not every:
        return ["No training is done yet."]
    chance = every[0]["levels"][HARDEST]["chance"]
    iou: dict[str, float] = next((one["mask_iou"] for one in every if "mask_iou" in one), {})
    codes, machines = {one["code"] for one in every}, {one["machine"] for one in every}
    missing = [name for name in names if not of_row(done, name)]
    return [
        *lines,
        "",
        "mAP in per cent, mean over the seeds (lowest to highest), by the largest error of the box's edges; chance has "
        f"{100 * chance[1]:.1f} and Rank-1 {100 * chance[0]:.1f}. The last column is the difference in mAP to another "
        f"row over the seeds that both have, with a 95 % interval (paired bootstrap over the {TEST} test people; "
        "another seed moves both). Simulated data (`collage`, "
        f"{TRAIN} people to train and {TEST} to test, one image a camera; in training every image has a level of its "
        f"own), SYSU-MM01's {PROTOCOL} protocol, 10 seeded trials, cosine "
        f"distance, flip averaged, not re-ranked. Recipe `small` with {epochs} epochs of 50 steps of 32 images, last "
        "weights; no test person selected anything, and none was in the parser's training. Masks by the built-in parser"
        + (f" (mIoU with the true ones {', '.join(f'{m} {100 * v:.1f}' for m, v in iou.items())})" if iou else "")
        + f". Machine: {'; '.join(sorted(machines))}."
        + (f" The rows are of {len(codes)} states of the code." if len(codes) > 1 else "")
        + (f" Not trained yet: {', '.join(missing)}." if missing else ""),
        "",
        *(part_table(done, "recipe") if len(names) == len(ROWS) else ()),
    ]


def part_table(done: Mapping[tuple[str, int], dict[str, Any]], name: str) -> list[str]:
    """Markdown: the parts of a row at the easiest and the hardest level, means over the seeds."""
    runs = [one for one in of_row(done, name) if "parts" in one["levels"][HARDEST]]
    if not runs:
        return []
    columns = {
        "inside": "inside",
        "ideal": "ideal",
        "ratio": "",
        "IoU": "iou",
        "AUC of v": "auc",
        "absent": "auc_absent",
    }
    lines = [f"| part of `{name}`, level | {' | '.join(columns)} |", "| --- |" + " --- |" * len(columns)]
    for level in (LEVELS[0], HARDEST):
        for number, row in enumerate(runs[0]["levels"][level]["parts"]["rows"]):
            each = [one["levels"][level]["parts"]["rows"][number] for one in runs]
            cells = {label: mean_of([r[key] for r in each]) for label, key in columns.items() if key}
            cells["ratio"] = f"{100 * sum(r['inside'] for r in each) / sum(r['ideal'] for r in each):.0f}"
            lines.append(f"| {row['part']}, {level} | {' | '.join(cells[label] for label in columns)} |")
    lines += [
        "",
        "Attention of SPAM on test people against their true masks, in per cent, mean over the seeds. Inside: the "
        "share of a part's attention that lies inside the part; ideal: the same of the true mask at the attention's "
        "grid; IoU: of the attention's labels; AUC: of the visibility v for whether the true mask shows the part, "
        f"which is where it covers {100 * ModelOptions().tau:.0f} % of the image; absent: the same against the images "
        "whose true mask has no pixel of it.",
    ]
    return lines + visibility_table([one["visibility"] for one in runs if "visibility" in one])


def visibility_table(found: Sequence[Mapping[str, Any]]) -> list[str]:
    """Markdown: the AUC of v beside that of the masks that v learns from, on the same images."""
    if not found:
        return []
    lines = ["", "| part, mixed levels | v | masks | v, absent | masks, absent |", "| --- |" + " --- |" * 4]
    for part in found[0]:
        cells = [mean_of([one[part][who][number] for one in found]) for number in (0, 1) for who in ("v", "masks")]
        lines.append(f"| {part} | {' | '.join(cells)} |")
    return [
        *lines,
        "",
        "The same AUC on the test people's images of mixed levels: of the network's v, and of the area that the part "
        "has in the built-in parser's mask of that image. v is trained on such masks.",
    ]


def mean_of(values: Sequence[float | None]) -> str:
    """Per cent, over those that are known."""
    known = [v for v in values if v is not None]
    return f"{100 * statistics.mean(known):.1f}" if known else "-"


def of_row(done: Mapping[tuple[str, int], dict[str, Any]], name: str) -> list[dict[str, Any]]:
    return [one for (row, _), one in sorted(done.items()) if row == name]


def difference(done: Mapping[tuple[str, int], dict[str, Any]], name: str, other: str) -> str:
    """mAP at the hardest level minus that of another row, over the seeds of both, and its interval over the people."""
    seeds = [seed for row, seed in done if row == name and (other, seed) in done]
    if not seeds:
        return ""
    each = [
        [done[row, seed]["levels"][HARDEST]["people"][who] - done[other, seed]["levels"][HARDEST]["people"][who]
         for who in done[row, seed]["levels"][HARDEST]["people"]]
        for row, seed in ((name, seed) for seed in seeds)
    ]  # fmt: skip
    values = np.mean(each, 0)
    interval = bootstrap(
        (values,), np.mean, n_resamples=2000, method="percentile", random_state=np.random.default_rng(0)
    ).confidence_interval
    return f"{other}: {100 * values.mean():+.1f} [{100 * interval.low:+.1f}, {100 * interval.high:+.1f}]"


@matplotlib.rc_context(STYLE)
def figure(done: Mapping[tuple[str, int], dict[str, Any]], png: Path) -> None:
    """mAP against the size of the box error, with the lowest and highest seed."""
    drawn, (axes,) = make_figure(1, 1, (PAGE, 4.4))
    errors = [100 * DIFFICULTIES[level].box_error for level in LEVELS]
    rows = ("baseline", "six global heads", "stripes", "recipe")
    for name, mark, colour, dashes in zip(rows, MARKERS, LINES, DASHES, strict=False):
        runs = of_row(done, name)
        if runs:
            values = np.array([[100 * one["levels"][level]["mAP"] for level in LEVELS] for one in runs])
            mean = values.mean(0)
            label = f"{'CSCL' if name == 'recipe' else name} ({len(runs)} seed{'s' * (len(runs) > 1)})"
            axes.errorbar(
                errors,
                mean,
                [mean - values.min(0), values.max(0) - mean],
                marker=mark,
                color=colour,
                linestyle=dashes,
                capsize=3,
                label=label,
            )
    axes.set_xlabel("largest error of the box's edges, per cent of the person")
    axes.set_ylabel("mAP, per cent")
    axes.set_title("Simulated people: misaligned and hidden")
    axes.set_ylim(bottom=0)
    draw_legend(drawn, axes, columns=2)
    save_figure(drawn, png)


def spread(values: Sequence[float]) -> str:
    mean, low, high = (100 * v for v in (statistics.mean(values), min(values), max(values)))
    return f"{mean:.1f} ({low:.1f} to {high:.1f})" if len(values) > 1 else f"{mean:.1f}"


if __name__ == "__main__":
    main()
