"""PAM and its published forms against loops, and what a flip does to them."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn.functional import conv2d

from cscl.pam import PAM, PAM_GATES
from cscl.parsing_head import find_moments

RNG = torch.Generator().manual_seed(4)
CHANNELS, PARTS = 32, 3


def pam(gate: str, g: float = 0.7, rectified: bool = True) -> PAM:
    """In eval mode, so that its norm is a function of one image."""
    module = PAM(CHANNELS, parts=PARTS, gate=gate, rectified=rectified).eval()
    with torch.no_grad():
        for p in module.parameters():
            p.copy_(0.3 * torch.randn(p.shape, generator=RNG))
        module.g.fill_(g)
        module.get_buffer("norm.running_mean").copy_(torch.rand(CHANNELS, generator=RNG))
        module.get_buffer("norm.running_var").copy_(torch.rand(CHANNELS, generator=RNG) + 0.1)
    return module


def features() -> Tensor:
    """As after a ReLU."""
    return torch.rand(2, CHANNELS, 6, 4, generator=RNG)


def slow_pam(module: PAM, x: Tensor, gate: str) -> Tensor:
    """One image and one channel at a time, as docs/method.md writes it."""
    out, mean = torch.zeros_like(x), module.get_buffer("norm.running_mean")
    for b, image in enumerate(x):
        if module.head is not None:
            a0 = conv2d(module.norm(image[None]), module.head.weight, module.head.bias)[0].softmax(0)[0]
            fg = [(c * (1 - a0)).sum() / ((1 - a0).sum() + 1e-6) for c in image]
            bg = [(c * a0).sum() / (a0.sum() + 1e-6) for c in image]
        z = torch.stack([*fg, *bg] if gate == "parsing" else [c.mean() for c in image])
        w1, w2 = module.gate.w1, module.gate.w2
        m = torch.sigmoid(w2.weight @ torch.relu(w1.weight @ z + w1.bias) + w2.bias)
        for k, channel in enumerate(image):
            normalised = (channel - channel.mean()) / (channel.var(unbiased=False) + 1e-5).sqrt()
            lit = channel if gate == "mam" else (1 - a0) * channel
            deviation = module.get_buffer("norm.running_var")[k].sqrt()
            y = m[k] * lit + (1 - m[k]) * (deviation * normalised + mean[k])
            moved = channel + module.g * (y - channel)
            out[b, k] = moved.clamp(min=0) if module.rectified else moved
    return out


@pytest.mark.parametrize("gate", PAM_GATES)
def test_a_new_pam_is_the_identity(gate: str) -> None:
    x = features()
    assert torch.equal(PAM(CHANNELS, PARTS, gate)(x)[0], x)


@pytest.mark.parametrize("rectified", [True, False])
@pytest.mark.parametrize("gate", PAM_GATES)
def test_pam_equals_its_equations_with_gradient(gate: str, rectified: bool) -> None:
    module, x = pam(gate, rectified=rectified), features().requires_grad_()
    weight = torch.randn(x.shape, generator=RNG)
    fast, slow = module(x)[0], slow_pam(module, x, gate)
    torch.testing.assert_close(fast, slow, rtol=1e-4, atol=1e-5)
    inputs = [x, *(p for n, p in module.named_parameters())]
    for a, b in zip(
        torch.autograd.grad((fast * weight).sum(), inputs),
        torch.autograd.grad((slow * weight).sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("gate", PAM_GATES)
def test_the_restyled_features_have_the_scale_of_x_and_no_style_of_the_image(gate: str) -> None:
    module = PAM(CHANNELS, PARTS, gate)
    module.norm.momentum = 1.0  # the running statistics are those of the last batch
    style = torch.tensor([0.5, 2.0]).view(2, 1, 1, 1)
    x = 7 * style * features() + style
    module(x)
    scale, shift = module._find_style_replacement(*find_moments(x))
    restyled = scale[:, :, None, None] * x + shift[:, :, None, None]
    torch.testing.assert_close(restyled.mean((0, 2, 3)), x.mean((0, 2, 3)), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(restyled.mean((2, 3))[0], restyled.mean((2, 3))[1], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(restyled.var((2, 3))[0], restyled.var((2, 3))[1], rtol=1e-3, atol=1e-3)
    assert 0.5 < float(restyled.std() / x.std()) < 2


@pytest.mark.parametrize("gate", PAM_GATES)
def test_no_feature_turns_negative_behind_a_rectified_stage(gate: str) -> None:
    for g in (0.3, 1.0):
        assert bool((pam(gate, g)(features())[0] >= 0).all())


def test_the_gate_bottleneck_has_a_16th_of_the_channels() -> None:
    assert pam("parsing").gate.w1.weight.shape == (CHANNELS // 16, 2 * CHANNELS)
    assert pam("se").gate.w1.weight.shape == (CHANNELS // 16, CHANNELS)


def test_only_mam_has_no_parsing_head() -> None:
    shapes = {gate: None if (a := pam(gate)(features())[1]) is None else a.shape for gate in PAM_GATES}
    assert shapes == {"parsing": (2, PARTS + 1, 6, 4), "se": (2, PARTS + 1, 6, 4), "mam": None}


@pytest.mark.parametrize("gate", PAM_GATES)
def test_flipped_features_give_flipped_features_and_parsing(gate: str) -> None:
    module, x = pam(gate), features()
    out, logits = module(x)
    mirrored, mirrored_logits = module(x.flip(3))
    torch.testing.assert_close(mirrored, out.flip(3))
    if logits is not None:
        torch.testing.assert_close(mirrored_logits, logits.flip(3))


@pytest.mark.parametrize("gate", PAM_GATES)
def test_the_memory_format_is_kept_and_changes_no_value(gate: str) -> None:
    module, x = pam(gate), features()
    out = module(x.to(memory_format=torch.channels_last))[0]
    assert out.is_contiguous(memory_format=torch.channels_last)
    assert module(x)[0].is_contiguous()
    torch.testing.assert_close(out, module(x)[0])


def test_backward_keeps_two_maps_beside_x() -> None:
    """The factor of X and the output; the memory of a training step rests on it."""
    module, x, kept = pam("parsing").train(), features().requires_grad_(), set()

    def keep(saved: Tensor) -> Tensor:
        if saved.untyped_storage().nbytes() >= x.untyped_storage().nbytes():
            kept.add(saved.untyped_storage().data_ptr())
        return saved

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda saved: saved):
        out, logits = module(x)
    assert all(result.requires_grad for result in (out, logits))  # alive, so that no address was used twice
    assert len(kept - {x.untyped_storage().data_ptr()}) == 2


def test_an_unknown_gate_is_named() -> None:
    with pytest.raises(ValueError, match="no PAM gate 'cbam'"):
        PAM(CHANNELS, PARTS, "cbam")


@pytest.mark.parametrize("gate", PAM_GATES)
def test_bf16_is_near_float32_in_value_and_gradient(gate: str, near_in_bf16: Callable[..., None]) -> None:
    RNG.manual_seed(4)  # whatever ran before: where rounding turns the gate's ReLU its gradient jumps
    module, x = pam(gate, rectified=False), features().requires_grad_()
    near_in_bf16(
        lambda: [v for v in module(x) if v is not None], [x, *module.parameters()], share=0.08
    )  # the norm magnifies rounding


@pytest.mark.parametrize("gate", PAM_GATES)
@pytest.mark.parametrize("person", [-100.0, 100.0], ids=["nobody", "nothing but a person"])
@pytest.mark.parametrize("autocast", [False, True], ids=["float32", "bf16"])
def test_empty_masks_and_flat_features_stay_finite(gate: str, person: float, autocast: bool) -> None:
    module, x = pam(gate).train(), torch.ones(2, CHANNELS, 6, 4, requires_grad=True)
    if module.head is not None:
        with torch.no_grad():
            module.head.weight.zero_()
            module.get_parameter("head.bias").copy_(torch.tensor([-person, *[0.0] * PARTS]))
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        out = module(x)[0]
    assert out.isfinite().all()
    out.float().square().sum().backward()
    for value in (x, *module.parameters()):
        assert value.grad is None or value.grad.isfinite().all()
