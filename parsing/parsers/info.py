"""What a cache records of a parser; importing this loads no torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..labels import LabelSet
from ..resize import Size

CONFIDENCE = "of probabilities at a quarter of the masks' size"
"""How the confidence of a mask is computed, as the cache states it."""


@dataclass(frozen=True)
class ParserInfo:
    """What a cache records of a parser.

    Attributes:
        name: as given to `--parser`.
        labels: its label set.
        licence: of its weights.
        weights_hash: SHA-256 of the weights, which tells two parsers of one name apart.
        preprocessing: all that is done to an image before the network, as JSON.
    """

    name: str
    labels: LabelSet
    licence: str
    weights_hash: str
    preprocessing: dict[str, Any]


def describe_stretching(
    input_size: Size, mean: Sequence[float], std: Sequence[float], channels: str = "rgb"
) -> dict[str, Any]:
    """Return the preprocessing of a `NetworkParser`."""
    return {
        "resize": "antialiased bilinear",
        "input": list(input_size),
        "channels": channels,
        "mean": tuple(mean),
        "std": tuple(std),
    }
