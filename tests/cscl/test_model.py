"""The network and its embedding: shapes, options, controls, what is refused."""

from dataclasses import FrozenInstanceError, fields, replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
import torchvision
from support.networks import IDENTITIES, INFRARED, RNG, SMALL, WHOLE, disturbed, images, labels

from cscl.config import LossConfig
from cscl.model import CSCL
from cscl.spam import mask_distribution
from cscl.total_loss import TotalLoss


def test_the_output_has_the_shapes_it_documents() -> None:
    masks = mask_distribution(labels(), 4, (8, 4))
    out = CSCL(SMALL)(images(), INFRARED, masks, torch.rand(8, generator=RNG))
    assert out.feature.shape == out.necked.shape == (8, 512)
    assert out.logits.shape == (8, 6)
    assert {k: v.shape for k, v in out.pam_logits.items()} == {
        2: (8, 5, 4, 2),
        3: (8, 5, 2, 1),
        4: (8, 5, 2, 1),
    }
    parts = out.parts
    assert parts is not None
    assert parts.logits is not None
    assert parts.logits.shape == parts.attention.shape == (8, 5, 2, 1)
    assert parts.foreground.shape == parts.foreground_necked.shape == (8, 512)
    assert parts.pooled.shape == (8, 4, 512)
    assert parts.projected.shape == parts.necked.shape == (8, 4, 16)
    assert parts.foreground_logits.shape == (8, 6)
    assert parts.part_logits.shape == (8, 4, 6)
    assert parts.visibility.shape == (8, 4)
    assert parts.visibility.min() >= 0
    assert parts.visibility.max() <= 1
    assert len(out.parsing_logits) == 4


def test_without_pam_and_spam_it_is_the_baseline() -> None:
    model = CSCL(replace(SMALL, pam=False, spam=False)).eval()
    x = images()
    out = model(x, INFRARED)
    features = model.backbone.stem(x, INFRARED)
    for stage in (1, 2, 3, 4):
        features = model.backbone.stage(stage, features)
    torch.testing.assert_close(out.feature, (features.pow(3).mean((2, 3)) + 1e-12) ** (1 / 3))
    assert out.parts is None
    assert out.parsing_logits == []
    torch.testing.assert_close(out.embedding, F.normalize(out.necked))
    terms = TotalLoss(WHOLE)(out, IDENTITIES, INFRARED, labels())
    assert terms["parsing"].item() == terms["shown"].item() == terms["division"].item() == 0 < terms["icm"].item()


def test_at_step_0_pam_leaves_the_baseline_intact() -> None:
    model = CSCL(SMALL).eval()
    baseline = CSCL(replace(SMALL, pam=False, spam=False)).eval()
    own = baseline.state_dict().keys()
    baseline.load_state_dict({k: v for k, v in model.state_dict().items() if k in own})
    x = images()
    assert torch.equal(model(x, INFRARED).feature, baseline(x, INFRARED).feature)


def test_the_answer_for_an_image_does_not_depend_on_its_place_or_company() -> None:
    model, x = disturbed(), images()
    with torch.no_grad():
        whole = model(x, INFRARED).embedding
        order = torch.randperm(8, generator=RNG)
        torch.testing.assert_close(model(x[order], INFRARED[order]).embedding, whole[order], rtol=1e-3, atol=1e-5)
        for only in (INFRARED, ~INFRARED):
            torch.testing.assert_close(model(x[only], INFRARED[only]).embedding, whole[only], rtol=1e-3, atol=1e-5)


