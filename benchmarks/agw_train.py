"""Trains and tests the published AGW code and our `agw` on one small simulated data set, at one size and one budget.

Ours is the recipe `agw` with no other changes than the budget's: sizes, people, images and steps, the seed, the weights
to start from. What still differs is none of the recipe's:

- batches: they draw people afresh at every step and a person's images with replacement; ours takes people in rounds
  (nobody twice before all were there) and an image twice only where there are too few. Left to itself, ours also takes
  N // batch steps an epoch where they take one more; here both take theirs.
- resizing: they resize with Pillow's Lanczos filter, ours (data/loading/images.py) with its bilinear one.
- weights to start from: random ones, or (`Budget.before`) such as our `baseline` has trained on other people.
- selection: train.py keeps the weights that score best on the test people, ours the last; here both are tested with
  their last. Galleries (ten, by the same seeds) and features (after the neck, no mirror image) are the same.
- precision: they compute in float32, ours on CUDA under bf16 autocast unless told otherwise; here both run on a CPU.
- the random numbers.
"""

import json
import os
import re
import statistics
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import Tensor

from cscl import load
from parsing.parsers.registry import ParserSpec
from pipelines.datasets.simulate import make_pedestrians
from pipelines.parse.run import ParseConfig, parse
from pipelines.recipes.reading import read_recipe
from pipelines.retrieval.evaluate import evaluate
from pipelines.training.config import TrainConfig
from pipelines.training.train import train

RUNNER = Path(__file__).with_name("agw_runner.py")
LOSSES = ("id", "triplet")
"""Losses that both print: identity loss and weighted triplet."""
LAST = 5
"""Epochs over whose first batches the losses at the end are averaged: theirs prints no others."""


@dataclass(frozen=True, kw_only=True)
class Budget:
    """people and images (of each modality) a step; `train`, `test`: identities, at least 20 of them to test.

    before: how many other identities the weights that both start from are first trained on, and for how many epochs;
    None for random weights.
    """

    size: tuple[int, int] = (96, 48)
    people: int = 4
    images: int = 2
    epochs: int = 5
    seeds: int = 2
    train: int = 24
    test: int = 20
    before: tuple[int, int] | None = None

    @property
    def steps(self) -> int:
        """An epoch of their sampler: N // batch + 1, N the images of the larger modality, here four an identity."""
        return 4 * self.train // (self.people * self.images) + 1


def compare_training(peer: Path, work: Path, budget: Budget) -> dict[str, Any]:
    """Rank-1, mAP and the losses at the end, of both by seed; what is finished in `work` is not done again."""
    work = work.resolve()
    said = work / "budget.json"
    if said.exists() and json.loads(said.read_text()) != json.loads(json.dumps(asdict(budget))):
        raise ValueError(f"{work} holds runs of another budget; give another --out")
    root = work / "SYSU-MM01"
    if not root.exists():
        make_pedestrians(root, train=budget.train, test=budget.test, shots=1, workers=1)
    said.write_text(json.dumps(asdict(budget)))
    weights, start = start_weights(work, budget)
    found: dict[str, Any] = {"start": start, "theirs": [], "ours": []}
    for seed in range(budget.seeds):
        found["theirs"].append(theirs(peer, work=work, weights=weights, budget=budget, seed=seed))
        found["ours"].append(ours(work, weights=weights, budget=budget, seed=seed))
    return {"budget": asdict(budget), "steps": budget.epochs * budget.steps, **found}


