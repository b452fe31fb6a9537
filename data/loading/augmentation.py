"""Which augmentations a training uses and how often, checked without importing torch."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """Section `augment`: how images and masks are changed at random in training.

    Attributes:
        padding: pixels added at each side before the random crop; 0 for no crop.
        fill: colour of the padding, `mean` for the mean colour or `black`.
        flip: probability of mirroring image and mask, in [0, 1].
        erase: probability of random erasing, in both modalities.
        exchange: probability of channel exchange (CAJ): one channel of a visible image replaces the other two.
        grey: probability of turning a visible image grey.
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
