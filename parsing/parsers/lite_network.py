"""EfficientNet-Lite0 under a SegFormer head, layer by layer, as the built-in parser's file names them; no torch here.

Tan and Le, ICML 2019 (the Lite variant has ReLU6 and no squeeze-and-excitation); Xie et al., NeurIPS 2021.
"""

from collections.abc import Iterator
from dataclasses import dataclass

STEM = 32
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
"""Blocks, kernel, stride of the first block, expansion and channels of each stage."""
FEATURES = (0, 1, 2, 4, 6)
"""The stages whose output the decoder sees."""


@dataclass(frozen=True)
class Layer:
    """A convolution and the batch norm after it.

    Attributes:
        name, norm: what their tensors are called in the file.
        inputs, outputs, kernel, stride: of the convolution, whose padding is TensorFlow's `SAME`.
        depthwise: each channel by itself.
        active: ReLU6 follows.
    """

    name: str
    norm: str
    inputs: int
    outputs: int
    kernel: int = 1
    stride: int = 1
    depthwise: bool = False
    active: bool = True


Block = tuple[Layer, ...]
STEM_LAYER = Layer("encoder.model.conv_stem", norm="encoder.model.bn1", inputs=3, outputs=STEM, kernel=3, stride=2)


def stages() -> list[list[Block]]:
    """Return the blocks of each stage, in order."""
    found, channels = [], STEM
    for number, (blocks, kernel, stride, expansion, outputs) in enumerate(STAGES):
        stage = []
        for block in range(blocks):
            place = f"encoder.model.blocks.{number}.{block}"
            first = stride if block == 0 else 1
            stage.append(
                _block(place, inputs=channels, inner=channels * expansion, outputs=outputs, kernel=kernel, stride=first)
            )
            channels = outputs
        found.append(stage)
    return found


def _block(place: str, inputs: int, inner: int, outputs: int, kernel: int, stride: int) -> Block:
    if inner == inputs:  # no expansion: depthwise, then pointwise
        depthwise = Layer(
            f"{place}.conv_dw",
            norm=f"{place}.bn1",
            inputs=inner,
            outputs=inner,
            kernel=kernel,
            stride=stride,
            depthwise=True,
        )
        return depthwise, Layer(f"{place}.conv_pw", norm=f"{place}.bn2", inputs=inner, outputs=outputs, active=False)
    return (
        Layer(f"{place}.conv_pw", norm=f"{place}.bn1", inputs=inputs, outputs=inner),
        Layer(
            f"{place}.conv_dw",
            norm=f"{place}.bn2",
            inputs=inner,
            outputs=inner,
            kernel=kernel,
            stride=stride,
            depthwise=True,
        ),
        Layer(f"{place}.conv_pwl", norm=f"{place}.bn3", inputs=inner, outputs=outputs, active=False),
    )


def has_shortcut(block: Block) -> bool:
    """Return whether a block adds its input to its output."""
    return all(layer.stride == 1 for layer in block) and block[0].inputs == block[-1].outputs


def list_tensor_shapes(width: int, classes: int) -> dict[str, list[int]]:
    """Return name and shape of every tensor in the file of a network whose decoder has `width` channels."""
    shapes: dict[str, list[int]] = {}
    for layer in (STEM_LAYER, *(layer for stage in stages() for block in stage for layer in block)):
        inputs = 1 if layer.depthwise else layer.inputs
        shapes[f"{layer.name}.weight"] = [layer.outputs, inputs, layer.kernel, layer.kernel]
        shapes.update(_norm_shapes(layer.norm, layer.outputs))
    for number, stage in enumerate(reversed(FEATURES)):
        shapes[f"decoder.mlp_stage.{number}.linear.weight"] = [width, STAGES[stage][-1]]
        shapes[f"decoder.mlp_stage.{number}.linear.bias"] = [width]
    shapes["decoder.fuse_stage.0.weight"] = [width, width * len(FEATURES), 1, 1]
    shapes.update(_norm_shapes("decoder.fuse_stage.1", width))
    return shapes | {"segmentation_head.0.weight": [classes, width, 1, 1], "segmentation_head.0.bias": [classes]}


def _norm_shapes(norm: str, channels: int) -> Iterator[tuple[str, list[int]]]:
    yield from ((f"{norm}.{part}", [channels]) for part in ("weight", "bias", "running_mean", "running_var"))
    yield f"{norm}.num_batches_tracked", []