def test_the_embedding_joins_unit_pieces_weighted_by_visibility_and_averages_the_flip() -> None:
    model, x = disturbed(replace(SMALL, flipped=(0, 2, 1, 3, 4), whole_weight=0.5)), images()
    masks = torch.randn(8, 5, 8, 4, generator=RNG).softmax(1)
    alpha = torch.rand(8, generator=RNG)
    expected = []
    with torch.no_grad():
        for pixels, m in ((x, masks), (x.flip(3), masks[:, [0, 2, 1, 3, 4]].flip(3))):
            out = model(pixels, INFRARED, m, alpha)
            p = out.parts
            assert p is not None
            pieces = [out.necked / out.necked.norm(dim=1, keepdim=True) / 2]
            pieces.append(p.foreground_necked / p.foreground_necked.norm(dim=1, keepdim=True) / 2)
            for q in range(4):
                unit = p.necked[:, q] / p.necked[:, q].norm(dim=1, keepdim=True)
                pieces.append(p.visibility[:, q : q + 1] * unit)
            expected.append(torch.cat(pieces, 1))
        mean = (expected[0] + expected[1]) / 2
        found = model.embed(x, INFRARED, masks, alpha)
        torch.testing.assert_close(found, mean / mean.norm(dim=1, keepdim=True))
        once = expected[0] / expected[0].norm(dim=1, keepdim=True)
        torch.testing.assert_close(model.embed(x, INFRARED, masks, alpha, flip=False), once)
    assert found.shape == (8, model.embedding_dim)
    assert model.blocks == (512, 512, 16, 16, 16, 16)
    assert model.embedding_dim == sum(model.blocks)


def test_the_embedding_of_a_mirror_image_is_the_same() -> None:
    # Convolutions are not exactly equivariant to flips, so this holds for the mean over both images alone.
    model, x = disturbed(replace(SMALL, flipped=(0, 2, 1, 3, 4))), images()
    masks = torch.randn(8, 5, 8, 4, generator=RNG).softmax(1)
    alpha = torch.ones(8)
    with torch.no_grad():
        found = model.embed(x.flip(3), INFRARED, model.flip_masks(masks), alpha)
        torch.testing.assert_close(found, model.embed(x, INFRARED, masks, alpha), rtol=1e-4, atol=1e-6)


def test_at_test_the_masks_count_only_where_alpha_asks_for_them() -> None:
    model, x, masks = disturbed(), images(), mask_distribution(labels(), 4, (8, 4))
    with torch.no_grad():
        plain = model.embed(x, INFRARED)
        assert torch.equal(model.embed(x, INFRARED, masks), plain)
        assert not torch.allclose(model.embed(x, INFRARED, masks, torch.ones(8)), plain, atol=1e-3)


def test_scalars_go_back_into_their_bounds_and_are_told() -> None:
    model = CSCL(SMALL)
    assert {n: v.item() for n, v in model.scalars().items()} == {"g2": 0.0, "g3": 0.0, "g4": 0.0, "p": 3.0}
    with torch.no_grad():
        for stage, g in ((2, -0.3), (3, 0.4), (4, 7.0)):
            model.get_parameter(f"pam.stage{stage}.g").fill_(g)
        model.pool.p.fill_(0.4)
    model.bound_scalars()
    bounded = {name: value.item() for name, value in model.scalars().items()}
    assert bounded == pytest.approx({"g2": 0.0, "g3": 0.4, "g4": 1.0, "p": 1.0})
    out = model(images(), INFRARED)  # at a bound a scalar still learns
    (out.feature.square().mean() + out.feature.mean()).backward()
    for value in (*(model.get_parameter(f"pam.{stage}.g") for stage in model.pam), model.pool.p):
        assert value.grad is not None
        assert float(value.grad) != 0


@pytest.mark.parametrize("pooling", ["stripes", "global"])
def test_controls_without_masks_have_no_parsing_of_their_own_and_the_same_embedding(pooling: Any) -> None:
    model = CSCL(replace(SMALL, pam=False, part_pooling=pooling))
    out = model(images(), INFRARED, mask_distribution(labels(), 4, (2, 1)), torch.ones(8))
    assert out.parsing_logits == []
    assert out.embedding.shape == (8, CSCL(SMALL).embedding_dim)
    terms = TotalLoss(WHOLE)(out, IDENTITIES, INFRARED, labels())
    assert terms["parsing"].item() == 0 < terms["id"].item()
    terms["total"].backward()


def test_embed_refuses_training_mode() -> None:
    with pytest.raises(ValueError, match=r"call eval\(\) first"):
        CSCL(SMALL).embed(images(), INFRARED)


