"""What several folders of tests share: a tiny drawn data set, a tiny parser, and caches of known masks."""

import os

os.environ["TQDM_DISABLE"] = "1"  # read when tqdm is imported

import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from parsing.cache.builder import OneImage, ShardBuilder
from parsing.cache.index import finish_cache, shard_folder, shard_name
from parsing.cache.provenance import Provenance, cache_attributes
from parsing.cache.reader import MaskCache
from parsing.cache.shard import StoredFile
from parsing.labels import label_set
from parsing.parsers.street import save_street
from parsing.parsers.street_network import StreetNetwork
from pipelines.datasets.simulate import make_pedestrians


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
    return make_pedestrians(out, train=2, test=2, shots=1, workers=1)


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
    in_255: np.ndarray = (blocks * 255).round().astype(np.uint8)
    return in_255


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
        source: tuple[int, int] | Sequence[tuple[int, int]] = (100, 40),
    ) -> MaskCache:
        path = path or tmp_path / "data" / "masks.h5"
        found = label_set(labels)
        masks = bars(len(names), *size, len(found)) if masks is None else masks
        chances = shares(masks, len(found)) if probs else None
        sources = np.broadcast_to(np.array(source), (len(names), 2)).tolist()
        provenance = Provenance("test", weights="0" * 64, labels=found, size=size, probs=probs)
        root = path.parent / "SYSU-MM01"
        attributes = cache_attributes(path, provenance, data_set="sysu", root=root, licence="MIT")
        written: list[StoredFile] = []
        shard_folder(path).mkdir(parents=True)
        for start in range(0, len(names), 5):
            rows = slice(start, start + 5)
            images = [OneImage(name, number, 1) for number, name in enumerate(names[rows])]
            shard = ShardBuilder(images, size, provenance.probs_shape)
            trust = np.full(len(images), 0.9, np.float32)
            small = None if chances is None else chances[rows]
            shard.put(range(len(images)), masks[rows], sources[rows], trust, small)
            if status is not None:
                shard.status[:] = status[rows]
            written.append(shard.write(shard_folder(path) / shard_name(len(written)), attributes))
        finish_cache(path, written)
        return MaskCache(path)

    return make
