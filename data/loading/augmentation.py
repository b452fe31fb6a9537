"""Which augmentations a training uses and how often, checked without importing torch."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """Probabilities of each augmentation, in [0, 1]; `padding` in pixels before the random crop, with the mean colour
    or black (`fill`).

    exchange: one channel of a visible image over all three (channel exchange of CAJ). grey: a visible image in
    grey. erase: random erasing, in both modalities. flip: mirror.
    """

    padding: int = 10
    fill: Literal["mean", "black"] = "mean"
    flip: float = 0.5
    erase: float = 0.5
    exchange: float = 0.5
    grey: float = 0.2

    def __post_init__(self) -> None:
        for name in ("flip", "erase", "exchange", "grey"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} = {getattr(self, name)}; give a probability")
        if self.padding < 0:
            raise ValueError(f"padding = {self.padding}; give at least 0")
