"""SPAM's guided pooling, the schedule of alpha and the distribution of part labels, against loops."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn.functional import conv2d

from cscl.neck import BNNeck
from cscl.spam import SPAM, alpha_schedule, mask_distribution

RNG = torch.Generator().manual_seed(5)
EARLIER, CHANNELS, PARTS, TAU = 4, 8, 3, 0.1


def spam(pulled: bool = True, pooling: str = "parsing") -> SPAM:
    module = SPAM((EARLIER, CHANNELS), PARTS, identities=5, part_dim=6, tau=TAU, pulled=pulled, pooling=pooling).eval()
    if pooling == "parsing":
        with torch.no_grad():
            module.head.weight.copy_(torch.randn(module.head.weight.shape, generator=RNG))
    return module


def earlier() -> Tensor:
    return torch.rand(2, EARLIER, 6, 4, generator=RNG)


def features() -> Tensor:
    return torch.rand(2, CHANNELS, 6, 4, generator=RNG)


def masks(height: int = 6, width: int = 4) -> Tensor:
    return torch.randn(2, PARTS + 1, height, width, generator=RNG).softmax(1)


def spread(mask: Tensor) -> Tensor:
    return mask / (mask.sum() + 1e-6)


def pooled_under(x: Tensor, weights: Tensor) -> Tensor:
    cells = [(h, w) for h in range(weights.shape[0]) for w in range(weights.shape[1])]
    return torch.stack([weights[h, w] * x[:, h, w] for h, w in cells]).sum(0)


def test_guided_pooling_equals_its_equations() -> None:
    module, before, x, m, alpha = spam(), earlier(), features(), masks(), torch.tensor([0.25, 0.8])
    out = module(before, x, m, alpha)
    p = conv2d(module.norm(torch.cat([before, x], 1)), module.head.weight, module.head.bias).softmax(1)
    torch.testing.assert_close(out.attention, p)
    seen = out.shown.sigmoid()
    for b in range(2):
        a = alpha[b]
        foreground = (1 - a) * spread(1 - p[b, 0]) + a * spread(1 - m[b, 0])
        torch.testing.assert_close(out.foreground[b], pooled_under(x[b], foreground))
        for q in range(PARTS):
            f = pooled_under(x[b], (1 - a) * spread(p[b, q + 1]) + a * spread(m[b, q + 1]))
            torch.testing.assert_close(out.pooled[b, q], f)
            torch.testing.assert_close(out.projected[b, q], module.project[q](f))
            v = (1 - a) * seen[b, q] + a * min(1, m[b, q + 1].sum().item() / (TAU * 24))
            assert out.visibility[b, q].item() == pytest.approx(v.item(), rel=1e-5)
            necked = module.necks[q](out.projected[:, q])
            torch.testing.assert_close(out.necked[b, q], necked.feature[b])
            torch.testing.assert_close(out.part_logits[b, q], necked.logits[b])


def test_parts_of_two_stages_average_both_and_the_foreground_the_last() -> None:
    before, x, m, alpha = earlier(), features(), masks(), torch.tensor([0.25, 0.8])
    module = SPAM((EARLIER, CHANNELS), PARTS, identities=5, part_dim=6, tau=TAU, stages=2).eval()
    out = module(before, x, m, alpha)
    p = conv2d(module.norm(torch.cat([before, x], 1)), module.head.weight, module.head.bias).softmax(1)
    for b in range(2):
        a = alpha[b]
        foreground = (1 - a) * spread(1 - p[b, 0]) + a * spread(1 - m[b, 0])
        torch.testing.assert_close(out.foreground[b], pooled_under(x[b], foreground))
        for q in range(PARTS):
            weights = (1 - a) * spread(p[b, q + 1]) + a * spread(m[b, q + 1])
            f = torch.cat([pooled_under(before[b], weights), pooled_under(x[b], weights)])
            torch.testing.assert_close(out.pooled[b, q], f)
            torch.testing.assert_close(out.projected[b, q], module.project[q](f))


def test_alpha_1_pools_exactly_the_cached_parts_whatever_p_is() -> None:
    before, x = earlier(), features()
    labels = torch.randint(0, PARTS + 1, (2, 6, 4), generator=RNG)
    given = mask_distribution(labels, PARTS, (6, 4))
    for certain in (0.0, 1.0, 1000.0):
        module = spam()
        with torch.no_grad():
            module.head.weight.mul_(certain)
        out = module(before, x, given, torch.ones(2))
        for b in range(2):
            for q in range(PARTS):
                torch.testing.assert_close(out.pooled[b, q], x[b][:, labels[b] == q + 1].mean(1), rtol=1e-5, atol=1e-6)
            torch.testing.assert_close(out.foreground[b], x[b][:, labels[b] > 0].mean(1), rtol=1e-5, atol=1e-6)


def test_a_small_part_has_alphas_share_of_the_weight_however_unsure_p_is() -> None:
    """The first form mixed the maps themselves: one cell against P everywhere had 15 % of the weight at alpha 1."""
    labels = torch.zeros(2, 6, 4, dtype=torch.long)
    labels[:, 5, 1] = 2
    x = torch.zeros(2, CHANNELS, 6, 4)
    x[:, :, 5, 1] = 1
    module = spam()
    with torch.no_grad():
        module.head.weight.zero_()
    for alpha in (0.5, 1.0):
        pooled = module(earlier(), x, mask_distribution(labels, PARTS, (6, 4)), torch.full((2,), alpha)).pooled[:, 1]
        torch.testing.assert_close(pooled, torch.full_like(pooled, alpha + (1 - alpha) / 24), rtol=1e-4, atol=1e-5)


def test_alpha_0_or_none_does_not_see_the_masks() -> None:
    module, before, x = spam(), earlier(), features()
    own = module(before, x)
    for out in (module(before, x, masks(), torch.zeros(2)), module(before, x, masks())):
        assert torch.equal(out.pooled, own.pooled)
        assert torch.equal(out.visibility, own.visibility)


def test_alpha_without_masks_is_refused() -> None:
    with pytest.raises(ValueError, match="alpha is given without masks"):
        spam()(earlier(), features(), alpha=torch.ones(2))


def test_masks_of_another_size_are_resized_by_area() -> None:
    module, before, x, fine = spam(), earlier(), features(), masks(24, 16)
    coarse = fine.unflatten(3, (4, 4)).unflatten(2, (6, 4)).mean((3, 5))
    one = torch.ones(2)
    torch.testing.assert_close(module(before, x, fine, one).pooled, module(before, x, coarse, one).pooled)


def test_a_part_that_the_mask_does_not_show_is_invisible_and_pooled_under_p() -> None:
    labels = torch.zeros(2, 6, 4, dtype=torch.long)
    labels[:, :3] = 1
    module, before, x = spam(), earlier(), features()
    out = module(before, x, mask_distribution(labels, PARTS, (6, 4)), torch.ones(2))
    assert out.visibility.tolist() == [[1, 0, 0]] * 2
    torch.testing.assert_close(out.pooled[:, 1:], module(before, x).pooled[:, 1:])


def test_visibility_is_told_from_what_is_where_the_part_would_be() -> None:
    module, before, x = spam(), earlier(), features()
    with torch.no_grad():
        module.shown.weight.copy_(torch.randn(module.shown.weight.shape, generator=RNG))
    out = module(before, x)
    both = module.norm(torch.cat([before, x], 1))
    for b in range(2):
        for q in range(PARTS):
            p = out.attention[b, q + 1]
            told = torch.cat([pooled_under(both[b], spread(p)), p.mean()[None], p.max()[None]])
            logit = module.shown.weight[q] @ told + module.shown.bias[q]
            torch.testing.assert_close(out.shown[b, q], logit, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(out.visibility, out.shown.sigmoid())
    assert torch.equal(spam()(before, x).visibility, torch.full((2, PARTS), 0.5))  # before it has learnt


def test_other_losses_pull_at_p_only_if_they_may() -> None:
    for pulled in (False, True):
        module = spam(pulled)
        out = module(earlier(), features().requires_grad_(), masks(), torch.tensor([0.0, 0.5]))
        out.pooled.square().sum().backward()
        assert (module.head.weight.grad is not None) == pulled
        assert out.logits.requires_grad
        assert out.attention.requires_grad
        assert not out.visibility.requires_grad


def test_stripes_pool_bands_of_one_height_and_global_heads_everything() -> None:
    x = features()
    out = spam(pooling="stripes")(earlier(), x, masks(), torch.ones(2))
    for q in range(PARTS):
        torch.testing.assert_close(out.pooled[:, q], x[:, :, 2 * q : 2 * q + 2].mean((2, 3)), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(out.foreground, x.mean((2, 3)), rtol=1e-4, atol=1e-5)
    assert out.logits is None
    assert bool((out.visibility == 1).all())
    whole = spam(pooling="global")(earlier(), x)
    for q in range(PARTS):
        torch.testing.assert_close(whole.pooled[:, q], x.mean((2, 3)), rtol=1e-4, atol=1e-5)


def test_a_row_that_two_stripes_share_counts_half_in_each() -> None:
    x = torch.rand(2, CHANNELS, 7, 4, generator=RNG)
    module = SPAM((EARLIER, CHANNELS), 2, identities=5, part_dim=6, tau=TAU, pooling="stripes").eval()
    pooled = module(torch.rand(2, EARLIER, 7, 4, generator=RNG), x).pooled
    rows = x.mean(3)
    torch.testing.assert_close(pooled[:, 0], (rows[..., :3].sum(2) + rows[..., 3] / 2) / 3.5, rtol=1e-4, atol=1e-5)


def test_an_unknown_pooling_is_named() -> None:
    with pytest.raises(ValueError, match="no part pooling 'boxes'; choose one of parsing, stripes, global"):
        SPAM((EARLIER, CHANNELS), PARTS, identities=5, part_dim=6, tau=TAU, pooling="boxes")


def test_flipped_features_and_masks_pool_the_same_under_flipped_maps() -> None:
    module, before, x, m, alpha = spam(), earlier(), features(), masks(12, 8), torch.tensor([1.0, 0.4])
    out, mirrored = module(before, x, m, alpha), module(before.flip(3), x.flip(3), m.flip(3), alpha)
    torch.testing.assert_close(mirrored.attention, out.attention.flip(3))
    torch.testing.assert_close(mirrored.pooled, out.pooled)
    torch.testing.assert_close(mirrored.visibility, out.visibility)


def test_alpha_falls_from_1_to_0_over_the_guided_share() -> None:
    assert [alpha_schedule(t, 0.5) for t in (0, 0.125, 0.25, 0.5, 0.75, 1)] == [1, 0.75, 0.5, 0, 0, 0]
    assert alpha_schedule(0, 0) == 0


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


def slow_spam(module: SPAM, before: Tensor, x: Tensor, m: Tensor, alpha: Tensor) -> list[Tensor]:
    """Foreground, pooled, projected and logits of classes and people, cell by cell (norms in eval mode)."""
    found: list[list[Tensor]] = [[], [], [], [], []]
    n, mean, variance = module.norm, module.get_buffer("norm.running_mean"), module.get_buffer("norm.running_var")
    for b, image in enumerate(x):
        scaled = [(c - mean[k]) / (variance[k] + n.eps) ** 0.5 * n.weight[k] + n.bias[k]
                  for k, c in enumerate([*before[b], *image])]  # fmt: skip
        head = module.head.weight[:, :, 0, 0]
        logits = torch.stack([sum(w * c for w, c in zip(row, scaled, strict=True)) for row in head])
        logits = logits + module.get_parameter("head.bias")[:, None, None]
        p = logits.exp() / logits.exp().sum(0)
        a = alpha[b]
        weights = [(1 - a) * spread(p[q + 1]) + a * spread(m[b, q + 1]) for q in range(PARTS)]
        pooled = [pooled_under(image, w) for w in weights]
        projected = [module.get_parameter(f"project.{q}.weight") @ f for q, f in enumerate(pooled)]
        people = []
        for neck, f in zip(module.necks, projected, strict=True):
            assert isinstance(neck, BNNeck)
            norm = neck.norm
            unit = (f - neck.get_buffer("norm.running_mean")) / (neck.get_buffer("norm.running_var") + norm.eps) ** 0.5
            people.append(neck.classifier.weight @ (unit * norm.weight + norm.bias))
        foreground = pooled_under(image, (1 - a) * spread(1 - p[0]) + a * spread(1 - m[b, 0]))
        values = (foreground, torch.stack(pooled), torch.stack(projected), logits, torch.stack(people))
        for column, value in zip(found, values, strict=True):
            column.append(value)
    return [torch.stack(column) for column in found]


def outputs(module: SPAM, before: Tensor, x: Tensor, m: Tensor, alpha: Tensor) -> list[Tensor]:
    out = module(before, x, m, alpha)
    return [out.foreground, out.pooled, out.projected, out.logits, out.part_logits]


def learned_from(module: SPAM) -> list[Tensor]:
    """What the outputs below depend on: all but the foreground's neck and the visibility head."""
    left_out = ("foreground_neck", "shown")
    return [p for n, p in module.named_parameters() if p.requires_grad and not n.startswith(left_out)]


