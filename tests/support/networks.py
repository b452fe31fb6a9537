"""Small networks, batches for them, and one step of training."""

from typing import Any

import torch
from torch import Tensor

from cscl.config import LossConfig, ModelConfig
from cscl.model import CSCL
from cscl.spam import mask_distribution
from cscl.total_loss import TotalLoss

RNG = torch.Generator().manual_seed(9)
SMALL = ModelConfig(identities=6, backbone="resnet18", part_dim=16)
IDENTITIES = torch.tensor([0, 0, 3, 3, 5, 5, 3, 0])
INFRARED = torch.tensor([True, False, False, True, True, False, True, False])
WHOLE = LossConfig(icm=0.5)
"""Every term on."""
TERMS = {"id", "triplet", "parsing", "shown", "division", "icm"}


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
