"""Make a mask cache from existing mask files (`cscl masks import`)."""

import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from tqdm import tqdm

from data.readers.listing import list_below
from data.readers.naming import camera_of
from data.records import Modality, Record
from data.registry import open_data_set
from parsing.cache.builder import ShardBuilder, plan_shards
from parsing.cache.existing import make_room
from parsing.cache.index import finish_cache, shard_folder
from parsing.cache.lock import hold_lock
from parsing.cache.provenance import Provenance, cache_attributes
from parsing.cache.reader import MaskCache
from parsing.cache.shard import Status, StoredFile
from parsing.errors import InputError, MissingError
from parsing.exporters.paths import fill
from parsing.importers import IMPORTERS, guess_kind, mask_reader
from parsing.importers.label_png import LabelPng
from parsing.importers.label_values import BY_NUMBER, Reading, parse_values, understand
from parsing.importers.labelmap import find_labelmap
from parsing.importers.placing import Fit
from parsing.labels import label_set

from ..parse.config import check_size, index_file
from .import_rules import Rules
from .import_survey import Seen, check_classes, check_shapes, first_of_keys, hash_masks, look

TEMPLATES = ("{dir}/{stem}", "{stem}")
"""Where the mask of an image is looked for, without its ending: in the data set's own folders, or all in one."""
WITHOUT_DATA_SET = "images"
"""What a cache that was imported without a data set names as its own."""


