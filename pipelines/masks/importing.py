"""Make a mask cache from existing mask files (`cscl masks import`)."""

import json
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from data.readers.listing import Listing, list_below
from data.records import Record
from parsing.cache.builder import ShardBuilder, people_columns, plan_shards
from parsing.cache.existing import make_room
from parsing.cache.index import finish_cache, shard_folder
from parsing.cache.lock import hold_lock
from parsing.cache.provenance import Provenance, cache_attributes
from parsing.cache.reader import MaskCache
from parsing.cache.shard import Status, StoredFile
from parsing.errors import InputError, MissingError
from parsing.exporters import EXPORTERS
from parsing.exporters.base import PartIdExporter
from parsing.exporters.png import PngExporter
from parsing.importers import IMPORTERS, STRETCHED, guess_kind, labelmap
from parsing.importers.label_values import BY_NUMBER, Reading, parse_values, understand
from parsing.importers.palettes import Palette
from parsing.importers.placing import Fit
from parsing.labels import label_set
from parsing.progress import Bar

from ..parse.config import check_size, index_file
from .import_pairs import Pair, find_pairs
from .import_rules import Rules
from .import_survey import Seen, check_classes, check_shapes, first_of_keys, hash_masks, look

DEEPEST = 2
"""Folders of an exporter's own, at most, between those that it was given and its masks."""
WITHOUT_DATA_SET = "images"
"""What a cache that was imported without a data set names as its own."""


@dataclass(frozen=True)
class ImportConfig:
    """The arguments of an import.

    Attributes:
        masks: folder of files of `kind` with classes of `labels`, or the file of a kind that has one for all images.
        labels: label set of their classes.
        kind: a key of `parsing.importers.IMPORTERS`; None takes the one that is there.
        dataset, root: data set to whose images they belong; None makes images of the masks themselves, named as the
            masks with `suffix` as their ending, None for .jpg.
        pattern: place of identity and camera in the paths of `folder` (data/readers/naming.py); the cache records it.
        path: template of a mask's path below `masks` (`parsing.exporters.paths`); None tries `import_pairs.TEMPLATES`.
        values: classes of numbers, as `255=person` (`label_values.parse_values`); of categories for `coco`.
        numbers: whether to use the numbers of coloured masks instead of their colours.
        fit: how the image lies in its mask.
        as_stored: whether masks were drawn on the pixels before their EXIF orientation was applied.
    """

    masks: Path
    labels: str
    dataset: str | None = None
    root: Path | None = None
    out: Path | None = None
    size: tuple[int, int] = (288, 144)
    path: str | None = None
    suffix: str | None = None
    pattern: str | None = None
    values: tuple[str, ...] = ()
    numbers: bool = False
    fit: Fit = "same"
    as_stored: bool = False
    licence: str = "not stated: imported masks"
    overwrite: bool = False
    kind: str | None = None

    def __post_init__(self) -> None:
        check_size(self.size)
        if not self.masks.exists():
            raise MissingError(f"no folder of masks {self.masks}")
        if self.dataset is None and self.pattern is not None:
            raise InputError(f"--pattern {self.pattern} is for --dataset folder; give --dataset and --root")
        if self.dataset is None and self.path is not None:
            raise InputError("--path says where the mask of an image lies; give the images with --dataset and --root")
        if self.dataset is not None and self.suffix is not None:
            raise InputError(f"--suffix {self.suffix}: the images of --dataset {self.dataset} have names, leave it out")


@dataclass(frozen=True)
class ImportResult:
    """Result of an import: masks in the cache, those without a person, and images of the data set without a mask."""

    path: Path
    masks: int
    empty: tuple[str, ...]
    without: tuple[str, ...]
    notes: tuple[str, ...]


def import_masks(config: ImportConfig) -> ImportResult:
    """Write a cache of the images that have a mask; finished shards of the same masks and images are kept.

    All masks are read once before anything is written.

    Raises:
        InputError: if no mask shows a person, or masks do not fit their images.
    """
    listing = Listing([], [], []) if config.masks.is_file() else list_below(config.masks, ".")
    if config.kind is None:
        config = replace(config, kind=guess_kind(config.masks, (*listing.images, *listing.others)))
    kind = str(config.kind)
    own = _find_export(config.masks, kind)
    if config.fit == "same" and (kind in STRETCHED or (own is not None and own.stretched)):
        config = replace(config, fit="stretch")
    labels = label_set(config.labels)
    values = parse_values(config.values, labels)
    if own is not None and values is None and own.classes not in (None, labels.classes):
        raise InputError(
            f"{config.masks} holds the classes {', '.join(own.classes)}, says {own.record}, and --labels "
            f"{config.labels} has others in their places; give the label set or a TOML file of these classes, say "
            "which they are with --values NUMBER=CLASS, or remove that file if the masks are others"
        )
    out = index_file(config.out, config.dataset or config.masks.resolve().stem)
    found = find_pairs(config, kind=kind, listing=listing, labels=labels, values=values)
    pairs, root = found.pairs, found.root
    if kind == "coco":
        values = None  # of categories, which are classes by now
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        seen = _survey(config, pairs=pairs, root=root, pool=pool)
        painted = kind == "png" and values is None and not config.numbers
        given = labelmap.find_labelmap(config.masks, labels) if painted else None
        reading = understand(first_of_keys(seen), labels=labels, values=values, numbers=config.numbers, given=given)
        notes = [*found.notes, *reading.notes, *check_classes(seen, reading, labels)]
        notes += check_shapes(seen, fit=config.fit, as_stored=config.as_stored, images=config.dataset is not None)
        rules = Rules(labels, reading=reading, size=config.size, fit=config.fit, as_stored=config.as_stored)
        provenance = Provenance(
            parser=f"imported {kind}",
            weights=hash_masks(seen, config.as_stored),
            labels=labels,
            size=config.size,
            preprocessing=_describe_preprocessing(config, seen=seen, reading=reading, values=values, given=given),
        )
        attributes = cache_attributes(
            out,
            provenance,
            data_set=config.dataset or WITHOUT_DATA_SET,
            root=root,
            licence=config.licence,
            pattern=config.pattern,
        )
        cut = _write_all(
            out, pairs=pairs, seen=seen, rules=rules, attributes=attributes, pool=pool, overwrite=config.overwrite
        )
    if cut:
        notes.append(
            f"{len(cut)} masks show somebody in the padding that was cut off, the first is {cut[0]}; see that "
            "--letterbox (padded on two sides) or --letterbox-corner (right or below) is what was done to the images"
        )
    cache = MaskCache(out)
    empty = tuple(cache.names[n] for n in np.flatnonzero(cache.status == Status.EMPTY))
    return ImportResult(out, masks=len(cache), empty=empty, without=found.without, notes=tuple(notes))


