"""Which shards of an earlier run a parse run keeps, and which it makes again."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from data.records import Record
from parsing.cache.shard import Status, StoredFile
from parsing.images import UnreadableImageError, is_readable, orientation, upright_size


def find_kept(
    planned: Mapping[str, Sequence[Record]], whole: Mapping[str, StoredFile], attributes: Mapping[str, Any], root: Path
) -> tuple[dict[str, StoredFile], list[str]]:
    """Return the shards, by file name, that hold the masks of the images planned for them, as these are now.

    An image that was replaced keeps its name, so that its size is compared with the one that was parsed, and one that
    could not be read is tried again.

    Args:
        planned: images of each shard of the cache, by file name.
        whole: the undamaged shards that are there, likewise.
        attributes: of every file of the cache.
        root: folder of the images.

    Returns:
        These shards, and the names of images that were replaced, for whose sake the others are made again.
    """
    fitting = {
        name: stored
        for name, records in planned.items()
        if (stored := whole.get(name)) and stored.holds([record.name for record in records], attributes)
    }
    with ThreadPoolExecutor() as pool:
        replaced = list(pool.map(lambda stored: _find_replaced(stored, root), fitting.values()))
    kept = {name: stored for (name, stored), images in zip(fitting.items(), replaced, strict=True) if not images}
    return kept, [image for images in replaced for image in images]


def describe_replaced(images: Sequence[str]) -> str:
    """Return what becomes of images that `find_kept` found to be replaced."""
    return (
        f"{len(images)} images have another size than was parsed, or could not be read and can be now, the first is "
        f"{images[0]}: they were replaced, and are parsed again with those of their shards"
    )


def list_notes(kept: Mapping[str, StoredFile], replaced: Sequence[str], root: Path) -> tuple[str, ...]:
    """Return a note about images that are parsed again, and one about those that may have to be, if there are any."""
    return tuple(filter(None, (describe_replaced(replaced) if replaced else "", describe_newer(kept, root))))


def describe_newer(kept: Mapping[str, StoredFile], root: Path) -> str:
    """Return a note about images that were written after the shard with their mask; empty if there are none.

    Their content is not compared: a copy of the data set has new times too, and masks are not parsed again for that.
    """
    with ThreadPoolExecutor() as pool:
        newer = [name for names in pool.map(lambda stored: _find_newer(stored, root), kept.values()) for name in names]
    if not newer:
        return ""
    return (
        f"{len(newer)} images were written after their masks, the first is {newer[0]}: their masks are kept, since "
        "copies are new too; if any was replaced by another image of its size, --overwrite parses all again"
    )


def _find_newer(stored: StoredFile, root: Path) -> list[str]:
    """Return the names of a shard's parsed images whose file was changed after the shard was written."""
    written = stored.path.stat().st_mtime_ns
    parsed = zip(stored.columns.names.tolist(), stored.columns.status.tolist(), strict=True)
    return [name for name, status in parsed if status != Status.UNREADABLE and _time_of(root / name) > written]


def _time_of(image: Path) -> int:
    """Return the time of a file's last change of content, in nanoseconds; 0 if there is no file."""
    try:
        return image.stat().st_mtime_ns
    except OSError:
        return 0


def _find_replaced(stored: StoredFile, root: Path) -> list[str]:
    """Return the names of a shard's images that have another size now, or could not be read and can be now."""
    columns = stored.columns
    parsed = zip(columns.names.tolist(), columns.status.tolist(), columns.source_size.tolist(), strict=True)
    return [
        name
        for name, status, size in parsed
        if (is_readable(root / name) if status == Status.UNREADABLE else _has_other_size(root / name, size))
    ]


def _has_other_size(image: Path, parsed: Sequence[int]) -> bool:
    """Return whether an image file has another (height, width) than the parsed one; False if either is not known."""
    try:
        return min(parsed) > 0 and upright_size(*orientation(image)) != tuple(parsed)
    except UnreadableImageError:
        return False
