"""The parsing head and the norm before it beside torch's own norm and convolution."""

import pytest
import torch
from torch.nn.functional import batch_norm, conv2d

from cscl.parsing_head import HeadNorm, ParsingHead, find_moments

RNG = torch.Generator().manual_seed(0)
PIECES = (8, 4)


def make_norm() -> HeadNorm:
    norm = HeadNorm(sum(PIECES))
    with torch.no_grad():
        for values in (norm.weight, norm.bias):
            values.copy_(torch.randn(values.shape, generator=RNG))
        norm.get_buffer("running_mean").copy_(torch.randn(sum(PIECES), generator=RNG))
        norm.get_buffer("running_var").copy_(torch.rand(sum(PIECES), generator=RNG) + 0.1)
    return norm


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last], ids=str)
def test_logits_gradients_and_statistics_are_those_of_a_norm_and_a_1x1_convolution(
    memory_format: torch.memory_format, training: bool
) -> None:
    norm, head = make_norm().train(training), ParsingHead(12, 5)
    mean, variance = (norm.get_buffer(f"running_{name}").clone() for name in ("mean", "var"))
    # Far from 0 beside its deviation, as after a ReLU, where a fold loses the most digits.
    x = (3 + torch.randn(3, 12, 6, 4, generator=RNG)).to(memory_format=memory_format).requires_grad_()
    pieces = [piece.contiguous(memory_format=memory_format) for piece in x.split(PIECES, 1)]
    weight = torch.randn(3, 5, 6, 4, generator=RNG)
    own = head(pieces, *norm.fold(pieces))
    normed = batch_norm(x, mean, variance, norm.weight, norm.bias, training=training)
    expected = conv2d(normed, head.weight, head.bias)
    torch.testing.assert_close(own, expected)
    inputs = [x, *norm.parameters(), *head.parameters()]
    for a, b in zip(
        torch.autograd.grad((own * weight).sum(), inputs),
        torch.autograd.grad((expected * weight).sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(norm.running_mean, mean)
    torch.testing.assert_close(norm.running_var, variance)
    assert norm.num_batches_tracked == int(training)


def test_moments_have_the_gradient_of_their_definition() -> None:
    x = torch.rand(2, 3, 4, 2, generator=RNG, dtype=torch.float64).requires_grad_()
    weights = torch.randn(2, 2, 3, generator=RNG, dtype=torch.float64)
    flat = x.flatten(2)
    mean = flat.mean(2)
    expected = mean, (flat - mean[:, :, None]).square().mean(2)
    found = find_moments(x)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a.double(), b, rtol=1e-6, atol=1e-7)
    own, right = (
        torch.autograd.grad(sum((w * m).sum() for w, m in zip(weights, moments, strict=True)), x)[0]
        for moments in (found, expected)
    )
    torch.testing.assert_close(own, right, rtol=1e-5, atol=1e-6)
