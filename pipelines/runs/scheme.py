"""The part scheme that a run was trained with: of a file, the run keeps a copy, since the file may be edited later."""

from pathlib import Path

from parsing.errors import InputError
from parsing.schemes import PART_SCHEMES, PartScheme, part_scheme

from .provenance import write_file

KEPT = "scheme.toml"
"""Name of the copy in a run's folder."""


def read_scheme(run: Path, name: str) -> tuple[PartScheme, str]:
    """Return the part scheme of a run, of its copy if it has one, and a note if the file has other parts now.

    Args:
        run: its folder.
        name: `data.scheme` of its recipe.

    Raises:
        MissingError, InputError: if the file is missing or damaged; that is the copy, if there is one.
    """
    copy = run / KEPT
    if name in PART_SCHEMES or not copy.is_file():
        return part_scheme(name), ""
    kept = part_scheme(str(copy))
    if not Path(name).is_file() or _holds(name, kept):
        return kept, ""
    return kept, f"{name} has other parts now than {run} was trained with; those of {copy} are used"


def have_other_schemes(one: Path, other: Path) -> bool:
    """Return whether two runs keep copies of schemes with different parts."""
    copies = [run / KEPT for run in (one, other)]
    return all(copy.is_file() for copy in copies) and not _holds(str(copies[0]), part_scheme(str(copies[1])))


def read_scheme_file(name: str) -> bytes | None:
    """Return the content of a part scheme's file, for `keep_scheme`; None for a shipped scheme."""
    return None if name in PART_SCHEMES else Path(name).read_bytes()


def keep_scheme(run: Path, content: bytes | None) -> None:
    """Write the copy of a scheme's file into the folder of a run that begins; nothing for a shipped scheme.

    Raises:
        CsclError: if it cannot be written.
    """
    if content is not None:
        write_file(run / KEPT, content)


def _holds(file: str, scheme: PartScheme) -> bool:
    """Return whether a file holds this scheme; not if it was edited into something that is none."""
    try:
        return part_scheme(file) == scheme
    except InputError:
        return False
