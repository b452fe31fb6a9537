"""On a GPU a step must not wait for it: a step on tensors that only claim to be on CUDA, as no test machine has it.

torch's fake tensors have a shape and a device, but no values. An operation that needs a value on the host (`item`,
`nonzero`, an index by a bool tensor) or mixes devices raises, and copies between devices are counted here.
"""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from cscl.model import CSCL
from cscl.total_loss import TotalLoss
from data.loading import transforms
from pipelines.benchmarks.steps import draw_batch
from pipelines.recipes.reading import Recipe
from pipelines.training.measured import Measured, fetch_rows
from pipelines.training.step import take_gradients

pytestmark = pytest.mark.skipif(
    torch.__version__.startswith("2.6.") and not torch.cuda.is_available(),
    reason="fake tensors of torch 2.6 need a GPU",
)

CUDA = torch.device("cuda", 0)
FABRIC: Any = SimpleNamespace(
    device=CUDA, world_size=1, no_backward_sync=lambda *_, **__: nullcontext(), backward=lambda loss: None
)
"""One process; nothing goes backward, for which torch would want a real device."""


class Copies(TorchDispatchMode):
    """Note the shapes of what is copied between devices."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.shapes: list[tuple[int, ...]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        given = [a for a in args if isinstance(a, Tensor)]
        if isinstance(result, Tensor) and any(a.device != result.device for a in given):
            self.shapes.append(tuple(result.shape))
        return result


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeTensorMode]:
    monkeypatch.setattr(Tensor, "backward", lambda loss: None)
    transforms._mean_and_std.cache_clear()
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        transforms._mean_and_std(CUDA)  # copied once per process
        yield mode
    transforms._mean_and_std.cache_clear()  # what is in it is of no use outside


def claimed(model: CSCL) -> CSCL:
    """The network with weights that claim to be on CUDA."""
    for module in model.modules():
        for name, value in list(module.named_parameters(recurse=False)):
            there = torch.empty(value.shape, dtype=value.dtype, device=CUDA)
            setattr(module, name, nn.Parameter(there, value.requires_grad))
        for name, buffer in list(module.named_buffers(recurse=False)):
            setattr(module, name, torch.empty(buffer.shape, dtype=buffer.dtype, device=CUDA))
    return model


RECIPES = {
    "cscl": [],
    "resnet": ["model.backbone=resnet18"],
    "pieces": ["train.accumulate=2"],
    "forms": ["loss.division_form=both", "loss.triplet_form=hard", "model.pam_gate=mam"],
    "stripes": ["model.part_pooling=stripes"],
    "icm": ["loss.icm=0.5"],
    "hctri": ["loss.icm=0.5", "loss.icm_form=hctri"],
}


@pytest.mark.parametrize(
    ("method", "changes"), [*(("cscl", n) for n in RECIPES), ("agw", "cscl"), ("baseline", "cscl")]
)
def test_a_step_waits_for_nothing_and_copies_the_batch_alone(
    tiny_recipe: Callable[..., Recipe], method: str, changes: str, request: pytest.FixtureRequest
) -> None:
    recipe = tiny_recipe(*RECIPES[changes], method=method)
    model = CSCL(recipe.model.config(8, 4, ())).train()
    batch = draw_batch(recipe)
    request.getfixturevalue("fake")
    with Copies() as copies:
        terms, measured = take_gradients(
            claimed(model), criterion=TotalLoss(recipe.loss), batch=batch, alpha=0.5, recipe=recipe, fabric=FABRIC
        )
        model.bound_scalars()
        scalars = model.scalars()
    assert sorted(copies.shapes) == sorted(tuple(value.shape) for value in batch.values())
    assert {value.device for value in (*terms.values(), *measured.values(), *scalars.values())} == {CUDA}
    assert {value.dtype for value in terms.values()} == {torch.float32}


def test_what_waits_is_seen(request: pytest.FixtureRequest) -> None:
    request.getfixturevalue("fake")
    there = torch.ones(4, device=CUDA)
    for waiting in (lambda: there.max().item(), lambda: there[there > 0], lambda: there + torch.ones(4)):
        with pytest.raises(
            Exception, match=r"item|aten\.index|aten\.nonzero|two different devices|_local_scalar|device"
        ):
            waiting()


def test_rows_are_fetched_together_in_the_order_of_their_steps() -> None:
    steps = [
        Measured(
            {"step": n, "epoch": 1},
            terms={"total": torch.tensor(n + 0.1)},
            about={"lr": 0.5, "alpha": 0.25},
            others={"gradient": torch.tensor(2.0), "guided": torch.tensor(0.5), "p": torch.tensor(3.0)},
        )
        for n in (1, 2)
    ]
    rows = fetch_rows(steps)
    assert [list(row) for row in rows] == [["step", "epoch", "total", "lr", "alpha", "gradient", "guide", "p"]] * 2
    assert [row["total"] for row in rows] == [float(torch.tensor(1.1)), float(torch.tensor(2.1))]
    assert [row["guide"] for row in rows] == [0.125] * 2
