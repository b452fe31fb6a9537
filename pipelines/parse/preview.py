"""Count what a parse run would do, without workers (`cscl parse --dry-run`)."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from data.registry import open_data_set
from parsing.cache.builder import plan_shards
from parsing.cache.existing import find_room
from parsing.cache.index import list_shards, shard_folder
from parsing.errors import CacheError
from parsing.parsers.registry import check_options, describe_parser, find_backend

from ..devices import find_device
from .config import ParseConfig
from .kept import find_kept, list_notes
from .plan import choose_records, make_attributes


@dataclass(frozen=True)
class Preview:
    """Work of a parse run.

    Attributes:
        path: index file of the cache.
        root: folder of the images.
        images, shards: number of images and shards of the cache.
        done_images, done_shards: number that the run would keep of an earlier one.
        refused: the error with which the run would refuse what lies at `path`; empty if it would not.
        notes: what else the user should know of the run.
    """

    path: Path
    root: Path
    images: int
    shards: int
    done_images: int = 0
    done_shards: int = 0
    refused: str = ""
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return all fields."""
        return {**asdict(self), "path": str(self.path), "root": str(self.root)}

    def lines(self) -> list[str]:
        """Return the text that `cscl parse --dry-run` prints, as lines."""
        left = self.images - self.done_images
        planned, done = (f"{n} shard{'s' * (n != 1)}" for n in (self.shards, self.done_shards))
        return [
            f"{self.path}: {self.images} images of {self.root} in {planned}",
            f"done: {self.done_images} images in {done}, {left} to parse",
            *([f"note: the run would be refused: {self.refused}"] if self.refused else ()),
            *(f"note: {note}" for note in self.notes),
        ]


def preview(config: ParseConfig) -> Preview:
    """Return the number of images and shards of a run, and of those that it would keep of an earlier one.

    Nothing is fetched: if the parser's weights would have to be, what is there cannot be compared with it.

    Raises:
        MissingError, InputError: for data set, device and parser, as in `parse`.
    """
    if not config.elsewhere:
        find_device(config.parser.device)
    data_set = open_data_set(config.dataset, config.root, pattern=config.pattern)
    records, root = choose_records(data_set.images, config.limit, None), data_set.root.resolve()
    planned = {path.name: rows for path, rows in plan_shards(shard_folder(config.index), records).items()}
    begun = Preview(config.index, root=data_set.root, images=len(records), shards=len(planned))
    backend = find_backend(config.parser.name)
    check_options(backend, config.parser)
    if not backend.at_hand(config.parser):
        shards = 0 if config.overwrite else len(list_shards(config.index))
        unknown = f"; whether it keeps the {shards} shards that are there depends on them" if shards else ""
        return replace(begun, notes=(f"the run fetches the weights of {config.parser.name}{unknown}",))
    attributes = make_attributes(config, data_set, describe_parser(config.parser), root)
    try:
        room = find_room(config.index, attributes, [record.name for record in records], config.overwrite)
    except CacheError as error:
        return replace(begun, refused=str(error))
    kept, replaced = find_kept(planned, room.whole, room.attributes, root)
    return replace(
        begun,
        done_images=sum(map(len, kept.values())),
        done_shards=len(kept),
        notes=list_notes(kept, replaced, root),
    )
