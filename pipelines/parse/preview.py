"""Count what a parse run would do, without loading a parser (`cscl parse --dry-run`)."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from data.registry import open_data_set
from parsing.cache.builder import plan_shards
from parsing.cache.index import list_shards, shard_folder
from parsing.cache.shard import read_stored
from parsing.words import list_briefly

from .config import ParseConfig
from .plan import choose_records


@dataclass(frozen=True)
class Preview:
    """Work of a parse run.

    Attributes:
        path: index file of the cache.
        root: folder of the images.
        images, shards: number of images and shards of the cache.
        done_images, done_shards: number that an earlier run with the same options has finished.
        other: names of options, data set and folder included, in which the existing cache differs; the run would refuse
            to continue it.
        left_out: number of images of the existing cache that the run would leave out, which it refuses too.
    """

    path: Path
    root: Path
    images: int
    shards: int
    done_images: int
    done_shards: int
    other: tuple[str, ...]
    left_out: int

    def to_json(self) -> dict[str, Any]:
        """Return all fields."""
        return {**asdict(self), "path": str(self.path), "root": str(self.root)}

    def lines(self) -> list[str]:
        """Return the text that `cscl parse --dry-run` prints, as lines."""
        left = self.images - self.done_images
        planned, done = (f"{n} shard{'s' * (n != 1)}" for n in (self.shards, self.done_shards))
        lines = [
            f"{self.path}: {self.images} images of {self.root} in {planned}",
            f"done: {self.done_images} images in {done}, {left} to parse",
        ]
        if self.other:
            lines.append(
                f"note: it was made with another {list_briefly(self.other)}: give --overwrite or another --out"
            )
        if self.left_out:
            lines.append(
                f"note: it holds {self.left_out} images that this run would leave out: "
                "give --overwrite or another --out"
            )
        return lines


def preview(config: ParseConfig) -> Preview:
    """Return the number of images and shards of a run, and of those that are done.

    The hash of the weights is not compared, since it needs the parser: the run may still refuse the cache.

    Raises:
        MissingError, InputError: for the data set, as in `parse`.
    """
    data_set = open_data_set(config.dataset, config.root, pattern=config.pattern)
    records = choose_records(data_set.images, config.limit, None)
    planned = plan_shards(shard_folder(config.index), records)
    done_images = done_shards = 0
    other: set[str] = set()
    held: set[str] = set()
    paths = () if config.overwrite else (config.index, *list_shards(config.index))
    for path in paths:
        stored = read_stored(path)
        if stored is None:
            continue  # missing or damaged: the run parses it
        held.update(stored.columns.names)
        rows = planned.get(path, ())
        differing = _find_differences(config, data_set.root, stored.attributes)
        other.update(differing)
        if not differing and stored.columns.names.tolist() == [record.name for record in rows]:
            done_images, done_shards = done_images + len(rows), done_shards + 1
    return Preview(
        path=config.index,
        root=data_set.root,
        images=len(records),
        shards=len(planned),
        done_images=done_images,
        done_shards=done_shards,
        other=tuple(sorted(other)),
        left_out=len(held - {record.name for record in records}),
    )


def _find_differences(config: ParseConfig, root: Path, attributes: Mapping[str, Any]) -> list[str]:
    """Return the names of the options in which a file with these attributes differs from `config` and its folder."""
    found = json.loads(attributes["made_by"]) | {"dataset": attributes["data_set"], "root": attributes["root"]}
    wanted = {"size": list(config.size), "flip": config.flip, "probs": config.probs, "parser": config.parser.name}
    wanted |= {"dataset": config.dataset, "root": os.path.relpath(root.resolve(), config.index.parent.resolve())}
    if "pattern" in attributes and config.pattern is None:
        found, wanted = found | {"pattern": attributes["pattern"]}, wanted | {"pattern": None}
    return [name for name, value in wanted.items() if found.get(name) != value]
