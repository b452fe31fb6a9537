"""Where the images of a cache or a run are now."""

from pathlib import Path

from parsing.errors import MissingError


def find_images(maker: Path, recorded: Path, given: Path | None) -> Path:
    """Return the folder of the images: `given`, else the one that `maker`, a cache or a run, recorded.

    Raises:
        MissingError: `recorded` is needed and not there; the message names --root.
    """
    if given is None and not recorded.is_dir():
        raise MissingError(f"{maker} was made from the images in {recorded}, which is not there; give --root")
    return given or recorded
