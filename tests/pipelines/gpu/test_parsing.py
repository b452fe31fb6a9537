"""Parsing on a GPU: the masks of a CPU, in batches that fit, by several workers on one card."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from distributed import LocalCluster

from parsing.cache.reader import MaskCache
from parsing.errors import CsclError
from parsing.parsers.labelling import Masks, label_images
from parsing.parsers.registry import ParserSpec
from pipelines.parse import work
from pipelines.parse.run import ParseConfig, parse

AGREE = 0.995
"""Share of the pixels that two devices must label alike."""
LITTLE = 96 * 2**20
"""Bytes of a GPU's memory into which the network fits, but not the largest batch."""


@pytest.fixture(scope="module")
def on_cpu(figures: Path, tmp_path_factory: pytest.TempPathFactory) -> MaskCache:
    return MaskCache(parse(make_config(figures, tmp_path_factory.mktemp("cpu"), "cpu")).path)


def make_config(root: Path, folder: Path, device: str, **options: Any) -> ParseConfig:
    options = {"workers": 0, "size": (288, 144), **options}
    return ParseConfig("sysu", root=root, out=folder / "masks.h5", parser=ParserSpec(device=device), **options)


def agreement(one: MaskCache, other: MaskCache) -> float:
    assert list(one.names) == list(other.names)
    return float(np.mean([(one[name] == other[name]).mean() for name in one.names]))


@contextmanager
def little_memory(device: str, monkeypatch: pytest.MonkeyPatch, most: int) -> Iterator[None]:
    """A GPU with LITTLE memory; on a CPU a parser that takes `most` images at a time."""
    if device == "cpu":
        whole: Callable[..., Masks] = label_images

        def limited(parser: Any, batch: torch.Tensor, **options: Any) -> Masks:
            if len(batch) > most:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 EiB.\nMore lines")
            return whole(parser, batch=batch, **options)

        monkeypatch.setattr(work, "label_images", limited)
        yield
        return
    work._load_parser.cache_clear()
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    bytes_ = LITTLE if most else 2**20
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_allocated() + bytes_) / total)
    yield
    torch.cuda.set_per_process_memory_fraction(1.0)
    work._load_parser.cache_clear()


@pytest.mark.parametrize("flip", [False, True])
def test_masks_are_those_of_a_cpu(figures: Path, on_cpu: MaskCache, device: str, tmp_path: Path, flip: bool) -> None:
    expected = on_cpu
    if not flip:
        (tmp_path / "cpu").mkdir()
        expected = MaskCache(parse(make_config(figures, tmp_path / "cpu", "cpu", flip=False)).path)
    found = MaskCache(parse(make_config(figures, tmp_path, device, flip=flip)).path)
    assert found.fingerprint == expected.fingerprint
    assert agreement(found, expected) >= AGREE
    assert np.abs(found.confidence - expected.confidence).max() < 0.05


def test_a_batch_that_does_not_fit_is_halved(
    figures: Path, on_cpu: MaskCache, device: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    with little_memory(device, monkeypatch, most=20):
        limited = work._parse_batch

        def noted(task: Any, parser: Any, batch: work.Batch) -> Masks | None:
            answer = limited(task, parser, batch)
            if answer is not None:
                sizes.append(len(batch.rows))
            return answer

        monkeypatch.setattr(work, "_parsed", noted)
        found = MaskCache(parse(make_config(figures, tmp_path, device, batch_size=54)).path)
    assert sum(sizes) == 54
    assert max(sizes) < 54
    assert agreement(found, on_cpu) >= AGREE


def test_a_card_without_room_for_one_image_ends_in_one_line(
    figures: Path, device: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with little_memory(device, monkeypatch, most=0), pytest.raises((CsclError, torch.OutOfMemoryError)) as caught:
        parse(make_config(figures, tmp_path, device))
    if isinstance(caught.value, CsclError):
        assert "\n" not in str(caught.value)


def test_two_workers_share_one_card(figures: Path, on_cpu: MaskCache, device: str, tmp_path: Path) -> None:
    with LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, resources={"GPU": 1}, dashboard_address=None, memory_limit=0
    ) as cluster:
        config = make_config(figures, tmp_path, device, workers=2, scheduler=cluster.scheduler_address)
        found = MaskCache(parse(config).path)
    assert agreement(found, on_cpu) >= AGREE


def test_a_run_starts_two_workers_of_its_own_on_one_card(
    figures: Path, on_cpu: MaskCache, device: str, tmp_path: Path
) -> None:
    found = MaskCache(parse(make_config(figures, tmp_path, device, workers=2)).path)
    assert agreement(found, on_cpu) >= AGREE
