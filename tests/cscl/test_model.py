"""The network, its embedding and the total loss: options, degenerate batches, precision, training."""

from collections.abc import Iterator
from dataclasses import FrozenInstanceError, fields, replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor

from cscl.icm import ICM_FORMS
from cscl.losses import (
    DIVISION_FORMS,
    attention_overlap,
    parsing,
    part_identity,
    part_visibility,
    weighted_triplet,
)
from cscl.model import CSCL, LossConfig, ModelConfig, Output, TotalLoss
from cscl.pam import PAM_GATES
from cscl.spam import mask_distribution

RNG = torch.Generator().manual_seed(9)
SMALL = ModelConfig(identities=6, backbone="resnet18", part_dim=16)
IDENTITIES = torch.tensor([0, 0, 3, 3, 5, 5, 3, 0])
INFRARED = torch.tensor([True, False, False, True, True, False, True, False])
WHOLE = LossConfig(icm=0.5)
"""Every term on."""
TERMS = {"id", "triplet", "parsing", "shown", "division", "icm"}


@pytest.fixture(autouse=True)
def same_initial_weights() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def images(batch: int = 8) -> Tensor:
    return torch.randn(batch, 3, 32, 16, generator=RNG)


def labels(batch: int = 8) -> Tensor:
    return torch.randint(0, 5, (batch, 8, 4), generator=RNG)


def disturbed(config: ModelConfig = SMALL) -> CSCL:
    """A network in eval mode whose PAM, norms and classifiers have left their starting points."""
    model = CSCL(config).eval()
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if name.endswith(".g"):
                value.fill_(0.5)
            elif value.is_floating_point() and ("neck" in name or ("spam" in name and "norm" in name)):
                value.add_(0.1 * torch.rand(value.shape, generator=RNG))
    return model


