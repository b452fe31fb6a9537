"""Images for a benchmark: those of a folder, or simulated ones made for it."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

from data.readers.listing import list_below
from parsing.errors import InputError

from ..datasets.simulate import make_pedestrians

CAMERAS = 6
"""Of the layout of SYSU-MM01."""
LEAST = 3
"""People of a simulated data set, two of them to train."""


@contextmanager
def benchmark_images(folder: Path | None, count: int) -> Iterator[tuple[Path, list[str]]]:
    """Yield a folder and the names of `count` images in it: of `folder`, else drawn pedestrians that are removed after.

    Raises:
        InputError: if `folder` has no image.
    """
    if folder is None:
        with TemporaryDirectory() as place:
            people = max(LEAST, -(-count // CAMERAS))
            root = make_pedestrians(Path(place) / "images", train=people - 1, test=1, shots=1)
            yield root, list(islice(_names(root, "cam"), count))
        return
    names = list(islice(_names(folder, ""), count))
    if not names:
        raise InputError(f"--images {folder}: there is no image in it")
    yield folder, names


def _names(root: Path, start: str) -> Iterator[str]:
    return (name for name in list_below(root, ".").images if name.startswith(start))