@dataclass(frozen=True)
class ImportConfig:
    """The arguments of an import.

    Attributes:
        masks: folder of files of `kind` with classes of `labels`.
        labels: label set of their classes.
        kind: a key of `parsing.importers.IMPORTERS`; None takes the one that is there.
        dataset, root: data set to whose images they belong; None makes images of the masks themselves, named as the
            masks with `suffix` as their ending.
        pattern: place of identity and camera in the paths of `folder` (data/readers/naming.py); the cache records it.
        path: template of a mask's path below `masks` (`parsing.exporters.paths`); None tries `TEMPLATES`.
        values: classes of numbers, as `255=person` (`label_values.parse_values`).
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
    suffix: str = ".jpg"
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
        if not self.masks.is_dir():
            raise MissingError(f"no folder of masks {self.masks}")


@dataclass(frozen=True)
class ImportResult:
    """Result of an import: masks in the cache, those without a person, and images of the data set without a mask."""

    path: Path
    masks: int
    empty: tuple[str, ...]
    without: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Pair:
    record: Record
    mask: Path


def import_masks(config: ImportConfig) -> ImportResult:
    """Write a cache of the images that have a mask; finished shards of the same masks are kept.

    All masks are read once before anything is written.

    Raises:
        InputError: if no mask shows a person, or masks do not fit their images.
    """
    if config.kind is None:
        config = replace(config, kind=guess_kind(config.masks))
    if config.fit == "same" and _is_own_export(config.masks):
        config = replace(config, fit="stretch")
    labels, kind = label_set(config.labels), str(config.kind)
    read = mask_reader(kind, labels)
    values = parse_values(config.values, labels)
    out = index_file(config.out, config.dataset or config.masks.resolve().name)
    pairs, without, root = _select_images(config, config.dataset) if config.dataset else _make_records(config)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        seen = _survey(config, pairs=pairs, root=root, pool=pool, read=read)
        given = None if values is not None or config.numbers else find_labelmap(config.masks, labels)
        reading = understand(first_of_keys(seen), labels=labels, values=values, numbers=config.numbers, given=given)
        notes = [*reading.notes, *check_classes(seen, reading, labels)]
        notes += check_shapes(seen, fit=config.fit, as_stored=config.as_stored, images=config.dataset is not None)
        rules = Rules(labels, reading=reading, size=config.size, fit=config.fit, as_stored=config.as_stored, read=read)
        provenance = Provenance(
            parser=f"imported {kind}",
            weights=hash_masks(seen),
            labels=labels,
            size=config.size,
            preprocessing=_describe_preprocessing(config, seen=seen, reading=reading, values=values),
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
    return ImportResult(out, masks=len(cache), empty=empty, without=without, notes=tuple(notes))


def _is_own_export(masks: Path) -> bool:
    """Return whether the folder was written by `cscl masks export` at one size, which stretches all masks."""
    try:
        said = json.loads((masks / "cscl-png.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(said, dict) and said.get("exporter") == "png" and said.get("size") != "source"


def _survey(
    config: ImportConfig,
    pairs: list[_Pair],
    root: Path,
    pool: ThreadPoolExecutor,
    read: Callable[[Path], LabelPng],
) -> list[Seen]:
    found = pool.map(
        lambda p: look(p.record.name, path=p.mask, image=root / p.record.name, as_stored=config.as_stored, read=read),
        pairs,
    )
    return list(tqdm(found, total=len(pairs), unit="mask", desc="look at masks"))


def _describe_preprocessing(
    config: ImportConfig, seen: list[Seen], reading: Reading, values: dict[int, int] | None
) -> dict[str, Any]:
    """Return what decides the labels beside the files, without values that are the default."""
    said: dict[str, Any] = {"resize": "nearest"}
    if values is not None:
        said["values"] = {str(number): values[number] for number in sorted(values)}
    if reading.by != BY_NUMBER:
        said["colours"] = reading.by
    if config.fit in ("letterbox", "corner"):
        said["fit"] = config.fit
    if any(one.turn > 1 for one in seen):
        said["exif"] = "masks turned" if config.as_stored else "masks upright"
    return said


def _write_all(
    out: Path,
    pairs: list[_Pair],
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
        tqdm(total=len(pairs), unit="mask", desc="import") as bar,
    ):
        records = [pair.record for pair in pairs]
        whole = make_room(out, attributes=attributes, names=[record.name for record in records], overwrite=overwrite)
        for path, images in plan_shards(shard_folder(out), records).items():
            stored = whole.get(path.name)
            if stored is None or not stored.fits([image.name for image in images], attributes):
                rows = [of_image[image.name] for image in images]
                answers = list(pool.map(rules.labels_of, rows))
                shard = ShardBuilder(images, rules.size)
                masks = np.stack([labels for labels, _ in answers])
                shard.put(range(len(rows)), masks, [one.upright for one in rows])
                stored = shard.write(path, attributes)
                cut += [one.name for one, (_, lost) in zip(rows, answers, strict=True) if lost]
            shards.append(stored)
            bar.update(len(images))
        finish_cache(out, shards)
    return cut


def _select_images(config: ImportConfig, name: str) -> tuple[list[_Pair], tuple[str, ...], Path]:
    """Return the images of the data set with a mask, those without, and its folder."""
    data_set = open_data_set(name, config.root, pattern=config.pattern)
    templates = (config.path,) if config.path else tuple(t + IMPORTERS[str(config.kind)] for t in TEMPLATES)
    best: list[_Pair] = []
    for template in templates:
        places = [fill(template, r.name, data_set.root.name) for r in data_set.images]
        found = [
            _Pair(r, config.masks / place)
            for r, place in zip(data_set.images, places, strict=True)
            if (config.masks / place).is_file()
        ]
        if len({pair.mask for pair in found}) < len(found):
            raise InputError(
                f"{config.masks}: several images of {name} share a mask when it is looked for as {template}; "
                "say where each lies with --path, as in --path '{dir}/{stem}.png'"
            )
        best = max(best, found, key=len)
        if best:
            break
    if not best:
        example = " or ".join(str(config.masks / fill(t, data_set.images[0].name, "")) for t in templates)
        raise InputError(f"no image of {name} has a mask in {config.masks}; looked for {example}; give --path")
    having = {pair.record.name for pair in best}
    return best, tuple(r.name for r in data_set.images if r.name not in having), data_set.root


def _make_records(config: ImportConfig) -> tuple[list[_Pair], tuple[str, ...], Path]:
    """Return one image per mask, with its name; modality from a folder `infrared`, camera from folder or file name."""
    if config.pattern is not None:
        raise InputError(f"--pattern {config.pattern} is for --dataset folder; give --dataset and --root")
    if config.path is not None:
        raise InputError("--path says where the mask of an image lies; give the images with --dataset and --root")
    ending = IMPORTERS[str(config.kind)]
    listing = list_below(config.masks, ".")
    masks = sorted(n.removeprefix("./") for names in listing for n in names if n.lower().endswith(ending))
    if not masks:
        raise InputError(f"{config.masks} holds no {ending} file")
    pairs = []
    for mask in masks:
        name = str(PurePosixPath(mask).with_suffix(config.suffix))
        modality: Modality = "infrared" if "infrared" in PurePosixPath(mask).parts[:-1] else "visible"
        pairs.append(_Pair(Record(name, identity=-1, camera=camera_of(name), modality=modality), config.masks / mask))
    return pairs, (), config.root or config.masks
