"""Joint transforms of images and their masks: they move together, colour touches the images alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor
from torchvision.transforms.v2.functional import rgb_to_grayscale

from parsing.images import IMAGENET_MEAN, IMAGENET_STD
from parsing.labels import IGNORED

from .augmentation import AugmentConfig

MEAN, STD = IMAGENET_MEAN, IMAGENET_STD
Stack = Tensor | Sequence[Tensor]
"""Tensors of one shape, one after the other."""


@dataclass(frozen=True)
class Change:
    """What happens to one image and its mask, in this order.

    Attributes:
        channel: this channel replaces the other two, as in channel exchange (CAJ, Ye et al., ICCV 2021); None for none.
        grey: whether the image turns grey.
        down, right: by how many pixels the window is moved over the image; what lies outside of it is padding.
        mirrored: whether both are mirrored, left and right parts swapped.
        erased: (top, left, height, width) of random erasing (Zhong et al., 2020); None for none.
    """

    channel: int | None
    grey: bool
    down: int
    right: int
    mirrored: bool
    erased: tuple[int, int, int, int] | None


class JointTransform:
    """Augments images with their masks; the result depends on the seeds alone, not on other random draws.

    Args:
        size: (height, width) of the images.
        config: how often and how far.
        flipped: permutation of the Q+1 classes under a left-right flip.
    """

    def __init__(self, size: tuple[int, int], config: AugmentConfig, flipped: Sequence[int]) -> None:
        self.size, self.config = size, config
        self._swapped = torch.arange(256, dtype=torch.uint8)
        self._swapped[: len(flipped)] = torch.tensor(flipped, dtype=torch.uint8)
        self._has_sides = list(flipped) != sorted(flipped)
        self._mean = torch.tensor([round(255 * m) for m in MEAN], dtype=torch.uint8).view(3, 1, 1)
        self._padding = self._mean if config.fill == "mean" else torch.zeros_like(self._mean)

    def __call__(
        self, images: Stack, masks: Stack, infrared: Sequence[bool], seeds: Sequence[int]
    ) -> tuple[Tensor, Tensor]:
        """Return the augmented images (B, 3, H, W) uint8 and their masks (B, H, W) uint8.

        Args:
            images: B images (3, H, W) uint8.
            masks: B masks (H, W) uint8, 0..Q or 255.
            infrared: whether an image is infrared; its colours stay then.
            seeds: one per image, 0 to 2^64 - 1.
        """
        moved = torch.empty((len(images), 3, *self.size), dtype=torch.uint8)
        labels = torch.empty((len(images), *self.size), dtype=torch.uint8)
        generator = torch.Generator()
        for number, (image, mask, cold, seed) in enumerate(zip(images, masks, infrared, seeds, strict=True)):
            change = self.draw(cold, generator.manual_seed(seed))
            self._apply(change, image=image, mask=mask, moved=moved[number], labels=labels[number])
        return moved, labels

    def draw(self, infrared: bool, generator: torch.Generator) -> Change:
        """Draw what happens to an image."""
        c, (height, width) = self.config, self.size
        channel, grey = None, False
        if not infrared:
            chance, which = torch.rand(2, generator=generator).tolist()
            channel = int(which * 3) if chance < c.exchange else None
            grey = torch.rand(1, generator=generator).item() < c.grey
        down = right = 0
        if c.padding:
            down, right = (
                int(torch.randint(0, 2 * c.padding + 1, (), generator=generator)) - c.padding for _ in range(2)
            )
        mirrored = bool(torch.rand((), generator=generator) < c.flip)
        chance, area, ratio, y, x = torch.rand(5, generator=generator).tolist()
        erased = None
        if chance < c.erase:
            area, ratio = (0.02 + 0.38 * area) * height * width, 0.3 * (1 / 0.09) ** ratio
            tall, wide = min(height, round((area * ratio) ** 0.5)), min(width, round((area / ratio) ** 0.5))
            erased = (round(y * (height - tall)), round(x * (width - wide)), tall, wide)
        return Change(channel, grey=grey, down=down, right=right, mirrored=mirrored, erased=erased)

    def _apply(self, change: Change, image: Tensor, mask: Tensor, moved: Tensor, labels: Tensor) -> None:
        """Write image and mask, changed, into `moved` and `labels`: pixels are copied from the data into the batch."""
        if change.channel is not None:
            image = image[change.channel : change.channel + 1].expand(3, -1, -1)
        if change.grey:
            image = rgb_to_grayscale(image, 3)
        rows, columns = (
            (slice(max(0, by), min(length, length + by)), slice(max(0, -by), min(length, length - by)))
            for by, length in zip((change.down, change.right), self.size, strict=True)
        )
        if change.down or change.right:
            moved[:] = self._padding
            labels[:] = IGNORED
        image, mask = image[:, rows[0], columns[0]], mask[rows[0], columns[0]]
        there = columns[1]
        if change.mirrored:
            image, mask = image.flip(-1), mask.flip(-1)
            there = slice(self.size[1] - there.stop, self.size[1] - there.start)
            if self._has_sides:
                mask = self._swapped[mask.int()]
        moved[:, rows[1], there] = image
        labels[rows[1], there] = mask
        if change.erased is not None:
            top, left, height, width = change.erased
            moved[:, top : top + height, left : left + width] = self._mean
            labels[top : top + height, left : left + width] = IGNORED


def normalise(images: Tensor) -> Tensor:
    """Return images (B, 3, H, W) uint8 as float, with mean 0 and deviation 1 on ImageNet."""
    mean, std = _mean_and_std(images.device)
    return (images.float() - mean) / std


@cache
def _mean_and_std(device: torch.device) -> tuple[Tensor, Tensor]:
    """Return mean and deviation of pixels 0 to 255, each (3, 1, 1); kept, since making them on a GPU waits for it."""
    mean, std = (torch.tensor(values, device=device).view(3, 1, 1) * 255 for values in (MEAN, STD))
    return mean, std