def test_spam_equals_its_loops_with_gradient() -> None:
    module, x, alpha = spam(), features().requires_grad_(), torch.tensor([0.25, 0.8])
    before, m = earlier().requires_grad_(), masks()
    fast, slow = (
        outputs(module, before=before, x=x, m=m, alpha=alpha),
        slow_spam(module, before=before, x=x, m=m, alpha=alpha),
    )
    weights = [torch.randn(value.shape, generator=RNG) for value in fast]
    for a, b in zip(fast, slow, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
    learned = learned_from(module)
    gradients = [
        torch.autograd.grad(
            torch.stack([(w * v).sum() for w, v in zip(weights, values, strict=True)]).sum(), [before, x, *learned]
        )
        for values in (fast, slow)
    ]
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)


def test_bf16_is_near_float32_in_value_and_gradient(near_in_bf16: Callable[..., None]) -> None:
    module, x, m, alpha = spam(), features().requires_grad_(), masks(), torch.tensor([0.25, 0.8])
    learned = learned_from(module)
    before = earlier()
    near_in_bf16(lambda: outputs(module, before=before, x=x, m=m, alpha=alpha), [x, *learned])


def test_a_flipped_image_with_a_flipped_mask_gives_the_parts_of_the_other_side() -> None:
    flipped = torch.tensor([0, 2, 1, 3])  # parts 1 and 2 are a left and a right one
    module, before, x = spam(), earlier(), features()
    labels = torch.randint(0, PARTS + 1, (2, 6, 4), generator=RNG)
    mirrored = flipped[labels.flip(2)]
    one = torch.ones(2)
    out = module(before, x, mask_distribution(labels, PARTS, (6, 4)), one)
    other = module(before.flip(3), x.flip(3), mask_distribution(mirrored, PARTS, (6, 4)), one)
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
        out = module(earlier(), x, m, torch.ones(2))
    sum(v.float().square().sum() for v in out).backward()
    assert all(v.isfinite().all() for v in out)
    for value in (x, *module.parameters()):
        assert value.grad is None or value.grad.isfinite().all()
