"""Write the masks of a cache as files that another project reads (`cscl masks export`)."""

import copy
import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from parsing.cache.index import read_shard_table
from parsing.cache.reader import MaskCache
from parsing.errors import CsclError, InputError
from parsing.exporters import exporter
from parsing.exporters.base import Exporter, FileOptions, SizeRule
from parsing.exporters.paths import fill, relative_path
from parsing.files import write_file
from parsing.progress import Bar

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
        cache: the cache `config.file`, if it is already open.

    Raises:
        InputError: if two images would have the same file, a path leads out of `out` or to an image, or `out` holds
            files of something else.
        CsclError: if a file cannot be written.
    """
    began = time.monotonic()
    cache = MaskCache(config.file) if cache is None else cache
    writer = exporter(config.to)(cache, FileOptions(config.size, config.palette, config.scheme))
    template = config.path or _choose_path(cache, writer)
    targets = _find_targets(cache, template, config.out)
    beside = writer.beside(list(targets.values()))
    files = [*targets.values(), *beside]
    made_by = _describe(config, cache=cache, writer=writer, template=template) | {"files": sorted(map(str, files))}
    record = config.out / f"cscl-{writer.name}.json"
    _make_room(config, cache=cache, record=record, made_by=made_by, files=files)
    todo = [number for number, target in targets.items() if not (config.out / target).is_file()]
    workspace = config.out / f".cscl-{writer.name}"  # other projects list folders: nothing half-written among the masks
    try:
        workspace.mkdir(exist_ok=True)
        record.write_text(json.dumps(made_by, indent=1) + "\n", encoding="utf-8")
        _write_all(config, writer=writer, workspace=workspace, todo=todo, targets=targets)
        for place, content in beside.items():
            (config.out / place).parent.mkdir(parents=True, exist_ok=True)
            write_file(config.out / place, content, folder=workspace, sync=False)
        shutil.rmtree(workspace)
    except OSError as error:
        raise CsclError(f"{config.out} cannot be written: {error.strerror or error}") from error
    unreadable = tuple(n for n, there in zip(cache.names, cache.has_mask, strict=True) if not there)
    notes = writer.notes()
    if template == writer.full_path != config.path:
        notes.append(
            f"file names repeat between folders: all folders kept, as {template}; have your data set open these"
        )
    return ExportResult(
        config.out,
        written=len(todo),
        kept=len(targets) - len(todo),
        unreadable=unreadable,
        notes=tuple(notes),
        seconds=time.monotonic() - began,
    )


def _choose_path(cache: MaskCache, writer: Exporter) -> str:
    """Return the exporter's own path, or its full path if the own one would put two images into one file."""
    if writer.full_path is None:
        return writer.path
    names = [cache.names[n] for n in np.flatnonzero(cache.has_mask)]
    repeats = len({fill(writer.path, name, cache.root.name) for name in names}) < len(names)
    return writer.full_path if repeats else writer.path


def _find_targets(cache: MaskCache, template: str, out: Path) -> dict[int, PurePosixPath]:
    """Return the path below `out` for the mask of each image that has one."""
    refused = _make_guard(cache, out)
    targets: dict[int, PurePosixPath] = {}
    taken: dict[PurePosixPath, str] = {}
    for number in np.flatnonzero(cache.has_mask).tolist():
        name = cache.names[number]
        target = fill(template, name, cache.root.name)
        if target in taken:
            raise InputError(
                f"{taken[target]} and {name} would both be {target}; "
                f"{_say_how_to_keep_apart(name, taken[target], target)}"
            )
        taken[target] = name
        if why := refused(target):
            raise InputError(why)
        targets[number] = target
    return targets


def _say_how_to_keep_apart(one: str, other: str, target: PurePosixPath) -> str:
    """Return the advice for two images that would be one file."""
    if PurePosixPath(one).with_suffix("") == PurePosixPath(other).with_suffix(""):
        kept = f"{{dir}}/{{stem}}{{suffix}}{target.suffix}"
        return f"they differ in their ending alone: give --path '{kept}', which keeps it"
    return f"give --path with more of their folders, as in --path '{{dir}}/{{stem}}{target.suffix}'"


