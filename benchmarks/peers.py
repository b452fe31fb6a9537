"""Lists and evaluators of other projects beside ours, on simulated data sets, with random features.

    python benchmarks/peers.py --out WORK --peer DIR [--peer DIR ...] [--page docs/reuse.md]

DIR is the folder of a checkout that holds `eval_metrics.py` (AGW and what is built on it), `utils/eval_sysu.py`
(MPANet and what is built on it) or `torchreid/` (BPBReID and KPR, see peer_masks.py). Their code runs as it is, but for
a name that NumPy no longer has (`in1d`) and packages that their modules import and these functions do not need. None of
it is part of this repository. Each image gets a random vector that is similar to those of the same person; both sides
rank by the cosine.
"""

import inspect
import json
import random
import re
import runpy
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any
from unittest import mock

import click
import numpy as np
import scipy.io
import torch
from numpy.typing import NDArray
from page import put_table
from peer_masks import compare_part_maps
from PIL import Image

from data.records import DataSet, Protocol
from data.registry import open_data_set
from parsing.cache.writer import CacheWriter
from pipelines.benchmarks.peer import absent_module, peer_modules
from pipelines.masks.export import ExportConfig, export
from pipelines.runs.scores import RANKS, score

BEGIN, END = "<!-- peers: benchmarks/peers.py -->", "<!-- end of peers -->"
MADE = {"sysu": (12, 20, 10), "regdb": (20, 20, 10), "llcm": (12, 20, 4)}
"""People to train and to test, and shots, of the data set of each layout."""
TRIALS = 10
Features = Mapping[str, NDArray[np.float64]]
Evaluator = Callable[..., Any]
STAND_INS = {name: absent_module(name) for name in ("sklearn", "sklearn.preprocessing")}
Row = tuple[str, str, str, float]
"""Project, commit, what was compared, largest difference of a Rank-k, mAP or mINP in [0, 1]."""


@click.command()
@click.option("--out", type=click.Path(path_type=Path), required=True)
@click.option("--peer", "peers", type=click.Path(path_type=Path, exists=True), multiple=True, required=True)
@click.option("--page", type=click.Path(path_type=Path, exists=True))
def main(out: Path, peers: tuple[Path, ...], page: Path | None) -> None:
    """Compare every checkout, and write the table."""
    if not hasattr(np, "in1d"):
        setattr(np, "in1d", np.isin)  # noqa: B010 - ruff takes the plain form for a use of what NumPy removed
    kept = out / "peers.json"
    rows: list[Row] = [tuple(row) for row in json.loads(kept.read_text())] if kept.exists() else []
    sets = {layout: make(out / layout, layout) for layout in MADE}
    features = {layout: draw_features(data_set) for layout, data_set in sets.items()}
    for peer in peers:
        name, commit = describe(peer)
        found = [(name, commit, what, off) for what, off in compare(peer, sets, features)]
        rows = [row for row in rows if row[0] != name] + found
        kept.write_text(json.dumps(rows, indent=1) + "\n")
    text = "\n".join(table(rows))
    click.echo(text)
    if page is not None:
        put_table(page, begin=BEGIN, end=END, table=text)


def make(root: Path, layout: str) -> DataSet:
    """Return the simulated data set of a layout, made if it is not there."""
    if not root.is_dir():
        train, test, shots = map(str, MADE[layout])
        numbers = ("--train", train, "--test", test, "--shots", shots)
        command = (sys.executable, "-m", "cscl", "data", "make", "pedestrians", "--layout", layout, "--out", str(root))
        subprocess.run((*command, *numbers), check=True)
    return open_data_set(layout, root)


def draw_features(data_set: DataSet) -> Features:
    """Return unit vectors by image name."""
    rng = np.random.default_rng(0)
    people = {identity: rng.normal(size=64) for identity in sorted({r.identity for r in data_set.images})}
    found = {}
    for record in sorted(data_set.images, key=lambda r: r.name):
        vector = people[record.identity] + 3 * rng.normal(size=64)
        found[record.name] = vector / np.linalg.norm(vector)
    return found


def describe(peer: Path) -> tuple[str, str]:
    """Return the name of the checkout that `peer` lies in, with the folder in it, and the commit."""

    def git(*words: str) -> str:
        return subprocess.run(("git", "-C", peer, *words), check=True, capture_output=True, text=True).stdout.strip()

    top = Path(git("rev-parse", "--show-toplevel"))
    return "/".join((top.name, *peer.resolve().relative_to(top.resolve()).parts)), git("rev-parse", "--short", "HEAD")


