"""Match the masks of an import with the images that they belong to."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from tqdm import tqdm

from data.readers.listing import Listing
from data.readers.naming import camera_of, modality_of
from data.records import DataSet, Record
from data.registry import open_data_set
from parsing.errors import InputError
from parsing.exporters.paths import fill, how_to_keep_apart
from parsing.images import image_suffixes
from parsing.importers import IMPORTERS, mask_reader
from parsing.importers.coco_file import read_coco
from parsing.importers.source import MaskFile, MaskSource
from parsing.labels import LabelSet

from .import_files import MaskFiles, describe_folder

if TYPE_CHECKING:
    from .importing import ImportConfig

TEMPLATES = ("{dir}/{stem}", "{stem}")
"""Where the mask of an image is looked for, without its ending: in the data set's own folders, or all in one."""


@dataclass(frozen=True)
class Pair:
    """An image and its mask."""

    record: Record
    mask: MaskSource


@dataclass(frozen=True)
class Found:
    """What an import finds.

    Attributes:
        pairs: images that have a mask.
        root: the images' folder.
        without: names of the images of the data set that have none.
        notes: about files that are not imported, links and names.
    """

    pairs: list[Pair]
    root: Path
    without: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def find_pairs(
    config: "ImportConfig", kind: str, listing: Listing, labels: LabelSet, values: Mapping[int, int] | None
) -> Found:
    """Return which mask belongs to which image.

    Args:
        config: of the import.
        kind: of the masks.
        listing: files below the folder of masks.
        labels: label set of their classes.
        values: classes of categories by their number, for `coco`.

    Raises:
        InputError: if no image has a mask, two have the same one, one has two, or options do not fit together.
    """
    if kind != "coco" and not config.masks.is_dir():
        raise InputError(f"{config.masks} is a file; {kind} masks lie in a folder, a file each")
    if kind == "coco" and config.path is not None:
        raise InputError("--path: a COCO file names its images itself, leave it out")
    if kind in ("coco", "sgiel") and config.suffix is not None:
        raise InputError(f"--suffix {config.suffix}: {kind} masks name their images themselves, leave it out")
    data_set = None
    if config.dataset is not None:
        data_set = open_data_set(config.dataset, config.root, pattern=config.pattern)
        for finding in data_set.findings():
            tqdm.write(f"note: {finding.line()}", file=sys.stderr)
    if kind == "coco":
        return _find_coco(config, labels=labels, values=values, data_set=data_set)
    endings = tuple(e.removeprefix("{suffix}") for e in IMPORTERS[kind] if e != "{suffix}") or tuple(image_suffixes())
    files = MaskFiles(config.masks, (*listing.images, *listing.others), endings)
    if data_set is None:
        pairs = _make_records(config, kind=kind, files=files, labels=labels)
        said = describe_folder([pair.record.name for pair in pairs], listing.linked)
        return Found(pairs, root=config.root or config.masks, notes=(*said, _describe_unknown(pairs)))
    images = _select_images(config.path, kind=kind, data_set=data_set, files=files)
    unused = files.unused(images)
    read = mask_reader(kind, labels)
    pairs = [Pair(image, MaskFile(mask, read)) for mask, image in images.items()]
    notes = (
        (f"{len(unused)} {kind} files are the mask of no image of {data_set.name}, such as {unused[0]}",)
        if unused
        else ()
    )
    return Found(pairs, root=data_set.root, without=_without(data_set, pairs), notes=notes)


def _select_images(path: str | None, kind: str, data_set: DataSet, files: MaskFiles) -> dict[Path, Record]:
    """Return the images of a data set that have a mask, by the mask's file; `path` as in `ImportConfig`."""
    templates = (path,) if path else tuple(t + ending for ending in IMPORTERS[kind] for t in TEMPLATES)
    for template in templates:
        images: dict[Path, Record] = {}
        for image in data_set.images:
            mask = files.find(fill(template, image.name, data_set.root.name))
            if mask is not None and (other := images.setdefault(mask, image)) != image:
                raise InputError(
                    f"{other.name} and {image.name} would share a mask, {mask}; "
                    f"{how_to_keep_apart(other.name, image.name, IMPORTERS[kind][0])}"
                )
        if images:
            mask, image = next(iter(images.items()))
            if mask.resolve() == (data_set.root / image.name).resolve():
                raise InputError(f"{mask} is an image of the data set and not its mask; give the folder of the masks")
            return images
    places = [str(fill(t, image.name, data_set.root.name)) for image in data_set.images for t in templates]
    nobody = f"no image of {data_set.name} has a mask in {files.folder}"
    if below := files.find_folder(places):
        raise InputError(f"{nobody}, but some have in {below}: give that folder")
    example = " or ".join(str(files.folder / place) for place in places[: len(templates)])
    raise InputError(f"{nobody}; looked for {example}; give --path")


