"""The two-stem ResNet: shapes, modalities in any order, non-local blocks and torchvision's weights."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import timm
import torch
import torchvision
from torch import Tensor

from cscl.backbone import BACKBONES, Backbone, NonLocal

RNG = torch.Generator().manual_seed(8)
MIXED = torch.tensor([True, False, False, True, False])


@pytest.fixture(autouse=True)
def same_initial_weights() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


@pytest.fixture
def backbone() -> Backbone:
    """A resnet18 in eval mode whose stems differ."""
    net = Backbone("resnet18").eval()
    with torch.no_grad():
        weight = net.get_parameter("infrared_stem.conv1.weight")
        weight.copy_(torch.randn(weight.shape, generator=RNG))
    return net


def images(batch: int = 5) -> Tensor:
    return torch.randn(batch, 3, 32, 16, generator=RNG)


@torch.no_grad()
def run(net: Backbone, x: Tensor, infrared: Tensor, last: int = 4) -> Tensor:
    x = net.stem(x, infrared)
    for stage in range(1, last + 1):
        x = net.stage(stage, x)
        assert x.shape[1] == net.channels[stage]
    return x


@torch.no_grad()
def with_statistics(reference: Any) -> Any:
    """The network in eval mode with running statistics as if it had been trained."""
    for buffer in (b for n, b in reference.named_buffers() if "running" in n):
        buffer.copy_(torch.rand(buffer.shape, generator=RNG) + 0.5)
    return reference.eval()


@pytest.mark.parametrize("name", BACKBONES)
def test_the_map_of_a_288x144_image_is_18x9(name: str) -> None:
    out = run(Backbone(name).eval(), torch.zeros(1, 3, 288, 144), torch.tensor([False]))
    assert out.shape == (1, {"resnet50": 2048, "efficientnet_lite0": 320}.get(name, 512), 18, 9)


def test_each_image_takes_the_stem_of_its_modality_wherever_it_stands(backbone: Backbone) -> None:
    x = images()
    out = backbone.stem(x, MIXED)
    for i, infrared in enumerate(MIXED.tolist()):
        own = backbone.infrared_stem if infrared else backbone.visible_stem
        torch.testing.assert_close(out[i : i + 1], own(x[i : i + 1]), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(backbone.infrared_stem(x[:1]), backbone.visible_stem(x[:1]), atol=1e-2)


@pytest.mark.parametrize("infrared", [False, True])
def test_an_absent_modality_leaves_its_stem_untouched(backbone: Backbone, infrared: bool) -> None:
    backbone.train()
    present, absent = backbone.visible_stem, backbone.infrared_stem
    if infrared:
        present, absent = absent, present
    before = {k: v.clone() for k, v in absent.state_dict().items()}
    backbone.stem(images(), torch.full((5,), infrared))
    assert all(torch.equal(v, before[k]) for k, v in absent.state_dict().items())
    assert present.get_buffer("bn1.num_batches_tracked") == 1


@pytest.mark.filterwarnings("ignore:.*deprecated:FutureWarning")
@pytest.mark.parametrize("how", ["trace", "export"])
def test_a_captured_backbone_takes_other_mixtures_than_it_was_captured_with(backbone: Backbone, how: str) -> None:
    class Stems(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = backbone

        def forward(self, x: Tensor, infrared: Tensor) -> Tensor:
            return self.net.stem(x, infrared)

    x = images()
    with torch.no_grad():
        if how == "trace":
            captured = torch.jit.trace(Stems().eval(), (x, MIXED))
        else:
            captured = torch.export.export(Stems().eval(), (x, MIXED)).module()
        for infrared in (MIXED, ~MIXED, torch.ones(5, dtype=torch.bool)):
            torch.testing.assert_close(captured(x, infrared), backbone.stem(x, infrared), rtol=1e-4, atol=1e-5)


def test_non_local_blocks_start_as_the_identity_and_sit_where_agw_has_them() -> None:
    net = Backbone("resnet34", non_local=True).eval()
    assert {k: len(v) for k, v in net.non_local.items()} == {"layer2": 2, "layer3": 3}  # type: ignore[arg-type]
    plain = Backbone("resnet34").eval()
    plain.load_state_dict({k: v for k, v in net.state_dict().items() if not k.startswith("non_local.")})
    x, infrared = images(1), torch.tensor([True])
    assert torch.equal(run(net, x, infrared), run(plain, x, infrared))
    with torch.no_grad():
        net.state_dict()["non_local.layer3.0.out.1.weight"].fill_(1)
    assert not torch.equal(run(net, x, infrared), run(plain, x, infrared))


def test_non_local_blocks_compare_cells_in_as_many_channels_as_asked_for() -> None:
    inner = [
        [block.query.out_channels for block in Backbone("resnet18", True, channels).non_local["layer2"]]  # type: ignore
        for channels in (0, 1)
    ]
    assert inner == [[64, 64], [1, 1]]


def test_a_shallow_stage_takes_one_non_local_block_a_residual_block() -> None:
    net = Backbone("resnet18", non_local=True)
    assert {k: len(v) for k, v in net.non_local.items()} == {"layer2": 2, "layer3": 2}  # type: ignore[arg-type]


def test_a_non_local_block_adds_the_mean_of_the_values_weighted_by_resemblance() -> None:
    block = NonLocal(4).eval()
    with torch.no_grad():
        block.state_dict()["out.1.weight"].fill_(1)
    x = torch.randn(1, 4, 3, 2, generator=RNG)
    query, key, value = (m(x)[0].flatten(1) for m in (block.query, block.key, block.value))
    mixed = torch.stack([sum((query[:, i] @ key[:, j]) * value[:, j] / 6 for j in range(6)) for i in range(6)], 1)
    torch.testing.assert_close(block(x), x + block.out(mixed.view(1, 2, 3, 2)))


def test_torchvision_weights_fill_both_stems_and_the_layers() -> None:
    reference = with_statistics(torchvision.models.resnet18(weights=None))
    net = Backbone("resnet18", non_local=True).eval()
    net.load(reference.state_dict())
    x = images()
    with torch.no_grad():
        expected = reference.maxpool(reference.relu(reference.bn1(reference.conv1(x))))
        expected = reference.layer3(reference.layer2(reference.layer1(expected)))
    torch.testing.assert_close(run(net, x, MIXED, last=3), expected, rtol=1e-4, atol=1e-5)
    assert torch.equal(net.get_parameter("layer4.1.conv2.weight"), reference.layer4[1].conv2.weight)
    assert net.get_parameter("visible_stem.conv1.weight") is not net.get_parameter("infrared_stem.conv1.weight")


def test_timms_weights_fill_both_stems_and_the_layers() -> None:
    reference = with_statistics(timm.create_model("tf_efficientnet_lite0", pretrained=False))
    net = Backbone("efficientnet_lite0", non_local=True).eval()
    net.load(reference.state_dict())
    x = images()
    with torch.no_grad():
        expected = reference.blocks[:5](reference.bn1(reference.conv_stem(x)))
    torch.testing.assert_close(run(net, x, MIXED, last=3), expected, rtol=1e-4, atol=1e-5)
    assert torch.equal(net.get_parameter("layer4.4.conv_dw.weight"), reference.blocks[6][0].conv_dw.weight)
    with pytest.raises(ValueError, match=r"lack 'conv_stem.weight'; give the state dict of timm's"):
        net.load(torchvision.models.resnet18(weights=None).state_dict())


def test_foreign_weights_are_refused_by_name_and_change_nothing() -> None:
    net = Backbone("resnet18")
    good = {k: torch.zeros_like(v) for k, v in torchvision.models.resnet18(weights=None).state_dict().items()}
    without = {k: v for k, v in good.items() if k != "layer2.0.conv1.weight"}
    before = {k: v.clone() for k, v in net.state_dict().items()}
    for state, message in (
        (without, "lack 'layer2.0.conv1.weight'"),
        (
            {**good, "layer4.1.conv2.weight": torch.zeros(512, 512, 1, 1)},
            r"'layer4.1.conv2.weight' have shape \(512",
        ),
        ({**good, "layer1.7.conv1.weight": torch.zeros(1)}, "'layer1.7.conv1.weight' are unknown to this backbone"),
        ({}, "lack 'conv1.weight'"),
    ):
        with pytest.raises(ValueError, match=message):
            net.load(state)
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())


def test_weights_without_batch_counters_or_a_classifier_load() -> None:
    state = torchvision.models.resnet18(weights=None).state_dict()
    old = {k: v for k, v in state.items() if not k.endswith("num_batches_tracked") and not k.startswith("fc.")}
    net = Backbone("resnet18")
    net.load(old)
    assert torch.equal(net.get_parameter("infrared_stem.conv1.weight"), old["conv1.weight"])


def test_an_unknown_backbone_is_named() -> None:
    with pytest.raises(ValueError, match="no backbone 'vgg16'; choose one of resnet18"):
        Backbone("vgg16")


def test_a_non_local_block_has_the_gradient_of_its_loops_and_bf16_is_near(near_in_bf16: Callable[..., None]) -> None:
    block = NonLocal(4).eval()
    with torch.no_grad():
        block.state_dict()["out.1.weight"].fill_(1)
    x = torch.randn(2, 4, 3, 2, generator=RNG).requires_grad_()
    weight = torch.randn(x.shape, generator=RNG)
    slow = []
    for image in x:
        query, key, value = (m(image[None])[0].flatten(1) for m in (block.query, block.key, block.value))
        cells = [sum((query[:, i] @ key[:, j]) * value[:, j] / 6 for j in range(6)) for i in range(6)]
        slow.append(image + block.out(torch.stack(cells, 1).view(1, 2, 3, 2))[0])
    inputs = [x, *block.parameters()]
    for a, b in zip(
        torch.autograd.grad((block(x) * weight).sum(), inputs),
        torch.autograd.grad((torch.stack(slow) * weight).sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)
    near_in_bf16(lambda: [block(x)], inputs)


def test_the_number_of_visible_images_says_what_the_modality_of_each_says() -> None:
    backbone = Backbone("resnet18").eval()
    images = torch.randn(5, 3, 32, 16, generator=torch.Generator().manual_seed(0))
    for visible in range(6):
        infrared = torch.arange(5) >= visible
        assert torch.equal(backbone.stem(images, visible), backbone.stem(images, infrared))
