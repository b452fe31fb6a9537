"""Select the images of a new mask cache, state what makes it, and divide the images into shards."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from data.loading.depth import has_deep_images
from data.records import DataSet, Record
from parsing.cache import builder
from parsing.cache.index import shard_folder
from parsing.cache.lock import Lock
from parsing.cache.provenance import Provenance, cache_attributes
from parsing.errors import InputError
from parsing.images import STRETCH
from parsing.parsers.info import CONFIDENCE, ParserInfo

from .config import ParseConfig
from .site import Site, list_versions
from .task import ShardTask


def choose_records(records: Sequence[Record], limit: int | None, only: Iterable[str] | None) -> tuple[Record, ...]:
    """Return the records to parse: those whose names are in `only`, or at most `limit` at equal distances, or all."""
    if only is not None:
        names = frozenset(only)
        return tuple(r for r in records if r.name in names)
    if limit is None or limit >= len(records):
        return tuple(records)
    return tuple(records[i * len(records) // limit] for i in range(limit))


def plan_shards(
    config: ParseConfig, root: Path, records: Sequence[Record], attributes: Mapping[str, Any], lock: Lock
) -> list[ShardTask]:
    """Return one task per shard, in order.

    Args:
        config: of the run.
        root: folder of the images.
        records: images to parse.
        attributes: of every file of the cache.
        lock: of the run on the cache.

    Raises:
        InputError: if there are no images.
    """
    if not records:
        raise InputError(f"{config.dataset}: there is no image under {root}")
    folder = shard_folder(config.index).resolve()
    sample = next((r.name for r in records if (root / r.name).is_file()), records[0].name)
    parser, site = (
        config.parser.absolute(),
        Site(lock, root=root, sample=sample, shards=folder, versions=list_versions()),
    )
    return [
        ShardTask(
            path=path,
            records=rows,
            attributes=attributes,
            parser=parser,
            site=site,
            size=config.size,
            batch_size=config.batch_size,
            flip=config.flip,
            probs=config.probs,
        )
        for path, rows in builder.plan_shards(folder, records).items()
    ]


def make_attributes(config: ParseConfig, data_set: DataSet, parser: ParserInfo, root: Path) -> dict[str, Any]:
    """Return the attributes of every file of the cache, whose images are in `root`."""
    provenance = Provenance(
        parser=parser.name,
        weights=parser.weights_hash,
        labels=parser.labels,
        size=config.size,
        preprocessing=parser.preprocessing | {"confidence": CONFIDENCE},
        flip=config.flip,
        probs=config.probs,
        deep_images=STRETCH if has_deep_images(data_set) else None,
    )
    return cache_attributes(
        config.index,
        provenance,
        data_set=config.dataset,
        root=root,
        licence=parser.licence,
        pattern=config.pattern,
    )
