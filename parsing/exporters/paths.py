"""Where an exporter puts the mask of an image: a template filled from the image's name, never outside the folder."""

import re
from pathlib import PurePosixPath

from ..errors import InputError
from ..names import leads_out

_FIELD = re.compile(r"\{([^{}]*)\}")
FIELDS = (
    "{stem} file name without its ending, {suffix} its ending, {1} the folder that holds it, {2} the one above, "
    "{dir} all its folders, {dir:1} without the first, {root} the data set's folder"
)


def relative_path(name: str) -> PurePosixPath:
    """Return `name` as a path below some folder; InputError for an absolute one, `..`, and all else that leads out."""
    if leads_out(name):
        raise InputError(f"{name!r} is no path below a folder: absolute paths and '..' are refused")
    return PurePosixPath(name)


def how_to_keep_apart(one: str, other: str, ending: str) -> str:
    """Return the advice for two images of which `fill` makes one path, whose files end in `ending`."""
    if PurePosixPath(one).with_suffix("") == PurePosixPath(other).with_suffix(""):
        kept = f"{{dir}}/{{stem}}{{suffix}}{ending}"
        return f"they differ in their ending alone: give --path '{kept}', which keeps it"
    return f"give --path with more of their folders, as in --path '{{dir}}/{{stem}}{ending}'"


def fill(template: str, name: str, root: str) -> PurePosixPath:
    """Return the path that `template` makes of the image `name` of the data set in folder `root` (`FIELDS`).

    >>> fill("masks/{1}/{stem}.npy", "cam1/0001/0007.jpg", "SYSU-MM01")
    PurePosixPath('masks/0001/0007.npy')
    """
    image = relative_path(name)
    folders = image.parts[:-1]

    def value(field: re.Match[str]) -> str:
        text = field[1]
        if text in ("stem", "suffix"):
            return image.stem if text == "stem" else image.suffix
        if text == "root":
            return root
        if match := re.fullmatch(r"dir(?::(\d+))?", text):
            return "/".join(folders[int(match[1] or 0) :])
        if text.isdigit() and int(text) > 0:
            if int(text) > len(folders):
                raise InputError(f"--path {template}: {name} lies in {len(folders)} folders, there is no {field[0]}")
            return folders[-int(text)]
        raise InputError(f"--path {template}: no {field[0]}; there are {FIELDS}")

    relative_path(template)  # an empty {dir} must not make an absolute path
    return relative_path("/".join(part for part in _FIELD.sub(value, template).split("/") if part))
