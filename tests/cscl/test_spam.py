"""SPAM's guided pooling, the schedule of alpha and the distribution of part labels, against loops."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from cscl.spam import SPAM, alpha_schedule, mask_distribution

RNG = torch.Generator().manual_seed(5)
CHANNELS, PARTS, TAU = 8, 3, 0.1


def spam() -> SPAM:
    module = SPAM(CHANNELS, PARTS, identities=5, part_dim=6, tau=TAU).eval()
    with torch.no_grad():
        module.head.weight.copy_(torch.randn(module.head.weight.shape, generator=RNG))
    return module


def features() -> Tensor:
    return torch.rand(2, CHANNELS, 6, 4, generator=RNG)


def masks(height: int = 6, width: int = 4) -> Tensor:
    return torch.randn(2, PARTS + 1, height, width, generator=RNG).softmax(1)


def average_under(x: Tensor, mask: Tensor) -> Tensor:
    total = sum(mask[h, w] * x[:, h, w] for h in range(mask.shape[0]) for w in range(mask.shape[1]))
    return total / (mask.sum() + 1e-6)


def test_guided_pooling_equals_its_equations() -> None:
    module, x, m, alpha = spam(), features(), masks(), torch.tensor([0.25, 0.8])
    out = module(x, m, alpha)
    p = module.head(module.norm(x)).softmax(1)
    torch.testing.assert_close(out.attention, p)
    for b in range(2):
        g = (1 - alpha[b]) * p[b] + alpha[b] * m[b]
        torch.testing.assert_close(out.guide[b], g)
        torch.testing.assert_close(out.foreground[b], average_under(x[b], 1 - g[0]))
        for q in range(PARTS):
            f = average_under(x[b], g[q + 1])
            torch.testing.assert_close(out.pooled[b, q], f)
            torch.testing.assert_close(out.projected[b, q], module.project[q](f))
            assert out.visibility[b, q].item() == pytest.approx(min(1, g[q + 1].sum().item() / (TAU * 24)), rel=1e-5)
            necked = module.necks[q](out.projected[:, q])
            torch.testing.assert_close(out.necked[b, q], necked.feature[b])
            torch.testing.assert_close(out.part_logits[b, q], necked.logits[b])


def test_alpha_1_pools_exactly_the_cached_parts() -> None:
    x = features()
    labels = torch.randint(0, PARTS + 1, (2, 6, 4), generator=RNG)
    out = spam()(x, mask_distribution(labels, PARTS, (6, 4)), torch.ones(2))
    for b in range(2):
        for q in range(PARTS):
            torch.testing.assert_close(out.pooled[b, q], x[b][:, labels[b] == q + 1].mean(1), rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(out.foreground[b], x[b][:, labels[b] > 0].mean(1), rtol=1e-5, atol=1e-6)


def test_alpha_0_or_none_does_not_see_the_masks() -> None:
    module, x = spam(), features()
    own = module(x)
    for out in (module(x, masks(), torch.zeros(2)), module(x, masks())):
        assert torch.equal(out.pooled, own.pooled)
    assert torch.equal(own.guide, own.attention)


def test_alpha_without_masks_is_refused() -> None:
    with pytest.raises(ValueError, match="alpha is given without masks"):
        spam()(features(), alpha=torch.ones(2))


def test_masks_of_another_size_are_resized_by_area() -> None:
    module, x, fine = spam(), features(), masks(24, 16)
    coarse = fine.unflatten(3, (4, 4)).unflatten(2, (6, 4)).mean((3, 5))
    one = torch.ones(2)
    torch.testing.assert_close(module(x, fine, one).pooled, module(x, coarse, one).pooled)


def test_a_part_that_is_not_there_is_invisible_and_pools_nothing() -> None:
    labels = torch.zeros(2, 6, 4, dtype=torch.long)
    labels[:, :3] = 1
    out = spam()(features(), mask_distribution(labels, PARTS, (6, 4)), torch.ones(2))
    assert out.visibility.tolist() == [[1, 0, 0]] * 2
    assert not out.pooled[:, 1:].any()
    assert out.pooled[:, 0].any()


def test_flipped_features_and_masks_pool_the_same_under_flipped_maps() -> None:
    module, x, m, alpha = spam(), features(), masks(12, 8), torch.tensor([1.0, 0.4])
    out, mirrored = module(x, m, alpha), module(x.flip(3), m.flip(3), alpha)
    torch.testing.assert_close(mirrored.attention, out.attention.flip(3))
    torch.testing.assert_close(mirrored.guide, out.guide.flip(3))
    torch.testing.assert_close(mirrored.pooled, out.pooled)
    torch.testing.assert_close(mirrored.visibility, out.visibility)


def test_alpha_falls_from_1_to_0_over_the_first_half() -> None:
    assert [alpha_schedule(t) for t in (0, 0.125, 0.25, 0.5, 0.75, 1)] == [1, 0.75, 0.5, 0, 0, 0]
    for outside in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="not in"):
            alpha_schedule(outside)


def test_the_distribution_of_labels_counts_the_labelled_pixels_of_each_cell() -> None:
    labels = torch.randint(0, PARTS + 2, (2, 8, 6), generator=RNG)
    labels[labels == PARTS + 1] = 255
    labels[1, :2, :3] = 255
    found = mask_distribution(labels.to(torch.uint8), PARTS, (4, 2))
    for b in range(2):
        for h in range(4):
            for w in range(2):
                cell = [v for v in labels[b, 2 * h : 2 * h + 2, 3 * w : 3 * w + 3].flatten().tolist() if v != 255]
                slow = [cell.count(k) / len(cell) for k in range(PARTS + 1)] if cell else [1] + [0] * PARTS
                assert found[b, :, h, w].tolist() == pytest.approx(slow, abs=1e-6)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (torch.full((1, 4, 4), 9), "hold 9, which is neither in 0..3 nor 255"),
        (torch.full((1, 4, 4), -1), "hold -1"),
        (torch.zeros(1, 4, 4), "float32"),
        (torch.zeros(4, 4, dtype=torch.long), "give integers"),
    ],
)
def test_labels_of_another_scheme_or_kind_are_refused(labels: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        mask_distribution(labels, PARTS, (2, 2))


def slow_spam(module: SPAM, x: Tensor, m: Tensor, alpha: Tensor) -> list[Tensor]:
    """Foreground, pooled, projected, visibility and logits of classes and people, cell by cell (norms in eval mode)."""
    found: list[list[Tensor]] = [[], [], [], [], [], []]
    n = module.norm
    for b, image in enumerate(x):
        scaled = [(c - n.running_mean[k]) / (n.running_var[k] + n.eps) ** 0.5 * n.weight[k] + n.bias[k]
                  for k, c in enumerate(image)]  # fmt: skip
        head = module.head.weight[:, :, 0, 0]
        logits = torch.stack([sum(w * c for w, c in zip(row, scaled, strict=True)) for row in head])
        logits = logits + module.head.bias[:, None, None]
        p = logits.exp() / logits.exp().sum(0)
        g = (1 - alpha[b]) * p + alpha[b] * m[b]
        pooled = [average_under(image, g[q + 1]) for q in range(PARTS)]
        projected = [linear.weight @ f for linear, f in zip(module.project, pooled, strict=True)]
        people = []
        for neck, f in zip(module.necks, projected, strict=True):
            unit = (f - neck.norm.running_mean) / (neck.norm.running_var + neck.norm.eps) ** 0.5
            people.append(neck.classifier.weight @ (unit * neck.norm.weight + neck.norm.bias))
        visible = torch.stack([(g[q + 1].sum() / (TAU * 24)).clamp(max=1) for q in range(PARTS)])
        values = (average_under(image, 1 - g[0]), torch.stack(pooled), torch.stack(projected), visible, logits,
                  torch.stack(people))  # fmt: skip
        for column, value in zip(found, values, strict=True):
            column.append(value)
    return [torch.stack(column) for column in found]


def outputs(module: SPAM, x: Tensor, m: Tensor, alpha: Tensor) -> list[Tensor]:
    out = module(x, m, alpha)
    return [out.foreground, out.pooled, out.projected, out.visibility, out.logits, out.part_logits]


def test_spam_equals_its_loops_with_gradient() -> None:
    module, x, alpha = spam(), features().requires_grad_(), torch.tensor([0.25, 0.8])
    m = masks()
    fast, slow = outputs(module, x, m, alpha), slow_spam(module, x, m, alpha)
    weights = [torch.randn(value.shape, generator=RNG) for value in fast]
    for a, b in zip(fast, slow, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
    learned = [p for n, p in module.named_parameters() if p.requires_grad and "foreground_neck" not in n]
    gradients = [
        torch.autograd.grad(sum((w * v).sum() for w, v in zip(weights, values, strict=True)), [x, *learned])
        for values in (fast, slow)
    ]
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)


def test_bf16_is_near_float32_in_value_and_gradient(near_in_bf16: Callable[..., None]) -> None:
    module, x, m, alpha = spam(), features().requires_grad_(), masks(), torch.tensor([0.25, 0.8])
    learned = [p for n, p in module.named_parameters() if p.requires_grad and "foreground_neck" not in n]
    near_in_bf16(lambda: outputs(module, x, m, alpha), [x, *learned])


def test_a_flipped_image_with_a_flipped_mask_gives_the_parts_of_the_other_side() -> None:
    flipped = torch.tensor([0, 2, 1, 3])  # parts 1 and 2 are a left and a right one
    module, x = spam(), features()
    labels = torch.randint(0, PARTS + 1, (2, 6, 4), generator=RNG)
    mirrored = flipped[labels.flip(2)]
    one = torch.ones(2)
    out = module(x, mask_distribution(labels, PARTS, (6, 4)), one)
    other = module(x.flip(3), mask_distribution(mirrored, PARTS, (6, 4)), one)
    sides = (flipped[1:] - 1).tolist()
    torch.testing.assert_close(other.pooled, out.pooled[:, sides])
    torch.testing.assert_close(other.visibility, out.visibility[:, sides])
    torch.testing.assert_close(other.foreground, out.foreground)
    assert not torch.allclose(other.pooled, out.pooled)


@pytest.mark.parametrize("labels", [0, 255, 2], ids=["an empty mask", "all ignored", "one part everywhere"])
@pytest.mark.parametrize("autocast", [False, True], ids=["float32", "bf16"])
def test_masks_without_parts_keep_values_and_gradients_finite(labels: int, autocast: bool) -> None:
    module, x = spam().train(), features().requires_grad_()
    m = mask_distribution(torch.full((2, 6, 4), labels), PARTS, (6, 4))
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        out = module(x, m, torch.ones(2))
    sum(v.float().square().sum() for v in out).backward()
    assert all(v.isfinite().all() for v in out)
    for value in (x, *module.parameters()):
        assert value.grad is None or value.grad.isfinite().all()
