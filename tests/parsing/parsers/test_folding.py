"""Folding batch norms: the same answers, and only where a convolution comes right before."""

import pytest
import torch
from torch import nn

from parsing.parsers.folding import fold_batch_norms
from parsing.parsers.sources import BUILT_IN
from parsing.parsers.street import load_street
from parsing.parsers.street_network import StreetNetwork


def disturbed(network: nn.Module) -> nn.Module:
    """Batch norms of a network that has learnt something."""
    generator = torch.Generator().manual_seed(0)
    for norm in (m for m in network.modules() if isinstance(m, nn.BatchNorm2d)):
        for values in (norm.running_mean, norm.running_var, norm.weight.data, norm.bias.data):
            assert values is not None
            values.copy_(torch.rand(values.shape, generator=generator) + 0.5)
    return network.eval()


def test_the_built_in_network_has_no_batch_norm_left_and_answers_as_before() -> None:
    network, config, _ = load_street(BUILT_IN)
    images = torch.randn((1, 3, *config.input_size), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        before = network.eval()(images)
        after = fold_batch_norms(network, images)(images)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in network.modules())
    assert torch.allclose(before, after, atol=1e-3)
    assert (before.argmax(1) == after.argmax(1)).float().mean() > 0.9999


@pytest.mark.parametrize("encoder", ["tu-resnet10t", "resnet18", "densenet121"])
def test_other_networks_answer_as_before(encoder: str) -> None:
    network = disturbed(StreetNetwork("unet", encoder, {"decoder_channels": [8] * 5}).build())
    images = torch.rand((1, 3, 64, 32), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        before = network(images)
        after = fold_batch_norms(network, images)(images)
    assert torch.allclose(before, after, rtol=1e-3, atol=1e-3 * float(before.abs().max()))


def test_a_norm_behind_something_else_stays() -> None:
    network = disturbed(nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.BatchNorm2d(4)))
    folded = fold_batch_norms(network, torch.zeros(1, 3, 2, 2))
    assert isinstance(folded.get_submodule("2"), nn.BatchNorm2d)
