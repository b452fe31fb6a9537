"""GeM, averages under masks and the resizing of distributions, against loops."""

import pytest
import torch
from torch import Tensor

from cscl.pooling import GeM, masked_average, resize_distribution

RNG = torch.Generator().manual_seed(3)


def rand(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=RNG)


def test_gem_is_the_p_mean_of_each_channel() -> None:
    features = rand(2, 3, 4, 5)
    slow = torch.tensor([[(sum(float(v) ** 3 for v in c.flatten()) / 20) ** (1 / 3) for c in b] for b in features])
    torch.testing.assert_close(GeM()(features), slow)


def test_gem_with_exponent_1_or_below_is_average_pooling() -> None:
    features = rand(2, 3, 4, 5)
    for p in (1.0, 0.2):
        torch.testing.assert_close(GeM(p)(features), features.mean((2, 3)))


def test_gem_learns_its_exponent_and_survives_negative_and_zero_features() -> None:
    pool = GeM()
    features = (rand(2, 3, 4, 5) - 0.5).requires_grad_()
    pool(torch.cat([features, torch.zeros(1, 3, 4, 5)])).sum().backward()
    assert pool.p.grad is not None
    assert float(pool.p.grad) != 0
    assert pool.p.grad.isfinite()
    assert features.grad is not None
    assert features.grad.isfinite().all()


def test_masked_average_is_the_weighted_mean_of_the_cells_and_0_under_an_empty_mask() -> None:
    features, masks = rand(2, 3, 4, 5), rand(2, 2, 4, 5)
    masks[0, 1] = 0
    slow = torch.zeros(2, 2, 3)
    for b in range(2):
        for k in range(2):
            weight = sum(float(masks[b, k, h, w]) for h in range(4) for w in range(5)) + 1e-6
            for h in range(4):
                for w in range(5):
                    slow[b, k] += masks[b, k, h, w] * features[b, :, h, w] / weight
    torch.testing.assert_close(masked_average(features, masks), slow)
    assert not masked_average(features, masks)[0, 1].any()


def test_resizing_by_area_averages_blocks_and_keeps_distributions() -> None:
    distribution = rand(2, 3, 8, 4).softmax(1)
    small = resize_distribution(distribution, (4, 2))
    torch.testing.assert_close(small, distribution.unflatten(3, (2, 2)).unflatten(2, (4, 2)).mean((3, 5)))
    torch.testing.assert_close(small.sum(1), torch.ones(2, 4, 2))
    assert torch.equal(resize_distribution(distribution, (8, 4)), distribution)


@pytest.mark.parametrize("size", [(7, 3), (16, 8)])
def test_resizing_to_other_ratios_keeps_distributions(size: tuple[int, int]) -> None:
    assert resize_distribution(rand(2, 3, 8, 4).softmax(1), size).sum(1).sub(1).abs().max() < 1e-6
