"""What a resumed run takes over from its run.json, and what must be as it was when it began."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from parsing.errors import InputError

from ..runs.folder import save_info
from ..runs.provenance import RunInfo, read_run

SAME = {"people_hash": "people", "identities": "people", "records_hash": "images"}
"""Fields of run.json that a resumed run must find again, with what they are of; runs of earlier versions lack some."""


def read_past(run: Path) -> RunInfo | None:
    """Return the run.json of a run that is resumed, None if it was stopped before it wrote one."""
    return read_run(run)[1] if (run / "run.json").is_file() else None


def check_data(past: RunInfo, info: RunInfo, run: Path, masks: Path) -> None:
    """Check that a run is resumed with the images and people that it was trained on: all batches depend on them.

    Args:
        past: the run so far.
        info: of what it would be trained on now.
        run: its folder.
        masks: index file of the cache, for the error.

    Raises:
        InputError: if they differ.
    """
    for name, what in SAME.items():
        before = getattr(past, name)
        if before and before != getattr(info, name):
            raise InputError(
                f"--resume: {run} was trained on other {what} than those that {masks} now has masks of; restore them, "
                "or begin a new --run"
            )


def check_content(past: RunInfo, info: RunInfo, run: Path, root: Path, masks: Path) -> None:
    """Check that the images and masks of a run that is resumed are not others of the same names.

    Args:
        past: the run so far; one of an earlier version says nothing of their content.
        info: of what it would be trained on now.
        run: its folder.
        root: folder of the images.
        masks: index file of the cache.

    Raises:
        InputError: if they are.
    """
    for before, now, what in (
        (past.images_hash, info.images_hash, f"images in {root}"),
        (past.masks_hash, info.masks_hash, f"masks in {masks}"),
    ):
        if before and before != now:
            raise InputError(
                f"--resume: {run} was trained on other {what}, of the same names; restore them, or begin a new --run"
            )


def describe_precision(past: RunInfo, now: str) -> str:
    """Return a note if a run goes on in another precision than that of its last session; empty if not.

    Args:
        past: the run so far.
        now: the precision from now on.
    """
    last = past.sessions[-1] if past.sessions else {}
    before = last.get("precision", now) if isinstance(last, Mapping) else now
    return "" if before == now else f"goes on in {now} after {before}; --precision {before} keeps that"


def carry_over(past: RunInfo, info: RunInfo) -> RunInfo:
    """Return `info` with what `past` says of the run: sessions, epoch kept, start, whether it is finished."""
    sessions = tuple(session for session in past.sessions if isinstance(session, Mapping))
    people = tuple(dict.fromkeys([*info.people, *past.people]))
    return replace(
        info, epoch=past.epoch, sessions=sessions, init=past.init, people=people, finished=past.finished is True
    )


def reopen(run: Path, info: RunInfo) -> RunInfo:
    """Write into the run.json of a run whose recipe changes that not all epochs are done; return its content."""
    info = replace(info, finished=False)
    save_info(run, info)
    return info