def start_weights(work: Path, budget: Budget) -> tuple[Path, dict[str, float] | None]:
    """The file of the weights that both start from, and what they score by themselves if they are trained ones.

    Trained by our `baseline` as `small` trains it, on people of another data set; of the two stems both take that of
    visible images, as both do of ImageNet's weights.
    """
    calm, weights = work / "calm.pth", work / "resnet50.pth"
    if not calm.exists():
        torch.save(calm_weights(), calm)
    if budget.before is None:
        return calm, None
    identities, epochs = budget.before
    root, run = work / "before" / "SYSU-MM01", work / "before" / "run"
    if not root.exists():
        make_pedestrians(root, train=identities, test=budget.test, shots=1, seed=1, workers=1)
    size = budget.size
    masks = make_masks(root, work / "before" / "masks.h5", size)
    changes = [
        f"data.size={list(size)}", 'model.backbone="resnet50"', f"model.pretrained={json.dumps(str(calm))}",
        f"train.epochs={epochs}",
    ]  # fmt: skip
    recipe = read_recipe(Path("small"), changes, "baseline")
    train(TrainConfig(masks, run, recipe, resume=(run / "recipe.toml").exists(), device="cpu"))
    state: dict[str, Tensor] = torch.load(calm, weights_only=True)
    trained = {k.removeprefix("visible_stem."): v for k, v in load(run).network.backbone.state_dict().items()}
    if {name for name in state if not name.startswith("fc.")} - set(trained):
        raise ValueError("our ResNet-50 no longer has torchvision's names")
    torch.save({name: trained.get(name, value) for name, value in state.items()}, weights)
    found = evaluate(run, work / "SYSU-MM01", protocols=("all-single",), flip=False, device="cpu").results[0]
    return weights, {"rank1": 100 * float(found.cmc[1]), "mAP": 100 * float(found.mAP)}


def make_masks(root: Path, masks: Path, size: tuple[int, int]) -> Path:
    """The cache of a data set's masks, which no recipe without parts looks into but for the images' names."""
    parse(ParseConfig("sysu", root=root, out=masks, parser=ParserSpec(device="cpu"), size=size, workers=0, flip=False))
    return masks


