"""The backbone (Backbone of docs/method.md): one stem per modality, then four stages that both modalities share."""

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
"""Input pixels per cell, along each side, of the maps after stages 3 and 4."""
NON_LOCAL_BLOCKS = {2: 2, 3: 3}
"""Number of non-local blocks per stage, as in AGW; each follows one of the last residual blocks of its stage."""


class Stem(nn.Module):
    """First convolution, norm, ReLU and max pooling of a torchvision ResNet: (B, 3, H, W) -> (B, 64, H/4, W/4)."""

    def __init__(self, resnet: nn.Module) -> None:
        super().__init__()
        self.conv1: Any = resnet.conv1
        self.bn1: Any = resnet.bn1
        self.pool: Any = resnet.maxpool

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.pool(self.bn1(self.conv1(images)).relu())
        return features


class LiteStem(nn.Module):
    """First convolution, norm and block of timm's EfficientNet-Lite0: (B, 3, H, W) -> (B, 16, H/2, W/2)."""

    def __init__(self, lite: nn.Module) -> None:
        super().__init__()
        self.conv_stem: Any = lite.conv_stem
        self.bn1: Any = lite.bn1
        self.blocks = cast(nn.Sequential, lite.blocks)[0]

    def forward(self, images: Tensor) -> Tensor:
        # Depthwise convolutions take half the time on a CPU in this memory layout, and the stages after it keep it.
        features: Tensor = self.blocks(self.bn1(self.conv_stem(images.contiguous(memory_format=torch.channels_last))))
        return features


class Network(NamedTuple):
    """A classification network of another library, divided into the pieces that `Backbone` uses.

    Attributes:
        whole: the network as the library builds it; its state dict defines the key names of pretrained weights.
        stem: the layers before stage 1.
        layers: stages 1 to 4.
        channels: output channels of each stage.
        source: library and name, for error messages.
        classifier: key prefixes of the layers after stage 4, which `Backbone.load` ignores.
        rectified: whether each stage ends in a ReLU.
    """

    whole: nn.Module
    stem: nn.Module
    layers: tuple[nn.Sequential, ...]
    channels: tuple[int, ...]
    source: str
    classifier: tuple[str, ...]
    rectified: bool


def _build_resnet(name: str) -> Network:
    build: Callable[..., nn.Module] = getattr(torchvision.models, name)
    resnet: Any = build(weights=None)
    width = 4 if name == "resnet50" else 1
    layers = (resnet.layer1, resnet.layer2, resnet.layer3, resnet.layer4)
    channels = tuple(32 * 2**stage * width for stage in STAGES)
    return Network(
        resnet,
        stem=Stem(resnet),
        layers=layers,
        channels=channels,
        source=f"torchvision's {name}",
        classifier=("fc.",),
        rectified=True,
    )


def _build_efficientnet_lite0() -> Network:
    """Return EfficientNet-Lite0 with its blocks grouped into stages.

    Block 0, at half of the input's resolution, belongs to the stem. Each stage starts with a block that halves the
    resolution; blocks 4 and 6 keep it and join the stage before them.
    """
    import segmentation_models_pytorch as smp  # imported here: slow, and the ResNets do not need it

    lite: Any = smp.encoders.get_encoder("tu-tf_efficientnet_lite0", weights=None).model
    layers = tuple(nn.Sequential(*(b for i in group for b in lite.blocks[i])) for group in ((1,), (2,), (3, 4), (5, 6)))
    source, classifier = "timm's tf_efficientnet_lite0", ("conv_head.", "bn2.", "classifier.")
    return Network(
        lite,
        stem=LiteStem(lite),
        layers=layers,
        channels=(24, 40, 112, 320),
        source=source,
        classifier=classifier,
        rectified=False,
    )


