"""Pictures as files: whole or not at all, so that a full disk leaves no half of one under its name."""

import io
from pathlib import Path

from parsing.files import write_file


def write_picture(out_png: Path, encoded: io.BytesIO) -> Path:
    """Write an encoded picture to `out_png`, in a folder that is made if need be, and return the path.

    Raises:
        OSError: if the disk is full or the place cannot be written to.
    """
    out_png.parent.mkdir(parents=True, exist_ok=True)
    write_file(out_png, encoded.getvalue(), sync=False)
    return out_png
