"""`cscl masks export`: write the masks of a cache as the files that another project reads."""

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
from tqdm import tqdm

from parsing.cache.reader import MaskCache
from parsing.cache.sealed import open_stored
from parsing.errors import CsclError, InputError
from parsing.exporters import exporter
from parsing.exporters.base import Exporter, FileOptions, SizeRule
from parsing.exporters.paths import fill, relative_path
from parsing.files import write_file

TASK = 64
"""Images a task: consecutive ones, which lie in one shard."""


@dataclass(frozen=True)
class ExportConfig:
    """What `cscl masks export` was asked for.

    path: template of the files' paths below `out` (`parsing.exporters.paths`), None for the exporter's own.
    size: (height, width), `masks`, `source`, or None for the exporter's own. workers: threads, None for one a core.
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
    """What became of it: files written now, files kept from an earlier run, images that have no mask, notes."""

    out: Path
    written: int
    kept: int
    unreadable: tuple[str, ...]
    notes: tuple[str, ...]
    seconds: float


def export(config: ExportConfig) -> ExportResult:
    """Write what `out` lacks; a file is there whole or not at all, and the same command goes on where one stopped.

    Unreadable images have no mask and get no file. Raises InputError for two images in one file, for a path that
    leads out of `out` or onto an image, and for files there that are not of this export.
    """
    began = time.monotonic()
    cache = MaskCache(config.file)
    writer = exporter(config.to)(cache, FileOptions(config.size, config.palette, config.scheme))
    template = config.path or _default_path(cache, writer)
    targets = _targets(cache, template, config.out)
    beside = writer.beside(list(targets.values()))
    files = [*targets.values(), *beside]
    made_by = _made_by(config, cache, writer, template) | {"files": sorted(map(str, files))}
    record = config.out / f"cscl-{writer.name}.json"
    _make_room(config, cache, record, made_by, files)
    todo = [number for number, target in targets.items() if not (config.out / target).is_file()]
    workspace = config.out / f".cscl-{writer.name}"  # other projects list folders: nothing half-written among the masks
    try:
        workspace.mkdir(exist_ok=True)
        record.write_text(json.dumps(made_by, indent=1) + "\n", encoding="utf-8")
        _write_all(config, writer, workspace, todo, targets)
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
        config.out, len(todo), len(targets) - len(todo), unreadable, tuple(notes), time.monotonic() - began
    )


def _default_path(cache: MaskCache, writer: Exporter) -> str:
    """The exporter's own path, or its full one where the own would put two images in one file."""
    if writer.full_path is None:
        return writer.path
    names = [cache.names[n] for n in np.flatnonzero(cache.has_mask)]
    repeats = len({fill(writer.path, name, cache.root.name) for name in names}) < len(names)
    return writer.full_path if repeats else writer.path


def _targets(cache: MaskCache, template: str, out: Path) -> dict[int, PurePosixPath]:
    """Where the mask of each readable image goes, below `out`."""
    refused = _refuser(cache, out)
    targets: dict[int, PurePosixPath] = {}
    taken: dict[PurePosixPath, str] = {}
    for number in np.flatnonzero(cache.has_mask).tolist():
        name = cache.names[number]
        target = fill(template, name, cache.root.name)
        if target in taken:
            raise InputError(
                f"{taken[target]} and {name} would both be {target}; give --path with more of their folders, "
                "as in --path '{dir}/{stem}.png'"
            )
        taken[target] = name
        if why := refused(target):
            raise InputError(why)
        targets[number] = target
    return targets


def _refuser(cache: MaskCache, out: Path) -> Callable[[PurePosixPath], str]:
    """A function that says why a file below `out` must not be touched; nothing where it may be."""
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


def _made_by(config: ExportConfig, cache: MaskCache, writer: Exporter, template: str) -> dict[str, Any]:
    """All that decides what the files hold; kept beside them."""
    with open_stored(config.file) as index:
        shards = index["shards/sha256"].asstr()[:].tolist()
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
        "shards": shards,
    }


def _make_room(
    config: ExportConfig, cache: MaskCache, record: Path, made_by: dict[str, Any], files: Sequence[PurePosixPath]
) -> None:
    """Refuse to mix with files that another export, or somebody else, put there, or remove these if told to."""
    try:
        config.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"masks cannot be written to {config.out}: {error.strerror}") from error
    found = _read_record(record)
    if config.overwrite:
        _remove(config.out, [*_files_of(found), *files], _refuser(cache, config.out))
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
    """What an earlier export said of itself; None where there is none, or none that can be read."""
    try:
        return json.loads(record.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None


def _files_of(found: Any) -> list[PurePosixPath]:
    """The files that an earlier export says it wrote; InputError for one that leads out."""
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
    """Encode and write in threads, each with its own open shards (h5py, PNG and numpy let go of the interpreter)."""
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
    bar = tqdm(
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