def _make_guard(cache: MaskCache, out: Path) -> Callable[[PurePosixPath], str]:
    """Return a function that says why a file below `out` must not be changed, or nothing if it may."""
    inside = out.resolve()
    images, root = frozenset(cache.names), cache.root.resolve()
    safe: set[PurePosixPath] = set()

    def refused(target: PurePosixPath) -> str:
        if target.parent not in safe:
            if not (inside / target.parent).resolve().is_relative_to(inside):
                return f"{out / target.parent} leads out of {out} by a link; remove it or give another -o"
            safe.add(target.parent)
        place = inside / target
        if place.is_relative_to(root) and place.relative_to(root).as_posix() in images:
            return f"{out / target} is an image of the data set; give a folder for the masks with -o"
        return ""

    return refused


def _describe(config: ExportConfig, cache: MaskCache, writer: Exporter, template: str) -> dict[str, Any]:
    """Return everything that decides the content of the files; it is stored beside them."""
    return {
        "exporter": writer.name,
        "for": writer.reader,
        "path": template,
        "size": list(writer.size) if isinstance(writer.size, tuple) else writer.size,
        "palette": config.palette,
        "scheme": config.scheme,
        "data_set": cache.data_set,
        "licence": cache.licence,
        "made_by": cache.made_by,
        "shards": read_shard_table(config.file, len(cache)).hashes,
    }


def _make_room(
    config: ExportConfig, cache: MaskCache, record: Path, made_by: dict[str, Any], files: Sequence[PurePosixPath]
) -> None:
    """Raise InputError if `out` holds files of something else, or remove them if the user asked for it."""
    try:
        config.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"masks cannot be written to {config.out}: {error.strerror}") from error
    found = _read_record(record)
    if config.overwrite:
        _remove(config.out, [*_list_files(found), *files], _make_guard(cache, config.out))
        return
    if record.is_file():
        if found != json.loads(json.dumps(made_by)):
            raise InputError(
                f"{config.out} holds {config.to} files of another cache or with other options ({record.name}); "
                "give another -o, or --overwrite to replace them"
            )
        return
    there = next((t for t in files if os.path.lexists(config.out / t)), None)
    if there is not None:
        raise InputError(
            f"{config.out / there} is there already and not of this export; give another -o, or --overwrite"
        )


def _read_record(record: Path) -> Any:
    """Return the record that an earlier export left; None if there is none that can be read."""
    try:
        return json.loads(record.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None


def _list_files(found: Any) -> list[PurePosixPath]:
    """Return the files that an earlier export recorded; raise InputError if a path leads out of `out`."""
    files = found.get("files") if isinstance(found, dict) else None
    return [relative_path(str(name)) for name in files] if isinstance(files, list) else []


def _remove(out: Path, files: Iterable[PurePosixPath], refused: Callable[[PurePosixPath], str]) -> None:
    """Remove an older export before the first new file: what a stopped one leaves is then all of its own."""
    folders: set[Path] = set()
    for file in files:
        if not refused(file):
            (out / file).unlink(missing_ok=True)
            folders.update((out / file).parents[: len(file.parts) - 1])
    for folder in sorted(folders, key=lambda f: len(f.parts), reverse=True):
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def _write_all(
    config: ExportConfig, writer: Exporter, workspace: Path, todo: list[int], targets: dict[int, PurePosixPath]
) -> None:
    """Encode and write in threads, each with its own open shards; h5py, PNG and numpy release the GIL."""
    own = threading.local()

    def task(numbers: list[int]) -> int:
        if not hasattr(own, "writer"):
            own.writer = copy.copy(writer)
            own.writer.cache = copy.copy(writer.cache)
        for number in numbers:
            place = config.out / targets[number]
            place.parent.mkdir(parents=True, exist_ok=True)
            write_file(place, own.writer.encode(number, targets[number]), folder=workspace, sync=False)
        return len(numbers)

    tasks = [todo[start : start + TASK] for start in range(0, len(todo), TASK)]
    bar = Bar(
        total=len(targets), initial=len(targets) - len(todo), unit="image", desc=f"export {writer.name}",
    )  # fmt: skip
    with bar, ThreadPoolExecutor(config.workers or os.cpu_count() or 1) as pool:
        futures = [pool.submit(task, numbers) for numbers in tasks]
        try:
            for future in as_completed(futures):
                bar.update(future.result())
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