def compare(peer: Path, sets: Mapping[str, DataSet], features: Mapping[str, Features]) -> Iterator[tuple[str, float]]:
    """Yield what was compared and the largest difference."""
    if (peer / "torchreid").is_dir():
        yield from compare_part_maps(peer)
        return
    if (peer / "utils" / "eval_sysu.py").is_file():
        with peer_modules(peer, "utils.eval_sysu", "data.dataset", stand_ins=STAND_INS) as (evaluator, datasets):
            pass
        yield from compare_mpanet(evaluator.eval_sysu, sets["sysu"], features["sysu"])
        yield from compare_classes(datasets, sets)
        return
    with peer_modules(peer, "eval_metrics", next(peer.glob("data*manager.py")).stem) as (evaluators, manager):
        pass
    root = sets["sysu"].root
    for mode in ("all", "indoor"):
        query = named(manager.process_query_sysu, root=root, mode=mode)
        theirs = np.mean(
            [
                run(evaluators.eval_sysu, features=features["sysu"], root=root, query=query, gallery=gallery)
                for gallery in (
                    named(manager.process_gallery_sysu, root=root, mode=mode, trial=t) for t in range(TRIALS)
                )
            ],
            axis=0,
        )
        yield (
            f"SYSU-MM01 {mode}-single: lists, 10 trials",
            difference(theirs, data_set=sets["sysu"], name=f"{mode}-single", features=features["sysu"]),
        )
    if hasattr(evaluators, "eval_llcm"):
        root = sets["llcm"].root
        for name, to, of in (("nir-to-visible", 1, 2), ("visible-to-nir", 2, 1)):
            query = named(manager.process_query_llcm, root=root, mode=of)
            galleries = (named(manager.process_gallery_llcm, root=root, mode=to, trial=t) for t in range(TRIALS))
            theirs = np.mean(
                [
                    run(evaluators.eval_llcm, features=features["llcm"], root=root, query=query, gallery=g)
                    for g in galleries
                ],
                axis=0,
            )
            yield (
                f"LLCM {name}: lists, 10 trials",
                difference(theirs, data_set=sets["llcm"], name=name, features=features["llcm"]),
            )
    if (script := peer / "pre_process_sysu.py").is_file() and "SHAPE" not in script.read_text():
        yield (
            "SYSU-MM01: pre_process_sysu.py beside `--to agw`, share of rows of other images",
            compare_arrays(script, sets["sysu"]),
        )
    root = sets["regdb"].root
    for pair in (("visible", "thermal"), ("thermal", "visible")):
        query, gallery = (manager.process_test_regdb(f"{root}/", trial=1, modal=modal) for modal in pair)
        name = "-to-".join(pair)
        theirs = run(evaluators.eval_regdb, features=features["regdb"], root=root, query=query, gallery=gallery)
        yield (
            f"RegDB {name}: lists, split 1",
            difference(theirs, data_set=sets["regdb"], name=name, features=features["regdb"]),
        )


def compare_arrays(script: Path, data_set: DataSet) -> float:
    """Return the share of rows of `--to agw` that are not of the image in that row of their script's arrays.

    The masks are made up: each says in its pixels which image it is of. Their script has the folder in its text, and
    a name that Pillow no longer has.
    """
    with TemporaryDirectory() as place:
        folder, size, digits = Path(place), (288, 144), 7 ** np.arange(8)
        names = sorted(image.name for image in data_set.images)
        known = {image.name: image for image in data_set.images}
        with CacheWriter(
            folder / "masks.h5", labels="person7", size=size, data_set="sysu", root=data_set.root, parser="made up"
        ) as cache:
            for number, name in enumerate(names):
                mask = np.zeros(size, np.uint8)
                mask[0, : len(digits)] = number // digits % 7
                who = known[name]
                cache.add(name, mask, identity=who.identity, camera=who.camera, modality=who.modality)
        export(ExportConfig(folder / "masks.h5", "agw", folder))
        text = re.sub(r"data_path = '[^']*'", f"data_path = {str(folder / 'images') + '/'!r}", script.read_text())
        (copy := folder / "script.py").write_text(text)
        (folder / "images").symlink_to(data_set.root)
        with mock.patch.object(Image, "ANTIALIAS", Image.Resampling.LANCZOS, create=True):
            runpy.run_path(str(copy))
        wrong = []
        for kind in ("rgb", "ir"):
            theirs = np.load(folder / "images" / f"train_{kind}_resized_img.npy")
            masks = np.load(folder / f"train_{kind}_resized_mask.npy")
            assert len(theirs) == len(masks)
            for image, mask in zip(theirs, masks, strict=True):
                name = names[int(mask[0, : len(digits)].astype(int) @ digits)]
                with Image.open(data_set.root / name) as opened:
                    ours = np.asarray(opened.resize(image.shape[1::-1], Image.Resampling.LANCZOS))
                wrong.append(not np.array_equal(image, ours))
        for kind in ("rgb", "ir"):
            for what in ("img", "label"):
                (data_set.root / f"train_{kind}_resized_{what}.npy").unlink()
        return float(np.mean(wrong))


