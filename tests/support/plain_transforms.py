"""The augmentation of training by transforms of torchvision, an image at a time: what batches are compared with."""

from typing import Any

import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from data.loading.augmentation import AugmentConfig
from data.loading.transforms import MEAN
from parsing.labels import IGNORED


class MirrorParts(v2.Transform):  # type: ignore[misc]  # torchvision has no types
    """Mirror image and mask with probability `p`, and swap left and right parts as `flipped` (Q+1) says."""

    def __init__(self, p: float, flipped: tuple[int, ...]) -> None:
        super().__init__()
        self.p = p
        self.table = torch.arange(256, dtype=torch.uint8)
        self.table[: len(flipped)] = torch.tensor(flipped, dtype=torch.uint8)

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        return {"mirror": bool(torch.rand(()) < self.p)}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        if not params["mirror"]:
            return inpt
        if isinstance(inpt, tv_tensors.Mask):
            return tv_tensors.Mask(self.table[inpt.flip(-1).long()])
        return tv_tensors.wrap(inpt.flip(-1), like=inpt)


class Erase(v2.Transform):  # type: ignore[misc]  # torchvision has no types
    """Random erasing (Zhong et al., 2020) of image and mask: 2 to 40 % of the area becomes the mean colour, ignored."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        height, width = flat_inputs[0].shape[-2:]
        chance, area, ratio, y, x = torch.rand(5).tolist()
        if chance >= self.p:
            return {"box": None}
        area, ratio = (0.02 + 0.38 * area) * height * width, 0.3 * (1 / 0.09) ** ratio
        tall, wide = min(height, round((area * ratio) ** 0.5)), min(width, round((area / ratio) ** 0.5))
        top, left = round(y * (height - tall)), round(x * (width - wide))
        return {"box": (slice(top, top + tall), slice(left, left + wide))}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        if params["box"] is None:
            return inpt
        erased = inpt.clone()
        rows, columns = params["box"]
        if isinstance(inpt, tv_tensors.Mask):
            erased[..., rows, columns] = IGNORED
        else:
            erased[..., rows, columns] = torch.tensor(MEAN).mul(255).round().to(erased.dtype).view(3, 1, 1)
        return tv_tensors.wrap(erased, like=inpt)


class ChannelExchange(v2.Transform):  # type: ignore[misc]  # torchvision has no types
    """Copy one random channel of the image over the others with probability `p` (CAJ, Ye et al., ICCV 2021)."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        chance, channel = torch.rand(2).tolist()
        return {"channel": int(channel * 3) if chance < self.p else None}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        channel = params["channel"]
        if channel is None or isinstance(inpt, tv_tensors.Mask):
            return inpt
        return tv_tensors.wrap(inpt[channel : channel + 1].expand(3, -1, -1).clone(), like=inpt)


class PlainTransform:
    """Augments one image with its mask as `data.loading.transforms.JointTransform` does, by torchvision."""

    def __init__(self, size: tuple[int, int], config: AugmentConfig, flipped: tuple[int, ...]) -> None:
        crop: list[v2.Transform] = []
        if config.padding:
            colour = [round(255 * m) for m in MEAN] if config.fill == "mean" else 0
            fill: dict[Any, Any] = {tv_tensors.Image: colour, tv_tensors.Mask: IGNORED}
            crop = [v2.RandomCrop(size, padding=config.padding, fill=fill)]
        both = [*crop, MirrorParts(config.flip, flipped), Erase(config.erase)]
        self.infrared = v2.Compose(both)
        self.visible = v2.Compose([ChannelExchange(config.exchange), v2.RandomGrayscale(config.grey), *both])

    def __call__(self, image: Tensor, mask: Tensor, infrared: bool, seed: int) -> tuple[Tensor, Tensor]:
        """Return the augmented image (3, H, W) uint8 and its mask (H, W) uint8 of parts."""
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)  # torch.manual_seed would reseed CUDA's too
            change = self.infrared if infrared else self.visible
            moved = change(tv_tensors.Image(image), tv_tensors.Mask(mask))
        return moved[0].as_subclass(Tensor), moved[1].as_subclass(Tensor)