def test_load_backbone_fills_the_network_from_torchvision() -> None:
    state = torchvision.models.resnet18(weights=None).state_dict()
    model = CSCL(SMALL)
    model.load_backbone(state)
    assert torch.equal(model.get_parameter("backbone.infrared_stem.conv1.weight"), state["conv1.weight"])
    with pytest.raises(ValueError, match="give the state dict of torchvision's resnet18"):
        model.load_backbone(torchvision.models.resnet34(weights=None).state_dict() | {"conv1.weight": torch.zeros(1)})


def test_a_state_dict_restores_the_embedding_and_keeps_its_names() -> None:
    model, other, x = disturbed(), CSCL(SMALL).eval(), images()
    state = {k: v.clone() for k, v in model.state_dict().items()}
    other.load_state_dict(state)
    with torch.no_grad():
        assert torch.equal(model.embed(x, INFRARED), other.embed(x, INFRARED))
    assert {
        "backbone.visible_stem.conv1.weight",
        "backbone.infrared_stem.bn1.running_mean",
        "backbone.layer4.1.conv2.weight",
        "pam.stage2.head.weight",
        "pam.stage4.gate.w2.bias",
        "pam.stage3.g",
        "spam.norm.running_var",
        "spam.head.bias",
        "spam.shown.weight",
        "spam.project.3.weight",
        "spam.necks.0.classifier.weight",
        "spam.foreground_neck.norm.weight",
        "pool.p",
        "neck.classifier.weight",
    } <= state.keys()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"backbone": "vgg16"},
            "backbone = 'vgg16' is not known; choose one of resnet18, resnet34, resnet50, efficientnet_lite0",
        ),
        ({"pam_gate": "cbam"}, "pam_gate = 'cbam'"),
        ({"identities": 0}, "identities = 0; give at least 1"),
        ({"parts": 0}, "parts = 0"),
        ({"part_dim": -1}, "part_dim = -1"),
        ({"tau": 0.0}, "tau = 0.0"),
        ({"tau": 1.5}, "tau = 1.5"),
        ({"part_pooling": "boxes"}, "part_pooling = 'boxes' is not known; choose one of parsing, stripes, global"),
        ({"part_stages": 3}, "part_stages = 3; give 1 or 2"),
        ({"whole_weight": 0.0}, "whole_weight = 0.0; give a number above 0"),
        ({"flipped": (0, 1, 2)}, "does not permute the classes 0..4"),
    ],
)
def test_a_model_config_that_cannot_be_built_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(SMALL, **change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"triplet_form": "soft"}, "triplet_form = 'soft' is not known; choose one of weighted, hard"),
        ({"division_form": "all"}, "division_form = 'all'"),
        ({"icm_form": "center"}, "icm_form = 'center'"),
        ({"parsing": -0.1}, "parsing = -0.1"),
        ({"icm": float("nan")}, "icm = nan"),
        ({"smoothing": 1.0}, "smoothing = 1.0; give less than 1"),
        ({"balance": 1.5}, "balance = 1.5; give a number from 0"),
    ],
)
def test_a_loss_config_that_makes_no_sense_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LossConfig(**change)


def test_configs_are_frozen() -> None:
    for config in (SMALL, LossConfig()):
        with pytest.raises(FrozenInstanceError):
            setattr(config, fields(config)[0].name, 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((torch.zeros(8, 1, 64, 32), INFRARED), r"images have shape \(8, 1, 64, 32\); give \(B, 3, H, W\)"),
        ((torch.zeros(8, 3, 64, 32), INFRARED.long()), "infrared is torch.int64"),
        ((torch.zeros(8, 3, 64, 32), INFRARED[:4]), r"give bool, \(8,\)"),
        ((torch.zeros(8, 3, 64, 32), True), "infrared is True; give bool"),
        ((torch.zeros(8, 3, 64, 32), INFRARED, torch.zeros(8, 7, 4, 2)), r"give \(8, 5, h, w\)"),
        ((torch.zeros(8, 3, 64, 32), INFRARED, torch.zeros(8, 5, 4, 2), torch.ones(8, 1)), r"give \(8,\)"),
    ],
)
def test_shapes_that_do_not_fit_are_named(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CSCL(SMALL)(*arguments)
