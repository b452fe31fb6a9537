"""Folders that appear whole or not at all, and replace only what the same command made before."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from parsing.errors import CsclError, InputError, first_line


@contextmanager
def draft_folder(out: Path, ours: Callable[[Path], bool], kind: str, overwrite: bool) -> Iterator[Path]:
    """Yield a temporary folder to write in; it becomes `out` if the block succeeds, and is removed otherwise.

    Args:
        out: the folder to make.
        ours: whether a folder is of this `kind`, so that `overwrite` may replace it.
        kind: what the folder holds, for errors.
        overwrite: replace such a folder.

    Raises:
        InputError: if `out` holds anything else, or anything at all without `overwrite`.
        CsclError: if the disk is full or the place cannot be written to.
    """
    _check_free(out, ours=ours, kind=kind, overwrite=overwrite)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    except OSError as error:
        raise CsclError(f"{out} cannot be written: {error.strerror}") from error
    try:
        try:
            yield draft
        except OSError as error:
            if error.filename is not None:
                raise
            # a full disk, of which the system does not say the file
            raise CsclError(f"{out} cannot be written: {error.strerror or first_line(error)}") from error
        draft.chmod(0o755)
        _check_free(out, ours=ours, kind=kind, overwrite=overwrite)
        if out.exists():
            old = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent)) / "old"
            out.rename(old)
            draft.rename(out)
            shutil.rmtree(old.parent)
        else:
            draft.rename(out)
    finally:
        if draft.exists():
            shutil.rmtree(draft)


def _check_free(out: Path, ours: Callable[[Path], bool], kind: str, overwrite: bool) -> None:
    if not out.exists():
        return
    if not out.is_dir():
        raise InputError(f"{out} is a file; name a folder to write the data set to")
    if not any(out.iterdir()):
        return
    if not ours(out):
        raise InputError(f"{out} holds files that are not {kind}; name another folder")
    if not overwrite:
        raise InputError(f"{out} already holds {kind}; name another folder or use --overwrite")
