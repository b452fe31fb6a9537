"""The gallery: what is sampled in which order, and pictures whose layer is the mask."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.caches import edit

from parsing import MaskCache
from parsing.cache.shard import Status
from parsing.labels import IGNORED
from pipelines.pages.sheets import palette
from pipelines.pages.thumbnails import BOX, make_cards, make_legend, order_worst_first, sample

MakeCache = Callable[..., MaskCache]


def spread(make_cache: MakeCache, cameras: list[int], confidence: np.ndarray | None = None) -> MaskCache:
    """A cache of an image for each entry of `cameras`; cameras 3 and 6 are infrared."""
    names = [f"cam{c}/0001/{n:04d}.jpg" for n, c in enumerate(cameras)]
    path = make_cache("person7", names, size=(16, 16)).path
    with edit(path) as file:
        file["camera"][:] = cameras
        file["modality"][:] = [int(c in (3, 6)) for c in cameras]
        file["confidence"][:] = np.linspace(0, 1, len(cameras)) if confidence is None else confidence
    return MaskCache(path)


def test_the_worst_come_first_and_unreadable_images_not_at_all(make_cache: MakeCache) -> None:
    status = [Status.OK, Status.UNREADABLE, Status.OK, Status.EMPTY, *[Status.OK] * 4]
    path = make_cache("lip", status=status).path
    with edit(path) as file:
        file["confidence"][:] = [0.5, 0.0, 0.4, 0.9, 0.7, 0.4, 1.0, 0.6]
    person = np.array([0.3, np.nan, 0.3, 0.0, 0.3, 0.2, 0.3, 0.3])
    assert order_worst_first(MaskCache(path), person).tolist() == [3, 5, 2, 0, 7, 4, 6]


def test_every_camera_has_its_share_its_worst_half_and_others_up_to_its_best(make_cache: MakeCache) -> None:
    cache = spread(make_cache, [1] * 40 + [2] * 30 + [3] * 20)
    order = np.arange(90)
    chosen = sample(cache, order, 30)
    assert np.bincount(cache.camera[chosen]).tolist() == [0, 10, 10, 10]
    assert (np.diff(chosen) > 0).all()
    for first, last in ((0, 40), (40, 70), (70, 90)):
        of_it = chosen[(chosen >= first) & (chosen < last)]
        assert of_it[:5].tolist() == list(range(first, first + 5))
        assert of_it[-1] >= last - (last - first) // 5


@pytest.mark.parametrize("count", [0, 1, 2, 3, 7, 14, 15, 100])
def test_a_sample_is_as_large_as_asked_for_and_has_nothing_twice(make_cache: MakeCache, count: int) -> None:
    cache = spread(make_cache, [1] * 9 + [3] * 2 + [6] * 4)
    chosen = sample(cache, order_worst_first(cache, np.zeros(15)), count)
    assert len(chosen) == len(set(chosen.tolist())) == min(count, 15)
    if count == 7:
        assert np.bincount(cache.camera[chosen])[[1, 3, 6]].tolist() == [3, 2, 2]


def test_cards_show_the_image_and_a_layer_that_is_the_mask(masks: Path, figures: Path) -> None:
    cache = MaskCache(masks)
    (card,) = make_cards(cache, root=figures, numbers=np.array([3]), person=np.full(len(cache), 0.25), images=True)
    with Image.open(io.BytesIO(card.image)) as image, Image.open(io.BytesIO(card.mask)) as mask:
        assert image.size == mask.size == card.size
        assert (card.size[0] == BOX[0]) or (card.size[1] == BOX[1])
        drawn = np.asarray(mask.convert("RGBA"))
        labels = Image.fromarray(cache[3]).resize(card.size, Image.Resampling.NEAREST)
        aspect = Image.open(figures / cache.names[3]).size
    expected = np.asarray(labels)
    assert ((drawn[..., 3] == 255) == (expected > 0)).all()
    assert (drawn[expected > 0][:, :3] == palette(cache.labels.classes)[expected[expected > 0]]).all()
    assert card.size[0] / card.size[1] == pytest.approx(aspect[0] / aspect[1], rel=0.02)
    assert (card.name, card.camera, card.identity, card.person) == (cache.names[3], 1, 4, 0.25)


def test_a_missing_image_leaves_the_mask_in_the_shape_of_its_image(make_cache: MakeCache, tmp_path: Path) -> None:
    masks = np.full((8, 48, 24), IGNORED, np.uint8)
    masks[:, :24] = 3
    cache = make_cache("lip", masks=masks, source=(100, 40))
    for images in (True, False):
        (card,) = make_cards(cache, root=tmp_path / "gone", numbers=np.array([0]), person=np.zeros(8), images=images)
        assert (card.image, card.size) == (b"", (40, 100))
        with Image.open(io.BytesIO(card.mask)) as mask:
            seen = np.asarray(mask.convert("RGBA"))[..., 3]
        assert (seen[:50] == 255).all()
        assert (seen[50:] == 0).all()


def test_the_legend_has_the_classes_that_occur_in_the_colours_of_the_masks(make_cache: MakeCache) -> None:
    cache = make_cache("person7", ["a.jpg"])
    assert make_legend(cache, np.array([1, 1, 0, 0, 0, 0, 0, 1], bool)) == [("head", "#e69f00"), ("bag", "#cc79a7")]
