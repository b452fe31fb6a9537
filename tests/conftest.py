"""What several folders of tests share: a tiny drawn data set, a tiny parser, and caches of known masks."""

import os

os.environ["TQDM_DISABLE"] = "1"  # read when tqdm is imported

import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from parsing.cache.index import build_index, shard_folder
from parsing.cache.reader import MaskCache, fingerprint
from parsing.cache.shard import FORMAT_VERSION, Columns, Status, write_shard
from parsing.labels import label_set
from parsing.parsers.street import StreetNetwork, save_street
from pipelines.datasets.simulate import make_figures


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """Ctrl-C is a KeyboardInterrupt, also where the tests run in the background of a shell, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session")
def tiny_figures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 drawn images in the layout of SYSU-MM01; copy it before changing it."""
    out = tmp_path_factory.mktemp("figures") / "SYSU-MM01"
    return make_figures(out, train=2, test=2, shots=1, workers=1)


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of the built-in parser's network for 64 x 32 pixels, drawn at random."""
    config = StreetNetwork(input_size=(64, 32))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = config.build()
    file = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_street(network, config, file)
    return file


SYSU_NAMES = tuple(f"cam{c}/{i:04d}/{n:04d}.jpg" for c in (1, 3) for i in (1, 2) for n in (1, 2))


def bars(count: int, height: int, width: int, classes: int) -> np.ndarray:
    """Masks (count, height, width): all classes from top to bottom, in a column that is wider for later images."""
    labels = np.zeros((count, height, width), np.uint8)
    rows = np.arange(height - 4)
    column = (1 + rows * (classes - 1) // len(rows)).astype(np.uint8)
    for number in range(count):
        labels[number, 2:-2, width // 4 : width // 2 + 1 + number % (width // 4)] = column[:, None]
    return labels


def shares(labels: np.ndarray, classes: int) -> np.ndarray:
    """Probabilities (N, C, H // 4, W // 4) in 1/255: the share of each class in blocks of 4 x 4 pixels."""
    count, height, width = labels.shape
    one_hot = (labels[:, None] == np.arange(classes)[:, None, None]).astype(np.float64)
    blocks = one_hot.reshape(count, classes, height // 4, 4, width // 4, 4).mean((3, 5))
    return (blocks * 255).round().astype(np.uint8)


@pytest.fixture
def make_cache(tmp_path: Path) -> Callable[..., MaskCache]:
    """`make_cache("lip", names, masks, probs=True, ...)` writes `data/masks.h5` of masks known in advance."""

    def make(
        labels: str = "lip",
        names: Sequence[str] = SYSU_NAMES,
        masks: np.ndarray | None = None,
        probs: bool = False,
        size: tuple[int, int] = (48, 24),
        status: Sequence[int] | None = None,
        path: Path | None = None,
        source: tuple[int, int] = (100, 40),
    ) -> MaskCache:
        path = path or tmp_path / "data" / "masks.h5"
        shard_folder(path).mkdir(parents=True)
        found = label_set(labels)
        masks = bars(len(names), *size, len(found)) if masks is None else masks
        made_by: dict[str, Any] = {
            "parser": "test", "weights": "0" * 64, "preprocessing": {}, "size": list(size), "flip": False,
            "probs": probs,
            "labels": {"name": found.name, "classes": list(found.classes), "swaps": [list(s) for s in found.swaps]},
        }  # fmt: skip
        text, digest = fingerprint(made_by)
        attributes = {
            "format_version": FORMAT_VERSION, "fingerprint": digest, "made_by": text, "data_set": "sysu",
            "root": os.path.relpath(path.parent / "SYSU-MM01", path.parent), "licence": "MIT",
        }  # fmt: skip
        written = []
        for start in range(0, len(names), 5):
            rows = slice(start, start + 5)
            count = len(names[rows])
            columns = Columns(
                np.array(names[rows], dtype=object),
                np.array(status or [Status.OK] * len(names), np.uint8)[rows],
                np.full(count, 0.9, np.float32),
                np.tile(np.array([source], np.int32), (count, 1)),
                np.arange(count, dtype=np.int32),
                np.ones(count, np.int32),
                np.zeros(count, np.uint8),
            )
            written.append(shard_folder(path) / f"{start // 5:05d}.h5")
            chances = shares(masks[rows], len(found)) if probs else None
            write_shard(written[-1], masks[rows], columns, attributes, chances)
        build_index(path, written)
        return MaskCache(path)

    return make
