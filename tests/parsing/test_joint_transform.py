"""Transforms of torchvision v1 and v2 and of albumentations move an image and its mask alike."""

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torchvision import transforms as v1
from torchvision import tv_tensors
from torchvision.transforms import v2

from parsing import InputError, MaskCache, PartScheme
from parsing.joint_transform import MOVING, STILL, is_mirrored, ramps
from parsing.torch_dataset import WithMasks


class Pictures:
    """Each pixel of an image holds its mask's class in all channels, as PIL image or array (H, W, 3)."""

    cam_ids = (1, 2)

    def __init__(self, cache: MaskCache, arrays: bool = False) -> None:
        self.images = [np.dstack([cache[name]] * 3) for name in cache.names]
        self.arrays = arrays

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        image = self.images[index]
        return image if self.arrays else Image.fromarray(image), index


SIDES = PartScheme("sides", ("left", "right"), {"lip": {"left": ("left-arm",), "right": ("right-arm",)}})


class Darker:
    """A transform of somebody's own, of the image alone."""

    def __call__(self, image: Image.Image) -> Image.Image:
        return image.point(lambda value: value // 2)


def old_fashioned(size: tuple[int, int]) -> v1.Compose:
    """What the public baselines train with."""
    moves = [v1.Pad(10), v1.RandomCrop(size), v1.RandomHorizontalFlip(), v1.RandomAffine(20, (0.1, 0.1), fill=0)]
    return v1.Compose([v1.ToPILImage(), *moves, v1.ColorJitter(0), v1.ToTensor()])


def test_old_transforms_move_the_mask_with_the_image(make_cache: Callable[..., MaskCache]) -> None:
    cache = make_cache("person7", size=(32, 16))
    data = WithMasks(
        Pictures(cache, arrays=True), cache=cache, paths=cache.names, scheme=None, transform=old_fashioned(cache.size)
    )
    torch.manual_seed(0)
    moved = 0
    for index in range(len(data)):
        image, mask, _ = data[index]
        assert image.dtype == torch.float32
        assert torch.equal((image[0] * 255).round().byte(), torch.as_tensor(mask))
        moved += not np.array_equal(mask, cache[index])
    assert moved > 2


@pytest.mark.parametrize("kind", MOVING)
def test_every_moving_class_of_v1_has_its_namesake(kind: str, make_cache: Callable[..., MaskCache]) -> None:
    values: dict[str, list[Any]] = {
        "Resize": [(64, 48)],
        "Pad": [3],
        "RandomRotation": [30],
        "RandomAffine": [30, (0.2, 0.2)],
    }
    values["ElasticTransform"] = [20.0, 1.0]
    crop = [(28, 14)] if "Crop" in kind else []
    nearest = v1.InterpolationMode.NEAREST
    named: dict[str, Any] = (
        {"interpolation": nearest} if kind not in ("Pad", "CenterCrop", "RandomCrop") and "Flip" not in kind else {}
    )
    transform = getattr(v1, kind)(*values.get(kind, crop), **named)
    cache = make_cache("person7", size=(32, 16))
    torch.manual_seed(0)
    image, mask, _ = WithMasks(Pictures(cache), cache=cache, paths=cache.names, scheme=None, transform=transform)[1]
    # Pillow's nearest pixel and torch's differ by a pixel at edges
    assert np.mean(np.array(image)[..., 0] == np.asarray(mask)) > (0.7 if kind.endswith("ResizedCrop") else 0.999)


def test_what_moves_nothing_is_all_the_rest_of_v1() -> None:
    known = {*MOVING, *STILL, "Compose", "RandomApply", "RandomChoice", "RandomOrder", "InterpolationMode"}
    assert {*v1.transforms.__all__} - known == {"Lambda", "FiveCrop", "TenCrop", "LinearTransformation"}


def test_an_unknown_part_of_an_old_transform_is_refused_unless_it_is_said_to_move_nothing(
    make_cache: Callable[..., MaskCache],
) -> None:
    cache = make_cache("person7")
    move = v1.Compose([v1.RandomApply([v1.RandomHorizontalFlip(1), Darker()], p=1)])
    with pytest.raises(InputError, match=r"Darker takes the image alone .* aligned=True"):
        WithMasks(Pictures(cache), cache=cache, paths=cache.names, scheme=None, transform=move)
    image, mask, _ = WithMasks(
        Pictures(cache), cache=cache, paths=cache.names, scheme=None, transform=move, aligned=True
    )[0]
    assert np.array_equal(np.array(image)[..., 0], np.asarray(mask) // 2)
    with pytest.raises(InputError, match="FiveCrop"):
        WithMasks(Pictures(cache), cache=cache, paths=cache.names, scheme=None, transform=v1.FiveCrop(4))


def test_v2_moves_arrays_too(make_cache: Callable[..., MaskCache]) -> None:
    cache = make_cache("person7")
    image, mask, _ = WithMasks(
        Pictures(cache, True), cache=cache, paths=cache.names, scheme=None, transform=v2.RandomHorizontalFlip(1)
    )[0]
    assert torch.equal(image[0], torch.as_tensor(mask))
    assert np.array_equal(mask, cache[0][:, ::-1])


@pytest.mark.parametrize("mirror", [v1.RandomHorizontalFlip, v2.RandomHorizontalFlip, v2.RandomVerticalFlip])
def test_a_mirror_exchanges_sides(mirror: Any, make_cache: Callable[..., MaskCache]) -> None:
    cache = make_cache("lip")
    axis = 0 if mirror is v2.RandomVerticalFlip else 1
    classes = np.array(cache.labels.flipped, np.uint8)[np.flip(cache[2], axis)]
    assert np.array_equal(
        WithMasks(Pictures(cache), cache=cache, paths=cache.names, scheme=None, transform=mirror(1))[2][1], classes
    )
    assert not np.array_equal(classes, np.flip(cache[2], axis))
    parts = WithMasks(Pictures(cache), cache=cache, paths=cache.names, scheme=SIDES, transform=mirror(1))[2][1].numpy()
    assert np.array_equal(parts, np.flip(cache.parts(2, SIDES)[::-1], axis + 1))


def test_classes_keep_the_type_that_the_transform_gives_them(make_cache: Callable[..., MaskCache]) -> None:
    cache = make_cache("lip")
    wide = v2.ToDtype({tv_tensors.Mask: torch.int64, "others": None})
    for chance in (0, 1):
        move = v2.Compose([v2.RandomHorizontalFlip(chance), wide])
        data = WithMasks(Pictures(cache), cache=cache, paths=cache.names, scheme=None, transform=move)
        assert data[0][1].dtype == torch.int64


def test_turning_twice_or_half_around_exchanges_nothing(make_cache: Callable[..., MaskCache]) -> None:
    cache = make_cache("lip")
    for move, expected in (
        (v2.Compose([v2.RandomHorizontalFlip(1), v2.RandomHorizontalFlip(1)]), cache[2]),
        (v2.RandomRotation((180, 180)), cache[2][::-1, ::-1]),
        (v2.RandomHorizontalFlip(0), cache[2]),
    ):
        assert np.array_equal(
            WithMasks(Pictures(cache), cache=cache, paths=cache.names, scheme=None, transform=move)[2][1], expected
        )


def test_a_scheme_that_mixes_sides_is_refused_for_a_mirrored_image_only(make_cache: Callable[..., MaskCache]) -> None:
    mixed = PartScheme("mixed", ("one", "other"), {"lip": {"one": ("left-arm", "face"), "other": ("right-arm",)}})
    cache = make_cache("lip")
    assert (
        WithMasks(Pictures(cache), cache=cache, paths=cache.names, scheme=mixed, transform=v2.RandomHorizontalFlip(0))[
            0
        ][1].shape[0]
        == 2
    )
    with pytest.raises(InputError, match="mixes the sides"):
        WithMasks(Pictures(cache), cache=cache, paths=cache.names, scheme=mixed, transform=v2.RandomHorizontalFlip(1))[
            0
        ]


def test_mirrors_are_seen_through_crops_turns_and_erased_pixels() -> None:
    random.seed(0)
    torch.manual_seed(0)
    moves = [v2.RandomAffine(60, (0.2, 0.2), (0.6, 1.5), 15), v2.RandomResizedCrop((40, 30), (0.3, 1)), v2.Pad(9)]
    for _ in range(50):
        order = random.sample(moves, 3)
        mirrored = random.random() < 0.5
        found = v2.Compose([*order, v2.RandomHorizontalFlip(float(mirrored))])(ramps((64, 32)))
        assert is_mirrored(found) == mirrored
    assert not is_mirrored(torch.zeros(2, 8, 8))


@pytest.mark.parametrize("kind", ["torchvision", "albumentations"])
def test_pixels_from_outside_that_are_ignored_are_no_mirror(kind: str, make_cache: Callable[..., MaskCache]) -> None:
    cache = make_cache("lip", size=(96, 48))
    if kind == "torchvision":
        fill = {tv_tensors.Mask: 255, "others": 255}
        move: Any = v2.Compose([v2.Pad([40, 0, 0, 0], fill=fill), v2.RandomAffine(0, (0.3, 0.1), fill=fill)])
    else:
        albumentations = pytest.importorskip("albumentations")
        move = albumentations.Affine(translate_percent=(0.3, 0.31), interpolation=0, fill=255, fill_mask=255, p=1)
    data = WithMasks(Pictures(cache), cache=cache, paths=cache.names, scheme=None, transform=move)
    for image, mask, _ in (data[n] for n in range(len(data))):
        moved = np.asarray(image)[..., 0]
        assert 255 in moved
        assert np.array_equal(moved, np.asarray(mask))


@pytest.mark.parametrize(
    "move",
    [
        v2.Pad(4, fill=127),
        v2.Compose([v2.RandomApply([v2.RandomRotation(9, fill=(124, 116, 104))])]),
        v2.RandomCrop(9, padding=4, fill={tv_tensors.Image: 0, "others": 1}),
        v1.Compose([v2.RandomRotation(9, fill=127)]),
        v2.Compose([v1.RandomApply([v2.Pad(4, fill=127)])]),
    ],
)
def test_the_images_colour_fills_no_mask(move: Any, make_cache: Callable[..., MaskCache]) -> None:
    cache = make_cache("lip")
    with pytest.raises(InputError, match=r"fills the mask with it too; give fill=\{tv_tensors.Mask: 0, 'others': "):
        WithMasks(Pictures(cache), cache=cache, paths=cache.names, transform=move)


def test_a_fill_that_says_what_masks_get_is_taken(make_cache: Callable[..., MaskCache]) -> None:
    cache = make_cache("lip")
    move = v2.Pad(4, fill={tv_tensors.Mask: 0, "others": 127})
    image, mask, _ = WithMasks(Pictures(cache), cache=cache, paths=cache.names, transform=move)[0]
    assert np.asarray(image)[0, 0, 0] == 127
    assert float(mask[:, 0, 0].sum()) == 0


@pytest.mark.parametrize("kind", ["torchvision", "albumentations"])
def test_parts_are_not_filled_with_what_is_ignored(kind: str, make_cache: Callable[..., MaskCache]) -> None:
    cache = make_cache("lip")
    move: Any = v2.RandomRotation((20, 20), fill={tv_tensors.Mask: 255, "others": 0})
    if kind == "albumentations":
        move = pytest.importorskip("albumentations").Rotate((20, 20), p=1, fill_mask=255)
    with pytest.raises(InputError, match=r"has filled the parts with 255; they are in \[0, 1\]: fill masks with 0"):
        WithMasks(Pictures(cache), cache=cache, paths=cache.names, transform=move)[0]
    mask = WithMasks(Pictures(cache), cache=cache, paths=cache.names, scheme=None, transform=move)[0][1]
    assert int(mask[0, 0]) == 255


def test_parts_of_v1_in_v2_move_the_mask_too(make_cache: Callable[..., MaskCache]) -> None:
    cache = make_cache("lip")
    move = v2.Compose([v1.Pad(4, fill=127), v2.RandomApply([v1.RandomHorizontalFlip(1)], p=1), v1.ToTensor()])
    image, mask, _ = WithMasks(Pictures(cache), cache=cache, paths=cache.names, scheme=None, transform=move)[1]
    assert image.dtype == torch.float32
    inside = (slice(4, -4), slice(4, -4))
    flipped = torch.tensor(cache.labels.flipped)
    assert torch.equal(flipped[(image[0] * 255).round().long()[inside]], torch.as_tensor(mask).long()[inside])
    assert float(image[0, 0, 0] * 255) == 127
    assert int(mask[0, 0]) == 0


@pytest.mark.parametrize("move", [Darker(), v2.Compose([Darker()]), nn.Sequential(v2.RandomHorizontalFlip(0))])
def test_what_takes_the_image_alone_is_refused_wherever_it_stands(
    move: Any, make_cache: Callable[..., MaskCache]
) -> None:
    cache = make_cache("person7")
    with pytest.raises(InputError, match=r"(Darker|Sequential) takes the image alone .* aligned=True"):
        WithMasks(Pictures(cache), cache=cache, paths=cache.names, scheme=None, transform=move)
    mask = WithMasks(Pictures(cache), cache=cache, paths=cache.names, scheme=None, transform=move, aligned=True)[0][1]
    assert np.array_equal(mask, cache[0])


def test_a_part_of_v2_may_be_somebodys_own_for_both(make_cache: Callable[..., MaskCache]) -> None:
    class Upside(nn.Module):
        def forward(self, image: Image.Image, *masks: torch.Tensor) -> tuple[Any, ...]:
            return image.transpose(Image.Transpose.FLIP_TOP_BOTTOM), *(mask.flip(-2) for mask in masks)

    cache = make_cache("person7")
    image, mask, _ = WithMasks(
        Pictures(cache), cache=cache, paths=cache.names, scheme=None, transform=v2.Compose([Upside()])
    )[0]
    assert np.array_equal(np.array(image)[..., 0], mask)
    assert np.array_equal(mask, cache[0][::-1])


def test_attributes_of_the_data_set_inside_are_forwarded(make_cache: Callable[..., MaskCache]) -> None:
    cache = make_cache("lip")
    data = WithMasks(Pictures(cache), cache, cache.names)
    assert data.cam_ids == (1, 2)
    with pytest.raises(AttributeError, match="colours"):
        data.colours  # noqa: B018
    copy = torch.utils.data.DataLoader(data, num_workers=1, multiprocessing_context="spawn", collate_fn=list)
    assert len(next(iter(copy))[0]) == 3


@pytest.mark.parametrize("scheme", [None, "reid6", "body", SIDES])
def test_albumentations_move_image_and_mask(scheme: Any, make_cache: Callable[..., MaskCache]) -> None:
    albumentations = pytest.importorskip("albumentations", reason="albumentations is not installed (extra dev)")
    cache = make_cache("lip", size=(32, 16))
    for arrays in (True, False):
        larger = albumentations.Resize(64, 32, interpolation=0)
        move = albumentations.Compose([albumentations.HorizontalFlip(p=1), larger])
        data = WithMasks(Pictures(cache, arrays), cache=cache, paths=cache.names, scheme=scheme, transform=move)
        image, mask, _ = data[3]
        plain = torch.from_numpy(image[..., 0].copy())
        flipped = torch.tensor(cache.labels.flipped, dtype=torch.uint8)[plain.long()]
        if scheme is None:
            assert torch.equal(torch.as_tensor(mask), flipped)
        else:
            numbers = torch.from_numpy(cache.table(scheme))[flipped.long()]
            expected = torch.stack([numbers == part for part in range(1, len(mask) + 1)]).float()
            assert torch.equal(torch.as_tensor(mask), expected)


def test_albumentations_to_tensor_keeps_the_masks_form(make_cache: Callable[..., MaskCache]) -> None:
    pytest.importorskip("albumentations", reason="albumentations is not installed (extra dev)")
    from albumentations.pytorch import ToTensorV2

    cache = make_cache("lip", size=(32, 16))
    for moved in (False, True):
        image, mask, _ = WithMasks(
            Pictures(cache), cache=cache, paths=cache.names, scheme="reid6", transform=ToTensorV2(transpose_mask=moved)
        )[0]
        assert image.shape == (3, 32, 16)
        assert np.array_equal(mask, cache.parts(0, "reid6"))
