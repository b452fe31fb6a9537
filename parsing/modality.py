"""The two modalities of visible-infrared re-identification."""

from typing import Literal, get_args

Modality = Literal["visible", "infrared"]
MODALITIES: tuple[Modality, ...] = get_args(Modality)
"""In the order of their numbers in a mask cache."""
