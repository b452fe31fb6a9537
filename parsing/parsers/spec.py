"""What can be asked for of a human parser: its name and its options."""

from dataclasses import dataclass, replace
from pathlib import Path

DESCRIPTION = ("labels", "input_size", "mean", "std", "channels")
"""Fields of a spec that describe a file which does not describe itself."""
OPTIONS = ("weights", *DESCRIPTION, "remote_code", "narrow", "bf16")
"""Fields of a spec that only some parsers take."""


@dataclass(frozen=True)
class ParserSpec:
    """Which parser, with which weights file, on which device; small enough to send to a worker.

    Attributes:
        name: as `--parser` takes it.
        weights: file of weights; None for the parser's own.
        device: a device of torch.
        labels: name of its label set, or a TOML file.
        input_size: (height, width).
        mean, std: three values each, of pixels in [0, 1] or, if one of the six is above 1, in [0, 255].
        channels: rgb or bgr.
        remote_code: the model whose own code may run.
        narrow, bf16: see parsing.parsers.schp.SCHPParser.
    """

    name: str = "street"
    weights: Path | None = None
    device: str = "cpu"
    labels: str | None = None
    input_size: tuple[int, int] | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    channels: str | None = None
    remote_code: str | None = None
    narrow: bool = False
    bf16: bool = False

    @property
    def place(self) -> str:
        """The part of the name behind the colon: a folder, a file or a model of the hub."""
        return self.name.partition(":")[2]

    def absolute(self) -> "ParserSpec":
        """Return the same spec for processes in other folders."""
        labels, name, code = self.labels, self.name, self.remote_code
        if labels is not None and labels.endswith(".toml"):
            labels = str(Path(labels).resolve())
        if self.place and Path(self.place).exists():  # a model of the hub has a name, but no place here
            place = str(Path(self.place).absolute())  # a link stays one: the cache has its name
            name, code = f"{self.name.partition(':')[0]}:{place}", place if code == self.place else code
        weights = self.weights and self.weights.resolve()
        return replace(self, name=name, weights=weights, labels=labels, remote_code=code)


def option(field: str) -> str:
    """Return the command line's option for a field of a spec."""
    return "--input" if field == "input_size" else "--" + field.replace("_", "-")
