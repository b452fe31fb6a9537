"""Batches of stage 2: which mask belongs to which image, at which size, and how sure it is."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from data.loading.images import load_image
from data.loading.sampler import IdentitySampler
from data.records import Record
from data.registry import open_data_set
from parsing.cache.reader import MaskCache
from parsing.errors import InputError
from parsing.schemes import part_scheme
from pipelines.recipes.reading import Recipe
from pipelines.training import batches
from pipelines.training.batches import (
    Batches,
    permute_within_modality,
    read_confidences,
    read_part_labels,
    select_with_masks,
)

SIZE = (64, 32)


@pytest.fixture(scope="module")
def cache(figures: Path, make_true_cache: Any) -> MaskCache:
    unreadable = ["cam2/0003/0001.jpg"]
    return MaskCache(make_true_cache("sysu", figures, figures.parent / "batches" / "masks.h5", unreadable=unreadable))


@pytest.fixture(scope="module")
def records(figures: Path, cache: MaskCache) -> tuple[Record, ...]:
    return select_with_masks(open_data_set("sysu", figures).train(), cache)


def test_images_that_could_not_be_read_are_left_out(figures: Path, records: tuple[Record, ...]) -> None:
    everything = open_data_set("sysu", figures).train()
    assert {r.name for r in everything} - {r.name for r in records} == {"cam2/0003/0001.jpg"}


def test_an_image_that_the_cache_lacks_is_named(records: tuple[Record, ...], cache: MaskCache) -> None:
    strangers = [Record(f"cam1/0001/{n}.jpg", identity=1, camera=1, modality="visible") for n in (7, 8, 9)]
    with pytest.raises(InputError, match=r"has no mask of cam1/0001/7\.jpg and 2 more; run `cscl parse") as caught:
        select_with_masks([*records, *strangers], cache)
    assert "\n" not in str(caught.value)


def test_masks_come_in_the_order_of_the_records_and_in_parts(
    records: tuple[Record, ...], cache: MaskCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts, preload = [], MaskCache.preload

    def count(self: MaskCache, keys: Iterable[str]) -> Any:
        names = list(keys)
        counts.append(len(names))
        return preload(self, names)

    monkeypatch.setattr(batches, "_BLOCK", 5)
    monkeypatch.setattr(MaskCache, "preload", count)
    shuffled = [records[i] for i in np.random.default_rng(0).permutation(len(records))]
    found = read_part_labels(cache, records=shuffled, table=cache.table("reid4"), size=SIZE)
    assert found.shape == (len(records), *SIZE)
    for record, mask in zip(shuffled, found, strict=True):
        assert np.array_equal(mask.numpy(), cache.part_labels(record.name, "reid4"))
    assert max(counts) == 5, "masks at the cache's own size in memory at once"


@pytest.mark.parametrize("size", [(32, 16), (128, 64), (96, 40)])
def test_masks_of_another_size_take_the_nearest_pixel(
    records: tuple[Record, ...], cache: MaskCache, size: tuple[int, int]
) -> None:
    found = read_part_labels(cache, records=records[:2], table=cache.table("reid4"), size=size)
    whole = cache.part_labels(records[0].name, "reid4")
    for y in range(size[0]):
        for x in range(size[1]):
            row, column = int((y + 0.5) * SIZE[0] / size[0]), int((x + 0.5) * SIZE[1] / size[1])
            assert found[0, y, x] == whole[row, column]


def test_confidence_below_the_least_counts_as_none(records: tuple[Record, ...], cache: MaskCache) -> None:
    stored = {name: float(c) for name, c in zip(cache.names, cache.confidence, strict=True)}
    least = float(np.median([stored[r.name] for r in records]))
    found = read_confidences(cache, records, least)
    assert found.dtype == torch.float32
    for record, value in zip(records, found.tolist(), strict=True):
        assert value == pytest.approx(0 if stored[record.name] < least else stored[record.name])
    assert 0 < int((found == 0).sum()) < len(records)
    assert (read_confidences(cache, records, 0) > 0).all()


def test_a_batch_holds_the_sampled_images_with_their_own_masks(
    figures: Path, records: tuple[Record, ...], cache: MaskCache, tiny_recipe: Callable[..., Recipe]
) -> None:
    recipe = tiny_recipe(
        "augment.padding=0", "augment.flip=0", "augment.erase=0", "augment.exchange=0", "augment.grey=0"
    )
    images = torch.stack([load_image(figures / r.name, SIZE) for r in records])
    masks, sure = (
        read_part_labels(cache, records=records, table=cache.table("reid4"), size=SIZE),
        read_confidences(cache, records, 0),
    )
    sampler = IdentitySampler(records, 2, 2, seed=0)
    flipped = part_scheme("reid4").flipped(cache.labels)
    batches = Batches(
        records,
        images=images,
        part_labels=masks,
        confidence=sure,
        sampler=sampler,
        steps=3,
        recipe=recipe,
        flipped=flipped,
    )
    assert len(batches) == 2 * 3
    ordered = sorted({r.identity for r in records})
    for number in (0, 4):
        batch, rows = batches[number], sampler.batch(number // 3, number % 3)
        for slot, row in enumerate(rows.tolist()):
            assert torch.equal(batch["images"][slot], images[row])
            assert torch.equal(batch["part_labels"][slot], masks[row])
            assert bool(batch["infrared"][slot]) == (records[row].modality == "infrared")
            assert ordered[int(batch["identities"][slot])] == records[row].identity
            assert batch["confidence"][slot] == sure[row]


def test_a_batch_is_the_same_whenever_it_is_asked_for(
    figures: Path, records: tuple[Record, ...], cache: MaskCache, tiny_recipe: Callable[..., Recipe]
) -> None:
    images = torch.stack([load_image(figures / r.name, SIZE) for r in records])
    masks, sure = (
        read_part_labels(cache, records=records, table=cache.table("reid4"), size=SIZE),
        read_confidences(cache, records, 0),
    )
    flipped = part_scheme("reid4").flipped(cache.labels)

    def make(seed: int) -> Batches:
        sampler = IdentitySampler(records, identities=2, images=2, seed=seed)
        return Batches(
            records,
            images=images,
            part_labels=masks,
            confidence=sure,
            sampler=sampler,
            steps=2,
            recipe=tiny_recipe(f"seed={seed}"),
            flipped=flipped,
        )

    first = [make(0)[number] for number in range(4)]
    again = make(0)
    for number in (3, 1, 2, 0):
        for name, value in again[number].items():
            assert torch.equal(value, first[number][name])
    assert not torch.equal(make(1)[0]["images"], first[0]["images"])
    one, two = first[0]["images"], first[1]["images"]
    assert not torch.equal(one, two)


def test_as_a_control_every_image_gets_the_mask_of_another_one_of_its_modality(records: tuple[Record, ...]) -> None:
    others = permute_within_modality(records, seed=3)
    assert sorted(others) == list(range(len(records)))
    assert all(number != other for number, other in enumerate(others))
    assert all(records[other].modality == record.modality for record, other in zip(records, others, strict=True))
    assert others == permute_within_modality(records, seed=3) != permute_within_modality(records, seed=4)
