"""`cscl benchmark train`: time and memory beside the baseline, and the step of a peer's code."""

import os
from pathlib import Path

import pytest
import torch

from parsing.errors import InputError, MissingError
from pipelines.benchmarks import peer_steps, steps, train
from pipelines.benchmarks.memory import MIB, peak_memory
from pipelines.benchmarks.steps import Setting

MODEL = """
import torch
from torch import nn
from own import WIDTH
class embed_net(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.conv = nn.Conv2d(3, WIDTH, 3)
        self.bottleneck = nn.BatchNorm1d(WIDTH)
        self.classifier = nn.Linear(WIDTH, classes, bias=False)
    def forward(self, visible, infrared):
        feature = self.conv(torch.cat([visible, infrared])).mean((2, 3))
        return feature, self.classifier(self.bottleneck(feature))
"""
LOSS = """
from torch import nn
class TripletLoss_WRT(nn.Module):
    def forward(self, feature, people):
        return feature.square().mean(), 0
"""

DATA = """
import numpy as np
class SYSUData:
    def __init__(self, folder):
        place = "../Datasets/SYSU-MM01/train_"
        self.images = [np.load(f"{place}{kind}_resized_img.npy") for kind in ("rgb", "ir")]
        self.train_color_label, self.labels = (np.load(f"{place}{kind}_resized_label.npy") for kind in ("rgb", "ir"))
    def __len__(self):
        return len(self.labels)
    def __getitem__(self, number):
        one, other = self.cIndex[number], self.tIndex[number]
        pair = self.transform(self.images[0][one]), self.transform(self.images[1][other])
        return *pair, self.train_color_label[one], self.labels[other]
"""
UTILS = """
import numpy as np
def GenIdx(one, other):
    return [[np.flatnonzero(each == person) for person in np.unique(each)] for each in (one, other)]
class IdentitySampler:
    def __init__(self, one, other, places, cold, images, people, epoch):
        steps = len(one) // (people * images)
        order = np.arange(steps * people) % len(places)
        self.index1 = np.concatenate([np.resize(places[p], images) for p in order])
        self.index2 = np.concatenate([np.resize(cold[p], images) for p in order])
    def __iter__(self):
        return iter(range(len(self.index1)))
"""


@pytest.fixture
def peer(tmp_path: Path) -> Path:
    for name, text in {"model": MODEL, "loss": LOSS, "own": "WIDTH = 4", "data_loader": DATA, "utils": UTILS}.items():
        (tmp_path / f"{name}.py").write_text(text)
    return tmp_path


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train, "CPU", (Setting("small", 8), Setting("cscl", 8)))
    read = Setting.read

    def tiny(setting: Setting, method: str) -> object:
        from dataclasses import replace

        recipe = read(setting, method)
        model = replace(recipe.model, backbone="resnet18")
        return replace(recipe, model=model, data=replace(recipe.data, size=(64, 32)))

    monkeypatch.setattr(Setting, "read", tiny)
    monkeypatch.setattr(
        train, "peak_memory", lambda device, work, setting, method, on: {"cscl": 6.0, "baseline": 5.0}[method]
    )


def test_rows_are_time_memory_and_the_peer_where_the_network_is_its_own(peer: Path) -> None:
    threads = torch.get_num_threads()
    rows = train.measure(1, peer, "cpu")
    assert torch.get_num_threads() == threads
    assert [row.other for row in rows] == [
        "the baseline", "the baseline's memory", "the baseline", "the baseline's memory", "AGW's own code"
    ]  # fmt: skip
    assert [row.ratio for row in rows if row.unit == "MiB"] == [1.2, 1.2]
    assert all(row.ratio and row.ratio > 0 for row in rows)


def test_loops_train_on_batches_that_are_made_meanwhile(peer: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    setting, here = Setting("cscl", 8), Path.cwd()
    monkeypatch.setattr(peer_steps, "LONGEST", 40)
    for loop in (
        steps.make_loop(setting.read("agw"), "cpu", 2),
        peer_steps.make_peer_loop(peer, setting=setting, device="cpu", steps=2),
    ):
        loop()
        loop()
    assert Path.cwd() == here
    one, other = steps.draw_batches(setting.read("cscl")), steps.draw_batches(setting.read("cscl"))
    assert torch.equal(one[7]["images"], other[7]["images"])
    assert not torch.equal(one[7]["images"], one[8]["images"])


def test_a_checkout_without_a_module_and_a_device_that_is_not_there_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"no model\.py there; give a checkout"):
        peer_steps.make_peer_step(tmp_path, Setting("cscl", 8), "cpu")
    with pytest.raises(InputError, match="--device abacus"):
        train.measure(1, None, "abacus")


def test_a_drawn_batch_is_in_the_order_of_a_training() -> None:
    recipe = Setting("cscl", 8).read("cscl")
    batch = steps.draw_batch(recipe)
    assert batch["images"].shape == (8, 3, 64, 32)
    assert batch["infrared"].tolist() == [False] * 4 + [True] * 4
    assert batch["identities"].tolist() == [0, 0, 1, 1] * 2


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux")
def test_the_memory_of_a_process_of_its_own_is_measured() -> None:
    assert 60 <= peak_memory(torch.device("cpu"), os.urandom, 64 * MIB) < 80
