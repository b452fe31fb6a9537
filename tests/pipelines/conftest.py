"""What the tests of stage 2 share: drawn data sets, caches of their true masks, and one finished training run."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.records import Record
from data.registry import open_data_set
from data.simulators.layouts import label_name
from parsing import CacheWriter
from parsing.parsers.registry import ParserSpec
from pipelines.datasets.simulate import make_pedestrians
from pipelines.parse.run import ParseConfig, parse
from pipelines.recipes.reading import Recipe, read_recipe
from pipelines.training.config import TrainConfig
from pipelines.training.train import train

TINY = (
    "data.size=[64, 32]", "train.epochs=2", "train.steps=2", "train.identities=2", "train.images=2", "train.warmup=0",
    "model.part_dim=16",
)  # fmt: skip
SIZE = (64, 32)


def true_cache(
    name: str, root: Path, out: Path, images: Callable[[Record], bool] = lambda record: True,
    unreadable: Sequence[str] = (), parser: str = "truth",
) -> Path:  # fmt: skip
    """A cache `out` of the label maps that a simulated data set was made with, of the `images` wanted."""
    records = [r for r in open_data_set(name, root).images if images(r)]
    confidence = np.linspace(0.5, 1, len(records))
    with CacheWriter(
        out, labels="person7", size=SIZE, parser=parser, weights="0" * 64, data_set=name, root=root, licence="none",
        overwrite=True,
    ) as cache:  # fmt: skip
        for record, sure in zip(records, confidence.tolist(), strict=True):
            mask, source = None, (0, 0)
            if record.name not in unreadable:
                with Image.open(root / label_name(record.name)) as picture:
                    source = (picture.height, picture.width)
                    mask = np.asarray(picture.resize(SIZE[::-1], Image.Resampling.NEAREST))
            cache.add(
                record.name, mask, identity=record.identity, camera=record.camera, modality=record.modality,
                confidence=sure, source_size=source,
            )  # fmt: skip
    return out


@pytest.fixture(scope="session")
def make_true_cache() -> Callable[..., Path]:
    """`make_true_cache(data set, root, out, ...)`, see `true_cache`."""
    return true_cache


@pytest.fixture(scope="session")
def tiny_recipe() -> Callable[..., Recipe]:
    """`tiny_recipe("a.b=c", ..., method="agw")`: the `small` recipe at 64 x 32, two epochs of two steps of 8 images."""

    def make(*changes: str, method: str | None = None) -> Recipe:
        return read_recipe(Path("small"), [*TINY, *changes], method)

    return make


@pytest.fixture(scope="session")
def figures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """54 drawn images in the layout of SYSU-MM01, 6 people to train and 3 to test; copy it before changing it."""
    out = tmp_path_factory.mktemp("sysu") / "SYSU-MM01"
    return make_pedestrians(out, train=6, test=3, shots=1, workers=1)


@pytest.fixture(scope="session")
def masks(figures: Path) -> Path:
    """What `cscl parse` makes of `figures` with the built-in parser."""
    out = figures.parent / "sysu_masks.h5"
    config = ParseConfig("sysu", root=figures, out=out, parser=ParserSpec(), size=SIZE, workers=0, flip=False)
    return parse(config).path


@pytest.fixture(scope="session")
def finished(masks: Path, tiny_recipe: Callable[..., Recipe], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nobody disturbed; copy it before changing it."""
    run = tmp_path_factory.mktemp("runs") / "finished"
    return train(TrainConfig(masks, run, tiny_recipe(), device="cpu"))


@pytest.fixture
def run_copy(finished: Path, tmp_path: Path) -> Path:
    """The finished run at a place from where it does not find its images."""
    return shutil.copytree(finished, tmp_path / "elsewhere" / "run")


@pytest.fixture(scope="session")
def other_layouts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Path]]:
    """Data set and cache of true masks in the layouts of RegDB and LLCM, by name."""
    folder = tmp_path_factory.mktemp("layouts")
    made = {}
    for name, train_people, shots in (("regdb", 6, 3), ("llcm", 3, 1)):
        root = make_pedestrians(folder / name, layout=name, train=train_people, test=2, shots=shots, workers=1)
        made[name] = root, true_cache(name, root, folder / f"{name}_masks.h5")
    return made
