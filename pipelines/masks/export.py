"""Write the masks of a cache as files that another project reads (`cscl masks export`)."""

import copy
import hashlib
import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from data.registry import open_data_set
from parsing.cache.reader import MaskCache
from parsing.errors import CsclError, InputError
from parsing.exporters import exporter
from parsing.exporters.base import AnyExporter, Exporter, FileOptions, JointExporter, SizeRule
from parsing.exporters.paths import fill, how_to_keep_apart
from parsing.files import file_hashes, replacing, write_file
from parsing.image_sizes import find_other_image
from parsing.labels import LabelSet
from parsing.modality import MODALITIES, Modality
from parsing.progress import Bar
from parsing.schemes import PartScheme

from .export_room import check_case, make_guard, make_room

Training = dict[Modality, tuple[str, ...]]

TASK = 64
"""Images a task: consecutive ones, which lie in one shard."""


@dataclass(frozen=True)
class ExportConfig:
    """The arguments of an export.

    Attributes:
        file: index file of the cache.
        to: name of the exporter.
        out: folder to write into.
        path: template of the files' paths below `out` (`parsing.exporters.paths`); None for the exporter's own.
        size: (height, width), `masks`, `source`, or None for the exporter's own.
        palette: whether PNG files get a colour palette.
        scheme: part scheme to export in; None for the exporter's own choice.
        workers: number of threads; None for one per core.
        overwrite: whether to remove the files of another export.
        root: folder of the images, if it is not the one that the cache names.

    Raises:
        InputError: if the size is out of range.
    """

    file: Path
    to: str
    out: Path
    path: str | None = None
    size: SizeRule | None = None
    palette: bool = False
    scheme: str | None = None
    workers: int | None = None
    overwrite: bool = False
    root: Path | None = None

    def __post_init__(self) -> None:
        if isinstance(self.size, tuple) and not (min(self.size) >= 1 and max(self.size) <= 8192):
            raise InputError(f"--size {self.size[0]}x{self.size[1]}: give height x width, each from 1 to 8192")


@dataclass(frozen=True)
class ExportResult:
    """Result of an export.

    Attributes:
        out: folder of the files.
        written, kept: number of files written now, and of files kept from an earlier run.
        unreadable: images that have no mask.
        notes: of the exporter.
        seconds: duration.
    """

    out: Path
    written: int
    kept: int
    unreadable: tuple[str, ...]
    notes: tuple[str, ...]
    seconds: float


def export(config: ExportConfig, cache: MaskCache | None = None) -> ExportResult:
    """Write the files that the folder `out` lacks, and return what was done.

    A file is written whole or not at all; the same command continues an interrupted export. Images that could not be
    parsed have no mask and get no file.

    Args:
        config: what to export, and how.
        cache: the cache `config.file` with its `root`, if it is already open.

    Raises:
        InputError: if two images would have the same file, a path leads out of `out` or to an image, or `out` holds
            files of something else.
        CsclError: if a file cannot be written.
    """
    began = time.monotonic()
    cache = MaskCache(config.file, config.root) if cache is None else cache
    kind = exporter(config.to)
    training = _find_training(cache, kind.name) if kind.needs_training else None
    writer = kind(cache, FileOptions(config.size, palette=config.palette, scheme=config.scheme, training=training))
    plan = _plan(config, cache=cache, writer=writer)
    files = [*plan.files, *plan.beside]
    made_by = _describe(config, cache=cache, writer=writer, template=plan.template, training=training)
    made_by["files"] = sorted(map(str, files))
    record = config.out / f"cscl-{writer.name}.json"
    make_room(config.out, cache=cache, record=record, made_by=made_by, files=files, overwrite=config.overwrite)
    todo = [file for file in plan.files if not (config.out / file).is_file()]
    workspace = config.out / f".cscl-{writer.name}"  # other projects list folders: nothing half-written among the masks
    try:
        workspace.mkdir(exist_ok=True)
        check_case(config.out, workspace, files)
        write_file(record, (json.dumps(made_by, indent=1) + "\n").encode(), folder=workspace, sync=False)
        plan.write(workspace, todo)
        for place, content in plan.beside.items():
            (config.out / place).parent.mkdir(parents=True, exist_ok=True)
            write_file(config.out / place, content, folder=workspace, sync=False)
        shutil.rmtree(workspace)
    except CsclError:
        raise
    except OSError as error:
        raise CsclError(f"{config.out} cannot be written: {error.strerror or error}") from error
    unreadable = tuple(n for n, there in zip(cache.names, cache.has_mask, strict=True) if not there)
    notes = writer.notes()
    if isinstance(writer, Exporter) and plan.template == writer.full_path != config.path:
        notes.append(
            f"file names repeat between folders: all folders kept, as {plan.template}; have your data set open these"
        )
    return ExportResult(
        config.out,
        written=len(todo),
        kept=len(plan.files) - len(todo),
        unreadable=unreadable,
        notes=tuple(notes),
        seconds=time.monotonic() - began,
    )


@dataclass(frozen=True)
class _Plan:
    """Files to write with masks, files to write beside them, and how: `write` takes a folder to work in and files."""

    template: str
    files: tuple[PurePosixPath, ...]
    beside: dict[PurePosixPath, bytes]
    write: Callable[[Path, Sequence[PurePosixPath]], None]


def _plan(config: ExportConfig, cache: MaskCache, writer: AnyExporter) -> _Plan:
    if isinstance(writer, JointExporter):
        files = _find_joint_files(config, writer, cache)
        return _Plan(writer.path, files=files, beside={}, write=partial(_write_joint, config, writer))
    if not isinstance(writer, Exporter):
        raise TypeError(f"{type(writer).__name__} is neither an Exporter nor a JointExporter")
    template = config.path or _choose_path(cache, writer)
    targets = _find_targets(cache, template, config.out)
    files = tuple(targets.values())
    write = partial(_write_all, config, writer, targets)
    return _Plan(template, files=files, beside=writer.beside(files), write=write)


