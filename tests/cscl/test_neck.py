"""BNNeck: batch norm without a learned shift, then a classifier without a bias, against the formula."""

import torch

from cscl.neck import BNNeck

RNG = torch.Generator().manual_seed(12)


def test_it_equals_its_formula_with_gradient() -> None:
    neck = BNNeck(5, 3).train()
    with torch.no_grad():
        neck.norm.weight.copy_(torch.rand(5, generator=RNG) + 0.5)
        neck.classifier.weight.copy_(torch.randn(3, 5, generator=RNG))
    x = torch.randn(6, 5, generator=RNG).requires_grad_()
    fast = neck(x)
    columns = []
    for k in range(5):
        mean = sum(x[:, k]) / 6
        variance = sum((x[:, k] - mean) ** 2) / 6
        columns.append((x[:, k] - mean) / (variance + 1e-5) ** 0.5 * neck.norm.weight[k])
    necked = torch.stack(columns, 1)
    logits = torch.stack([torch.stack([(w * row).sum() for w in neck.classifier.weight]) for row in necked])
    torch.testing.assert_close(fast.feature, necked)
    torch.testing.assert_close(fast.logits, logits)
    inputs = [x, neck.norm.weight, neck.classifier.weight]
    weight = torch.randn(6, 3, generator=RNG)
    for a, b in zip(
        torch.autograd.grad((fast.logits * weight).sum() + fast.feature.square().sum(), inputs),
        torch.autograd.grad((logits * weight).sum() + necked.square().sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)


def test_the_shift_is_not_learned_and_the_classifier_has_none() -> None:
    neck = BNNeck(5, 3)
    assert [n for n, p in neck.named_parameters() if p.requires_grad] == ["norm.weight", "classifier.weight"]
    assert not neck.norm.bias.any()


def test_equal_features_and_bf16_keep_it_finite() -> None:
    neck = BNNeck(5, 3).train()
    x = torch.ones(4, 5, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = neck(x)
    out.logits.float().square().sum().backward()
    assert not out.feature.any()
    assert x.grad is not None
    assert x.grad.isfinite().all()
