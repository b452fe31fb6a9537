import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from support.places import ROOT
from torch.utils.data import ConcatDataset, DataLoader, Dataset, Subset
from torchvision import transforms as v1
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from parsing import InputError, MaskCache
from parsing.cache.shard import Status
from parsing.torch_dataset import WithMasks


class Pictures:
    """A data set of (image, label): each pixel of an image holds its mask's class, so that a join can be checked."""

    def __init__(self, cache: MaskCache, size: tuple[int, int]) -> None:
        self.images = [Image.fromarray(cache[n]).resize(size[::-1], Image.Resampling.NEAREST) for n in cache.names]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return self.images[index], index


def test_each_image_gets_its_own_mask_as_large_as_itself(make_cache: Callable[..., MaskCache]) -> None:
    cache = make_cache("lip")
    data = WithMasks(Pictures(cache, (96, 48)), cache, [cache.root / n for n in cache.names], scheme=None)
    for index in range(len(data)):
        image, mask, label = data[index]
        assert label == index
        assert mask.shape == (96, 48)
        assert np.array_equal(np.array(image), mask.numpy())


def test_a_transform_of_the_label_alone_is_none_of_the_image(
    make_cache: Callable[..., MaskCache], tmp_path: Path
) -> None:
    """torchvision keeps it in `transforms`, as it does one of the image."""
    cache, root = make_cache("lip"), tmp_path / "pictures"
    for name in cache.names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(cache[name]).save(root / name)
    relabelled = ImageFolder(str(root), target_transform=lambda label: label + 10)
    assert relabelled.transforms is not None
    paths = [Path(path).relative_to(root) for path, _ in relabelled.samples]
    assert WithMasks(relabelled, cache, paths, scheme=None)[0][2] == 10
    moved = ImageFolder(str(root), transform=lambda image: image)
    with pytest.raises(InputError, match=r"ImageFolder\.transform would move images"):
        WithMasks(moved, cache, paths)


def test_one_transform_moves_image_and_mask_together(make_cache: Callable[..., MaskCache]) -> None:
    cache = make_cache("lip")
    move = v2.Compose(
        [v2.RandomHorizontalFlip(1), v2.RandomCrop((30, 15)), v2.RandomRotation((180, 180)), v2.ToImage()]
    )
    data = WithMasks(Pictures(cache, cache.size), cache=cache, paths=cache.names, scheme=None, transform=move)
    image, mask, _ = data[5]
    flipped = torch.tensor(cache.labels.flipped)  # the image is mirrored: its left arm is on the other side
    assert torch.equal(flipped[image[0].long()], torch.as_tensor(mask).long())
    assert mask.shape == (30, 15)


def test_parts_are_those_of_the_cache_soft_where_it_is(make_cache: Callable[..., MaskCache]) -> None:
    cache = make_cache("lip", probs=True)
    data = WithMasks(Pictures(cache, cache.size), cache=cache, paths=cache.names, scheme="reid6")
    _, mask, _ = data[1]
    np.testing.assert_allclose(mask.numpy(), cache.parts(1, "reid6"))
    grown = WithMasks(Pictures(cache, (96, 48)), cache=cache, paths=cache.names, scheme="reid6")[1][1]
    assert grown.shape == (6, 96, 48)
    assert 0 <= float(grown.min()) < float(grown.max()) <= 1