def step(model: CSCL, part_labels: Tensor | None, *losses: LossConfig, **batch: Any) -> dict[str, Tensor]:
    """Forward, backward through all losses together; holds that all is finite, gives the first terms."""
    x = batch.pop("images")
    masks = None if part_labels is None else mask_distribution(part_labels, model.config.parts, (2, 1))
    alpha = None if masks is None else torch.linspace(0, 1, len(x))
    out = model(x, batch["infrared"], masks, alpha)
    terms = [TotalLoss(loss)(out, part_labels=part_labels, **batch) for loss in losses]
    model.zero_grad()
    torch.stack([t["total"] for t in terms]).sum().backward()
    assert all(v.isfinite() for t in terms for v in t.values()), terms
    bad = [n for n, p in model.named_parameters() if p.grad is not None and not p.grad.isfinite().all()]
    assert not bad
    return terms[0]


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
    model, x = disturbed(replace(SMALL, flipped=(0, 2, 1, 3, 4))), images()
    masks = torch.randn(8, 5, 8, 4, generator=RNG).softmax(1)
    alpha = torch.rand(8, generator=RNG)
    expected = []
    with torch.no_grad():
        for pixels, m in ((x, masks), (x.flip(3), masks[:, [0, 2, 1, 3, 4]].flip(3))):
            out = model(pixels, INFRARED, m, alpha)
            p = out.parts
            assert p is not None
            pieces = [out.necked / out.necked.norm(dim=1, keepdim=True)]
            pieces.append(p.foreground_necked / p.foreground_necked.norm(dim=1, keepdim=True))
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
    assert model.embedding_dim == 2 * 512 + 4 * 16


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
    assert model.scalars() == {"g2": 0.0, "g3": 0.0, "g4": 0.0, "p": 3.0}
    with torch.no_grad():
        for stage, g in ((2, -0.3), (3, 0.4), (4, 7.0)):
            model.pam[f"stage{stage}"].g.fill_(g)
        model.pool.p.fill_(0.4)
    model.bound_scalars()
    assert model.scalars() == pytest.approx({"g2": 0.0, "g3": 0.4, "g4": 1.0, "p": 1.0})
    out = model(images(), INFRARED)  # at a bound a scalar still learns
    (out.feature.square().mean() + out.feature.mean()).backward()
    for value in (*(p.g for p in model.pam.values()), model.pool.p):
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
    assert torch.equal(model.backbone.infrared_stem.conv1.weight, state["conv1.weight"])
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
        ((torch.zeros(8, 3, 64, 32), INFRARED, torch.zeros(8, 7, 4, 2)), r"give \(8, 5, h, w\)"),
        ((torch.zeros(8, 3, 64, 32), INFRARED, torch.zeros(8, 5, 4, 2), torch.ones(8, 1)), r"give \(8,\)"),
    ],
)
def test_shapes_that_do_not_fit_are_named(arguments: tuple[Tensor, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CSCL(SMALL)(*arguments)


def test_the_total_is_the_weighted_sum_of_terms_that_equal_their_definitions() -> None:
    model, x, y = disturbed(), images(), labels()
    confidence = torch.rand(8, generator=RNG)
    with torch.no_grad():
        out = model(x, INFRARED, mask_distribution(y, 4, (2, 1)), confidence)
        loss = LossConfig(
            part_identity=0.5, part_triplet=0.25, parsing=0.35, shown=0.2, division=0.5, icm=0.5, balance=0.75
        )
        terms = TotalLoss(loss)(out, IDENTITIES, INFRARED, y, confidence)
        p = out.parts
        assert p is not None
        expected = {
            "id": F.cross_entropy(out.logits, IDENTITIES, label_smoothing=0.1)
            + F.cross_entropy(p.foreground_logits, IDENTITIES, label_smoothing=0.1)
            + 0.5 * part_identity(p.part_logits, p.visibility, IDENTITIES),
            "triplet": weighted_triplet(out.feature, IDENTITIES)
            + 0.25
            * sum(weighted_triplet(p.projected[:, q], IDENTITIES, p.visibility[:, q] >= 0.5) for q in range(4))
            / 4,
            "parsing": sum(parsing(v, y, confidence, 0.75) for v in (*out.pam_logits.values(), p.logits)),
            "shown": part_visibility(p.shown, y, confidence, 0.01),
            "division": attention_overlap(p.attention[:, 1:]),
            "icm": ICM_FORMS["icm"](F.normalize(out.feature), IDENTITIES, INFRARED, 0.3, None)
            + sum(
                ICM_FORMS["icm"](F.normalize(p.projected[:, q]), IDENTITIES, INFRARED, 0.3, p.visibility[:, q])
                for q in range(4)
            )
            / 4,
        }
    assert terms.keys() == {"total"} | TERMS
    for name, value in expected.items():
        torch.testing.assert_close(terms[name], value)
    total = sum(w * expected[k] for k, w in zip(expected, (1, 1, 0.35, 0.2, 0.5, 0.5), strict=True))
    torch.testing.assert_close(terms["total"], total)


def test_a_weight_of_0_leaves_its_term_out_and_only_that() -> None:
    out, y = disturbed()(images(), INFRARED), labels()
    whole = TotalLoss(WHOLE)(out, IDENTITIES, INFRARED, y)
    for term in TERMS:
        weight: Any = {"identity" if term == "id" else term: 0.0}
        without = TotalLoss(replace(WHOLE, **weight))(out, IDENTITIES, INFRARED, y)
        for t in TERMS:
            assert without[t].item() == (0 if t == term else whole[t].item())


def test_every_form_changes_its_own_term_alone() -> None:
    out, y = disturbed()(images(), INFRARED), labels()
    base = TotalLoss(WHOLE)(out, IDENTITIES, INFRARED, y)
    options: list[tuple[str, dict[str, Any]]] = [
        ("triplet", {"triplet_form": "hard", "triplet_margin": 5.0}),
        *(("division", {"division_form": form}) for form in DIVISION_FORMS if form != "attention"),
        *(("icm", {"icm_form": form}) for form in ICM_FORMS if form != "icm"),
        ("id", {"smoothing": 0.0}),
        ("id", {"part_identity": 0.0}),
        ("triplet", {"part_triplet": 0.0}),
        ("parsing", {"balance": 0.0}),
    ]
    for changed, option in options:
        terms = TotalLoss(replace(WHOLE, **option))(out, IDENTITIES, INFRARED, y)
        assert {t for t in TERMS if not torch.equal(terms[t], base[t])} == {changed}, option


@pytest.mark.parametrize(
    "config",
    [
        SMALL,
        replace(SMALL, spam=False),
        replace(SMALL, pam=False),
        replace(SMALL, pam_gate="mam"),
        replace(SMALL, part_pooling="stripes"),
    ],
)
def test_outputs_of_parts_of_a_batch_join_to_that_of_the_whole(config: ModelConfig) -> None:
    model, x, y = disturbed(config), images(), labels()
    whole = model(x, INFRARED)
    pieces = [model(x[rows], INFRARED[rows]) for rows in (slice(0, 3), slice(3, None))]
    joined = pieces[0].like([torch.cat(each) for each in zip(*(p.tensors() for p in pieces), strict=True)])
    torch.testing.assert_close(joined.embedding, whole.embedding, rtol=1e-4, atol=1e-5)
    terms = [TotalLoss(WHOLE)(out, IDENTITIES, INFRARED, y) for out in (joined, whole)]
    for name in terms[0]:
        torch.testing.assert_close(terms[0][name], terms[1][name], rtol=1e-4, atol=1e-5)
    assert [len(o.pam_logits) for o in pieces] == [len(whole.pam_logits)] * 2


@pytest.mark.parametrize(("gate", "spam"), [*((gate, True) for gate in PAM_GATES), ("parsing", False)])
def test_every_parameter_learns_from_the_total(gate: Any, spam: bool) -> None:
    model = disturbed(replace(SMALL, pam_gate=gate, spam=spam, non_local=True)).train()
    step(model, labels(), WHOLE, images=images(), identities=IDENTITIES, infrared=INFRARED)
    idle = [n for n, p in model.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.any())]
    # The inner layers of a non-local block wait until the norm behind them leaves 0.
    assert [n for n in idle if "non_local" not in n] == []
    assert sorted(n for n, p in model.named_parameters() if not p.requires_grad) == sorted(
        n for n, _ in model.named_parameters() if "neck" in n and n.endswith("norm.bias")
    )


DEGENERATE: dict[str, dict[str, Any]] = {
    "one identity": {"identities": torch.zeros(8, dtype=torch.long)},
    "an identity in one modality": {"infrared": torch.tensor([True] * 2 + [False] * 2 + [True, False] * 2)},
    "one modality": {"infrared": torch.zeros(8, dtype=torch.bool)},
    "every image its own identity": {"identities": torch.arange(8) % 6},
    "all pixels ignored": {"part_labels": torch.full((8, 8, 4), 255)},
    "empty masks": {"part_labels": torch.zeros(8, 8, 4, dtype=torch.long)},
    "a part nobody shows": {"part_labels": torch.randint(0, 4, (8, 8, 4), generator=RNG)},
    "one mask empty": {"part_labels": torch.cat([torch.zeros(1, 8, 4).long(), labels(7)])},
    "no masks": {"part_labels": None},
    "no confidence in any mask": {"confidence": torch.zeros(8)},
    "equal images": {"images": torch.ones(8, 3, 32, 16)},
    "much of it at once": {
        "infrared": torch.tensor([True] * 2 + [False] * 2 + [True, False] * 2),
        "part_labels": torch.cat([torch.zeros(1, 8, 4).long(), torch.full((1, 8, 4), 255), labels(6).clamp(max=3)]),
        "confidence": torch.tensor([0.0, 1.0] * 4),
    },
}


@pytest.mark.parametrize(
    ("case", "precision"), [*((case, "float32") for case in DEGENERATE), ("much of it at once", "bf16")]
)
def test_degenerate_batches_keep_losses_and_gradients_finite(case: str, precision: str) -> None:
    batch: dict[str, Any] = {
        "images": images(),
        "identities": IDENTITIES,
        "infrared": INFRARED,
        "part_labels": labels(),
        "confidence": torch.ones(8),
        **DEGENERATE[case],
    }
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16"):
        step(
            disturbed().train(),
            batch.pop("part_labels"),
            WHOLE,
            replace(WHOLE, triplet_form="hard", icm_form="hctri"),
            replace(WHOLE, icm_form="hc", division_form="mpanet"),
            **batch,
        )


def test_bf16_autocast_is_near_float32_and_its_losses_are_float32() -> None:
    model, x, y = disturbed(replace(SMALL, non_local=True)), images(4), labels(4)
    ids, infrared = torch.tensor([0, 0, 3, 3]), torch.tensor([True, False, False, True])
    masks, alpha = mask_distribution(y, 4, (2, 1)), torch.full((4,), 0.5)
    loss = TotalLoss(WHOLE)

    def terms() -> tuple[Output, dict[str, Tensor]]:
        out = model(x, infrared, masks, alpha)
        return out, loss(out, ids, infrared, y)

    _, full = terms()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out, half = terms()
        assert model.embed(x, infrared, masks, alpha).dtype == torch.float32
    assert out.logits.dtype == torch.bfloat16
    half["total"].backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
    for name, value in half.items():
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, full[name], rtol=0.05, atol=0.05)


