"""Files of models on the Hugging Face hub: found in its cache, or fetched once and compared with their SHA-256."""

import os
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from threading import Thread
from typing import Any

from ..errors import CsclError, InputError, MissingError, first_line
from ..files import file_hash

PATIENCE = float(os.environ.get("HF_HUB_ETAG_TIMEOUT") or 2.5)
"""Seconds that the hub has to answer before it counts as out of reach; the hub's own setting, if there is one."""
Wanted = Sequence[tuple[str, ...]]
"""File name patterns, each with alternatives: of every tuple, the first that matches anything is taken."""


def find_cached_folder(repo: str, wanted: Wanted, cache: Path | None = None) -> Path | None:
    """Return the folder in the hub's own cache (HF_HOME) that has all of `wanted` of `repo`, or None; no network."""
    hub = _hub(repo)
    first = hub.try_to_load_from_cache(repo, wanted[0][0], cache_dir=cache)
    if not isinstance(first, str):
        return None
    folder = Path(first).parent
    names = [path.name for path in folder.iterdir() if path.exists()]
    return folder if all(_matches(names, alternatives) for alternatives in wanted) else None


def hub_folder(
    repo: str,
    wanted: Wanted,
    advice: str,
    extra: Sequence[str] = (),
    cache: Path | None = None,
    endpoint: str | None = None,
) -> Path:
    """Return the folder with the files `wanted` of the model `repo`, from the cache or from the hub.

    A download shows its progress and is compared with the SHA-256 that the hub publishes.

    Args:
        repo: ORG/NAME.
        wanted: file name patterns; the first is one plain name.
        advice: what to do without the hub, for errors.
        extra: patterns of files to get too, if the model has them.
        cache: folder of the hub's cache; None for its own.
        endpoint: address of the hub; None for its own.

    Raises:
        MissingError: if the hub does not answer in `PATIENCE` seconds.
        InputError: if there is no such model, or it lacks a file.
        CsclError: if a download fails or arrives damaged.
    """
    if (folder := find_cached_folder(repo, wanted, cache)) is not None:
        return folder
    hub = _hub(repo)
    api = hub.HfApi(endpoint=endpoint)
    try:
        found = _within(PATIENCE, lambda: api.model_info(repo, files_metadata=True, timeout=PATIENCE))
    except (hub.errors.RepositoryNotFoundError, hub.errors.HFValidationError) as error:
        raise InputError(f"there is no public model {repo} at {api.endpoint}: {advice}") from error
    except Exception as error:  # every transport has its own errors; all of them mean that the hub is out of reach
        raise MissingError(f"{repo} is not on this machine and {api.endpoint} does not answer: {advice}") from error
    published = {s.rfilename: s.lfs.sha256 if s.lfs else None for s in found.siblings or []}
    names = list(published)
    chosen = [name for pattern in extra for name in _matches(names, (pattern,))]
    for alternatives in wanted:
        if not (matching := _matches(names, alternatives)):
            raise InputError(f"{api.endpoint}/{repo} holds no {' or '.join(alternatives)}, which a parser needs")
        chosen += matching
    paths = {}
    for name in dict.fromkeys(chosen):
        try:
            paths[name] = Path(hub.hf_hub_download(repo, name, cache_dir=cache, endpoint=endpoint))
        except (hub.errors.HfHubHTTPError, OSError, ValueError) as error:
            raise CsclError(f"{name} of {repo} could not be downloaded ({first_line(error)}): {advice}") from error
    for name, path in paths.items():
        expected = published[name]
        if expected is not None and file_hash(path) != expected:
            path.resolve().unlink()
            raise CsclError(
                f"{name} of {repo} arrived damaged (its SHA-256 is not the hub's) and was removed; try again"
            )
    return paths[wanted[0][0]].parent


def _matches(names: Sequence[str], alternatives: Sequence[str]) -> list[str]:
    for pattern in alternatives:
        if found := [name for name in names if "/" not in name and fnmatchcase(name, pattern)]:
            return found
    return []


def _within(seconds: float, ask: Callable[[], Any]) -> Any:
    """Return the answer of `ask`, or raise TimeoutError: name look-ups have no time limit of their own."""
    answer: list[Any] = []
    failure: list[BaseException] = []

    def run() -> None:
        try:
            answer.append(ask())
        except BaseException as error:
            failure.append(error)

    thread = Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if failure:
        raise failure[0]
    if not answer:
        raise TimeoutError(f"no answer in {seconds:g} s")
    return answer[0]


def _hub(repo: str) -> Any:
    try:
        import huggingface_hub
    except ImportError as error:
        raise InputError(f'{repo} needs huggingface_hub: pip install "cscl[hf]"') from error
    return huggingface_hub
