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


def by_matrices(maps: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize with a dense matrix per side, filled weight by weight: the slow, plain form."""
    sides = []
    for old, new in zip(maps.shape[-2:], size, strict=True):
        matrix = np.zeros((new, old))
        for row in range(new):
            if new >= old:
                at = min(max((row + 0.5) * old / new - 0.5, 0), old - 1)
                matrix[row, int(at)] += 1 - at % 1
                matrix[row, min(int(at) + 1, old - 1)] += at % 1
            else:
                for column in range(old):
                    covered = min((row + 1) * old, (column + 1) * new) - max(row * old, column * new)
                    matrix[row, column] = max(covered, 0) / old
        sides.append(matrix)
    resized: np.ndarray = sides[0] @ maps @ sides[1].T
    return resized


@pytest.mark.parametrize("size", [(288, 144), (17, 5), (5, 17), (7, 7), (11, 3), (1, 8), (12, 1), (13, 9)])
def test_agrees_with_matrices_and_uses_none(size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    expected = by_matrices(MAPS.astype(np.float64), size)

    def refuse(*_: object) -> None:
        raise AssertionError("a matrix product: its threads make several processes wait for each other")

    monkeypatch.setattr(np, "matmul", refuse)
    found = resize_maps(MAPS, size)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=3e-7)


@pytest.mark.parametrize("size", [(24, 16), (6, 4), (7, 5), (12, 8)])
def test_labels_are_torchs_nearest_exact(size: tuple[int, int]) -> None:
    labels = np.random.default_rng(1).integers(0, 20, (12, 8), dtype=np.uint8)
    expected = F.interpolate(torch.from_numpy(labels)[None, None], size, mode="nearest-exact")[0, 0]
    assert np.array_equal(resize_labels(labels, size), expected.numpy())