@pytest.mark.parametrize(
    "loss",
    [
        WHOLE,
        replace(WHOLE, triplet_form="hard", icm_form="hctri", division_form="mpanet"),
        replace(WHOLE, icm_form="hc", division_form="features"),
    ],
)
def test_losses_of_a_bf16_output_are_those_of_its_numbers_in_float32(loss: LossConfig) -> None:
    y = labels()
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        out = disturbed()(images(), INFRARED, mask_distribution(y, 4, (2, 1)), torch.full((8,), 0.5))
    halves, exact = (cast(out, dtype) for dtype in (torch.bfloat16, torch.float32))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = TotalLoss(loss)(halves[0], IDENTITIES, INFRARED, y)
    expected = TotalLoss(loss)(exact[0], IDENTITIES, INFRARED, y)
    for name, value in expected.items():
        assert torch.equal(found[name], value), name
    pairs = zip(
        torch.autograd.grad(found["total"], halves[1], allow_unused=True),
        torch.autograd.grad(expected["total"], exact[1], allow_unused=True),
        strict=True,
    )
    for a, b in pairs:
        assert (a is None) == (b is None)
        if a is not None and b is not None:
            torch.testing.assert_close(a.float(), b, rtol=0.02, atol=0.01 * float(b.abs().max()))


