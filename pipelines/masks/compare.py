"""Compare two caches on the images that they share (`cscl masks compare`)."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data.registry import DATA_SETS
from parsing.cache.reader import MaskCache
from parsing.errors import InputError
from parsing.modality import MODALITIES
from parsing.progress import Bar
from parsing.resize import resize_labels

from .score import MaskScores, Tally, find_common_classes


@dataclass(frozen=True)
class Agreement:
    """Agreement of the masks of two caches, with the images that differ most.

    Attributes:
        worst: images that differ, with their mIoU in [0, 1) over the classes of either mask, lowest first.
        only_first, only_second: images that the other cache lacks.
        unreadable: shared images without a mask in one cache.
        equal: shared images with equal masks.
        other_size: shared images whose recorded sizes differ, where both are known; they may be different images.
    """

    first: Path
    second: Path
    scores: MaskScores
    worst: tuple[tuple[str, float], ...]
    only_first: int
    only_second: int
    unreadable: int
    other_size: int
    equal: int

    def to_json(self) -> dict[str, Any]:
        """Return all values for `cscl masks compare --json`."""
        return {
            "first": str(self.first),
            "second": str(self.second),
            **self.scores.to_json(),
            "worst": [{"image": name, "mIoU": value} for name, value in self.worst],
            "only_first": self.only_first,
            "only_second": self.only_second,
            "unreadable": self.unreadable,
            "other_size": self.other_size,
            "equal": self.equal,
        }

    def lines(self) -> list[str]:
        """Return the table that `cscl masks compare` prints, as lines."""
        shown = list(self.scores.lines())
        if self.equal == sum(self.scores.images.values()):
            shown.append(f"all {self.equal} compared masks are equal")
        if self.worst:
            shown.append("images that agree least, with the mIoU of each:")
            shown += [f"  {100 * value:5.1f}  {name}" for name, value in self.worst]
        if self.only_first or self.only_second:
            shown.append(
                f"note: {self.only_first} images are in {self.first} alone, {self.only_second} in {self.second} alone"
            )
        if self.unreadable:
            shown.append(f"note: {self.unreadable} shared images have no mask in one of the two")
        if self.other_size:
            shown.append(
                f"note: {self.other_size} shared names are of images of another size in the two; "
                "are they of the same data set?"
            )
        return shown


def compare(first: MaskCache, second: MaskCache, scheme: str | None = None, worst: int = 10) -> Agreement:
    """Compare the masks of every image that both caches hold, found by name, at the size of the first.

    Modalities are those of the first cache, or of the second if it alone names a data set: imported masks may not.

    scheme: a part scheme to compare in; caches of different label sets need one. worst: how many images to name.
    """
    caches, paths = (first, second), (first.path, second.path)
    name, classes, tables = find_common_classes((str(paths[0]), str(paths[1])), (first.labels, second.labels), scheme)
    shared = [image for image in first.names if image in second]
    if not shared:
        raise InputError(
            f"{paths[0]} and {paths[1]} share no image: the first are {first.names[0]} and {second.names[0]}"
        )
    knowing = 1 if first.data_set not in DATA_SETS and second.data_set in DATA_SETS else 0
    tallies: dict[str, Tally] = {}
    agreed: list[tuple[float, str]] = []
    other_size = 0
    for image in Bar(shared, unit="image", desc="compare masks"):
        numbers = first.number(image), second.number(image)
        if not all(c.has_mask[n] for c, n in zip(caches, numbers, strict=True)):
            continue
        sizes = [c.source_size[n].tolist() for c, n in zip(caches, numbers, strict=True)]
        other_size += sizes[0] != sizes[1] and min(*sizes[0], *sizes[1]) > 0
        one, other = (t[c[n]] for t, c, n in zip(tables, caches, numbers, strict=True))
        modality = MODALITIES[caches[knowing].modality[numbers[knowing]]]
        tally = tallies.setdefault(modality, Tally(len(classes)))
        miou = tally.add(one, resize_labels(other, first.size), float(first.confidence[numbers[0]]))
        if not math.isnan(miou):
            agreed.append((miou, image))
    if not tallies:
        raise InputError(f"{paths[0]} and {paths[1]}: none of their {len(shared)} shared images has a mask in both")
    ordered: dict[str, Tally] = {m: tallies[m] for m in MODALITIES if m in tallies}
    return Agreement(
        first=paths[0],
        second=paths[1],
        scores=MaskScores.counted(name, classes, ordered),
        worst=tuple((image, value) for value, image in sorted(agreed) if value < 1)[:worst],
        only_first=len(first) - len(shared),
        only_second=len(second) - len(shared),
        unreadable=len(shared) - sum(len(t.mious) for t in tallies.values()),
        other_size=other_size,
        equal=sum(value == 1 for value, _ in agreed),
    )
