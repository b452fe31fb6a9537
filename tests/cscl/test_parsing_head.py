"""The parsing head beside torch's convolution."""

import pytest
import torch

from cscl.parsing_head import ParsingHead

RNG = torch.Generator().manual_seed(0)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last], ids=str)
def test_logits_and_gradients_are_those_of_a_1x1_convolution(memory_format: torch.memory_format) -> None:
    head = ParsingHead(12, 5)
    x = torch.randn(3, 12, 6, 4, generator=RNG).to(memory_format=memory_format).requires_grad_()
    weight = torch.randn(3, 5, 6, 4, generator=RNG)
    own, expected = head(x), torch.nn.functional.conv2d(x, head.weight, head.bias)
    torch.testing.assert_close(own, expected)
    inputs = [x, *head.parameters()]
    for a, b in zip(
        torch.autograd.grad((own * weight).sum(), inputs),
        torch.autograd.grad((expected * weight).sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