def test_an_image_folder_is_joined_by_its_own_paths(make_cache: Callable[..., MaskCache]) -> None:
    cache = make_cache("lip", source=(48, 24))
    for name, labels in zip(cache.names, cache.preload(), strict=True):
        (cache.root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(labels * 10).save((cache.root / name), quality=95)
    data = WithMasks(ImageFolder(str(cache.root / "cam3")), cache, transform=v2.Compose([v2.ToImage()]))
    assert data.names == [name for name in cache.names if name.startswith("cam3/")]
    images, masks, people = next(iter(DataLoader(data, batch_size=4, num_workers=1)))
    assert images.shape == (4, 3, *cache.size)
    assert people.tolist() == [0, 0, 1, 1]
    np.testing.assert_array_equal(masks.numpy(), cache.parts(data.names))


def test_an_image_that_lies_on_its_side_is_refused(make_cache: Callable[..., MaskCache]) -> None:
    cache = make_cache("lip", source=(40, 20))
    upright, stored = (WithMasks(Pictures(cache, size), cache, paths=cache.names) for size in ((40, 20), (20, 40)))
    assert upright[0][1].shape[-2:] == (40, 20)
    with pytest.raises(InputError, match=r"is 20x40 \(height x width\), but its mask is of 40x20: turn images by EXIF"):
        stored[0]
    assert WithMasks(Pictures(cache, (30, 60)), cache, paths=cache.names)[0][1].shape[-2:] == (30, 60)


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("upright", [(60, 30), (40, 40)])
def test_an_image_that_is_not_turned_by_exif_is_refused(
    turn: int, upright: tuple[int, int], make_cache: Callable[..., MaskCache]
) -> None:
    cache = make_cache("lip", ["cam1/0001/0001.jpg"], source=upright)
    exif = Image.Exif()
    exif[0x0112] = turn
    stored = upright[::-1] if turn >= 5 else upright
    (cache.root / "cam1/0001").mkdir(parents=True)
    Image.new("RGB", stored[::-1]).save(cache.root / cache.names[0], exif=exif)
    folder = str(cache.root / "cam1")
    if turn == 1:
        assert WithMasks(ImageFolder(folder), cache)[0][1].shape[-2:] == upright
    else:
        with pytest.raises(InputError, match="turn images by EXIF when they are read"):
            WithMasks(ImageFolder(folder), cache)[0]
    turning = ImageFolder(folder, loader=lambda path: ImageOps.exif_transpose(Image.open(path)))
    assert WithMasks(turning, cache)[0][1].shape[-2:] == upright


class Gives(Pictures):
    """`Pictures` whose items are made by `give` of an image and its number."""

    def __init__(self, cache: MaskCache, give: Callable[[Image.Image, int], Any]) -> None:
        super().__init__(cache, cache.size)
        self.give = give

    def __getitem__(self, index: int) -> Any:
        return self.give(self.images[index], index)


def test_items_that_are_dictionaries_get_a_mask(make_cache: Callable[..., MaskCache]) -> None:
    """torchreid's and fastreid's are, and begin with the image."""
    cache = make_cache("lip")
    data = WithMasks(
        Gives(cache, lambda image, n: {"img": image, "pid": n}),
        cache=cache,
        paths=cache.names,
        scheme=None,
        transform=v2.Compose([v2.RandomHorizontalFlip(1), v2.ToImage()]),
    )
    item = data[3]
    assert list(item) == ["img", "pid", "mask"]
    assert item["pid"] == 3
    flipped = torch.tensor(cache.labels.flipped)
    assert torch.equal(flipped[item["img"][0].long()], item["mask"].long())


@pytest.mark.parametrize(
    ("give", "said"),
    [
        (lambda image, n: image, r"Gives gives a Image; WithMasks takes \(image, label, \.\.\.\) and dictionaries"),
        (lambda image, n: {"img": image, "mask": n}, "Gives gives a dict that has a mask"),
        (lambda image, n: (n, image), "a int in place of an image; WithMasks takes the image first"),
        (lambda image, n: (np.zeros((3, 48, 24), np.uint8), n), r"shape \(3, 48, 24\); WithMasks takes tensors \(C, H"),
        (lambda image, n: (torch.zeros(48, 24, 3), n), r"shape \(48, 24, 3\); WithMasks takes tensors \(C, H, W\)"),
    ],
)
def test_other_items_are_refused(
    give: Callable[[Image.Image, int], Any], said: str, make_cache: Callable[..., MaskCache]
) -> None:
    cache = make_cache("lip")
    with pytest.raises(InputError, match=said):
        WithMasks(Gives(cache, give), cache, cache.names)[0]


def test_samples_may_be_paths_alone(make_cache: Callable[..., MaskCache]) -> None:
    cache = make_cache("lip")
    data = Pictures(cache, cache.size)
    data.imgs = [str(cache.root / name) for name in cache.names]  # type: ignore[attr-defined]
    assert tuple(WithMasks(data, cache).names) == cache.names


def test_other_images_under_the_same_names_are_refused(make_cache: Callable[..., MaskCache]) -> None:
    """Simulated and real images of SYSU-MM01 share their names: a cache of the former has masks for the latter."""
    cache = make_cache("lip", source=(48, 24))
    for name in cache.names:
        (cache.root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (24, 48)).save(cache.root / name)
    assert len(WithMasks(Pictures(cache, cache.size), cache, cache.names)) == 8
    Image.new("L", (25, 48)).save(cache.root / cache.names[6])
    with pytest.raises(InputError, match=rf"{cache.names[6]} has another size than the image of that name"):
        WithMasks(Pictures(cache, cache.size), cache, cache.names)


def test_images_that_have_moved_are_found_below_the_given_root(
    make_cache: Callable[..., MaskCache], tmp_path: Path
) -> None:
    made = make_cache("lip")
    paths = [tmp_path / "elsewhere" / name for name in made.names]
    paths[0].parent.mkdir(parents=True)
    with pytest.raises(InputError, match=rf"the first is {paths[0]}; .* give MaskCache their folder as root"):
        WithMasks(Pictures(made, made.size), made, paths)
    moved = MaskCache(made.path, root=tmp_path / "elsewhere")
    assert tuple(WithMasks(Pictures(moved, moved.size), moved, paths).names) == made.names


def test_a_link_to_the_data_set_is_followed(make_cache: Callable[..., MaskCache], tmp_path: Path) -> None:
    cache = make_cache("lip")
    for name in cache.names:
        (cache.root / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "link").symlink_to(cache.root)
    data = WithMasks(Pictures(cache, cache.size), cache, [tmp_path / "link" / name for name in cache.names])
    assert tuple(data.names) == cache.names


def test_images_without_a_mask_are_counted_and_named(make_cache: Callable[..., MaskCache]) -> None:
    cache = make_cache("lip")
    paths = [*cache.names[:-2], "cam9/0001/0001.jpg", "elsewhere/0001.jpg"]
    with pytest.raises(InputError, match=r"2 of 8 images have no mask .* such as cam1/0001/0001.jpg"):
        WithMasks(Pictures(cache, cache.size), cache, paths)


def test_a_data_set_that_moves_its_images_is_refused(make_cache: Callable[..., MaskCache]) -> None:
    cache = make_cache("lip")
    data = Pictures(cache, cache.size)
    data.transform = v2.RandomHorizontalFlip()  # type: ignore[attr-defined]
    with pytest.raises(InputError, match=r"Pictures\.transform would move images away from their masks"):
        WithMasks(data, cache, cache.names)
    assert len(WithMasks(data, cache, cache.names, aligned=True)) == 8


def test_a_transform_is_found_under_any_name(make_cache: Callable[..., MaskCache]) -> None:
    """Loaders of two modalities have one each: `transform_color`, `transform_thermal`."""
    cache = make_cache("lip")
    data: Any = Pictures(cache, cache.size)
    data.transform, data.to_tensor, data.target_transform = None, v1.ToTensor(), v1.Compose([])
    assert len(WithMasks(data, cache, cache.names)) == 8
    data.transform_color = v1.Compose([v1.RandomHorizontalFlip()])
    with pytest.raises(InputError, match=r"Pictures\.transform_color would move images away from their masks"):
        WithMasks(data, cache, cache.names)
    assert len(WithMasks(data, cache, cache.names, aligned=True)) == 8


def test_a_transform_inside_a_part_of_a_data_set_is_refused(make_cache: Callable[..., MaskCache]) -> None:
    cache = make_cache("lip")

    class Moving(Pictures, Dataset[Any]):
        transform = v2.RandomHorizontalFlip(1)

    moving = Moving(cache, cache.size)
    parts: list[Dataset[Any]] = [Subset(moving, range(8)), ConcatDataset([moving])]
    for data in parts:
        with pytest.raises(InputError, match=r"Moving\.transform would move images away from their masks"):
            WithMasks(data, cache, cache.names)
        assert len(WithMasks(data, cache, cache.names, aligned=True)) == 8


def test_images_that_could_not_be_parsed_are_no_background(make_cache: Callable[..., MaskCache]) -> None:
    cache = make_cache("lip", status=[Status.OK, Status.UNREADABLE, Status.EMPTY, *[Status.OK] * 5])
    with pytest.raises(InputError, match=rf"1 of 8 images could not be parsed, .* the first is {cache.names[1]}"):
        WithMasks(Pictures(cache, cache.size), cache, cache.names)


@pytest.mark.parametrize(("paths", "said"), [(None, "no samples"), (["cam1/0001/0001.jpg"], "1 paths for 8 images")])
def test_paths_must_be_known_and_as_many_as_images(
    make_cache: Callable[..., MaskCache], paths: list[str] | None, said: str
) -> None:
    cache = make_cache("lip")
    with pytest.raises(InputError, match=said):
        WithMasks(Pictures(cache, cache.size), cache, paths)


def test_reading_a_cache_loads_none_of_the_heavy_packages() -> None:
    heavy = [
        "torch",
        "torchvision",
        "dask",
        "distributed",
        "segmentation_models_pytorch",
        "lightning_fabric",
        "PIL",
        "scipy",
    ]
    script = f"import sys, parsing; from parsing import MaskCache; print([m for m in {heavy} if m in sys.modules])"
    root = ROOT
    run = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
