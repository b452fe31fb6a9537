"""The backbone (Backbone of docs/method.md): a stem of its own for each modality, layers 1-4 shared."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any, NamedTuple, cast, get_args

import torch
import torchvision
from torch import Tensor, nn

from .config import BackboneName

BACKBONES: tuple[str, ...] = get_args(BackboneName)
STAGES = (1, 2, 3, 4)
STRIDE = 16
"""Pixels of the input per cell of the maps after stages 3 and 4."""
NON_LOCAL_BLOCKS = {2: 2, 3: 3}
"""Non-local blocks by stage, one after each of its last residual blocks, as AGW places them."""


class Stem(nn.Module):
    """conv1, bn1, relu and max pooling of a torchvision ResNet: (B, 3, H, W) -> (B, 64, H/4, W/4)."""

    def __init__(self, resnet: nn.Module) -> None:
        super().__init__()
        self.conv1: Any = resnet.conv1
        self.bn1: Any = resnet.bn1
        self.pool: Any = resnet.maxpool

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.pool(self.bn1(self.conv1(images)).relu())
        return features


class LiteStem(nn.Module):
    """conv_stem, bn1 and the first block of timm's EfficientNet-Lite0: (B, 3, H, W) -> (B, 16, H/2, W/2)."""

    def __init__(self, lite: nn.Module) -> None:
        super().__init__()
        self.conv_stem: Any = lite.conv_stem
        self.bn1: Any = lite.bn1
        self.blocks = cast(nn.Sequential, lite.blocks)[0]

    def forward(self, images: Tensor) -> Tensor:
        # depthwise convolutions on a CPU take half the time so, and what follows keeps the layout
        features: Tensor = self.blocks(self.bn1(self.conv_stem(images.contiguous(memory_format=torch.channels_last))))
        return features


class Network(NamedTuple):
    """A backbone's pieces: what `whole` holds, cut into a stem and four stages, and the stages' output channels.

    source: whose network it is; classifier: what stands behind its last stage, at the top of its state dict.
    rectified: its stages end in a ReLU.
    """

    whole: nn.Module
    stem: nn.Module
    layers: tuple[nn.Sequential, ...]
    channels: tuple[int, ...]
    source: str
    classifier: tuple[str, ...]
    rectified: bool


def _resnet(name: str) -> Network:
    build: Callable[..., nn.Module] = getattr(torchvision.models, name)
    resnet: Any = build(weights=None)
    width = 4 if name == "resnet50" else 1
    layers = (resnet.layer1, resnet.layer2, resnet.layer3, resnet.layer4)
    channels = tuple(32 * 2**stage * width for stage in STAGES)
    return Network(resnet, Stem(resnet), layers, channels, f"torchvision's {name}", ("fc.",), True)


def _efficientnet_lite0() -> Network:
    """The stages end where the resolution halves; the first, at half of the input's, is the stem's."""
    import segmentation_models_pytorch as smp  # not for those who only load a ResNet

    lite: Any = smp.encoders.get_encoder("tu-tf_efficientnet_lite0", weights=None).model
    layers = tuple(nn.Sequential(*(b for i in group for b in lite.blocks[i])) for group in ((1,), (2,), (3, 4), (5, 6)))
    source, classifier = "timm's tf_efficientnet_lite0", ("conv_head.", "bn2.", "classifier.")
    return Network(lite, LiteStem(lite), layers, (24, 40, 112, 320), source, classifier, False)


class NonLocal(nn.Module):
    """Non-local block (Wang et al., CVPR 2018), dot-product form: each cell adds what resembles it elsewhere.

    (B, C, H, W) -> the same shape. The last norm starts at 0, so the block starts as the identity.
    inner: channels in which cells are compared; 0 is half of C. AGW's code has 1.
    """

    def __init__(self, channels: int, inner: int = 0) -> None:
        super().__init__()
        inner = inner or channels // 2
        self.query = nn.Conv2d(channels, inner, 1)
        self.key = nn.Conv2d(channels, inner, 1)
        self.value = nn.Conv2d(channels, inner, 1)
        self.out = nn.Sequential(nn.Conv2d(inner, channels, 1), nn.BatchNorm2d(channels))
        nn.init.zeros_(self.out[1].weight)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = (layer(x).flatten(2) for layer in (self.query, self.key, self.value))
        # value (key^T query) = (value key^T) query: the small product first, no cells-by-cells matrix.
        mixed = (value / key.shape[2] @ key.transpose(1, 2)) @ query
        learned: Tensor = self.out(mixed.unflatten(2, x.shape[2:]))
        return x + learned


