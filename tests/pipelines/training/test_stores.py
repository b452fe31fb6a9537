"""Training from the stores of images and part labels beside the cache: the same bytes with, without and after them."""

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.caches import edit

from data.loading import store
from data.registry import open_data_set
from parsing.cache.index import shard_folder
from parsing.cache.reader import MaskCache
from parsing.errors import CacheError, InputError
from pipelines.recipes.reading import Recipe
from pipelines.training import stores, train
from pipelines.training.config import TrainConfig

MakeRecipe = Callable[..., Recipe]
SIZE = (64, 32)


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


def test_a_second_training_reads_no_image_and_no_mask_and_gives_the_same_bytes(
    own: Path, finished: Path, tiny_recipe: MakeRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert alike(start(own, tmp_path / "one", tiny_recipe()), finished)
    assert [p.name.split("-")[0] for p in sorted((tmp_path / "sysu_masks.images").iterdir())] == ["64x32", "labels"]

    def forbidden(*_: object) -> None:
        raise AssertionError("an image or a mask was read")

    monkeypatch.setattr(store, "load_image_with_hash", forbidden)
    monkeypatch.setattr(MaskCache, "preload", forbidden)
    monkeypatch.setattr(train, "find_other_image", forbidden)
    assert alike(start(own, tmp_path / "two", tiny_recipe()), finished)


def test_a_full_disk_is_a_note_for_each_and_the_training_has_the_same_bytes(
    own: Path,
    finished: Path,
    tiny_recipe: MakeRecipe,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fails(self: store.Store) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(store.Store, "_write", fails)
    assert alike(start(own, tmp_path / "one", tiny_recipe()), finished)
    notes = [line for line in capsys.readouterr().err.splitlines() if "note: " in line]
    for note, what in zip(notes, ("part labels", "images"), strict=True):
        assert f"sysu_masks.images cannot be written (No space left on device): every process keeps the {what}" in note


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
    first = stores.make_image_store(cache, root=data_set.root, records=data_set.train(), size=(64, 32))
    cache.source_size[cache.number(data_set.train()[0].name)] += 1
    assert (
        stores.make_image_store(cache, root=data_set.root, records=data_set.train(), size=(64, 32)).path != first.path
    )


def label_store(cache: MaskCache, scheme: str = "reid4", size: tuple[int, int] = SIZE) -> stores.LabelStore:
    records = open_data_set("sysu", cache.root).train()
    return stores.LabelStore(cache, records=records, table=cache.table(scheme), size=size)


def test_the_store_holds_the_part_labels_of_each_image(own: Path) -> None:
    cache = MaskCache(own)
    made = label_store(cache)
    assert made.make() is None
    for name, labels in zip(made.names, made.open().arrays, strict=True):
        assert np.array_equal(labels.numpy(), cache.part_labels(name, "reid4"))


def test_another_scheme_or_size_has_a_file_of_its_own(own: Path) -> None:
    cache = MaskCache(own)
    made = [label_store(cache), label_store(cache, "reid6"), label_store(cache, size=(32, 16))]
    for one in made:
        one.make()
    assert all(one.exists() for one in made)
    assert len({one.path for one in made}) == 3


def test_masks_that_were_mended_are_read_again_and_the_stale_file_goes(own: Path) -> None:
    """`made_by` and with it the fingerprint are the same, the shards are not."""
    cache = MaskCache(own)
    first = label_store(cache)
    first.make()
    cache.close()
    with edit(shard_folder(own) / "00000.h5") as shard:
        shard["labels"][0] = 0
    mended = MaskCache(own)
    assert mended.fingerprint == cache.fingerprint
    (first.path.parent / "other.uint8").write_bytes(b"of somebody else")
    second = label_store(mended)
    assert second.path != first.path
    second.make()
    assert sorted(p.name for p in second.path.parent.iterdir()) == sorted([second.path.name, "other.uint8"])


def test_control_and_validation_take_the_same_file(own: Path, tiny_recipe: MakeRecipe, tmp_path: Path) -> None:
    few = ("train.epochs=1", "train.steps=1")
    start(own, tmp_path / "one", tiny_recipe(*few))
    files = sorted((tmp_path / "sysu_masks.images").iterdir())
    start(own, tmp_path / "two", tiny_recipe(*few, "data.masks=other"))
    start(own, tmp_path / "three", tiny_recipe(*few, "data.select=val", "data.evaluate_every=1"))
    assert sorted((tmp_path / "sysu_masks.images").iterdir()) == files


def test_a_mask_that_cannot_be_read_is_named_and_leaves_no_file(own: Path) -> None:
    cache = MaskCache(own)
    made = label_store(cache)
    shutil.rmtree(own.with_suffix(".shards"))
    with pytest.raises(CacheError, match="is not there: the masks of"):
        made.make()
    assert list(made.path.parent.iterdir()) == []