def _without(data_set: DataSet, pairs: Iterable[Pair]) -> tuple[str, ...]:
    having = {pair.record.name for pair in pairs}
    return tuple(r.name for r in data_set.images if r.name not in having)


def _make_records(config: "ImportConfig", kind: str, files: MaskFiles, labels: LabelSet) -> list[Pair]:
    """Return one image per mask, with its name; modality from its folders, camera from folder or file name."""
    if not files.names:
        raise InputError(f"{config.masks} holds no {'picture' if kind == 'sgiel' else files.endings[0]} file")
    masks: dict[str, str] = {}
    for mask in files.names:
        name = mask if kind == "sgiel" else _image_name(mask, files.endings, config.suffix or ".jpg")
        if (other := masks.setdefault(name, mask)) != mask:
            raise InputError(f"{files.folder}: {other} and {mask} would both be the mask of {name}; keep one of them")
    read = mask_reader(kind, labels)
    return [Pair(_record(name), MaskFile(files.folder / mask, read)) for name, mask in masks.items()]


def _image_name(mask: str, endings: tuple[str, ...], suffix: str) -> str:
    """Return the name of a mask's image: its own without the longest of the endings, and with the image's."""
    longest = max((e for e in endings if mask.lower().endswith(e)), key=len)
    stem = mask[: -len(longest)]
    return stem if PurePosixPath(stem).suffix.lower() in image_suffixes() else stem + suffix


def _record(name: str) -> Record:
    return Record(name, identity=-1, camera=camera_of(name), modality=modality_of(name))


def _describe_unknown(pairs: Sequence[Pair]) -> str:
    """Return what is not known of images without a data set."""
    infrared = sum(pair.record.modality == "infrared" for pair in pairs)
    return (
        f"no data set named: `cscl train` cannot use these masks, and {infrared} of {len(pairs)} images count as "
        "infrared, by folders such as infrared/, ir/, nir/ or thermal/; --dataset names one"
    )


def _find_coco(
    config: "ImportConfig", labels: LabelSet, values: Mapping[int, int] | None, data_set: DataSet | None
) -> Found:
    """Return the images that a COCO file names: by their path, more folders before it, or its end alone."""
    masks = read_coco(_coco_file(config.masks), labels, values)
    if data_set is None:
        pairs = [Pair(_record(name), mask) for name, mask in masks.items()]
        return Found(
            pairs,
            root=config.root or (config.masks if config.masks.is_dir() else config.masks.parent),
            notes=(*describe_folder(masks, ()), _describe_unknown(pairs)),
        )
    ends: dict[str, list[Record]] = {}
    for record in data_set.images:
        for end in _ends(record.name):
            ends.setdefault(end, []).append(record)
    found: dict[str, Pair] = {}
    unknown = []
    for name, mask in masks.items():
        known = _find_named(name, ends)
        if not known:
            unknown.append(name)
            continue
        record = known[0]
        if len(known) > 1:
            raise InputError(
                f"{mask}: {len(known)} images of {data_set.name} end in {name}, the first is {record.name}; give more "
                "of their folders in file_name"
            )
        if record.name in found:
            raise InputError(f"{mask} and {found[record.name].mask} are both {record.name}")
        found[record.name] = Pair(record, mask)
    near = _near(unknown, ends)
    if not found:
        raise InputError(
            f"{config.masks} names no image of {data_set.name} in {data_set.root}; its first is {next(iter(masks))}"
            f"{near}"
        )
    pairs = [found[name] for name in sorted(found)]
    notes = [f"{len(unknown)} masks are of no image of {data_set.name}, such as {unknown[0]}{near}"] if unknown else []
    return Found(pairs, root=data_set.root, without=_without(data_set, pairs), notes=tuple(notes))


def _ends(name: str) -> list[str]:
    """Return a name, and it without its first folder, its first two ..., down to the file."""
    parts = PurePosixPath(name).parts
    return ["/".join(parts[start:]) for start in range(len(parts))]


def _find_named(name: str, ends: Mapping[str, list[Record]]) -> list[Record]:
    """Return the images that a name of COCO may mean: those it ends as, or else those that end as it.

    What only the last parts of both have in common lies in different folders.
    """
    whole = [record for end in _ends(name) for record in ends.get(end, ()) if record.name == end]
    return whole[:1] or ends.get(name, [])


def _near(names: Iterable[str], ends: Mapping[str, list[Record]]) -> str:
    """Return words on the first of these names that ends as an image in other folders; none without one."""
    for name in names:
        for end in _ends(name):
            if end in ends:
                return f", and {name} is not {ends[end][0].name}, which lies in other folders"
    return ""


def _coco_file(masks: Path) -> Path:
    """Return the file, or the only one in a folder that is not of an export's own."""
    if masks.is_file():
        return masks
    files = sorted(p for p in masks.glob("*.json") if not p.name.startswith((".", "cscl-")))
    if len(files) != 1:
        raise InputError(f"{masks} holds {len(files)} JSON files; give the one of COCO itself")
    return files[0]
