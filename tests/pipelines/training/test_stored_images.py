"""Training from the store of decoded images beside the cache: the same bytes with, without and after it."""

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from data.loading import store
from data.registry import open_data_set
from parsing.cache.reader import MaskCache
from parsing.errors import InputError
from pipelines.recipes.reading import Recipe
from pipelines.training import stored_images, train
from pipelines.training.config import TrainConfig

MakeRecipe = Callable[..., Recipe]


@pytest.fixture
def own(figures: Path, masks: Path, tmp_path: Path) -> Path:
    """A cache of its own with its images."""
    shutil.copytree(figures, tmp_path / figures.name)
    shutil.copytree(masks.with_suffix(".shards"), tmp_path / "sysu_masks.shards")
    return Path(shutil.copy(masks, tmp_path / masks.name))


def start(masks: Path, run: Path, recipe: Recipe) -> Path:
    return train.train(TrainConfig(masks, run, recipe, device="cpu"))


def alike(one: Path, other: Path) -> bool:
    return all((one / n).read_bytes() == (other / n).read_bytes() for n in ("metrics.jsonl", "model.safetensors"))


def test_a_second_training_decodes_nothing_and_gives_the_same_bytes(
    own: Path, finished: Path, tiny_recipe: MakeRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert alike(start(own, tmp_path / "one", tiny_recipe()), finished)
    assert len(list((tmp_path / "sysu_masks.images").glob("64x32-*.uint8"))) == 1

    def forbidden(*_: object) -> None:
        raise AssertionError("an image file was opened")

    monkeypatch.setattr(store, "load_image", forbidden)
    monkeypatch.setattr(train, "find_other_image", forbidden)
    assert alike(start(own, tmp_path / "two", tiny_recipe()), finished)


def test_a_full_disk_is_one_note_and_the_training_has_the_same_bytes(
    own: Path,
    finished: Path,
    tiny_recipe: MakeRecipe,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fails(self: store.ImageStore) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(store.ImageStore, "_write", fails)
    assert alike(start(own, tmp_path / "one", tiny_recipe()), finished)
    notes = [line for line in capsys.readouterr().err.splitlines() if "note: " in line]
    assert len(notes) == 1
    assert "sysu_masks.images cannot be written (No space left on device): every process keeps" in notes[0]


def test_an_image_replaced_after_a_training_is_noticed(own: Path, tiny_recipe: MakeRecipe, tmp_path: Path) -> None:
    recipe = tiny_recipe("train.epochs=1", "train.steps=1")
    start(own, tmp_path / "one", recipe)
    name = open_data_set("sysu", tmp_path / "SYSU-MM01").train()[3].name
    with Image.open(tmp_path / "SYSU-MM01" / name) as picture:
        picture.resize((picture.width + 1, picture.height)).save(tmp_path / "SYSU-MM01" / name)
    with pytest.raises(InputError, match=f"{name} has another size than the image of that name"):
        start(own, tmp_path / "two", recipe)


def test_a_cache_that_recorded_other_sizes_does_not_take_the_store(own: Path, tmp_path: Path) -> None:
    cache, data_set = MaskCache(own), open_data_set("sysu", tmp_path / "SYSU-MM01")
    first = stored_images.make_store(own, root=data_set.root, records=data_set.train(), cache=cache, size=(64, 32))
    cache.source_size[cache.number(data_set.train()[0].name)] += 1
    assert (
        stored_images.make_store(own, root=data_set.root, records=data_set.train(), cache=cache, size=(64, 32)).path
        != first.path
    )
