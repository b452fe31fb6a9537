"""L_id of parts, L_tri, L_par and L_div against loops and against values of the published code."""

from collections.abc import Callable
from itertools import combinations
from math import exp, log, log1p

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from support.places import ORACLES
from torch import Tensor

from cscl.losses import (
    DIVISION_FORMS,
    attention_overlap,
    feature_overlap,
    hard_triplet,
    parsing,
    part_identity,
    part_visibility,
    separation,
    weighted_triplet,
)

RNG = torch.Generator().manual_seed(7)
ORACLE = ORACLES / "rerank_and_triplet.npz"


def randn(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=RNG)


def same_gradient(fast: Tensor, slow: Tensor, x: Tensor) -> None:
    torch.testing.assert_close(fast, slow, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(
        torch.autograd.grad(fast, x, retain_graph=True),
        torch.autograd.grad(slow, x, retain_graph=True),
        rtol=1e-3,
        atol=1e-6,
    )


@pytest.mark.parametrize(
    ("key", "gradient", "loss"),
    [
        ("wrt_triplet", "wrt_triplet_grad", weighted_triplet),
        ("hard_triplet_0.3", "hard_triplet_grad", hard_triplet),
    ],
)
def test_triplets_equal_the_published_code(key: str, gradient: str, loss: Callable[[Tensor, Tensor], Tensor]) -> None:
    oracle = np.load(ORACLE)
    x = torch.from_numpy(oracle["loss_features"]).requires_grad_()
    value = loss(x, torch.from_numpy(oracle["loss_labels"]))
    assert value.item() == pytest.approx(float(oracle[key]), abs=5e-6)
    torch.testing.assert_close(
        torch.autograd.grad(value, x)[0], torch.from_numpy(oracle[gradient]), rtol=1e-4, atol=1e-7
    )


def slow_triplets(x: Tensor, ids: list[int], margin: float) -> tuple[Tensor, Tensor]:
    weighted, hard = [], []
    for i in range(len(ids)):
        distance = [(x[i] - x[j]).norm() for j in range(len(ids))]
        positive = [distance[j] for j in range(len(ids)) if ids[j] == ids[i]]
        negative = [distance[j] for j in range(len(ids)) if ids[j] != ids[i]]
        if not negative:
            continue
        top = max(d.item() for d in positive)
        wp = [(d - top).exp() for d in positive]
        wn = [(-d).exp() for d in negative]
        far = sum(w * d for w, d in zip(wp, positive, strict=True)) / (sum(wp) + 1e-6)
        near = sum(w * d for w, d in zip(wn, negative, strict=True)) / (sum(wn) + 1e-6)
        weighted.append(torch.log1p((far - near).exp()))
        hard.append((margin + max(positive, key=Tensor.item) - min(negative, key=Tensor.item)).clamp(min=0))
    zero = x.sum() * 0
    return sum(weighted, zero) / max(len(weighted), 1), sum(hard, zero) / max(len(hard), 1)


@pytest.mark.parametrize("ids", [[0, 0, 1, 1, 2, 2, 2], [5, 1, 5, 1], [3, 3, 3], [0, 1, 2], [0]])
def test_triplets_equal_their_loops(ids: list[int]) -> None:
    x = randn(len(ids), 4).requires_grad_()
    labels = torch.tensor(ids)
    weighted, hard = slow_triplets(x, ids, margin=0.5)
    same_gradient(weighted_triplet(x, labels), weighted, x)
    same_gradient(hard_triplet(x, labels, margin=0.5), hard, x)


def test_images_that_do_not_show_a_part_are_left_out_of_its_triplet() -> None:
    x, ids = randn(7, 4).requires_grad_(), torch.tensor([0, 0, 1, 1, 2, 2, 2])
    seen = torch.tensor([True, False, True, True, False, True, True])
    for loss in (weighted_triplet, hard_triplet):
        same_gradient(loss(x, ids, seen), loss(x[seen], ids[seen]), x)
        nobody = loss(x, ids, torch.zeros(7, dtype=torch.bool))
        assert nobody.item() == 0
        assert not torch.autograd.grad(nobody, x)[0].any()


def test_triplets_of_coinciding_and_of_far_features_are_finite() -> None:
    for scale in (0.0, 1e4):
        x = (scale * randn(6, 4)).requires_grad_()
        for loss in (weighted_triplet, hard_triplet):
            value = loss(x, torch.arange(6) // 2)
            assert value.isfinite()
            assert torch.autograd.grad(value, x)[0].isfinite().all()


def test_part_identity_weighs_smoothed_cross_entropy_by_visibility() -> None:
    logits, visibility = randn(3, 2, 4).requires_grad_(), torch.rand(3, 2, generator=RNG)
    visibility[1, 0] = 0
    ids = [2, 0, 3]
    total, weights = torch.zeros(()), 0.0
    for b in range(3):
        for q in range(2):
            target = torch.tensor([0.1 / 4 + 0.9 * (k == ids[b]) for k in range(4)])
            total = total - visibility[b, q] * (target * logits[b, q].log_softmax(0)).sum()
            weights += float(visibility[b, q])
    same_gradient(
        part_identity(logits, visibility=visibility, identities=torch.tensor(ids), smoothing=0.1),
        total / weights,
        logits,
    )


def test_part_identity_does_not_teach_parts_to_hide() -> None:
    visibility = torch.rand(3, 2, generator=RNG).requires_grad_()
    loss = part_identity(randn(3, 2, 4).requires_grad_(), visibility, torch.tensor([0, 1, 2]))
    assert torch.autograd.grad(loss, visibility, allow_unused=True)[0] is None


def test_part_identity_is_0_where_no_part_is_visible() -> None:
    logits = randn(3, 2, 4).requires_grad_()
    loss = part_identity(logits, torch.zeros(3, 2), torch.tensor([0, 1, 2]))
    assert loss.item() == 0
    assert not torch.autograd.grad(loss, logits)[0].any()


def slow_parsing(logits: Tensor, labels: Tensor, confidence: list[float], balance: float = 1.0) -> Tensor:
    fine = F.interpolate(logits, size=labels.shape[1:], mode="bilinear", align_corners=False)
    classes: dict[int, list[Tensor]] = {}
    c = [v / (sum(confidence) / len(confidence)) for v in confidence]
    for b in range(labels.shape[0]):
        for h in range(labels.shape[1]):
            for w in range(labels.shape[2]):
                if (k := int(labels[b, h, w])) != 255:
                    classes.setdefault(k, []).append(-c[b] * fine[b, :, h, w].log_softmax(0)[k])
    weights = {k: len(v) ** (1 - balance) for k, v in classes.items()}
    means = (weights[k] * sum(v) / len(v) for k, v in classes.items())
    return sum(means, logits.sum() * 0) / max(sum(weights.values()), 1e-6)  # type: ignore


@pytest.mark.parametrize("absent", [(), (1,), (0, 2)])
@pytest.mark.parametrize("balance", [0.0, 0.5, 1.0])
def test_parsing_averages_within_classes_and_then_over_those_present(absent: tuple[int, ...], balance: float) -> None:
    logits = randn(2, 4, 3, 2).requires_grad_()
    labels = torch.randint(0, 4, (2, 6, 4), generator=RNG)
    for k in (*absent,):
        labels[labels == k] = 255
    confidence = [0.9, 0.25]
    fast = parsing(logits, labels.to(torch.uint8), torch.tensor(confidence), balance)
    same_gradient(fast, slow_parsing(logits, labels=labels, confidence=confidence, balance=balance), logits)
    same_gradient(
        parsing(logits, labels, None, balance),
        slow_parsing(logits, labels=labels, confidence=[1, 1], balance=balance),
        logits,
    )


def test_the_parsing_loss_does_not_fall_with_the_confidence_of_a_whole_batch() -> None:
    logits, labels = randn(2, 4, 3, 2), torch.randint(0, 4, (2, 6, 4), generator=RNG)
    sure, unsure = (parsing(logits, labels, torch.full((2,), c)) for c in (1.0, 0.1))
    torch.testing.assert_close(sure, unsure)
    assert parsing(logits, labels, torch.zeros(2)).item() == 0


@pytest.mark.parametrize("balance", [0.0, 0.25, 1.0])
def test_masks_of_weight_0_change_neither_the_parsing_loss_nor_the_scale_of_its_gradient(balance: float) -> None:
    logits, labels = randn(6, 4, 3, 2).requires_grad_(), torch.randint(0, 4, (6, 6, 4), generator=RNG)
    labels[3:] = labels[3:] // 3 * 2  # of other parts than those that count, one of them nowhere else
    labels[:3][labels[:3] == 3] = 1
    confidence = torch.tensor([0.9, 0.25, 0.6, 0.0, 0.0, 0.0])
    loss = parsing(logits, labels, confidence, balance)
    alone = parsing(logits[:3], labels[:3], confidence[:3], balance)
    torch.testing.assert_close(loss, alone)
    torch.testing.assert_close(*(torch.autograd.grad(one, logits)[0] for one in (loss, alone)))


def test_parsing_of_nothing_but_ignored_pixels_is_0() -> None:
    logits = randn(2, 4, 3, 2).requires_grad_()
    loss = parsing(logits, torch.full((2, 6, 4), 255))
    assert loss.item() == 0
    assert not torch.autograd.grad(loss, logits)[0].any()


def test_a_rare_class_weighs_as_much_as_a_frequent_one() -> None:
    labels = torch.zeros(1, 4, 4, dtype=torch.long)
    labels[0, 0, 0] = 1
    logits = torch.zeros(1, 2, 4, 4)
    logits[:, 0] = 3.0
    assert float(parsing(logits, labels)) == pytest.approx((log1p(exp(-3)) + log1p(exp(3))) / 2, rel=1e-5)
    assert float(parsing(torch.zeros(1, 2, 4, 4), labels)) == pytest.approx(log(2))


def test_visibility_is_taught_by_the_areas_of_the_parts() -> None:
    logits, labels = randn(3, 2).requires_grad_(), torch.zeros(3, 10, 10, dtype=torch.uint8)
    labels[0, :5] = 1
    labels[1, 0, :2] = 2
    labels[1, 1:] = 255
    confidence = [1.0, 0.5, 0.0]
    wanted = [[1.0, 0.0], [0.0, 0.5], [0.0, 0.0]]  # of 4 pixels
    total = torch.zeros(())
    for b in range(3):
        for q in range(2):
            p = logits[b, q].sigmoid()
            total = total - 2 * confidence[b] * (wanted[b][q] * p.log() + (1 - wanted[b][q]) * (1 - p).log())
    same_gradient(
        part_visibility(logits, part_labels=labels, confidence=torch.tensor(confidence), tau=0.04), total / 6, logits
    )


def test_labels_coarser_than_the_map_are_refused() -> None:
    with pytest.raises(ValueError, match="part labels of 2x2 are coarser than the parsing map of 3x2"):
        parsing(randn(1, 3, 3, 2), torch.zeros(1, 2, 2, dtype=torch.long))


def test_division_terms_equal_their_loops() -> None:
    attention = randn(2, 4, 3, 2).softmax(1)[:, 1:].requires_grad_()
    parts = torch.rand(2, 3, 5, generator=RNG).requires_grad_()
    overlap, separate, alike = [], [], []
    for b in range(2):
        for q, r in combinations(range(3), 2):
            p, s = attention[b, q].flatten(), attention[b, r].flatten()
            inner = torch.stack([p[k] * s[k] for k in range(6)]).sum()
            overlap.append(inner / (p.sum() * s.sum() + 1e-6) ** 0.5)
            separate.append(inner)
            cosine = (parts[b, q] @ parts[b, r]) / (parts[b, q].norm() * parts[b, r].norm())
            alike.append((cosine - 0.2).clamp(min=0) ** 2)
    same_gradient(attention_overlap(attention), torch.stack(overlap).mean(), attention)
    same_gradient(separation(attention), torch.stack(separate).mean(), attention)
    same_gradient(feature_overlap(parts), torch.stack(alike).mean(), parts)
    expected = {
        "both": torch.stack(overlap).mean() + torch.stack(alike).mean(),
        "attention": torch.stack(overlap).mean(),
        "features": torch.stack(alike).mean(),
        "mpanet": torch.stack(separate).mean(),
    }
    for form, loss in DIVISION_FORMS.items():
        torch.testing.assert_close(loss(attention, parts), expected[form])


def test_parts_that_do_not_meet_have_no_division_loss_and_those_that_coincide_have_the_most() -> None:
    apart = torch.zeros(1, 2, 4, 4)
    apart[0, 0, :2], apart[0, 1, 2:] = 1, 1
    together = apart[:, :1].expand(-1, 2, -1, -1) / 2
    assert float(attention_overlap(apart)) == 0
    assert float(attention_overlap(together)) == pytest.approx(0.5)
    assert float(attention_overlap(F.interpolate(together, scale_factor=2))) == pytest.approx(0.5)
    assert float(feature_overlap(torch.eye(2, 5)[None])) == 0
    assert float(feature_overlap(torch.ones(1, 2, 5))) == pytest.approx(0.8**2)


@pytest.mark.parametrize("form", DIVISION_FORMS)
@pytest.mark.parametrize("parts", [1, 3])
def test_division_of_one_part_or_of_parts_seen_nowhere_is_finite(form: str, parts: int) -> None:
    attention = torch.zeros(2, parts, 3, 2, requires_grad=True)
    pooled = torch.zeros(2, parts, 5, requires_grad=True)
    loss = DIVISION_FORMS[form](attention, pooled)
    assert loss.item() == 0
    for g in torch.autograd.grad(loss, [attention, pooled], allow_unused=True):
        assert g is None or g.isfinite().all()
