"""What decides a training of a parser, read and checked without importing torch."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from parsing.errors import InputError
from parsing.parsers.street_network import StreetNetwork

from ..recipes.reading import build, change, read_values


@dataclass(frozen=True, kw_only=True)
class ParserRecipe:
    """All that decides the weights beside the photographs.

    encoder_weights: `none`, `imagenet` (what the encoder's library publishes) or a file of the encoder's weights.
    crop_size: (height, width) of crops to learn from; (): the network's input size. A person fills more of a box to
        be parsed than of these crops, whose sides stray, so that an input a third larger than they are answers better
        than one of their size (Touvron et al., Fixing the train-test resolution discrepancy, NeurIPS 2019).
    epochs: over the annotated photographs, with AdamW and one cycle. self_epochs: then over these and the unlabelled
        ones, whose labels are what the network has learnt to answer, with another cycle of half the rate.
    keep: share of the unlabelled photographs, the most confident ones, that is used.
    encoder_rate: the encoder's learning rate as a multiple of the decoder's.
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
    """A recipe from a TOML file (None: the shipped one, `street`), then each `a.b=c`."""
    recipe: ParserRecipe = build(ParserRecipe, change(read_values(source, "street", "parsers"), changes))
    return recipe
