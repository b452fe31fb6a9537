"""Tests of a GPU. Each runs on a CPU too, with `-m slow`, so that it has been run where there is no GPU."""

import pytest
import torch

DEVICES = (
    pytest.param("cpu", marks=pytest.mark.slow),
    pytest.param(
        "cuda",
        marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")],
    ),
)


@pytest.fixture(params=DEVICES)
def device(request: pytest.FixtureRequest) -> str:
    """`cpu` or `cuda`."""
    name: str = request.param
    return name
