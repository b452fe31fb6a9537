"""Options of the training of a parser, read and validated without importing torch."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from parsing.errors import InputError
from parsing.parsers.street_network import StreetNetwork

from ..recipes.reading import build, change, read_values


@dataclass(frozen=True, kw_only=True)
class ParserRecipe:
    """All choices of a parser's training that decide the weights, except the photographs.

    Attributes:
        encoder_weights: `none`, `imagenet` (published by the encoder's library), or a file with weights of the encoder.
        crop_size: (height, width) of the training crops; () for the network's input size. In these crops, whose borders
            vary, a person is smaller than in the boxes that are parsed later. An input a third larger than the crops
            therefore gives better masks than one of their size (Touvron et al., Fixing the train-test resolution
            discrepancy, NeurIPS 2019).
        epochs: number of epochs over the annotated photographs, with AdamW and one cycle of the learning rate.
        self_epochs: number of epochs after that over annotated and unlabelled photographs, which the network has
            labelled itself, with another cycle of half the rate.
        keep: share of the unlabelled photographs that is used, the most confident ones first.
        encoder_rate: learning rate of the encoder as a multiple of the decoder's.
    """

    network: StreetNetwork = field(default_factory=StreetNetwork)
    encoder_weights: str = "imagenet"
    crop_size: tuple[int, ...] = ()
    epochs: int = 80
    self_epochs: int = 20
    keep: float = 0.9
    batch_size: int = 16
    learning_rate: float = 2e-3
    encoder_rate: float = 0.25
    weight_decay: float = 1e-2
    ema: float = 0.995
    dice: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.epochs, self.batch_size) < 1 or self.self_epochs < 0:
            raise InputError(
                f"epochs, batch_size and self_epochs must be at least 1, 1 and 0, got {self.epochs}, "
                f"{self.batch_size} and {self.self_epochs}"
            )
        if self.crop_size and (len(self.crop_size) != 2 or min(self.crop_size) < 1):
            raise InputError(f"crop_size = {list(self.crop_size)}; give [height, width], or [] for the network's input")
        if not 0 < self.keep <= 1:
            raise InputError(f"keep = {self.keep}; give a share above 0 and at most 1")


def read_parser_recipe(source: Path | None = None, changes: Sequence[str] = ()) -> ParserRecipe:
    """Return a recipe from a TOML file (None for the shipped `street`), changed by each `key=value`."""
    recipe: ParserRecipe = build(ParserRecipe, change(read_values(source, "street", "parsers"), changes))
    return recipe
