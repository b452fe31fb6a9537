"""What ImageDatasetGcnMask of shuxjweb/pixel_sampling does: load, channels first, resize; arg max 2 upper, 3 lower."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from parsing import MaskCache


@pytest.mark.parametrize("probs", [True, False])
def test_the_loader_finds_six_channels_that_sum_to_one(
    make_cache: Callable[..., MaskCache], exported: Callable[..., Path], tmp_path: Path, probs: bool
) -> None:
    people = np.zeros((1, 48, 24), np.uint8)
    people[0, :, 8:16] = np.repeat([13, 5, 9, 18], 12)[:, None]  # lip: face, upper-clothes, pants, left-shoe
    cache = make_cache("lip", ["rgb/train/001/A_cropped_rgb001.jpg"], people, probs=probs)
    root = exported(cache, "pixel-sampling", tmp_path / "prcc", path="mask_6/{dir:1}/{stem}.npy")
    file = "A_cropped_rgb001.jpg"
    loaded = np.load(root / "mask_6" / "train" / "001" / (file.split(".")[0] + ".npy"))
    assert loaded.shape == (256, 128, 6)
    assert loaded.dtype == np.float32
    mask = torch.from_numpy(loaded).permute(2, 0, 1).unsqueeze(0)
    mask = torch.nn.functional.interpolate(mask, (256, 128), mode="bilinear", align_corners=True)
    torch.testing.assert_close(mask.sum(1), torch.ones(1, 256, 128))
    classes = mask.argmax(1)[0].numpy()
    true = people[0][(np.arange(256) * 48 // 256)[:, None], np.arange(128) * 24 // 128]
    for channel, label in enumerate((0, 13, 5, 9)):
        assert (classes[true == label] == channel).mean() > 0.9


def test_arms_hold_the_bag_and_legs_the_shoes(
    make_cache: Callable[..., MaskCache], exported: Callable[..., Path]
) -> None:
    cache = make_cache("person7", ["train/1.jpg"])
    channels = np.load(exported(cache, "pixel-sampling", size="masks") / "mask_6/train/1.npy").argmax(2)
    of = {name: channels[cache[0] == cache.labels.index(name)] for name in cache.labels.classes}
    expected = {"background": 0, "head": 1, "upper": 2, "arms": 4, "lower": 3, "legs": 5, "feet": 5, "bag": 4}
    assert {name: set(found) for name, found in of.items()} == {name: {c} for name, c in expected.items()}