def compare_mpanet(evaluate: Evaluator, data_set: DataSet, features: Features) -> Iterator[tuple[str, float]]:
    """Yield the comparison with an evaluator that draws official galleries from `rand_perm_cam.mat`."""
    permutations = scipy.io.loadmat(str(data_set.root / "exp" / "rand_perm_cam.mat"))["rand_perm_cam"]
    for protocol in data_set.protocols("official"):
        mode, shots = protocol.name.split("-")
        query = protocol.trials[0].query
        people = {r.identity for r in query}
        gallery = [r for r in data_set.images if r.modality == "visible" and r.identity in people]
        sides: list[Any] = []
        for records in (query, gallery):
            sides.append(torch.tensor(np.array([features[r.name] for r in records])))
            sides += [np.array([r.identity for r in records]), np.array([r.camera for r in records])]
        paths = np.array([str(data_set.root / r.name) for r in gallery])
        count = {"single": 1, "multi": 10}[shots]
        theirs = evaluate(*sides, paths, permutations, mode=mode, num_shots=count)
        mean, *ranks = (float(value) / 100 for value in theirs)
        ours = score(protocol, features)
        off = max(abs(mean - ours.mAP), *(abs(ours.cmc[k] - value) for k, value in zip(RANKS, ranks, strict=True)))
        yield f"SYSU-MM01 {protocol.name}: official galleries, {TRIALS} trials", off


def compare_classes(datasets: ModuleType, sets: Mapping[str, DataSet]) -> Iterator[tuple[str, float]]:
    """Yield the share of images that their data set classes and our readers take for other people or parts.

    LLCM's test images lie in two places, of which their class reads one and our reader the other: there images are
    compared by the file's name, which says person, camera and frame.
    """
    for layout, name in (("sysu", "SYSUDataset"), ("llcm", "LLCMData")):
        kind = getattr(datasets, name, None)
        if kind is None:
            continue
        data_set = sets[layout]
        train = {r.name for r in data_set.train()}
        tested = [r for r in data_set.images if r.name not in train]
        halves = {
            "train": data_set.train(),
            "query": [r for r in tested if r.modality == "infrared"],
            "gallery": [r for r in tested if r.modality == "visible"],
        }
        wrong = total = 0
        for mode, records in halves.items():
            theirs = kind(str(data_set.root), mode=mode)
            depth = 3 if layout == "sysu" else 1
            found = {Path(p).parts[-depth:]: n for p, n in zip(theirs.img_paths, theirs.ids, strict=True)}
            ours = {Path(r.name).parts[-depth:]: r.identity for r in records}
            people = {(ours[key], found[key]) for key in found.keys() & ours.keys()}
            wrong += len(found.keys() ^ ours.keys())
            wrong += len(people) - len(set(ours.values()))  # they renumber people in training, one number each
            total += len(ours)
            theirs[0]
        yield f"{layout}: {name}, share of images elsewhere or of another person", wrong / total


def named(function: Callable[..., Any], root: Path, **options: Any) -> tuple[Any, ...]:
    """Call a function that lists images; the data set's folder is its parameter `data_path...`."""
    random.seed(0)
    folder = next(name for name in inspect.signature(function).parameters if name.startswith("data_path"))
    found: tuple[Any, ...] = function(**{folder: str(root)}, **options)
    return found


def run(
    evaluate: Evaluator, features: Features, root: Path, query: tuple[Any, ...], gallery: tuple[Any, ...]
) -> NDArray[np.float64]:
    """Return 20 Rank-k, mAP and mINP of their evaluator."""
    q, g = (
        np.array([features[Path(path).relative_to(root).as_posix()] for path in side[0]]) for side in (query, gallery)
    )
    numbers = [column for pair in zip(query[1:], gallery[1:], strict=True) for column in pair]
    cmc, mean, inp = evaluate(-q @ g.T, *numbers)
    return np.array([*np.asarray(cmc)[:20], mean, inp], np.float64)


def difference(theirs: NDArray[np.float64], data_set: DataSet, name: str, features: Features) -> float:
    """Return the largest difference between their numbers and ours."""
    protocol: Protocol = next(p for p in data_set.protocols() if p.name == name)
    ours = score(protocol, features)
    return float(np.abs(theirs - np.array([*ours.curve, ours.mAP, ours.mINP])).max())


def table(rows: list[Row]) -> Iterator[str]:
    """Yield Markdown lines: a row per comparison."""
    yield "| project | commit | what ran | largest difference |"
    yield "| --- | --- | --- | --- |"
    for name, commit, what, off in rows:
        yield f"| {name} | {commit} | {what} | {off:.1e} |"


if __name__ == "__main__":
    main()
