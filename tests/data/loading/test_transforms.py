"""Joint transforms: image and mask stay together, parts with a side swap, colour leaves the mask alone."""

from typing import Any

import pytest
import torch
from support.plain_transforms import PlainTransform
from torch import Tensor

from data.loading import transforms
from data.loading.augmentation import AugmentConfig
from data.loading.transforms import MEAN, STD, normalise
from parsing.labels import IGNORED

SIZE = (48, 24)
PARTS = 5
STAY = tuple(range(PARTS))
SWAP = (0, 2, 1, 4, 3)
OFF = AugmentConfig(padding=0, flip=0, erase=0, exchange=0, grey=0)
SEEDS = range(40)


class JointTransform(transforms.JointTransform):
    """For one image at a time."""

    def __call__(self, image: Tensor, mask: Tensor, infrared: bool, seed: int) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        images, masks = super().__call__([image], [mask], [infrared], [seed])
        return images[0], masks[0]


def encoded(mask: Tensor) -> Tensor:
    """A grey image (3, H, W) that says in every pixel which part it belongs to."""
    return (mask * 50)[None].expand(3, -1, -1).contiguous()


def agree(image: Tensor, mask: Tensor) -> bool:
    """Whether image and mask still say the same wherever the mask says anything; greying may round by one."""
    known = mask != IGNORED
    return bool(((image[:, known].int() - mask[known].int() * 50).abs() <= 1).all())


@pytest.fixture
def mask() -> Tensor:
    return torch.randint(PARTS, SIZE, generator=torch.Generator().manual_seed(0)).to(torch.uint8)


@pytest.fixture
def colours() -> Tensor:
    return torch.randint(256, (3, *SIZE), generator=torch.Generator().manual_seed(1)).to(torch.uint8)


@pytest.mark.parametrize("infrared", [False, True])
def test_image_and_mask_move_together(mask: Tensor, infrared: bool) -> None:
    change = JointTransform(SIZE, AugmentConfig(padding=6, erase=0.7), STAY)
    moved = [change(encoded(mask), mask, infrared, seed) for seed in SEEDS]
    assert all(agree(*pair) for pair in moved)
    assert all(image.shape == (3, *SIZE) and m.shape == SIZE for image, m in moved)
    assert sum(bool((m != mask).any()) for _, m in moved) > 30


def test_without_augmentation_nothing_changes(mask: Tensor, colours: Tensor) -> None:
    for seed in SEEDS:
        image, moved = JointTransform(SIZE, OFF, SWAP)(colours, mask, False, seed)
        assert torch.equal(image, colours)
        assert torch.equal(moved, mask)


def test_a_flip_mirrors_the_image_and_swaps_the_parts_with_a_side(mask: Tensor, colours: Tensor) -> None:
    mask[0, 0] = IGNORED
    image, moved = JointTransform(SIZE, AugmentConfig(padding=0, flip=1, erase=0, exchange=0, grey=0), SWAP)(
        colours, mask, False, 0
    )
    assert torch.equal(image, colours.flip(2))
    for row in range(SIZE[0]):
        for column in range(SIZE[1]):
            before = int(mask[row, SIZE[1] - 1 - column])
            assert int(moved[row, column]) == (IGNORED if before == IGNORED else SWAP[before])


def test_flips_come_about_as_often_as_asked_for(mask: Tensor) -> None:
    change = JointTransform(SIZE, AugmentConfig(padding=0, flip=0.3, erase=0, exchange=0, grey=0), STAY)
    flipped = sum(torch.equal(change(encoded(mask), mask, True, seed)[1], mask.flip(1)) for seed in range(300))
    assert 60 < flipped < 120


def test_erased_pixels_have_the_mean_colour_and_are_ignored(mask: Tensor, colours: Tensor) -> None:
    change = JointTransform(SIZE, AugmentConfig(padding=0, flip=0, erase=1, exchange=0, grey=0), STAY)
    mean = torch.tensor([round(255 * m) for m in MEAN], dtype=torch.uint8)
    for seed in SEEDS:
        image, moved = change(colours, mask, True, seed)
        erased = moved == IGNORED
        assert 0.01 < erased.float().mean() < 0.45
        assert (image[:, erased] == mean[:, None]).all()
        assert torch.equal(image[:, ~erased], colours[:, ~erased])
        assert torch.equal(moved[~erased], mask[~erased])
        rows, columns = erased.any(1).nonzero(), erased.any(0).nonzero()
        assert erased.sum() == len(rows) * len(columns)


