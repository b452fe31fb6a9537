"""The published figures beside which ours are shown, from published.toml."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files

from parsing.files import parse_toml


@dataclass(frozen=True)
class Published:
    """Figures of one method on one data set.

    Attributes:
        method: its name.
        source: where its authors report them.
        figures: Rank-1 and mAP in per cent by protocol.
    """

    method: str
    source: str
    figures: Mapping[str, tuple[float, float]]


def read_published(data_set: str) -> list[Published]:
    """Return the published figures on a data set, in the order of the file."""
    text = (files(__package__) / "published.toml").read_text(encoding="utf-8")
    return [
        Published(one["method"], one["source"], {name: (r, m) for name, (r, m) in one[data_set].items()})
        for one in parse_toml(text)["figures"]
        if data_set in one
    ]