def calm_weights() -> dict[str, Tensor]:
    """Random weights to start both from, with small last features: from torchvision's own the first distances are
    above 88, where the published triplet, log(1 + exp(d)) in float32, is infinite and the training lost."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        state: dict[str, Tensor] = torchvision.models.resnet50(weights=None).state_dict()
    for name, value in state.items():
        if name.endswith(("bn3.weight", "layer4.0.downsample.1.weight")):
            value.mul_(0.1 if name.startswith("layer4") else 0.2)
    return state


def theirs(peer: Path, work: Path, weights: Path, budget: Budget, seed: int) -> dict[str, float]:
    """Their pre_process_sysu.py, train.py and test.py; the last weights, the mean of ten galleries."""
    folder = work / f"theirs-{seed}"
    result = folder / "result.json"
    if not result.exists():
        stage = work / "Datasets" / "SYSU-MM01"
        folder.mkdir(parents=True, exist_ok=True)
        height, width = budget.size
        if not (stage / "train_ir_resized_label.npy").exists():
            stage.mkdir(parents=True, exist_ok=True)
            for name in ("exp", *(f"cam{c}" for c in range(1, 7))):
                _link(stage / name, work / "SYSU-MM01" / name)
            _link(stage / "ori_data", work / "SYSU-MM01")
            constants = {
                "data_path": "../Datasets/SYSU-MM01/",
                "fix_image_width": width,
                "fix_image_height": height,
            }
            _run(peer / "pre_process_sysu.py", folder, {"weights": str(weights), "constants": constants})
        size = ["--img_w", str(width), "--img_h", str(height), "--gpu", "", "--test-batch", "16"]
        batch = ["--batch-size", str(budget.people), "--num_pos", str(budget.images), "--seed", str(seed)]
        settings = {"weights": str(weights), "epochs": budget.epochs, "last": str(folder / "last.t")}
        _run(peer / "train.py", folder, settings, *size, *batch)
        settings = {"weights": str(weights), "constants": {"n_class": budget.train}}
        text = _run(peer / "test.py", folder, settings, *size, "--model_path", "", "--resume", "last.t")
        average = text.split("All Average:")[1]
        numbers = re.search(r"FC:\s+Rank-1: ([\d.]+)%.*?mAP: ([\d.]+)%", average)
        if numbers is None:
            raise ValueError(f"their test.py said no average:\n{average}")
        result.write_text(json.dumps({"rank1": float(numbers[1]), "mAP": float(numbers[2])}))
    return {**json.loads(result.read_text()), **average_last(read_losses(folder / "train.log"))}


def ours(work: Path, weights: Path, budget: Budget, seed: int) -> dict[str, float]:
    """`cscl train --recipe agw` and `cscl evaluate --no-flip`, all-search, single-shot."""
    run, size = work / f"ours-{seed}", budget.size
    masks = make_masks(work / "SYSU-MM01", work / "sysu_masks.h5", size)
    changes = [
        f"data.size={list(size)}", f"model.pretrained={json.dumps(str(weights))}", f"seed={seed}",
        f"train.epochs={budget.epochs}", f"train.steps={budget.steps}",
        f"train.identities={budget.people}", f"train.images={budget.images}",
    ]  # fmt: skip
    recipe = read_recipe(Path("agw"), changes)
    train(TrainConfig(masks, run, recipe, resume=(run / "recipe.toml").exists(), device="cpu"))
    found = evaluate(run, protocols=("all-single",), flip=False, device="cpu").results[0]
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    losses = [{key: row[key] for key in LOSSES} for row in rows if row["step"] % budget.steps == 1]
    scores = {"rank1": 100 * float(found.cmc[1]), "mAP": 100 * float(found.mAP), "chance": 100 * found.chance_rank1}
    return {**scores, **average_last(losses)}


def read_losses(log: Path) -> list[dict[str, float]]:
    """The losses that their train.py printed, by epoch: those of its first batch."""
    found = re.findall(r"Epoch: \[\d+\]\[0/.*?iLoss: ([\d.]+) .*?TLoss: ([\d.]+)", log.read_text(encoding="utf-8"))
    return [dict(zip(LOSSES, map(float, each), strict=True)) for each in found]


def average_last(losses: list[dict[str, float]]) -> dict[str, float]:
    """The means over the last epochs."""
    return {key: statistics.mean(each[key] for each in losses[-LAST:]) for key in LOSSES}


def table(results: dict[str, Any]) -> list[str]:
    """One line each: mean of the seeds, lowest to highest."""
    lines = [f"{results['steps']} steps; {json.dumps(results['budget'])}"]
    for who in ("theirs", "ours"):
        shown = []
        for key, digits in (("rank1", 1), ("mAP", 1), ("id", 2), ("triplet", 3)):
            mean, low, high = (f(run[key] for run in results[who]) for f in (statistics.mean, min, max))
            shown.append(f"{key} {mean:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})")
        lines.append(f"{who:7s} {'   '.join(shown)}")
    if results["start"]:
        lines.append(
            "start   rank1 {rank1:.1f}   mAP {mAP:.1f}, of the network that the weights are from".format(
                **results["start"]
            )
        )
    return [*lines, f"chance  rank1 {results['ours'][0]['chance']:.1f}; simulated data"]


def _link(name: Path, target: Path) -> None:
    if not name.is_symlink():
        name.symlink_to(target)


def _run(script: Path, folder: Path, settings: dict[str, Any], *options: str) -> str:
    """What the script prints; it is logged in `folder`, too."""
    file = folder / f"{script.stem}.json"
    file.write_text(json.dumps(settings))
    command = [sys.executable, "-W", "ignore", str(RUNNER), str(script.resolve()), str(file), *options]
    log = folder / f"{script.stem}.log"
    with open(log, "w", encoding="utf-8") as out:
        code = subprocess.run(command, cwd=folder, stdout=out, stderr=subprocess.STDOUT, env=os.environ).returncode
    text = log.read_text(encoding="utf-8")
    if code:
        raise RuntimeError(f"{script.name} ended with {code}; see {log}:\n" + "\n".join(text.splitlines()[-5:]))
    return text
