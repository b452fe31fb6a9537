"""Start a training from the weights of another run (`cscl train --init RUN`)."""

import os
from dataclasses import replace
from pathlib import Path

from cscl.model import CSCL
from parsing.errors import InputError
from parsing.files import file_hash

from ..runs.folder import load_model
from ..runs.provenance import RunInfo, read_run
from .resumed import read_past


def load_initial_weights(model: CSCL, init: Path, info: RunInfo) -> list[str]:
    """Copy the weights of a run into `model`, and return the names of the modules that keep their own.

    A tensor of the same name and shape is copied. Others keep their own values: modules that the run does not have, and
    classifiers unless both runs train on the same people, since an output of theirs is a person. The backbone must be
    there as a whole.

    Args:
        model: network of the new run.
        init: folder of the other run.
        info: what the new run is trained on.

    Raises:
        MissingError, InputError: if the run has no weights, or another backbone.
    """
    theirs, ours = load_model(init).network.state_dict(), model.state_dict()
    other = read_run(init)[1]
    same = other.people_hash != "" and (other.data_set, other.people_hash) == (info.data_set, info.people_hash)
    copied = {
        key: value
        for key, value in theirs.items()
        if key in ours and ours[key].shape == value.shape and (same or ".classifier." not in key)
    }
    lacking = [key for key in ours if key not in copied]
    if any(key.startswith("backbone.") for key in lacking):
        raise InputError(f"--init {init}: its backbone is another one than model.backbone = {model.config.backbone}")
    model.load_state_dict(copied, strict=False)
    return list(dict.fromkeys(_module(key) for key in lacking))


def _module(key: str) -> str:
    """Return the module of a tensor: `pam.stage2` for `pam.stage2.g`; `spam` for all of SPAM but its classifiers."""
    if ".classifier." in key:
        return "classifiers"
    first, *rest = key.split(".")
    return first if first == "spam" or not rest[:-1] else f"{first}.{rest[0]}"


def find_initial(run: Path) -> Path | None:
    """Return the run from which a run began that was stopped before its first checkpoint; None if it began without.

    Raises:
        InputError: if that run is gone or has other weights now.
    """
    past = read_past(run)
    if past is None or past.init is None:
        return None
    init = past.init
    other = Path(os.path.normpath(run.resolve() / init["run"]))
    weights = other / "model.safetensors"
    if not weights.is_file() or file_hash(weights) != init["weights"]:
        raise InputError(
            f"--resume: {run} has no checkpoint yet, and {other}, from whose weights it began, no longer has these; "
            "begin a new --run"
        )
    return other


def continue_from(info: RunInfo, init: Path, run: Path) -> RunInfo:
    """Return the provenance of a run that starts from another one.

    The people of both have shaped its weights, so none of them may be tested. Names of another data set are other
    people, and are left out.

    Args:
        info: of the run, without the other one.
        init: folder of the other run.
        run: folder of the run.
    """
    other = read_run(init)[1]
    people = [*info.people, *(other.people if other.data_set == info.data_set else ())]
    weights = {
        "run": os.path.relpath(init.resolve(), run.resolve()),
        "weights": file_hash(init / "model.safetensors"),
    }
    return replace(info, people=tuple(dict.fromkeys(people)), init=weights)
