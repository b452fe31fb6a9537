"""Which mask file of an import belongs to which image, and what is left over."""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from data.readers.naming import camera_of
from data.records import DataSet, Modality, Record
from parsing.errors import InputError
from parsing.exporters.paths import fill, how_to_keep_apart
from parsing.names import same_but_for_case
from parsing.words import list_briefly

TEMPLATES = ("{dir}/{stem}", "{stem}")
"""Where the mask of an image is looked for, without its ending: in the data set's own folders, or all in one."""


@dataclass(frozen=True)
class Pair:
    """An image and the file of its mask."""

    record: Record
    mask: Path


class MaskFiles:
    """The files of one ending in a folder of masks.

    Args:
        folder: of the masks.
        names: of all files below it.
        ending: such as `.png`; files may have it in another case.

    Attributes:
        names: those with this ending, sorted.
    """

    def __init__(self, folder: Path, names: Iterable[str], ending: str) -> None:
        self.folder, self.ending = folder, ending
        self.names = sorted(name for name in names if name.lower().endswith(ending))
        self._files: dict[str, list[str]] = {}
        for name in self.names:
            self._files.setdefault(_with_lower_ending(name), []).append(name)

    def find(self, place: PurePosixPath) -> Path | None:
        """Return the file at a place below the folder, whatever the case of its ending; None if there is none.

        Raises:
            InputError: if there are two.
        """
        found = self._files.get(_with_lower_ending(str(place)), [])
        if found[1:]:
            raise InputError(f"{self.folder}: {found[0]} and {found[1]} would be masks of one image; keep one of them")
        if found:
            return self.folder / found[0]
        path = self.folder / place  # of another ending, or below a link to a folder that is listed under another name
        return path if path.is_file() else None

    def unused(self, used: Iterable[Path]) -> list[str]:
        """Return the names of the files that are none of `used`, also not under the name of a link."""
        taken = set(used)
        left = [name for name in self.names if self.folder / name not in taken]
        if left:
            real = {os.path.realpath(path) for path in taken}
            left = [name for name in left if os.path.realpath(self.folder / name) not in real]
        return left


def select_images(data_set: DataSet, files: MaskFiles, path: str | None) -> list[Pair]:
    """Return the images of a data set that have a mask.

    Args:
        data_set: of the images.
        files: the masks.
        path: template of a mask's path (`parsing.exporters.paths`); None tries `TEMPLATES`.

    Raises:
        InputError: if no image has a mask, two have the same one, or one has two.
    """
    templates = (path,) if path else tuple(template + files.ending for template in TEMPLATES)
    for template in templates:
        images: dict[Path, Record] = {}
        for image in data_set.images:
            mask = files.find(fill(template, image.name, data_set.root.name))
            if mask is not None and (other := images.setdefault(mask, image)) != image:
                raise InputError(
                    f"{other.name} and {image.name} would share a mask, {mask}; "
                    f"{how_to_keep_apart(other.name, image.name, files.ending)}"
                )
        if images:
            return [Pair(image, mask) for mask, image in images.items()]
    example = " or ".join(str(files.folder / fill(t, data_set.images[0].name, "")) for t in templates)
    raise InputError(f"no image of {data_set.name} has a mask in {files.folder}; looked for {example}; give --path")


def make_records(files: MaskFiles, suffix: str) -> list[Pair]:
    """Return one image per mask, with its name and another ending.

    The modality comes from a folder `infrared`, the camera from a folder or the file name.

    Raises:
        InputError: if there is no mask, or two would be of one image.
    """
    if not files.names:
        raise InputError(f"{files.folder} holds no {files.ending} file")
    masks: dict[str, str] = {}
    for mask in files.names:
        name = str(PurePosixPath(mask).with_suffix(suffix))
        if (other := masks.setdefault(name, mask)) != mask:
            raise InputError(f"{files.folder}: {other} and {mask} would both be the mask of {name}; keep one of them")
    pairs = []
    for name, mask in masks.items():
        modality: Modality = "infrared" if "infrared" in PurePosixPath(mask).parts[:-1] else "visible"
        pairs.append(Pair(Record(name, identity=-1, camera=camera_of(name), modality=modality), files.folder / mask))
    return pairs


def notes_on_files(
    files: MaskFiles, pairs: Sequence[Pair], linked: Sequence[str], data_set: DataSet | None
) -> Iterator[str]:
    """Yield a note about files without an image; without a data set, about links and names that differ in case alone.

    Args:
        files: the masks.
        pairs: those that are imported.
        linked: as `Listing.linked`, of the masks' folder.
        data_set: of the images, whose own findings say the like; None without one.
    """
    if data_set is not None:
        if unused := files.unused(pair.mask for pair in pairs):
            yield f"{len(unused)} {files.ending} files are the mask of no image of {data_set.name}, such as {unused[0]}"
        return
    if linked:
        yield f"{len(linked)} folders are links to others, whose masks are taken once: {list_briefly(linked, 3)}"
    if alike := same_but_for_case(pair.record.name for pair in pairs):
        yield (
            f"{sum(map(len, alike))} names differ in upper and lower case alone: {' and '.join(alike[0])}; copies of "
            "such files to Windows or macOS are one file"
        )


def _with_lower_ending(name: str) -> str:
    stem, ending = os.path.splitext(name)
    return stem + ending.lower()