class Backbone(nn.Module):
    """ResNet or EfficientNet-Lite0 with last stride 1: (B, 3, H, W) -> (B, `channels[4]`, H/16, W/16) after stage 4.

    The caller walks through it (`stem`, then `stage` 1 to 4), because PAM sits between the stages.
    `channels`: output channels of each stage. `rectified`: the stages end in a ReLU; EfficientNet's do not.
    """

    def __init__(self, name: str, non_local: bool = False, non_local_channels: int = 0) -> None:
        super().__init__()
        if name not in BACKBONES:
            raise ValueError(f"no backbone {name!r}; choose one of {', '.join(BACKBONES)}")
        network = _efficientnet_lite0() if name == "efficientnet_lite0" else _resnet(name)
        self._source, self._classifier = network.source, network.classifier
        self.rectified = network.rectified
        self.channels = dict(zip(STAGES, network.channels, strict=True))
        self.visible_stem = network.stem
        # Both stems start equal, as they do from pretrained weights.
        self.infrared_stem = deepcopy(self.visible_stem)
        self.layer1, self.layer2, self.layer3, self.layer4 = network.layers
        for module in self.layer4.modules():
            if isinstance(module, nn.Conv2d):
                module.stride = (1, 1)
        theirs = {id(tensor): key for key, tensor in network.whole.state_dict(keep_vars=True).items()}
        own = self.state_dict(keep_vars=True)
        self._origin = {key: theirs[id(own[key.replace("infrared_stem.", "visible_stem.", 1)])] for key in own}
        self.non_local = nn.ModuleDict()
        for stage, count in NON_LOCAL_BLOCKS.items() if non_local else ():
            count = min(count, len(self._layer(stage)))
            self.non_local[f"layer{stage}"] = nn.ModuleList(
                NonLocal(self.channels[stage], non_local_channels) for _ in range(count)
            )

    def _layer(self, stage: int) -> Any:
        return getattr(self, f"layer{stage}")

    def stem(self, images: Tensor, infrared: Tensor) -> Tensor:
        """Images (B, 3, H, W) through the stem of their modality, infrared (B,) bool: what stage 1 takes."""
        tracing = torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]  # public, without types
        if not self.training and (tracing or torch.compiler.is_compiling()):
            # A traced graph cannot split a batch by its content; both stems run and each image keeps its own.
            chosen = infrared.view(-1, 1, 1, 1)
            return torch.where(chosen, self.infrared_stem(images), self.visible_stem(images))
        order = torch.cat([(~infrared).nonzero(), infrared.nonzero()]).squeeze(1)
        halves = [
            stem(images[chosen])
            for stem, chosen in ((self.visible_stem, ~infrared), (self.infrared_stem, infrared))
            if bool(chosen.any())  # an absent modality must not touch its stem's running statistics
        ]
        return torch.cat(halves)[order.argsort()]

    def stage(self, number: int, x: Tensor) -> Tensor:
        """Stage `number` (1 to 4): X_{s-1} -> X_s, with its non-local blocks if there are any."""
        blocks = self._layer(number)
        name = f"layer{number}"
        extra: Any = self.non_local[name] if name in self.non_local else ()  # noqa: SIM401 (no `get` there)
        for i, block in enumerate(blocks, start=len(extra) - len(blocks)):
            x = block(x)
            if i >= 0:
                x = extra[i](x)
        return x

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Fill both stems and the shared layers from the state dict of torchvision's ResNet or of timm's
        tf_efficientnet_lite0; its classifier is dropped.

        Raises ValueError, before anything is changed, with the first key that is missing, of another shape or
        unknown here.
        """
        advice = f"give the state dict of {self._source}"
        own = self.state_dict(keep_vars=True)
        wanted: dict[str, list[Tensor]] = {}
        for key, origin in self._origin.items():
            wanted.setdefault(origin, []).append(own[key])
        for key, targets in wanted.items():
            if key not in state:
                # Weights saved before PyTorch 0.4 have no batch counter, and nothing depends on it.
                if key.endswith("num_batches_tracked"):
                    continue
                raise ValueError(f"these weights lack {key!r}; {advice}")
            if state[key].shape != targets[0].shape:
                raise ValueError(
                    f"weights {key!r} have shape {tuple(state[key].shape)}, this backbone needs "
                    f"{tuple(targets[0].shape)}; {advice}"
                )
        for key in state:
            if key not in wanted and not key.startswith(self._classifier):
                raise ValueError(f"weights {key!r} have no place here; {advice}")
        with torch.no_grad():
            for key, targets in wanted.items():
                for target in targets if key in state else ():
                    target.copy_(state[key])
