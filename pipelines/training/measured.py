"""What a step measured, kept on the device until the log asks for it: asking waits for the device."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

LOG_EVERY = {"cuda": 20}
"""Number of steps between two looks at what they measured, by device; 1 on the others, which nothing waits for."""


@dataclass(frozen=True, eq=False)
class Measured:
    """A row of the log whose values may not have been computed yet.

    Attributes:
        head: `step` and `epoch`.
        terms: of the loss, scalars on the device.
        about: learning rate and alpha.
        others: other scalars on the device, see `Stepper`.
    """

    head: Mapping[str, int]
    terms: Mapping[str, Tensor]
    about: Mapping[str, float]
    others: Mapping[str, Tensor]


def fetch_rows(steps: Sequence[Measured]) -> list[dict[str, Any]]:
    """Return the rows of the log, in one copy from the device."""
    values = iter(torch.stack([v for s in steps for v in (*s.terms.values(), *s.others.values())]).tolist())
    rows = []
    for step in steps:
        terms, others = ({name: next(values) for name in each} for each in (step.terms, step.others))
        if "guided" in others:  # keeps its place
            others = {("guide" if n == "guided" else n): v for n, v in others.items()}
            others["guide"] *= step.about["alpha"]
        rows.append({**step.head, **terms, **step.about, **others})
    return rows
