"""Identity and camera from the path of an image: by the levels of its folders, or by a pattern."""

import re
import unicodedata
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

from parsing.errors import InputError
from parsing.modality import Modality

CAMERA = r"(?:[cd]|cam(?:era)?[_\- ]?)([0-9]{1,4})"
"""Names of cameras: c1, cam1, cam_1, camera3, D1, in any case."""
CAMERA_ENDS = r"(?=s[0-9]|[_\-. ]|$)"
"""What follows a camera in a file name: c1_, and c1s1 of Market-1501."""

DISTRACTORS = ("-1", "0000")
"""Names that stand for no person: Market-1501's junk and distractors."""

_CAMERA_FOLDER = re.compile(CAMERA, re.IGNORECASE)
_CAMERA_IN_FILE = re.compile(f"(?:^|[_\\-. ]){CAMERA}{CAMERA_ENDS}", re.IGNORECASE)
_SETS = frozenset((
    "train", "val", "test", "query", "gallery", "bounding_box_train", "bounding_box_test", "gt_bbox", "rgb", "vis",
    "visible", "ir", "nir", "infrared",
))  # fmt: skip
"""Folders of the halves of a published data set and of its modality, of whatever case: no person."""
_PRCC = re.compile(r"(?:([ABC])_)?cropped_rgb[0-9]+")
"""Image names of PRCC: `A_cropped_rgb001` in a person's folder, or `cropped_rgb001` below a camera's, `A`."""
_INFRARED_WORDS = frozenset(("ir", "nir", "infrared", "thermal"))
_MODALITY_WORDS = _INFRARED_WORDS | {"rgb", "vis", "visible", "v", "color", "colour", "t"}
_FLAT = re.compile(f"(-?[^_]+)_(?:[0-9]+_)?(?:{CAMERA}){CAMERA_ENDS}", re.IGNORECASE)
"""0002_c1s1_000451 (Market-1501), 0001_c2_f0046182 (DukeMTMC), 000_1_c4_017200 (LTCC; its second number: clothes)."""
_NUMBER = re.compile(f"(?:{CAMERA})|([0-9]{{1,4}})", re.IGNORECASE)
_FIELDS = {"**/": "(?:[^/]+/)*", "**": ".*", "*": "[^/]*", "{identity}": "(?P<identity>[^/]+?)",
           "{camera}": "(?P<camera>[^/]+?)"}  # fmt: skip
_FIELD = re.compile(r"\*\*/|\*\*|\*|\{[^{}]*\}")


class Who(NamedTuple):
    """Identity and camera of one image.

    person: name, None if unknown. camera: number, 0 if unknown. within: folders below the person's that are no
    camera's, such as a tracklet's.
    """

    person: str | None
    camera: int
    within: tuple[str, ...] = ()


def by_level(name: str) -> Who:
    """Return who is on an image by its folders: the first one below visible/ or infrared/ that is no camera's or set's.

    Without such a folder, the file name names the person if it is formed as in Market-1501, DukeMTMC or LTCC.

    >>> by_level("visible/anna/cam_3/t1/0001.jpg")
    Who(person='anna', camera=3, within=('t1',))
    >>> by_level("visible/0002_c1s1_000451.jpg")
    Who(person='0002', camera=1, within=())
    """
    path = PurePosixPath(name)
    folders = [folder for folder in path.parts[1:-1] if not is_camera(folder) and folder.lower() not in _SETS]
    if _PRCC.fullmatch(path.stem):
        folders = [folder for folder in folders if folder not in ("A", "B", "C")]
    if folders:
        return Who(folders[0], camera_of(name), tuple(folders[1:]))
    match = _FLAT.match(path.stem)
    return Who(match[1] if match else None, camera_of(name))


