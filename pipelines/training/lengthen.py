"""What `--resume` may change in a recipe: more epochs and other milestones, and what that does to the schedule."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from parsing.errors import InputError

from ..recipes.reading import Recipe, find_differences
from ..runs.provenance import read_own_recipe

MAY_CHANGE = ("train.epochs", "train.milestones", "train.guided")
"""Keys that a resumed run may change. They decide the steps to come, and nothing in those that are done."""


def read_resumed_recipe(
    run: Path, changes: Sequence[str], read: Callable[[Sequence[str]], Recipe] | None = None
) -> Recipe:
    """Return the recipe of a run that is resumed with changes.

    `train.guided` is a share of all epochs. Unless it is among the changes it is that of the run so far, and with
    another number of epochs computed anew, so that the guidance ends at the same epoch as before.

    Args:
        run: its folder.
        changes: `section.key=value` each.
        read: returns the recipe that a command gives, with further changes; None for that of the run's folder.

    Raises:
        InputError: if a change does not fit.
    """
    if read is None:
        read = partial(read_own_recipe, run)
    if "train.guided" in {change.partition("=")[0].strip() for change in changes}:
        return read(changes)
    before, epochs = read_own_recipe(run).train, read([*changes, "train.guided=0"]).train.epochs
    share = before.guided if epochs == before.epochs else min(1.0, before.guided * before.epochs / epochs)
    return read([*changes, f"train.guided={share!r}"])


def check_changes(before: Recipe, after: Recipe, file: Path) -> dict[str, tuple[Any, Any]]:
    """Return the keys in which a resumed run's recipe differs from its former one, with the values before and after.

    Raises:
        InputError: if another key than those of MAY_CHANGE differs.
    """
    found = find_differences(asdict(before), asdict(after))
    if wrong := [key for key in found if key not in MAY_CHANGE]:
        raise InputError(
            f"--resume: {file} differs from this command in {', '.join(wrong)}; only {', '.join(MAY_CHANGE)} may change"
        )
    return found


def check_length(after: Recipe, done: int, steps: int) -> None:
    """Raise InputError if the recipe of a resumed run has fewer epochs than are done.

    Args:
        after: the changed recipe.
        done: number of steps that are done.
        steps: number of steps per epoch.
    """
    if done > after.train.epochs * steps:
        raise InputError(
            f"--resume: train.epochs = {after.train.epochs}, but {done / steps:.3g} epochs are done; "
            f"give at least {-(-done // steps)}"
        )


def describe_changes(before: Recipe, after: Recipe, done: int, steps: int) -> list[str]:
    """Return what the changes do to the schedule of a resumed run, as sentences.

    Args:
        before, after: recipe so far, and from now on.
        done: number of steps that are done.
        steps: number of steps per epoch.
    """
    from .optimiser import compute_rate_factor

    old, new, epoch = before.train, after.train, done / steps
    changes = check_changes(before, after, Path())
    said = [f"{key}: {_show(a)} -> {_show(b)}" for key, (a, b) in changes.items() if key != "train.guided"]
    lines = [f"{', '.join(said) or 'train.guided'} changes after {epoch:g} epochs; what is done stays as it is"]
    rates = [train.learning_rate * compute_rate_factor(train, epoch) for train in (old, new)]
    if old.schedule == "cosine":
        shape = f"the cosine now reaches 0 at epoch {new.epochs} instead of {old.epochs}"
    else:
        falls = [str(m) for m in new.milestones if m >= epoch]
        shape = f"the rate falls at epoch {', '.join(falls)}" if falls else "the rate does not fall any more"
    instead = f" instead of {rates[0]:.3g}" if rates[0] != rates[1] else ""
    lines.append(f"{shape}; the next step has the rate {rates[1]:.3g}{instead}")
    ends = [train.guided * train.epochs for train in (old, new)]
    if abs(ends[0] - ends[1]) > 1e-6:
        lines.append(f"the masks guide SPAM until epoch {ends[1]:g} instead of {ends[0]:g}")
    if rates[1] > 1.0001 * rates[0] and epoch:
        lines.append("the rate rises again: the result is not that of one run of this length from the start")
    return lines


def _show(value: Any) -> str:
    return str(list(value)) if isinstance(value, tuple) else str(value)
