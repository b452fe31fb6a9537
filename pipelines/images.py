"""The folder of the images of a cache or a run."""

from pathlib import Path

from parsing.errors import MissingError


def find_images(maker: Path, recorded: Path, given: Path | None) -> Path:
    """Return the folder of the images.

    Args:
        maker: the cache or run that was made from them, for the error.
        recorded: their folder at that time.
        given: the folder that the user gives instead, or None.

    Raises:
        MissingError: if `recorded` is used and does not exist; the message names --root.
    """
    if given is None and not recorded.is_dir():
        raise MissingError(f"{maker} was made from the images in {recorded}, which is not there; give --root")
    return given or recorded