def cast(out: Output, dtype: torch.dtype) -> tuple[Output, list[Tensor]]:
    """The output rounded to bf16 and kept as `dtype`, and those of its tensors that a loss may learn from."""
    leaves: list[Tensor] = []

    def leaf(value: Tensor) -> Tensor:
        leaves.append(value.bfloat16().to(dtype).requires_grad_())
        return leaves[-1]

    assert out.parts is not None
    parts = type(out.parts)(*(None if v is None else leaf(v) for v in out.parts))
    pam_logits = {stage: leaf(v) for stage, v in out.pam_logits.items()}
    return Output(leaf(out.feature), leaf(out.necked), leaf(out.logits), parts, pam_logits), leaves


def test_a_flipped_image_with_a_flipped_mask_gives_flipped_parts() -> None:
    """Kernels that are their own mirror images, over odd widths: then strides sample the same cells from both sides."""
    model = disturbed(replace(SMALL, flipped=(0, 2, 1, 3, 4)))
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, torch.nn.Conv2d):
                module.weight.copy_((module.weight + module.weight.flip(3)) / 2)
        x = torch.randn(8, 3, 33, 33, generator=RNG)
        masks = mask_distribution(torch.randint(0, 5, (8, 33, 33), generator=RNG), 4, (3, 3))
        mirrored = model.flip_masks(masks)
        for alpha in (torch.zeros(8), torch.ones(8)):
            out, other = model(x, INFRARED, masks, alpha), model(x.flip(3), INFRARED, mirrored, alpha)
            sides = [1, 0, 2, 3] if alpha.any() else [0, 1, 2, 3]  # masks have sides, this network's parsing has none
            assert out.parts is not None
            assert other.parts is not None
            for a, b in (
                (other.parts.attention, out.parts.attention.flip(3)),
                (other.parts.pooled, out.parts.pooled[:, sides]),
                (other.parts.visibility, out.parts.visibility[:, sides]),
                (other.parts.foreground, out.parts.foreground),
                (other.feature, out.feature),
                *((other.pam_logits[s], out.pam_logits[s].flip(3)) for s in out.pam_logits),
            ):
                torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3)  # GeM of few cells magnifies rounding
            assert not torch.allclose(out.parts.attention, out.parts.attention.flip(3), atol=1e-2)


def test_ten_steps_fit_a_random_batch() -> None:
    model, x, y = CSCL(SMALL), images(), labels()
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3)
    totals = []
    for _ in range(10):
        terms = step(model, y, WHOLE, images=x, identities=IDENTITIES, infrared=INFRARED)
        optimiser.step()
        totals.append(float(terms["total"].detach()))
    assert totals[-1] < 0.6 * totals[0]
    assert min(totals) == min(totals[-3:])
