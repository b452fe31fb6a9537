"""GeM, averages under masks and the resizing of distributions, against loops."""

from collections.abc import Callable

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


def test_gem_with_exponent_1_is_average_pooling() -> None:
    features = rand(2, 3, 4, 5)
    torch.testing.assert_close(GeM(1.0)(features), features.mean((2, 3)))


def test_a_fixed_exponent_is_in_the_state_and_does_not_learn() -> None:
    pool = GeM(learned=False)
    assert not pool.p.requires_grad
    assert "p" in pool.state_dict()


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


def test_poolings_have_the_gradients_of_their_loops() -> None:
    features, masks, pool = rand(2, 3, 4, 5).requires_grad_(), rand(2, 2, 4, 5).requires_grad_(), GeM()
    slow_gem = [[(sum(v**pool.p for v in c.flatten()) / 20) ** (1 / pool.p) for c in b] for b in features]
    pairs = [(pool(features), torch.stack([torch.stack(row) for row in slow_gem]), [features, pool.p])]
    cells = [(h, w) for h in range(4) for w in range(5)]
    slow_average = [
        [sum(m[h, w] * b[:, h, w] for h, w in cells) / (sum(m[h, w] for h, w in cells) + 1e-6) for m in two]
        for b, two in zip(features, masks, strict=True)
    ]
    slow = torch.stack([torch.stack(row) for row in slow_average])
    pairs.append((masked_average(features, masks), slow, [features, masks]))
    for fast, loops, inputs in pairs:
        weight = torch.randn(fast.shape, generator=RNG)
        torch.testing.assert_close(fast, loops)
        torch.testing.assert_close(
            torch.autograd.grad((fast * weight).sum(), inputs),
            torch.autograd.grad((loops * weight).sum(), inputs),
            rtol=1e-4,
            atol=1e-6,
        )


def test_poolings_of_bf16_maps_are_summed_in_float32(near_in_bf16: Callable[..., None]) -> None:
    features, masks, pool = rand(2, 3, 64, 64).requires_grad_(), rand(2, 2, 64, 64), GeM()
    near_in_bf16(lambda: [pool(features), masked_average(features, masks)], [features, pool.p], share=0)
    # In bf16 a sum over 4096 cells would stop growing after a few hundred of them.
    half = features.detach().bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(pool(half), pool(half.float()))
        torch.testing.assert_close(masked_average(half, masks), masked_average(half.float(), masks))


def test_an_empty_mask_passes_no_gradient_and_no_infinity() -> None:
    features, masks = rand(1, 3, 4, 5).requires_grad_(), torch.zeros(1, 2, 4, 5, requires_grad=True)
    gradients = torch.autograd.grad(masked_average(features, masks).sum(), [features, masks])
    assert not gradients[0].any()
    assert gradients[1].isfinite().all()
