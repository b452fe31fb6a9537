"""Where the image lies in its mask."""

import numpy as np
import pytest

from parsing.importers.placing import Fit, image_box, same_aspect
from parsing.resize import resize_labels


@pytest.mark.parametrize(
    ("mask", "image", "same"),
    [
        ((288, 144), (256, 128), True),
        ((288, 144), (255, 129), True),
        ((16, 8), (100, 45), True),  # rounding to whole pixels
        ((288, 144), (384, 144), False),
        ((473, 473), (384, 192), False),
        ((30, 60), (60, 30), False),
    ],
)
def test_small_differences_pass_and_clear_ones_do_not(
    mask: tuple[int, int], image: tuple[int, int], same: bool
) -> None:
    assert same_aspect(mask, image) is same
    assert same_aspect(mask[::-1], image[::-1]) is same


@pytest.mark.parametrize("fit", ["letterbox", "corner"])
@pytest.mark.parametrize("size", [(40, 20), (20, 40), (41, 17)])
def test_padding_is_undone(fit: Fit, size: tuple[int, int]) -> None:
    labels = np.random.default_rng(0).integers(0, 9, size, dtype=np.uint8)
    side = 2 * max(size)
    padded = np.zeros((side, side), np.uint8)
    height, width = 2 * size[0], 2 * size[1]
    top, left = ((side - height) // 2, (side - width) // 2) if fit == "letterbox" else (0, 0)
    padded[top : top + height, left : left + width] = labels.repeat(2, 0).repeat(2, 1)
    assert np.array_equal(resize_labels(padded, size, image_box(padded.shape, size, fit)), labels)


def test_masks_of_the_images_shape_are_left_alone() -> None:
    assert image_box((40, 20), (80, 40), "letterbox") == (0, 0, 40, 20)
    assert image_box((40, 40), (80, 40), "stretch") is None
