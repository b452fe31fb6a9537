"""`cscl benchmark train`: time and memory beside the baseline, and the step of a peer's code."""

import os
from pathlib import Path

import pytest
import torch

from parsing.errors import InputError, MissingError
from pipelines.benchmarks import train
from pipelines.benchmarks.memory import MIB, peak_memory
from pipelines.benchmarks.train import Setting

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


@pytest.fixture
def peer(tmp_path: Path) -> Path:
    for name, text in {"model": MODEL, "loss": LOSS, "own": "WIDTH = 4"}.items():
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


def test_a_checkout_without_a_module_and_a_device_that_is_not_there_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"no model\.py there; give a checkout"):
        train.make_peer_step(tmp_path, Setting("cscl", 8), "cpu")
    with pytest.raises(InputError, match="--device abacus"):
        train.measure(1, None, "abacus")


def test_a_drawn_batch_is_in_the_order_of_a_training() -> None:
    recipe = Setting("cscl", 8).read("cscl")
    batch = train.draw_batch(recipe)
    assert batch["images"].shape == (8, 3, 64, 32)
    assert batch["infrared"].tolist() == [False] * 4 + [True] * 4
    assert batch["identities"].tolist() == [0, 0, 1, 1] * 2


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux")
def test_the_memory_of_a_process_of_its_own_is_measured() -> None:
    assert 60 <= peak_memory(torch.device("cpu"), os.urandom, 64 * MIB) < 80