class NonLocal(nn.Module):
    """Non-local block (Wang et al., CVPR 2018) in its dot-product form: attention of every cell to all cells.

    (B, C, H, W) -> the same shape. The last norm starts at 0, so that the block starts as the identity and pretrained
    features are intact at the first step.

    Args:
        channels: C.
        inner: channels in which cells are compared; 0 for C / 2. AGW's code uses 1.
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
        # value (key^T query) = (value key^T) query. The right side needs a matrix of channels x channels only, the
        # left side one of cells x cells.
        mixed = (value / key.shape[2] @ key.transpose(1, 2)) @ query
        learned: Tensor = self.out(mixed.unflatten(2, x.shape[2:]))
        return x + learned


class Backbone(nn.Module):
    """ResNet or EfficientNet-Lite0 with last stride 1: (B, 3, H, W) -> (B, `channels[4]`, H/16, W/16).

    There is no `forward`: the caller calls `stem` and then `stage` with 1 to 4, because PAM changes the map between
    stages.

    Args:
        name: one of BACKBONES.
        non_local: whether to add AGW's non-local blocks, see NON_LOCAL_BLOCKS.
        non_local_channels: `inner` of `NonLocal`.

    Attributes:
        channels: output channels by stage number.
        rectified: whether each stage ends in a ReLU; EfficientNet's stages do not.

    Raises:
        ValueError: if the name is unknown.
    """

    def __init__(self, name: str, non_local: bool = False, non_local_channels: int = 0) -> None:
        super().__init__()
        if name not in BACKBONES:
            raise ValueError(f"no backbone {name!r}; choose one of {', '.join(BACKBONES)}")
        network = _build_efficientnet_lite0() if name == "efficientnet_lite0" else _build_resnet(name)
        self._source, self._classifier = network.source, network.classifier
        self.rectified = network.rectified
        self.channels = dict(zip(STAGES, network.channels, strict=True))
        self.visible_stem = network.stem
        # Both stems start equal, as they do from pretrained weights.
        self.infrared_stem = deepcopy(self.visible_stem)
        self.layer1, self.layer2, self.layer3, self.layer4 = network.layers
        # Last stride 1, as usual in re-identification: twice the resolution for pooling parts. It changes no weights.
        for module in self.layer4.modules():
            if isinstance(module, nn.Conv2d):
                module.stride = (1, 1)
        # For each of our keys, the key of the same tensor in the library's network. The infrared stem is a copy and
        # takes the key of the visible stem. Non-local blocks come later, since pretrained weights have none.
        names = {id(tensor): key for key, tensor in network.whole.state_dict(keep_vars=True).items()}
        own = self.state_dict(keep_vars=True)
        self._pretrained_keys = {key: names[id(own[key.replace("infrared_stem.", "visible_stem.", 1)])] for key in own}
        self.non_local = nn.ModuleDict()
        for stage, count in NON_LOCAL_BLOCKS.items() if non_local else ():
            count = min(count, len(self._layer(stage)))
            self.non_local[f"layer{stage}"] = nn.ModuleList(
                NonLocal(self.channels[stage], non_local_channels) for _ in range(count)
            )

    def _layer(self, stage: int) -> Any:
        return getattr(self, f"layer{stage}")

    def stem(self, images: Tensor, infrared: Tensor | int) -> Tensor:
        """Return the input of stage 1: images (B, 3, H, W), each through the stem of its modality.

        Args:
            images: (B, 3, H, W), modalities in any order.
            infrared: (B,) bool; or the number of visible images, if these come first.
        """
        if isinstance(infrared, int):
            parts = ((self.visible_stem, images[:infrared]), (self.infrared_stem, images[infrared:]))
            return torch.cat([stem(part) for stem, part in parts if len(part)])
        tracing = torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]  # public, without types
        if not self.training and (tracing or torch.compiler.is_compiling()):
            # A traced graph cannot split a batch by the values in it. Run both stems on all images instead, and take
            # for each image the output of its own stem.
            chosen = infrared.view(-1, 1, 1, 1)
            return torch.where(chosen, self.infrared_stem(images), self.visible_stem(images))
        # Split the batch by modality, and put the results back into the order of the images.
        order = torch.cat([(~infrared).nonzero(), infrared.nonzero()]).squeeze(1)
        halves = [
            stem(images[chosen])
            for stem, chosen in ((self.visible_stem, ~infrared), (self.infrared_stem, infrared))
            if bool(chosen.any())  # an empty batch would spoil the running statistics of the stem's batch norm
        ]
        return torch.cat(halves)[order.argsort()]

    def stage(self, number: int, x: Tensor) -> Tensor:
        """Return X_s of X_{s-1}, both (B, C, H, W), for stage s = `number` (1 to 4), with its non-local blocks."""
        # The non-local blocks follow the last residual blocks: `i` is negative before these, then their number.
        blocks = self._layer(number)
        name = f"layer{number}"
        extra: Any = self.non_local[name] if name in self.non_local else ()  # noqa: SIM401 (no `get` there)
        for i, block in enumerate(blocks, start=len(extra) - len(blocks)):
            x = block(x)
            if i >= 0:
                x = extra[i](x)
        return x

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Copy pretrained weights into both stems and the shared stages.

        Args:
            state: state dict of torchvision's ResNet, or of timm's tf_efficientnet_lite0; its classifier is ignored.

        Raises:
            ValueError: if a key is missing, unknown or of another shape; nothing has been changed then.
        """
        advice = f"give the state dict of {self._source}"
        own = self.state_dict(keep_vars=True)
        wanted: dict[str, list[Tensor]] = {}
        for key, pretrained_key in self._pretrained_keys.items():
            wanted.setdefault(pretrained_key, []).append(own[key])
        for key, targets in wanted.items():
            if key not in state:
                # Files from before PyTorch 0.4 lack this counter; it is not used, since the norms have a momentum.
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
                raise ValueError(f"weights {key!r} are unknown to this backbone; {advice}")
        with torch.no_grad():
            for key, targets in wanted.items():
                for target in targets if key in state else ():
                    target.copy_(state[key])
