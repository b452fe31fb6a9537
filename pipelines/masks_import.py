"""`cscl masks import`: make a mask cache out of PNG masks that somebody already has."""

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from data.datasets import open_data_set
from data.listing import camera_of
from data.records import Modality, Record
from parsing.cache import MaskCache
from parsing.errors import InputError, MissingError
from parsing.exporters.paths import fill
from parsing.importing import read_label_png
from parsing.index import shard_folder
from parsing.labels import IGNORED, LabelSet, label_set
from parsing.lock import writing_to
from parsing.shard import MODALITIES, Columns, Status, shard_fits, write_shard
from parsing.whole import file_hash

from .parse_config import check_size, index_file
from .parse_plan import cache_attributes, finish, make_room, shard_length

TEMPLATES = ("{dir}/{stem}.png", "{stem}.png")
"""Where the mask of an image is looked for: in the data set's own folders, or all in one."""
WITHOUT_DATA_SET = "images"
"""What a cache that was imported without a data set names as its own."""


@dataclass(frozen=True)
class ImportConfig:
    """What `cscl masks import` was asked for.

    masks: folder of PNGs with classes of label set `labels`. dataset, root: the data set whose images they belong
    to; None makes images of the masks themselves, each named as its mask but for the ending `suffix`.
    path: template of a mask's path below `masks` (`parsing.exporters.paths`); None tries `TEMPLATES`.
    """

    masks: Path
    labels: str
    dataset: str | None = None
    root: Path | None = None
    out: Path | None = None
    size: tuple[int, int] = (288, 144)
    path: str | None = None
    suffix: str = ".jpg"
    licence: str = "not stated: imported masks"
    overwrite: bool = False
    progress: bool = True

    def __post_init__(self) -> None:
        check_size(self.size)
        if not self.masks.is_dir():
            raise MissingError(f"no folder of masks {self.masks}")


@dataclass(frozen=True)
class ImportResult:
    """What became of it: masks in the cache, and images of the data set that have none."""

    path: Path
    masks: int
    without: tuple[str, ...]


@dataclass(frozen=True)
class _Pair:
    record: Record
    mask: Path


def import_masks(config: ImportConfig) -> ImportResult:
    """Write the cache of the images that have a mask; finished shards of the same masks are kept."""
    labels = label_set(config.labels)
    out = index_file(config.out, config.dataset or config.masks.resolve().name)
    pairs, without, root = _of_data_set(config, config.dataset) if config.dataset else _of_masks(config)
    made_by = {
        "parser": "imported png",
        "weights": _hash(pairs),
        "preprocessing": {"resize": "nearest"},
        "size": config.size,
        "flip": False,
        "probs": False,
    }
    attributes = cache_attributes(out, made_by, labels, config.dataset or WITHOUT_DATA_SET, root, config.licence)
    length = shard_length(len(pairs))
    shards = {
        shard_folder(out) / f"{start // length:05d}.h5": pairs[start : start + length]
        for start in range(0, len(pairs), length)
    }
    with (
        writing_to(out, "cscl masks import"),
        ThreadPoolExecutor(os.cpu_count()) as pool,
        tqdm(total=len(pairs), unit="mask", desc="import", disable=not config.progress) as bar,
    ):
        make_room(out, attributes, [pair.record for pair in pairs], config.overwrite)
        for path, rows in shards.items():
            if not shard_fits(path, _names(rows), attributes):
                _write(path, rows, root, labels, config.size, attributes, pool)
            bar.update(len(rows))
        finish(out, list(shards))
    return ImportResult(out, len(MaskCache(out)), without)


def _of_data_set(config: ImportConfig, name: str) -> tuple[list[_Pair], tuple[str, ...], Path]:
    """Images of the data set that have a mask, those that have none, and the data set's folder."""
    data_set = open_data_set(name, config.root)
    templates = (config.path,) if config.path else TEMPLATES
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


def _of_masks(config: ImportConfig) -> tuple[list[_Pair], tuple[str, ...], Path]:
    """One image a mask, named as it; modality by a folder `infrared`, camera by folder or file name."""
    if config.path is not None:
        raise InputError("--path says where the mask of an image lies; give the images with --dataset and --root")
    masks = sorted(p.relative_to(config.masks).as_posix() for p in config.masks.rglob("*.png"))
    if not masks:
        raise InputError(f"{config.masks} holds no PNG")
    pairs = []
    for mask in masks:
        name = str(PurePosixPath(mask).with_suffix(config.suffix))
        modality: Modality = "infrared" if "infrared" in PurePosixPath(mask).parts[:-1] else "visible"
        pairs.append(_Pair(Record(name, -1, camera_of(name), modality), config.masks / mask))
    return pairs, (), config.root or config.masks


def _hash(pairs: list[_Pair]) -> str:
    """SHA-256 over names and masks: what stands for the weights of a parser."""
    digest = hashlib.sha256()
    for pair in pairs:
        digest.update(f"{pair.record.name}\0{file_hash(pair.mask)}\n".encode())
    return digest.hexdigest()


def _names(rows: list[_Pair]) -> NDArray[np.object_]:
    return np.array([pair.record.name for pair in rows], dtype=object)


def _write(
    path: Path, rows: list[_Pair], root: Path, labels: LabelSet, size: tuple[int, int],
    attributes: dict[str, Any], pool: ThreadPoolExecutor,
) -> None:  # fmt: skip
    masks = np.stack(list(pool.map(lambda pair: read_label_png(pair.mask, labels, size), rows)))
    sizes = np.array(list(pool.map(lambda pair: _image_size(root / pair.record.name, pair.mask), rows)), np.int32)
    found = ((masks > 0) & (masks != IGNORED)).any((1, 2))
    columns = Columns(
        _names(rows),
        np.where(found, Status.OK, Status.EMPTY).astype(np.uint8),
        found.astype(np.float32),  # nothing is known of how sure their maker was
        sizes,
        np.array([pair.record.identity for pair in rows], np.int32),
        np.array([pair.record.camera for pair in rows], np.int32),
        np.array([MODALITIES.index(pair.record.modality) for pair in rows], np.uint8),
    )
    write_shard(path, masks, columns, attributes)


def _image_size(image: Path, mask: Path) -> tuple[int, int]:
    """(height, width) of the image file, or of its mask where there is no readable image."""
    try:
        with Image.open(image) as opened:
            return opened.height, opened.width
    except OSError:
        with Image.open(mask) as opened:
            return opened.height, opened.width
