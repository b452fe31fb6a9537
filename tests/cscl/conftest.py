"""What the tests of the network share: the same weights at the start, and running a piece in bf16 beside float32."""

from collections.abc import Callable, Iterator, Sequence

import pytest
import torch
from torch import Tensor

Near = Callable[..., None]


@pytest.fixture(autouse=True)
def same_initial_weights() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


@pytest.fixture
def near_in_bf16() -> Near:
    """`near_in_bf16(piece, [x, w])`: answers of `piece()` and their gradients under bf16 autocast are near float32's.

    Near is a share of the largest number of a tensor, or of a tenth of the largest gradient where a tensor's own is
    smaller: bf16 rounds every factor by up to 1/256, and sums in which much cancels keep that error.
    """

    def check(piece: Callable[[], Sequence[Tensor]], inputs: Sequence[Tensor], share: float = 0.04) -> None:
        exact = piece()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rounded = piece()
        rng = torch.Generator().manual_seed(0)
        weights = [torch.randn(v.shape, generator=rng) for v in exact]
        gradients = [
            torch.autograd.grad(
                torch.stack([(w * v.float()).sum() for w, v in zip(weights, values, strict=True)]).sum(), inputs
            )
            for values in (rounded, exact)
        ]
        floor = 0.1 * max(float(g.abs().max()) for g in gradients[1])
        pairs = [*((a, b, 0.0) for a, b in zip(rounded, exact, strict=True)),
                 *((a, b, floor) for a, b in zip(*gradients, strict=True))]  # fmt: skip
        for a, b, least in pairs:
            assert a.isfinite().all()
            assert float((a.detach() - b.detach()).abs().max()) <= share * max(float(b.detach().abs().max()), least)

    return check
