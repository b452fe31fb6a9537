"""Convolutions as they are computed: with bias, activation and addition in one operation where oneDNN has it.

On a CPU with oneDNN a convolution, its bias, its activation and the addition before that are one operation
(`torch.ops.mkldnn`, which torch's own compiler calls), with weights laid out in advance; elsewhere they are plain ones
of torch.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SLOPE = 0.01
"""Of `leaky_relu`."""
PACKED_FOR = 16
"""Images in the batch that the weights' layout in memory is chosen for; any other batch is computed too."""
ALIKE = 1e-3
"""The largest difference of a logit at which packed convolutions are used."""
_POINTWISE: dict[str, tuple[str, list[float]]] = {
    "relu6": ("hardtanh", [0.0, 6.0]),
    "leaky_relu": ("leaky_relu", [SLOPE]),
}
_AFTER_SUM = ("none", "relu")
"""Activations that oneDNN takes after an addition."""


class Convolution(nn.Module):
    """A convolution with bias, and its activation: `relu`, `relu6`, `leaky_relu` or `none`.

    Padding is half of the kernel, as wide as `dilation` spreads it, unless it is given.
    """

    weight: Tensor
    bias: Tensor

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor,
        stride: int = 1,
        groups: int = 1,
        dilation: int = 1,
        padding: int | None = None,
        active: str = "none",
    ) -> None:
        super().__init__()
        self.stride, self.groups, self.dilation, self.active = stride, groups, dilation, active
        self.padding = weight.shape[-1] // 2 * dilation if padding is None else padding
        self.register_buffer("weight", weight.contiguous(memory_format=torch.channels_last))
        self.register_buffer("bias", bias)
        self.shape: tuple[int, ...] = ()
        self.packed: Tensor | None = None

    def pack(self) -> None:
        """Lay out the weights for oneDNN, for inputs as large as the last one; they are then used on a CPU."""
        if self.shape:
            shape = [PACKED_FOR, *self.shape[1:]]
            place = [self.padding] * 2, [self.stride] * 2, [self.dilation] * 2
            self.packed = torch.ops.mkldnn._reorder_convolution_weight(self.weight, *place, self.groups, shape)

    def forward(self, images: Tensor, added: Tensor | None = None) -> Tensor:
        """Return the convolution of `images` (B, C, H, W), plus `added` of its output's shape, then activated.

        The answer may be in the memory of `added`, which nothing may need afterwards.
        """
        if self.packed is None:
            self.shape = tuple(images.shape)
            place = self.stride, self.padding, self.dilation, self.groups
            answer = F.conv2d(images, self.weight, self.bias, *place)
            return _activate(answer if added is None else answer.add_(added), self.active)
        both = [self.padding] * 2, [self.stride] * 2, [self.dilation] * 2, self.groups
        if added is None:
            name, limits = _POINTWISE.get(self.active, (self.active, []))
            convolve = torch.ops.mkldnn._convolution_pointwise
            return convolve(images, self.packed, self.bias, *both, name, limits, "")  # type: ignore[no-any-return]
        after = "relu" if self.active == "relu" else None
        convolve = torch.ops.mkldnn._convolution_pointwise_
        answer = convolve(added, images, self.packed, self.bias, *both, "add", 1.0, after, [], "")
        return answer if self.active in _AFTER_SUM else _activate(answer, self.active)


def _activate(values: Tensor, active: str) -> Tensor:
    """Return activated values, in the memory of those given."""
    if active == "relu6":
        return F.relu6(values, inplace=True)
    if active == "leaky_relu":
        return F.leaky_relu(values, SLOPE, inplace=True)
    return F.relu(values, inplace=True) if active == "relu" else values


@torch.inference_mode()
def pack(network: nn.Module, noise: Tensor) -> None:
    """Have a network compute with packed convolutions, if this torch has them and they give the same answer.

    Args:
        network: of `Convolution`s; (B, 3, H, W) to logits.
        noise: images to try it on.
    """
    if not torch.backends.mkldnn.is_available():
        return
    if not hasattr(torch.ops.mkldnn, "_convolution_pointwise"):
        return
    noise = noise.contiguous(memory_format=torch.channels_last)
    wanted, layers = network(noise), [m for m in network.modules() if isinstance(m, Convolution)]
    try:
        for layer in layers:
            layer.pack()
        same = torch.allclose(network(noise), wanted, rtol=0.0, atol=ALIKE)
    except (RuntimeError, TypeError):  # another version of torch: the operations are its own affair
        same = False
    for layer in layers:
        if same:
            layer.weight = layer.weight.new_empty(0)  # one copy in memory is enough
        else:
            layer.packed = None