@pytest.mark.parametrize(("fill", "colour"), [("mean", [round(255 * m) for m in MEAN]), ("black", [0, 0, 0])])
def test_padding_has_the_colour_asked_for_and_is_ignored(
    mask: Tensor, colours: Tensor, fill: Any, colour: list[int]
) -> None:
    padding = 5
    change = JointTransform(SIZE, AugmentConfig(padding=padding, fill=fill, flip=0, erase=0, exchange=0, grey=0), STAY)
    mean = torch.tensor(colour, dtype=torch.uint8)
    shifts = set()
    for seed in SEEDS:
        image, moved = change(colours, mask, True, seed)
        big_image = mean[:, None, None].expand(3, SIZE[0] + 2 * padding, SIZE[1] + 2 * padding).clone()
        big_mask = torch.full(big_image.shape[1:], IGNORED, dtype=torch.uint8)
        big_image[:, padding:-padding, padding:-padding] = colours
        big_mask[padding:-padding, padding:-padding] = mask
        found = [
            (y, x)
            for y in range(2 * padding + 1)
            for x in range(2 * padding + 1)
            if torch.equal(big_mask[y : y + SIZE[0], x : x + SIZE[1]], moved)
            and torch.equal(big_image[:, y : y + SIZE[0], x : x + SIZE[1]], image)
        ]
        assert len(found) == 1
        shifts.update(found)
    assert len(shifts) > 20


@pytest.mark.parametrize("changed", [{"exchange": 1.0}, {"grey": 1.0}])
def test_colour_changes_are_for_visible_images_and_never_for_masks(
    mask: Tensor, colours: Tensor, changed: dict[str, float]
) -> None:
    config = AugmentConfig(**{"padding": 0, "flip": 0, "erase": 0, "exchange": 0, "grey": 0, **changed})  # type: ignore[arg-type]
    change = JointTransform(SIZE, config, STAY)
    for seed in SEEDS:
        visible, kept = change(colours, mask, False, seed)
        assert torch.equal(kept, mask)
        assert torch.equal(visible[0], visible[1])
        assert torch.equal(visible[0], visible[2])
        infrared, kept = change(colours, mask, True, seed)
        assert torch.equal(infrared, colours)
        assert torch.equal(kept, mask)


def test_each_channel_is_exchanged_for_the_others(mask: Tensor, colours: Tensor) -> None:
    change = JointTransform(SIZE, AugmentConfig(padding=0, flip=0, erase=0, exchange=1, grey=0), STAY)
    seen = {
        channel
        for seed in SEEDS
        for channel in range(3)
        if torch.equal(change(colours, mask, False, seed)[0][0], colours[channel])
    }
    assert seen == {0, 1, 2}


def test_the_same_seed_gives_the_same_bytes_and_another_gives_others(mask: Tensor, colours: Tensor) -> None:
    change = JointTransform(SIZE, AugmentConfig(), SWAP)
    first = [change(colours, mask, False, seed) for seed in SEEDS]
    torch.rand(7)
    again = [change(colours, mask, False, seed) for seed in reversed(SEEDS)][::-1]
    assert all(torch.equal(a, c) and torch.equal(b, d) for (a, b), (c, d) in zip(first, again, strict=True))
    assert len({image.numpy().tobytes() for image, _ in first}) == len(SEEDS)


def test_the_arguments_and_the_global_random_state_are_left_alone(mask: Tensor, colours: Tensor) -> None:
    before, image, labels = torch.get_rng_state(), colours.clone(), mask.clone()
    for infrared in (False, True):
        JointTransform(SIZE, AugmentConfig(erase=1, flip=1, exchange=1), SWAP)(colours, mask, infrared, 3)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(colours, image)
    assert torch.equal(mask, labels)


@pytest.mark.parametrize(("changed", "said"), [({"flip": 1.5}, "flip = 1.5"), ({"padding": -1}, "padding = -1")])
def test_what_is_no_probability_or_padding_is_refused(changed: dict[str, float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        AugmentConfig(**changed)  # type: ignore[arg-type]


def test_normalised_images_have_imagenets_mean_and_deviation(colours: Tensor) -> None:
    found = normalise(torch.stack([colours, colours]))
    for channel in range(3):
        expected = (colours[channel].double() / 255 - MEAN[channel]) / STD[channel]
        torch.testing.assert_close(found[1, channel].double(), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    "config",
    [AugmentConfig(), AugmentConfig(padding=3, fill="black", exchange=1, grey=0.5), AugmentConfig(padding=0, erase=1)],
)
@pytest.mark.parametrize("size", [SIZE, (31, 17)])
def test_a_batch_is_what_torchvisions_transforms_make_of_each_image(
    config: AugmentConfig, size: tuple[int, int]
) -> None:
    rng = torch.Generator().manual_seed(2)
    images = torch.randint(256, (60, 3, *size), generator=rng).to(torch.uint8)
    masks = torch.randint(PARTS, (60, *size), generator=rng).to(torch.uint8)
    infrared = [number % 3 == 0 for number in range(60)]
    seeds = [(2**64 - 1) // (number + 1) for number in range(60)]
    moved, labels = transforms.JointTransform(size, config, SWAP)(images, masks, infrared, seeds)
    plain = PlainTransform(size, config, SWAP)
    for number, seed in enumerate(seeds):
        image, mask = plain(images[number], masks[number], infrared[number], seed)
        assert torch.equal(moved[number], image)
        assert torch.equal(labels[number], mask)
