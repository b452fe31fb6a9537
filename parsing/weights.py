"""Weights of parsers: read as tensors alone, fetched once from the Hugging Face hub, told apart by SHA-256."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from threading import Thread
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from .errors import CsclError, InputError, MissingError
from .whole import file_hash

PATIENCE = 2.5
"""Seconds that the hub has to answer before it counts as out of reach."""
WRAPPERS = ("module.", "model.")
"""What DataParallel and wrapping classes put before every name of a stored tensor."""


def read_tensors(file: Path) -> dict[str, Tensor]:
    """The named tensors of a .safetensors file or of a checkpoint of torch, whose pickle may hold tensors alone.

    A checkpoint's `state_dict` is taken where it has one; a prefix `module.` or `model.` that all names share is cut
    off. MissingError without a file; InputError, naming it, where it is truncated or holds something else.
    """
    if not file.is_file():
        raise MissingError(f"no weights file {file}")
    try:
        content: Any
        if file.suffix == ".safetensors":
            content = load_file(file)
        else:
            content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # on foreign bytes, readers of pickles raise almost anything
        raise InputError(f"{file} cannot be read as weights (truncated, or no such file): {_line(error)}") from error
    if isinstance(content, Mapping):
        content = content.get("state_dict", content)
    if not isinstance(content, Mapping) or not all(isinstance(v, Tensor) for v in content.values()):
        raise InputError(f"{file} holds no state dict of tensors; give a checkpoint or a .safetensors file")
    tensors = {str(name): tensor for name, tensor in content.items()}
    for prefix in WRAPPERS:
        if tensors and all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    return tensors


def load_strictly(network: nn.Module, tensors: Mapping[str, Tensor], file: Path, what: str) -> None:
    """Put `tensors` into `network`; InputError where one is missing, too many or of another shape.

    Counters of batches, which only training reads, may be too many. what: what the file should have been.
    """
    wanted = network.state_dict()
    given = {k: v for k, v in tensors.items() if k in wanted or not k.endswith(".num_batches_tracked")}
    missing = [k for k in wanted if k not in given]
    foreign = [k for k in given if k not in wanted]
    if missing or foreign:
        found = f"lacks {missing[0]}" if missing else f"holds {foreign[0]} too"
        raise InputError(
            f"{file} is no {what}: it {found} ({len(wanted) - len(missing)} of {len(wanted)} tensors fit, "
            f"{len(foreign)} are foreign); give the weights of {what}"
        )
    for name, tensor in wanted.items():
        if given[name].shape != tensor.shape:
            raise InputError(
                f"{file} is no {what}: {name} is {tuple(given[name].shape)}, not {tuple(tensor.shape)}; "
                f"give the weights of {what}"
            )
    network.load_state_dict({name: tensor.to(wanted[name].dtype) for name, tensor in given.items()})


def content_hash(files: Sequence[Path]) -> str:
    """SHA-256 of one file, or of the names and hashes of several, in the order given."""
    if len(files) == 1:
        return file_hash(files[0])
    return hashlib.sha256("".join(f"{f.name} {file_hash(f)}\n" for f in files).encode("utf-8")).hexdigest()


Wanted = Sequence[tuple[str, ...]]
"""File name patterns, each with alternatives: of every tuple, the first that matches anything is taken."""


def cached_folder(repo: str, wanted: Wanted, cache: Path | None = None) -> Path | None:
    """The folder in the hub's own cache (HF_HOME) that has all of `wanted` of `repo`, or None; no network."""
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
    """The files `wanted` of the model `repo` (and those of `extra` that it has), from the cache or from the hub.

    The first of `wanted` is one plain name. A download shows its progress and is compared with the SHA-256 that
    the hub publishes. MissingError, with `advice` on what to do, where the hub does not answer in `PATIENCE` seconds.
    """
    if (folder := cached_folder(repo, wanted, cache)) is not None:
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
            raise CsclError(f"{name} of {repo} could not be downloaded ({_line(error)}): {advice}") from error
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
    """The answer of `ask`, or TimeoutError: name look-ups have no time limit of their own."""
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


def _line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
