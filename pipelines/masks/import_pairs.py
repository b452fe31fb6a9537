"""Match the masks of an import with the images that they belong to."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from data.readers.listing import list_below
from data.readers.naming import camera_of
from data.records import DataSet, Modality, Record
from data.registry import open_data_set
from parsing.errors import InputError
from parsing.exporters.paths import fill
from parsing.images import image_suffixes
from parsing.importers import IMPORTERS, mask_reader
from parsing.importers.coco_file import read_coco
from parsing.importers.source import MaskFile, MaskSource
from parsing.labels import LabelSet

if TYPE_CHECKING:
    from .importing import ImportConfig

TEMPLATES = ("{dir}/{stem}", "{stem}")
"""Where the mask of an image is looked for, without its ending: in the data set's own folders, or all in one."""


@dataclass(frozen=True)
class Pair:
    """An image and its mask."""

    record: Record
    mask: MaskSource


Found = tuple[list[Pair], tuple[str, ...], Path]
"""Images that have a mask, names of those that have none, and the images' folder."""


def find_pairs(config: "ImportConfig", kind: str, labels: LabelSet, values: Mapping[int, int] | None) -> Found:
    """Return which mask belongs to which image.

    Args:
        config: of the import.
        kind: of the masks.
        labels: label set of their classes.
        values: classes of categories by their number, for `coco`.

    Raises:
        InputError: if no image has a mask, several share one, or options do not fit together.
    """
    if config.dataset is None and config.pattern is not None:
        raise InputError(f"--pattern {config.pattern} is for --dataset folder; give --dataset and --root")
    if kind == "coco":
        return _find_coco(config, labels, values)
    if not config.masks.is_dir():
        raise InputError(f"{config.masks} is a file; {kind} masks lie in a folder, a file each")
    if config.dataset is None:
        return _make_records(config, kind, labels)
    data_set = open_data_set(config.dataset, config.root, pattern=config.pattern)
    return _select_images(config, kind=kind, labels=labels, data_set=data_set)


def _select_images(config: "ImportConfig", kind: str, labels: LabelSet, data_set: DataSet) -> Found:
    read = mask_reader(kind, labels)
    tried = (config.path,) if config.path else tuple(t + ending for ending in IMPORTERS[kind] for t in TEMPLATES)
    best: list[Pair] = []
    for template in tried:
        places = [config.masks / fill(template, r.name, data_set.root.name) for r in data_set.images]
        found = [(r, place) for r, place in zip(data_set.images, places, strict=True) if place.is_file()]
        if len({place for _, place in found}) < len(found):
            raise InputError(
                f"{config.masks}: several images of {data_set.name} share a mask when it is looked for as {template}; "
                f"say where each lies with --path, as in --path '{{dir}}/{{stem}}{IMPORTERS[kind][0]}'"
            )
        if found:
            best = [Pair(record, MaskFile(place, read)) for record, place in found]
            record, place = found[0]
            if place.resolve() == (data_set.root / record.name).resolve():
                raise InputError(f"{place} is an image of the data set and not its mask; give the folder of the masks")
            break
    if not best:
        example = " or ".join(str(config.masks / fill(t, data_set.images[0].name, "")) for t in tried)
        raise InputError(f"no image of {data_set.name} has a mask in {config.masks}; looked for {example}; give --path")
    return best, _without(data_set, best), data_set.root


def _without(data_set: DataSet, pairs: Iterable[Pair]) -> tuple[str, ...]:
    having = {pair.record.name for pair in pairs}
    return tuple(r.name for r in data_set.images if r.name not in having)


def _make_records(config: "ImportConfig", kind: str, labels: LabelSet) -> Found:
    """Return one image per mask, with its name; modality from a folder `infrared`, camera from folder or file name."""
    if config.path is not None:
        raise InputError("--path says where the mask of an image lies; give the images with --dataset and --root")
    endings = tuple(e.removeprefix("{suffix}") for e in IMPORTERS[kind] if e != "{suffix}")
    listing = list_below(config.masks, ".")
    files = sorted(n.removeprefix("./") for names in listing for n in names)
    masks = [n for n in files if n.lower().endswith(endings or tuple(image_suffixes()))]
    if not masks:
        raise InputError(f"{config.masks} holds no {endings[0] if endings else 'picture'} file")
    read, pairs = mask_reader(kind, labels), []
    for mask in masks:
        name = _image_name(mask, endings, config.suffix)
        pairs.append(Pair(_record(name), MaskFile(config.masks / mask, read)))
    if repeated := [name for name, times in Counter(p.record.name for p in pairs).items() if times > 1]:
        raise InputError(f"{config.masks} holds two masks of {repeated[0]}; keep one")
    return pairs, (), config.root or config.masks


def _image_name(mask: str, endings: tuple[str, ...], suffix: str) -> str:
    """Return the name of a mask's image: its own without the longest of the endings, and with the image's."""
    if not endings:
        return mask
    longest = max((e for e in endings if mask.lower().endswith(e)), key=len)
    stem = mask[: -len(longest)]
    return stem if PurePosixPath(stem).suffix.lower() in image_suffixes() else stem + suffix


def _record(name: str) -> Record:
    modality: Modality = "infrared" if "infrared" in PurePosixPath(name).parts[:-1] else "visible"
    return Record(name, identity=-1, camera=camera_of(name), modality=modality)


def _find_coco(config: "ImportConfig", labels: LabelSet, values: Mapping[int, int] | None) -> Found:
    """Return the images that a COCO file names: by their path, or by the end of it."""
    if config.path is not None:
        raise InputError("--path: a COCO file names its images itself, leave it out")
    masks = read_coco(_coco_file(config.masks), labels, values)
    if config.dataset is None:
        pairs = [Pair(_record(name), mask) for name, mask in masks.items()]
        return pairs, (), config.root or (config.masks if config.masks.is_dir() else config.masks.parent)
    data_set = open_data_set(config.dataset, config.root, pattern=config.pattern)
    ends: dict[str, list[Record]] = {}
    for record in data_set.images:
        parts = PurePosixPath(record.name).parts
        for start in range(len(parts)):
            ends.setdefault("/".join(parts[start:]), []).append(record)
    found: dict[str, Pair] = {}
    for name, mask in masks.items():
        parts = PurePosixPath(name).parts
        known = next((end for end in ("/".join(parts[start:]) for start in range(len(parts))) if end in ends), None)
        if known is None:
            continue
        if len(ends[known]) > 1:
            raise InputError(
                f"{mask}: {len(ends[known])} images of {data_set.name} end in {known}, the first is "
                f"{ends[known][0].name}; give more of their folders in file_name"
            )
        record = ends[known][0]
        if record.name in found:
            raise InputError(f"{mask} and {found[record.name].mask} are both {record.name}")
        found[record.name] = Pair(record, mask)
    if not found:
        raise InputError(
            f"{config.masks} names no image of {data_set.name} in {data_set.root}; its first is {next(iter(masks))}"
        )
    pairs = [found[name] for name in sorted(found)]
    return pairs, _without(data_set, pairs), data_set.root


def _coco_file(masks: Path) -> Path:
    """Return the file, or the only one in a folder that is not of an export's own."""
    if masks.is_file():
        return masks
    files = sorted(p for p in masks.glob("*.json") if not p.name.startswith((".", "cscl-")))
    if len(files) != 1:
        raise InputError(f"{masks} holds {len(files)} JSON files; give the one of COCO itself")
    return files[0]
