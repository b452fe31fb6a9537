"""The total loss: its terms, weights and forms; degenerate batches, precision, training."""

from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from support.networks import IDENTITIES, INFRARED, RNG, SMALL, TERMS, WHOLE, disturbed, images, labels, step
from torch import Tensor

from cscl.config import LossConfig, ModelConfig
from cscl.icm import ICM_FORMS
from cscl.losses import (
    DIVISION_FORMS,
    attention_overlap,
    parsing,
    part_identity,
    part_visibility,
    weighted_triplet,
)
from cscl.model import CSCL, Output
from cscl.pam import PAM_GATES
from cscl.spam import mask_distribution
from cscl.total_loss import TotalLoss


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
            "shown": part_visibility(p.shown, part_labels=y, confidence=confidence, tau=0.01),
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
    parts = out.parts._replace(**{name: leaf(v) for name, v in out.parts._asdict().items() if v is not None})
    pam_logits = {stage: leaf(v) for stage, v in out.pam_logits.items()}
    return Output(
        leaf(out.feature), necked=leaf(out.necked), logits=leaf(out.logits), parts=parts, pam_logits=pam_logits
    ), leaves


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
