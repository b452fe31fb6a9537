"""The published figures beside which ours are shown, from published.toml."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from parsing.files import parse_toml


@dataclass(frozen=True)
class Published:
    """Figures of one method on one data set.

    Attributes:
        method: its name.
        source: where its authors report them, and what a reader must know beside that.
        figures: Rank-1 and mAP in per cent by protocol.
    """

    method: str
    source: str
    figures: Mapping[str, tuple[float, float]]


def read_published(data_set: str) -> list[Published]:
    """Return the published figures on a data set, in the order of the file."""
    return [
        Published(
            one["method"],
            source="; ".join(one[key] for key in ("source", "note") if key in one),
            figures={name: (rank1, mean_ap) for name, (rank1, mean_ap) in one[data_set].items()},
        )
        for one in read_entries()
        if data_set in one
    ]


def read_entries() -> list[dict[str, Any]]:
    """Return the entries of published.toml as they stand there."""
    text = (files(__package__) / "published.toml").read_text(encoding="utf-8")
    entries: list[dict[str, Any]] = parse_toml(text)["figures"]
    return entries
