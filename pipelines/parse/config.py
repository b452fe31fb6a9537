"""The arguments of a parse run."""

from dataclasses import dataclass, field
from pathlib import Path

from parsing.errors import InputError
from parsing.parsers.registry import ParserSpec


def check_size(size: tuple[int, int]) -> None:
    """Check that (height, width) is a size that masks may have.

    Raises:
        InputError: if not.
    """
    if min(size) < 16 or max(size) > 4096:
        raise InputError(f"--size {size[0]}x{size[1]}: give height x width, each from 16 to 4096")


def index_file(out: Path | None, name: str) -> Path:
    """Return the index file of a cache: `out`, or if None the default one for the data set `name`.

    Raises:
        InputError: if `out` is a folder or does not end in .h5.
    """
    out = out or Path("data") / f"{name}_masks.h5"
    if out.suffix != ".h5" or out.is_dir():
        raise InputError(f"--out {out}: give a file that ends in .h5")
    return out


@dataclass(frozen=True)
class ParseConfig:
    """The arguments of a parse run.

    Attributes:
        dataset: name of the data set.
        root: its folder; None to search for it.
        out: index file of the cache; None for data/NAME_masks.h5.
        parser: parser and its options. Its device `auto` is CUDA, if the machine that parses has a CUDA device.
        size: (height, width) of the masks, in pixels.
        batch_size: number of images per batch; None for a default that suits the device.
        workers: number of worker processes; None for one per core, or one per GPU; 0 to parse in this process. With a
            scheduler, the number of its workers to wait for.
        scheduler: address of a running dask scheduler to use instead of a cluster of the run's own.
        scheduler_file: file into which such a scheduler has written its address.
        probs: whether to store class probabilities too.
        flip: whether to average an image and its mirror image.
        overwrite: whether to replace a cache that was made from another parser or options.
        limit: largest number of images, taken at equal distances from the data set; None for all.
        pattern: for the data set `folder`, the place of identity and camera in the paths of its images, see
            data/readers/naming.py. The cache records it.

    Raises:
        InputError: if a value is out of range, or two do not fit each other.
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
        """Whether an existing scheduler is used, whose workers may have devices that this machine lacks."""
        return self.scheduler is not None or self.scheduler_file is not None

    @property
    def index(self) -> Path:
        """Index file of the cache.

        Raises:
            InputError: if `out` cannot be one.
        """
        return index_file(self.out, self.dataset)
