import numpy as np
import pytest
import torch
from torch.nn import functional as F

from parsing.resize import resize_labels, resize_maps

MAPS = np.random.default_rng(0).random((2, 3, 12, 8), np.float32)


@pytest.mark.parametrize("size", [(12, 8), (48, 32), (31, 17)])
def test_growing_is_torchs_bilinear(size: tuple[int, int]) -> None:
    expected = F.interpolate(torch.from_numpy(MAPS), size, mode="bilinear", align_corners=False)
    np.testing.assert_allclose(resize_maps(MAPS, size), expected.numpy(), atol=1e-6)


@pytest.mark.parametrize("size", [(6, 4), (3, 8), (12, 2), (1, 1)])
def test_shrinking_by_whole_numbers_is_torchs_area(size: tuple[int, int]) -> None:
    expected = F.interpolate(torch.from_numpy(MAPS), size, mode="area")
    np.testing.assert_allclose(resize_maps(MAPS, size), expected.numpy(), atol=1e-6)


def test_shrinking_by_a_fraction_shares_pixels_and_keeps_the_mean() -> None:
    ramp = np.array([[1.0, 2.0, 3.0]], np.float32)
    np.testing.assert_allclose(resize_maps(ramp, (1, 2)), [[(1 + 0.5 * 2) / 1.5, (0.5 * 2 + 3) / 1.5]])
    np.testing.assert_allclose(resize_maps(MAPS, (5, 7)).mean((2, 3)), MAPS.mean((2, 3)), atol=1e-6)


@pytest.mark.parametrize("size", [(24, 16), (6, 4), (7, 5), (12, 8)])
def test_labels_are_torchs_nearest_exact(size: tuple[int, int]) -> None:
    labels = np.random.default_rng(1).integers(0, 20, (12, 8), dtype=np.uint8)
    expected = F.interpolate(torch.from_numpy(labels)[None, None], size, mode="nearest-exact")[0, 0]
    assert np.array_equal(resize_labels(labels, size), expected.numpy())
