"""Simulated infrared: grey, a pure function of the generator, garments free of their colour, skin above hair."""

from collections.abc import Callable

import numpy as np
import pytest

from data.photographs.infrared import (
    ARMS,
    BAG,
    FEET,
    HAIR,
    HEAD,
    LEGS,
    LOWER,
    UPPER,
    near_infrared,
    reflectance,
    thermal,
    warmth,
)
from parsing.labels import label_set

SEEDS = range(30)
HAIR_COLOUR, SKIN_COLOUR = (45, 35, 30), (215, 165, 140)
Camera = Callable[..., np.ndarray]
CAMERAS = [(near_infrared, reflectance), (thermal, warmth)]


def person(upper: tuple[int, int, int] = (150, 40, 40)) -> tuple[np.ndarray, np.ndarray]:
    """A standing person (96 x 48): hair above a face, a plain upper garment, bare arms, trousers, shoes."""
    labels = np.zeros((96, 48), np.uint8)
    labels[6:22, 18:30] = HEAD
    labels[22:50, 14:34] = UPPER
    labels[24:50, 8:14] = labels[24:50, 34:40] = ARMS
    labels[50:84, 16:32] = LOWER
    labels[84:92, 14:34] = FEET
    colours = np.array([(120, 120, 110), SKIN_COLOUR, upper, SKIN_COLOUR, (40, 45, 70), SKIN_COLOUR, (20, 20, 20),
                        (90, 60, 30)])  # fmt: skip
    image = colours[labels]
    image[6:14, 18:30] = HAIR_COLOUR
    image = image + np.random.default_rng(0).normal(0, 3, image.shape)
    return image.clip(0, 255).astype(np.uint8), labels


def test_the_entries_are_the_classes_with_hair_for_the_background() -> None:
    names = ("HAIR", "HEAD", "UPPER", "ARMS", "LOWER", "LEGS", "FEET", "BAG")
    numbers = (HAIR, HEAD, UPPER, ARMS, LOWER, LEGS, FEET, BAG)
    assert [label_set("person7").classes[n] for n in numbers[1:]] == [n.lower() for n in names[1:]]
    assert HAIR == 0


@pytest.mark.parametrize("drawn", [reflectance, warmth])
def test_a_persons_values_are_in_range_and_skin_is_above_hair(drawn: Callable[..., np.ndarray]) -> None:
    for seed in SEEDS:
        values = drawn(np.random.default_rng(seed))
        assert (values.shape, values.dtype) == ((8,), np.dtype("float32"))
        assert values.min() >= 0
        assert values.max() <= 1
        assert values[[HEAD, ARMS, LEGS]].min() > values[HAIR]
        assert np.array_equal(values, drawn(np.random.default_rng(seed)))


@pytest.mark.parametrize(("camera", "drawn"), CAMERAS)
def test_an_image_is_grey_of_the_same_size_and_varied(camera: Camera, drawn: Callable[..., np.ndarray]) -> None:
    image, labels = person()
    before = image.copy(), labels.copy()
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        seen = camera(image, labels, drawn(rng), rng)
        assert (seen.shape, seen.dtype) == (image.shape, np.dtype("uint8"))
        assert np.array_equal(seen[..., 0], seen[..., 1])
        assert np.array_equal(seen[..., 0], seen[..., 2])
        assert seen.std() > 5
    assert np.array_equal(image, before[0])
    assert np.array_equal(labels, before[1])


@pytest.mark.parametrize(("camera", "drawn"), CAMERAS)
def test_an_image_is_a_pure_function_of_the_generator(camera: Camera, drawn: Callable[..., np.ndarray]) -> None:
    image, labels = person()
    values = drawn(np.random.default_rng(0))
    one, again, other = (camera(image, labels, values, np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)


@pytest.mark.parametrize(("camera", "drawn"), CAMERAS)
@pytest.mark.parametrize("shape", [(5, 3), (64, 32), (33, 90)])
def test_odd_sizes_and_images_of_nobody_are_seen(
    camera: Camera, drawn: Callable[..., np.ndarray], shape: tuple[int, int]
) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    for labels in (np.zeros(shape, np.uint8), np.full(shape, UPPER, np.uint8)):
        for seed in range(6):
            rng = np.random.default_rng(seed)
            assert camera(image, labels, drawn(rng), rng).shape == (*shape, 3)


@pytest.mark.parametrize(("camera", "drawn"), CAMERAS)
def test_a_garments_brightness_is_free_of_its_colour(camera: Camera, drawn: Callable[..., np.ndarray]) -> None:
    apart = []
    for seed in SEEDS:
        means = []
        for colour in ((235, 230, 220), (30, 30, 60), (180, 30, 30)):
            image, labels = person(colour)
            rng = np.random.default_rng(seed)
            seen = camera(image, labels, drawn(rng), rng)
            means.append(seen[labels == UPPER].mean())
        apart.append(max(means) - min(means))
    assert max(apart) < 40  # in colour they are some 200 apart
    assert np.mean(apart) < 10


def test_a_garments_brightness_follows_its_reflectance() -> None:
    image, labels = person()
    values = reflectance(np.random.default_rng(0))
    for seed in SEEDS:
        dark, bright = (
            near_infrared(
                image,
                labels=labels,
                reflectance=np.where(np.arange(8) == UPPER, v, values),
                rng=np.random.default_rng(seed),
            )
            for v in (np.float32(0.25), np.float32(0.9))
        )
        assert bright[labels == UPPER].mean() > dark[labels == UPPER].mean() + 30


def test_skin_is_brighter_than_hair_in_near_infrared() -> None:
    image, labels = person()
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        seen = near_infrared(image, labels=labels, reflectance=reflectance(rng), rng=rng)[..., 0].astype(float)
        assert seen[15:22, 19:29].mean() > seen[7:13, 19:29].mean()


def test_skin_is_warmer_than_the_surroundings_for_most_thermal_shots() -> None:
    image, labels = person()
    above = []
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        seen = thermal(image, labels, warmth(rng), rng)[..., 0].astype(float)
        above.append(seen[labels == ARMS].mean() > seen[labels == 0].mean())
    assert np.mean(above) > 0.9


def test_texture_is_kept_in_near_infrared() -> None:
    image, labels = person()
    striped = image.copy()
    striped[22:50:4, 14:34] = (250, 240, 235)
    striped[23:50:4, 14:34] = (250, 240, 235)
    kept = []
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        seen = near_infrared(striped, labels=labels, reflectance=reflectance(rng), rng=rng)[..., 0].astype(float)
        light = seen[22:50:4, 14:34].mean() + seen[23:50:4, 14:34].mean()
        dark = seen[24:50:4, 14:34].mean() + seen[25:50:4, 14:34].mean()
        kept.append(light > dark)
    assert all(kept)