@dataclass(frozen=True)
class _Export:
    """What the record of `cscl masks export` beside masks says of them.

    Attributes:
        record: its file.
        stretched: whether all masks have one size, to which they were stretched.
        classes: what the numbers of PNGs are, in order: classes, parts or ids; None if it is not known.
    """

    record: Path
    stretched: bool
    classes: tuple[str, ...] | None


def _find_export(masks: Path, kind: str) -> _Export | None:
    """Return what is said of masks that `cscl masks export` wrote; None if it did not.

    Its record lies in the folder that was given to it, in which an exporter may have folders of its own.
    """
    folder = (masks.parent if masks.is_file() else masks).resolve()
    for place in (folder, *folder.parents[:DEEPEST]):
        for record in sorted(place.glob("cscl-*.json")):
            try:
                said = json.loads(record.read_text(encoding="utf-8"))
                size, files = said["size"], [file for file in said["files"] if file.endswith(IMPORTERS[kind])]
                classes = _name_numbers(said) if kind == "png" else None
            except (OSError, ValueError, KeyError, TypeError, AttributeError):
                continue
            if any((place / file).is_relative_to(folder) for file in files):
                return _Export(record, size != "source", classes)
    return None


def _name_numbers(said: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Return what the numbers of an export's PNGs are, by its record."""
    if said["scheme"]:
        return ("background", *said["scheme"]["parts"])
    kind = EXPORTERS.get(said["exporter"])
    if kind is not None and issubclass(kind, PartIdExporter):
        return ("background", *kind.scheme.parts)
    return tuple(said["made_by"]["labels"]["classes"]) if kind is PngExporter else None


def _survey(config: ImportConfig, pairs: list[Pair], root: Path, pool: ThreadPoolExecutor) -> list[Seen]:
    found = pool.map(
        lambda p: look(p.record.name, p.mask, image=root / p.record.name, as_stored=config.as_stored), pairs
    )
    return list(Bar(found, total=len(pairs), unit="mask", desc="look at masks"))


def _describe_preprocessing(
    config: ImportConfig, seen: list[Seen], reading: Reading, values: dict[int, int] | None, given: Palette | None
) -> dict[str, Any]:
    """Return what decides the labels beside the files, without values that are the default."""
    said: dict[str, Any] = {"resize": "nearest"}
    if values is not None:
        said["values"] = {str(number): values[number] for number in sorted(values)}
    if reading.by != BY_NUMBER:
        said["colours"] = reading.by if given is None else f"{labelmap.NAME} {given.digest()}"
    if config.fit in ("letterbox", "corner"):
        said["fit"] = config.fit
    if any(one.turn > 1 for one in seen):
        said["exif"] = "masks turned" if config.as_stored else "masks upright"
    return said


def _is_current(
    stored: StoredFile, images: Sequence[Record], rows: Sequence[Seen], attributes: Mapping[str, Any]
) -> bool:
    """Return whether a shard has these images as they are now: their people, and the sizes that undo a letterbox."""
    said = people_columns(images) | {"source_size": np.array([one.upright for one in rows])}
    return stored.fits([image.name for image in images], attributes) and all(
        np.array_equal(getattr(stored.columns, column), values) for column, values in said.items()
    )


def _write_all(
    out: Path,
    pairs: list[Pair],
    seen: list[Seen],
    rules: Rules,
    attributes: dict[str, Any],
    pool: ThreadPoolExecutor,
    overwrite: bool,
) -> list[str]:
    """Write the shards that are not there yet, and the index; names of the masks that lost a part of somebody."""
    of_image = {one.name: one for one in seen}
    cut: list[str] = []
    shards: list[StoredFile] = []
    with (
        hold_lock(out, "cscl masks import"),
        Bar(total=len(pairs), unit="mask", desc="import") as bar,
    ):
        records = [pair.record for pair in pairs]
        room = make_room(out, attributes, names=[record.name for record in records], overwrite=overwrite)
        room.clear()
        for path, images in plan_shards(shard_folder(out), records).items():
            stored = room.whole.get(path.name)
            rows = [of_image[image.name] for image in images]
            if stored is None or not _is_current(stored, images, rows=rows, attributes=room.attributes):
                answers = list(pool.map(rules.labels_of, rows))
                shard = ShardBuilder(images, rules.size)
                masks = np.stack([labels for labels, _ in answers])
                shard.put(range(len(rows)), masks, [one.upright for one in rows])
                stored = shard.write(path, room.attributes)
                cut += [one.name for one, (_, lost) in zip(rows, answers, strict=True) if lost]
            shards.append(stored)
            bar.update(len(images))
        finish_cache(out, shards)
    return cut
