"""The store of decoded images: written once and whole, used as long as the images are those, and never in the way."""

import errno
import multiprocessing
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from data.loading import images, store
from data.loading.images import load_image
from data.loading.store import ImageStore, find_folder
from parsing.images import UnreadableImageError

SIZE = (16, 8)
NAMES = ["b.png", "a.png", "c/a.png"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for name in NAMES:
        (tmp_path / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (20, 11, 3), dtype=np.uint8)).save(tmp_path / "images" / name)
    return tmp_path / "images"


def make(root: Path, names: list[str] = NAMES, size: tuple[int, int] = SIZE, **about: Any) -> ImageStore:
    return ImageStore(root.parent / "masks.images", root=root, names=names, size=size, about=about)


def load_images(root: Path, names: Sequence[str], size: tuple[int, int]) -> torch.Tensor:
    return torch.stack([load_image(root / name, size) for name in names])


def forbid(monkeypatch: pytest.MonkeyPatch) -> None:
    def decode(*_: object) -> None:
        raise AssertionError("decoded again")

    monkeypatch.setattr(store, "load_image_with_hash", decode)


def test_the_folder_lies_beside_the_cache() -> None:
    assert find_folder(Path("data/sysu_masks.h5")) == Path("data/sysu_masks.images")


def test_images_are_decoded_once_and_then_mapped(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = load_images(root, NAMES, SIZE)
    assert not make(root).exists()
    assert make(root).make() is None
    forbid(monkeypatch)
    again = make(root)
    assert again.exists()
    assert again.make() is None
    assert torch.equal(again.open().arrays, expected)
    assert [p.name for p in again.path.parent.iterdir()] == [again.path.name]


def test_the_hash_is_that_of_the_files_whatever_their_times_with_and_without_a_store(root: Path) -> None:
    made = make(root)
    in_memory = made.open().hash
    made.make()
    assert made.open().hash == in_memory
    for name in NAMES:
        os.utime(root / name, ns=(0, 0))
    touched = make(root)
    assert touched.path != made.path
    assert touched.open().hash == in_memory
    with open(root / NAMES[0], "ab") as file:
        file.write(b"x")
    assert make(root).open().hash != in_memory


def test_a_change_in_memory_does_not_reach_the_file(root: Path) -> None:
    made = make(root)
    made.make()
    before = made.path.read_bytes()
    made.open().arrays.zero_()
    assert made.path.read_bytes() == before


@pytest.mark.parametrize(
    "other", [{"names": NAMES[::-1]}, {"names": NAMES[:2]}, {"size": (8, 16)}, {"source_size": "x"}], ids=str
)
def test_other_images_another_size_or_another_cache_have_another_file(root: Path, other: dict[str, Any]) -> None:
    first = make(root)
    first.make()
    second = make(root, **other)
    assert not second.exists()
    second.make()
    assert first.exists() == ("source_size" not in other)  # of the same images there is one
    assert torch.equal(second.open().arrays, load_images(root, second.names, second.size))


def test_an_image_that_was_changed_makes_the_store_stale_and_the_stale_one_goes(root: Path) -> None:
    first = make(root)
    first.make()
    Image.new("RGB", (11, 20), (1, 2, 3)).save(root / "a.png")
    second = make(root)
    assert second.path != first.path
    assert not second.exists()
    second.make()
    assert list(second.path.parent.iterdir()) == [second.path]
    assert second.open().arrays[1].unique().tolist() == [1, 2, 3]


def test_a_file_that_was_cut_off_is_written_again(root: Path) -> None:
    made = make(root)
    made.make()
    os.truncate(made.path, made.bytes - 1)
    assert not made.exists()
    assert torch.equal(made.open().arrays, load_images(root, NAMES, SIZE))
    made.make()
    assert made.exists()


def test_an_image_that_cannot_be_read_is_named_and_leaves_no_file(root: Path) -> None:
    (root / "c/a.png").write_bytes(b"no image")
    with pytest.raises(UnreadableImageError, match=r"c/a\.png"):
        make(root).make()
    assert list((root.parent / "masks.images").iterdir()) == []
    (root / "c/a.png").unlink()
    with pytest.raises(UnreadableImageError, match=r"c/a\.png: no such file"):
        make(root)


def full(*_: object) -> Any:
    return shutil._ntuple_diskusage(100, 90, 10)


def fails(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize(
    ("owner", "name", "answer", "said"),
    [(shutil, "disk_usage", full, "GB do not fit"), (os, "fsync", fails, "No space left on device")],
)
def test_a_full_disk_is_told_and_the_images_are_decoded_into_memory(
    root: Path, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, answer: Callable[..., Any], said: str
) -> None:
    monkeypatch.setattr(owner, name, answer)
    made = make(root)
    assert said in str(made.make())
    assert list(made.path.parent.iterdir()) == []
    assert torch.equal(made.open().arrays, load_images(root, NAMES, SIZE))


def test_a_place_that_is_a_file_is_told(root: Path) -> None:
    (root.parent / "masks.images").write_text("in the way")
    made = make(root)
    reason = made.make()
    assert reason
    assert "\n" not in reason
    assert torch.equal(made.open().arrays, load_images(root, NAMES, SIZE))


def write(root: Path, log: Path) -> None:
    """In a process of its own: make the store, and note each image that is decoded."""
    decode = images.load_image_with_hash

    def noted(path: Path, size: tuple[int, int]) -> tuple[torch.Tensor, str]:
        with open(log, "a", encoding="utf-8") as file:
            file.write(f"{path.name}\n")
        return decode(path, size)

    store.load_image_with_hash = noted  # type: ignore[attr-defined]
    assert make(root).make() is None


def test_of_processes_that_start_together_one_decodes_and_the_others_wait(root: Path, tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=write, args=(root, tmp_path / "log")) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    assert len((tmp_path / "log").read_text().splitlines()) == len(NAMES)


def test_what_a_killed_process_left_goes(root: Path) -> None:
    made = make(root)
    made.path.parent.mkdir()
    half = made.path.with_name(f"{made.path.name}.0123abcd.part")
    half.write_bytes(b"half")
    made.make()
    assert not half.exists()