def by_pattern(names: Sequence[str], pattern: str) -> list[Who]:
    """Return who is on each image by `pattern`; unknown if the pattern does not match. InputError if it matches none.

    The pattern must match the whole path below visible/ or infrared/. `{identity}` and `{camera}` stand for (a part of)
    one folder's or the file's name, `*` for anything within one, `**` for anything at all. Cameras whose names are not
    all numbers (`3`, `c3`, `cam_3`) are numbered from 1 in sorted order; without `{camera}` they are read as by level.

    >>> by_pattern(["visible/day1/anna/cam3/7.jpg"], "*/{identity}/{camera}/*")
    [Who(person='anna', camera=3, within=())]
    """
    compiled = _compiled(pattern)
    matches = [compiled.fullmatch(name.partition("/")[2]) for name in names]
    if names and not any(matches):
        raise InputError(
            f"--pattern {pattern} fits none of {len(names)} images, such as {names[0].partition('/')[2]}; it must fit "
            "the whole path below visible/ or infrared/: {identity}, {camera}, * within a name, ** across folders"
        )
    if "camera" not in compiled.groupindex:
        return [
            Who(match["identity"] if match else None, camera_of(name))
            for name, match in zip(names, matches, strict=True)
        ]
    number_of = _numbers(sorted({match["camera"] for match in matches if match}))
    return [Who(match["identity"], number_of[match["camera"]]) if match else Who(None, 0) for match in matches]


def _compiled(pattern: str) -> re.Pattern[str]:
    written, end = "", 0
    for field in _FIELD.finditer(pattern):
        if field[0] not in _FIELDS:
            raise InputError(f"--pattern {pattern}: no {field[0]}; there are {{identity}}, {{camera}}, * and **")
        written += re.escape(pattern[end : field.start()]) + _FIELDS[field[0]]
        end = field.end()
    if pattern.count("{identity}") != 1 or pattern.count("{camera}") > 1:
        raise InputError(f"--pattern {pattern}: give {{identity}} once, and {{camera}} at most once")
    return re.compile(written + re.escape(pattern[end:]))


def _numbers(cameras: Sequence[str]) -> dict[str, int]:
    read = [_NUMBER.fullmatch(camera) for camera in cameras]
    if all(read):
        return {camera: int(match[1] or match[2]) for camera, match in zip(cameras, read, strict=True) if match}
    return {camera: number for number, camera in enumerate(cameras, start=1)}


def camera_of(name: str) -> int:
    """Return the camera in a path: a folder named as one (`CAMERA`), else a part of the file name; 0 if there is none.

    >>> camera_of("vis/0351/0351_c06_s200656_f4830_vis.jpg")
    6
    """
    cameras = cameras_of(name)
    return cameras[0] if cameras else 0


def cameras_of(name: str) -> list[int]:
    """Return every camera in a path: its folders from the last to the first, then the first in the file name."""
    path = PurePosixPath(name)
    if prcc := _PRCC.fullmatch(path.stem):
        letters = [prcc[1]] if prcc[1] else [folder for folder in path.parts[:-1] if folder in ("A", "B", "C")]
        return ["ABC".index(letter) + 1 for letter in letters]
    found = [_CAMERA_FOLDER.fullmatch(folder) for folder in reversed(path.parts[:-1])]
    found.append(_CAMERA_IN_FILE.search(path.stem))
    return [int(match[1]) for match in found if match]


def modality_of(name: str) -> Modality:
    """Return the modality that the folders of a path name; visible if none does.

    >>> modality_of("test_nir/cam1/0001/1.jpg"), modality_of("Thermal/1/1.bmp"), modality_of("cam3/0001/0001.jpg")
    ('infrared', 'infrared', 'visible')
    """
    words = (word for folder in PurePosixPath(name).parts[:-1] for word in re.split(r"[\s_\-.]+", folder.lower()))
    return "infrared" if _INFRARED_WORDS.intersection(words) else "visible"


def is_camera(folder: str) -> bool:
    """Return whether a folder is named as a camera."""
    return _CAMERA_FOLDER.fullmatch(folder) is not None


def reduce_name(name: str) -> str:
    """Return a name without case, spaces, leading zeros, and words for a modality.

    >>> reduce_name("Anna_RGB") == reduce_name("anna-ir"), reduce_name("0007") == reduce_name("7")
    (True, True)
    """
    words = re.split(r"[\s_\-.]+", unicodedata.normalize("NFKC", name).casefold())
    kept = [word for word in words if word and word not in _MODALITY_WORDS]
    return "".join(word.lstrip("0") or "0" if word.isdigit() else word for word in kept)


def recurring(people: Sequence[Who]) -> dict[str, list[str]]:
    """Return folder names that occur below several people, with those people; each may be a person itself."""
    above: dict[str, set[str]] = {}
    for who in people:
        for folder in who.within:
            above.setdefault(folder, set()).add(str(who.person))
    return {folder: sorted(found) for folder, found in sorted(above.items()) if len(found) > 1}