def _find_training(cache: MaskCache, to: str) -> Training:
    """Return the training images of the cache's data set by modality, sorted by person, camera and name."""
    data_set = open_data_set(cache.data_set, cache.root, pattern=cache.pattern)
    if not data_set.walked:
        raise InputError(
            f"--to {to}: loaders read the images of {data_set.name} by lists of names, in the order of these; "
            "--to array has the masks of all images, with their names"
        )
    images = sorted(data_set.train(), key=lambda image: (image.identity, image.camera, image.name))
    if other := find_other_image((image.name for image in images), cache.root, cache):
        raise InputError(
            f"--to {to}: {data_set.root / other} has another size than the image of that name that was parsed; parse "
            "again, or give the folder of the parsed images by --root"
        )
    return {modality: tuple(i.name for i in images if i.modality == modality) for modality in MODALITIES}


def _find_joint_files(config: ExportConfig, writer: JointExporter, cache: MaskCache) -> tuple[PurePosixPath, ...]:
    """Return the files of many images each."""
    if config.path is not None:
        raise InputError(f"--path: {writer.name} files hold many images each and have their own names, leave it out")
    files, refused = tuple(writer.files()), make_guard(cache, config.out)
    if why := next(filter(None, map(refused, files)), ""):
        raise InputError(why)
    return files


def _choose_path(cache: MaskCache, writer: Exporter) -> str:
    """Return the exporter's own path, or its full path if the own one would put two images into one file."""
    if writer.full_path is None:
        return writer.path
    names = [cache.names[n] for n in np.flatnonzero(cache.has_mask)]
    repeats = len({fill(writer.path, name, cache.root.name) for name in names}) < len(names)
    return writer.full_path if repeats else writer.path


def _find_targets(cache: MaskCache, template: str, out: Path) -> dict[int, PurePosixPath]:
    """Return the path below `out` for the mask of each image that has one."""
    refused = make_guard(cache, out)
    targets: dict[int, PurePosixPath] = {}
    taken: dict[PurePosixPath, str] = {}
    for number in np.flatnonzero(cache.has_mask).tolist():
        name = cache.names[number]
        target = fill(template, name, cache.root.name)
        if target in taken:
            raise InputError(
                f"{taken[target]} and {name} would both be {target}; "
                f"{how_to_keep_apart(name, taken[target], target.suffix)}"
            )
        taken[target] = name
        if why := refused(target):
            raise InputError(why)
        targets[number] = target
    return targets


def _describe(
    config: ExportConfig, cache: MaskCache, writer: AnyExporter, template: str, training: Training | None
) -> dict[str, Any]:
    """Return everything that decides the content of the files; it is stored beside them."""
    images = writer.held_images()
    return {
        "exporter": writer.name,
        "for": writer.reader,
        "path": template,
        "size": list(writer.size) if isinstance(writer.size, tuple) else writer.size,
        "palette": config.palette,
        "scheme": None if writer.parts is None else _describe_scheme(writer.parts, cache.labels),
        "data_set": cache.data_set,
        "licence": cache.licence,
        "made_by": cache.made_by,
        "shards": cache.shard_hashes,
        **({} if training is None else {"training": _hash_json(training)}),
        **({} if not images else {"images": _hash_json(file_hashes(cache.root, images))}),
    }


def _describe_scheme(scheme: PartScheme, labels: LabelSet) -> dict[str, Any]:
    """Return the parts in their order and the classes of each, whatever file they come from."""
    groups = scheme.groups[labels.name]
    return {"parts": list(scheme.parts), "groups": {part: sorted(groups.get(part, ())) for part in scheme.parts}}


def _hash_json(content: Mapping[Any, Any]) -> str:
    """Return the SHA-256 of what the record would be too long with: images in their order, hashes of files."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _write_all(
    config: ExportConfig,
    writer: Exporter,
    targets: dict[int, PurePosixPath],
    workspace: Path,
    todo: Sequence[PurePosixPath],
) -> None:
    """Encode and write in threads, each with its own open shards; h5py, PNG and numpy release the GIL."""
    own = threading.local()
    wanted = set(todo)
    left = [number for number, target in targets.items() if target in wanted]

    def task(numbers: list[int]) -> int:
        if not hasattr(own, "writer"):
            own.writer = copy.copy(writer)
            own.writer.cache = copy.copy(writer.cache)
        for number in numbers:
            place = config.out / targets[number]
            place.parent.mkdir(parents=True, exist_ok=True)
            content = own.writer.encode(number, targets[number])
            write_file(place, content, folder=workspace, sync=False, holes=writer.holes)
        return len(numbers)

    tasks = [left[start : start + TASK] for start in range(0, len(left), TASK)]
    bar = Bar(
        total=len(targets), initial=len(targets) - len(left), unit="image", desc=f"export {writer.name}",
    )  # fmt: skip
    with bar, ThreadPoolExecutor(config.workers or os.cpu_count() or 1) as pool:
        futures = [pool.submit(task, numbers) for numbers in tasks]
        try:
            for future in as_completed(futures):
                bar.update(future.result())
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _write_joint(config: ExportConfig, writer: JointExporter, workspace: Path, todo: Sequence[PurePosixPath]) -> None:
    """Write files of many images one after the other, each as it is made."""
    with Bar(unit="B", unit_scale=True, desc=f"export {writer.name}") as bar:
        for target in todo:
            place = config.out / target
            with replacing(place, workspace) as temporary, open(temporary, "xb") as file:
                for piece in writer.stream(target):
                    file.write(piece)
                    bar.update(len(piece))
