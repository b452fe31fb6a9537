"""What `cscl parse` can be asked for."""

from dataclasses import dataclass, field
from pathlib import Path

from parsing.errors import InputError
from parsing.parsers.registry import ParserSpec


def check_size(size: tuple[int, int]) -> None:
    """InputError for a (height, width) that masks do not have."""
    if min(size) < 16 or max(size) > 4096:
        raise InputError(f"--size {size[0]}x{size[1]}: give height x width, each from 16 to 4096")


def index_file(out: Path | None, name: str) -> Path:
    """The index file that --out names, or that a cache of `name` has; InputError where it cannot be one."""
    out = out or Path("data") / f"{name}_masks.h5"
    if out.suffix != ".h5" or out.is_dir():
        raise InputError(f"--out {out}: give a file that ends in .h5")
    return out


@dataclass(frozen=True)
class ParseConfig:
    """What `cscl parse` was asked for.

    parser: device `auto` is CUDA where there is one, on whatever machine parses. size: (height, width) of the masks.
    batch_size: images at a time, None for 8 on a CPU, whose cache holds that many, and 32 on a GPU.
    workers: processes, None for one a core (one a GPU), 0 for none but this one; with a scheduler how many of its
    workers to wait for. scheduler: address of a running dask scheduler to use instead; scheduler_file: the file
    that it wrote its address to. probs: store class probabilities too. limit: at most so many images, spread evenly
    over the data set. pattern: where the paths of `folder` name identity and camera (data/readers/naming.py); the cache
    remembers it.
    """

    dataset: str
    root: Path | None = None
    out: Path | None = None
    parser: ParserSpec = field(default_factory=lambda: ParserSpec(device="auto"))
    size: tuple[int, int] = (288, 144)
    batch_size: int | None = None
    workers: int | None = None
    scheduler: str | None = None
    scheduler_file: Path | None = None
    probs: bool = False
    flip: bool = True
    overwrite: bool = False
    limit: int | None = None
    pattern: str | None = None

    def __post_init__(self) -> None:
        check_size(self.size)
        if self.batch_size is not None and self.batch_size < 1:
            raise InputError(f"--batch-size {self.batch_size}: give at least 1")
        if self.limit is not None and self.limit < 1:
            raise InputError(f"--limit {self.limit}: give at least 1")
        if self.scheduler is not None and self.scheduler_file is not None:
            raise InputError(f"--scheduler {self.scheduler} --scheduler-file {self.scheduler_file}: give one of them")
        if self.workers == 0 and self.elsewhere:
            raise InputError("--workers 0: with a scheduler, --workers says how many workers to wait for; 1 or more")

    @property
    def elsewhere(self) -> bool:
        """Whether the workers are those of somebody else's scheduler, which may have what this machine lacks."""
        return self.scheduler is not None or self.scheduler_file is not None

    @property
    def index(self) -> Path:
        """The cache's index file; InputError where it cannot be one."""
        return index_file(self.out, self.dataset)
