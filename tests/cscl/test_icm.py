"""ICM and the hetero-center losses: by hand, against loops in value and gradient, batches that lack much."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from cscl.icm import ICM_FORMS, hetero_center, hetero_center_triplet, identity_center_mining, modality_centers

RNG = torch.Generator().manual_seed(6)
Slow = Callable[[Tensor, list[int], list[bool], float], Tensor]


def centers_of(x: Tensor, ids: list[int], infrared: list[bool]) -> dict[tuple[int, bool], Tensor]:
    keys = sorted(set(zip(ids, infrared, strict=True)))
    return {k: torch.stack([x[n] for n in range(len(ids)) if (ids[n], infrared[n]) == k]).mean(0) for k in keys}


def slow_icm(x: Tensor, ids: list[int], infrared: list[bool], margin: float) -> Tensor:
    c = centers_of(x, ids, infrared)
    both = [i for i in sorted(set(ids)) if (i, False) in c and (i, True) in c]
    pull, mine, hard = [], [], []
    for i in both:
        gap = (c[i, False] - c[i, True]).norm()
        pull.append(gap)
        others = [(c[i, m] - c[j]).norm() for m in (False, True) for j in c if j[0] != i]
        if others:
            mine.append((margin + gap - min(others, key=Tensor.item)).clamp(min=0))
        hard.append(
            max(
                ((x[n] - c[i, not infrared[n]]).norm() for n in range(len(ids)) if ids[n] == i),
                key=Tensor.item,
            )
        )
    zero = x.sum() * 0
    return (sum(pull, zero) + sum(mine, zero) + 0.5 * sum(hard, zero)) / max(len(both), 1)


def slow_hc(x: Tensor, ids: list[int], infrared: list[bool], margin: float) -> Tensor:
    c = centers_of(x, ids, infrared)
    both = [i for i in sorted(set(ids)) if (i, False) in c and (i, True) in c]
    return sum((((c[i, False] - c[i, True]) ** 2).sum() for i in both), x.sum() * 0)


def slow_hctri(x: Tensor, ids: list[int], infrared: list[bool], margin: float) -> Tensor:
    c = centers_of(x, ids, infrared)
    total = x.sum() * 0
    for k in c:
        same = [(c[k] - c[j]).norm() for j in c if j[0] == k[0] and j != k]
        other = [(c[k] - c[j]).norm() for j in c if j[0] != k[0]]
        if other:
            total = total + (margin + (same[0] if same else 0) - min(other, key=Tensor.item)).clamp(min=0)
    return total / len(c)


SLOW: dict[str, Slow] = {"icm": slow_icm, "hc": slow_hc, "hctri": slow_hctri}
BATCHES = {
    "whole": ([0, 0, 0, 0, 7, 7, 7, 7, 3, 3, 3, 3], [False, False, True, True] * 3),
    "uneven": (
        [5, 1, 1, 5, 5, 1, 1, 2, 2, 2],
        [True, False, True, False, True, True, True, False, True, False],
    ),
    "an identity in one modality": ([0, 0, 1, 1, 1, 2, 2], [False, True, False, False, False, True, False]),
    "one identity": ([4, 4, 4, 4], [False, True, False, True]),
    "one modality": ([0, 0, 1, 1], [True] * 4),
    "one image": ([0], [False]),
}


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("form", ICM_FORMS)
@pytest.mark.parametrize("margin", [0.3, 4.0])
def test_every_form_equals_its_loops_in_value_and_gradient(form: str, batch: str, margin: float) -> None:
    ids, infrared = BATCHES[batch]
    x = torch.randn(len(ids), 5, generator=RNG).requires_grad_()
    fast = ICM_FORMS[form](x, torch.tensor(ids), torch.tensor(infrared), margin)
    slow = SLOW[form](x, ids, infrared, margin)
    torch.testing.assert_close(fast, slow)
    torch.testing.assert_close(torch.autograd.grad(fast, x), torch.autograd.grad(slow, x), rtol=1e-4, atol=1e-5)


def test_a_case_by_hand() -> None:
    # Identity 0: visible (0,0) and (2,0), infrared (1,4). Identity 1: visible (1,1), infrared (1,7).
    x = torch.tensor([[0.0, 0], [2, 0], [1, 4], [1, 1], [1, 7]])
    ids, infrared = torch.tensor([0, 0, 0, 1, 1]), torch.tensor([False, False, True, False, True])
    pull = (4 + 6) / 2
    mine = ((0.3 + 4 - 1) + (0.3 + 6 - 1)) / 2
    hard = (17**0.5 + 6) / 2
    assert float(identity_center_mining(x, ids, infrared)) == pytest.approx(pull + mine + 0.5 * hard)
    assert float(hetero_center(x, ids, infrared)) == pytest.approx(16 + 36)
    # Distances to the nearest other center: (1,0) 1, (1,4) 3, (1,1) 1, (1,7) 3.
    expected = ((0.3 + 4 - 1) + (0.3 + 4 - 3) + (0.3 + 6 - 1) + (0.3 + 6 - 3)) / 4
    assert float(hetero_center_triplet(x, ids, infrared)) == pytest.approx(expected)


def test_centers_do_not_depend_on_the_order_of_the_batch() -> None:
    ids, infrared = (torch.tensor(v) for v in BATCHES["uneven"])
    x = torch.randn(len(ids), 5, generator=RNG)
    order = torch.randperm(len(ids), generator=RNG)
    a, b = modality_centers(x, ids, infrared), modality_centers(x[order], ids[order], infrared[order])
    torch.testing.assert_close(a.centers[:, a.of[order]], b.centers[:, b.of])
    assert torch.equal(a.seen[:, a.of[order]], b.seen[:, b.of])
    assert int(a.seen.any(0).sum()) == int(b.seen.any(0).sum()) == len(ids.unique())


@pytest.mark.parametrize("form", ICM_FORMS)
def test_coinciding_features_have_finite_gradients(form: str) -> None:
    x = torch.ones(8, 4, requires_grad=True)
    ids, infrared = torch.arange(8) // 4, torch.arange(8) % 2 == 1
    value = ICM_FORMS[form](x, ids, infrared, 0.3)
    (gradient,) = torch.autograd.grad(value, x)
    assert value.isfinite()
    assert gradient.isfinite().all()


# On a line. Identity 0: visible 0 and 2, infrared 5; identity 1: visible 10, infrared 14; identity 2: visible 6 alone.
LINE = ([0.0, 2, 5, 10, 14, 6], [0, 0, 0, 1, 1, 2], [False, False, True, False, True, False])
BY_HAND = {
    # pull (4 + 4) / 2, no center of the other within 4.3, hard (|0 - 5| + |10 - 14|) / 2
    "the centers of others are far": (5, 4 + 0 + 0.5 * 4.5, [-0.5, -0.25, 0.75, -0.75, 0.75]),
    # identity 2 has no pull or hard of its own; it lies 1 from the center 5 and 4 from the center 10
    "somebody seen in one modality is near": (
        6, 4 + ((4.3 - 1) + (4.3 - 4)) / 2 + 0.5 * 4.5, [-0.75, -0.5, 1.75, -1.75, 1.25, 0.0],
    ),
    # identity 0 alone: nobody to mine
    "nobody else": (3, 4 + 0 + 0.5 * 5, [-1.0, -0.5, 1.5]),
}  # fmt: skip


@pytest.mark.parametrize("case", BY_HAND)
def test_center_mining_by_hand_in_value_and_gradient(case: str) -> None:
    count, value, gradient = BY_HAND[case]
    x = torch.tensor(LINE[0][:count])[:, None].requires_grad_()
    found = identity_center_mining(x, torch.tensor(LINE[1][:count]), torch.tensor(LINE[2][:count]))
    assert float(found.detach()) == pytest.approx(value)
    assert torch.autograd.grad(found, x)[0].flatten().tolist() == pytest.approx(gradient)


@pytest.mark.parametrize("form", ICM_FORMS)
def test_an_image_that_does_not_show_the_part_is_as_good_as_absent(form: str) -> None:
    x = torch.randn(8, 4, generator=RNG)
    ids, infrared = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1]), torch.tensor([True, True, False, False] * 2)
    visible = torch.tensor([1.0, 0, 1, 1, 1, 1, 0, 1])
    kept = visible > 0
    found = ICM_FORMS[form](x, ids, infrared, 0.3, visible)
    torch.testing.assert_close(found, ICM_FORMS[form](x[kept], ids[kept], infrared[kept], 0.3, None))
    assert ICM_FORMS[form](x, ids, infrared, 0.3, torch.zeros(8)).item() == 0


def test_centers_are_weighted_by_what_is_visible() -> None:
    x = torch.tensor([[0.0], [3.0], [10.0]])
    found = modality_centers(
        x,
        identities=torch.zeros(3).long(),
        infrared=torch.tensor([True, True, False]),
        visible=torch.tensor([1.0, 0.5, 0.2]),
    )
    torch.testing.assert_close(found.centers[:, 0, 0], torch.tensor([10.0, 1.0]))
