"""Which network the built-in parser is: read from its weights and from recipes, built when it is needed."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from ..labels import label_set

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class StreetNetwork:
    """What rebuilds the network.

    Attributes:
        architecture, encoder, options: of segmentation-models-pytorch, as `create_model` takes them.
        input_size: (height, width).
        mean, std: normalisation of values in [0, 1], the same for each channel.
    """

    architecture: str = "segformer"
    encoder: str = "tu-tf_efficientnet_lite0"
    options: dict[str, Any] = field(default_factory=lambda: {"decoder_segmentation_channels": 96})
    input_size: tuple[int, int] = (256, 128)
    mean: float = 0.5
    std: float = 0.5

    @property
    def is_lite(self) -> bool:
        """Whether it is the network of `lite_network`, which is computed without segmentation-models-pytorch."""
        return (
            (self.architecture, self.encoder) == ("segformer", "tu-tf_efficientnet_lite0")
            and set(self.options) == {"decoder_segmentation_channels"}
            and isinstance(self.options["decoder_segmentation_channels"], int)
            and all(side % 32 == 0 for side in self.input_size)
        )

    def build(self) -> "nn.Module":
        """Return the network with weights drawn at random: (B, 3, *input_size) to logits (B, 8, *input_size)."""
        import segmentation_models_pytorch as smp  # imports torch, which a recipe that is only checked does without

        try:
            network: nn.Module = smp.create_model(
                self.architecture, self.encoder, encoder_weights=None, classes=len(label_set("person7")), **self.options
            )
        except (KeyError, ValueError, TypeError, RuntimeError) as error:
            raise InputError(f"segmentation-models-pytorch cannot build {self}: {error}") from error
        return network
