"""A parsed cache of 24 drawn images in three shards, and copies of it."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from support.parses import parse_config

from pipelines.parse.run import ParseConfig, ParseResult, parse


@pytest.fixture(scope="module")
def small_shards() -> Iterator[None]:
    """Ten images a shard, so that 24 make three."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("parsing.cache.builder.MOST_IN_A_SHARD", 10)
        yield


@pytest.fixture(scope="module")
def config(
    small_shards: None, tiny_figures: Path, tiny_weights: Path, tmp_path_factory: pytest.TempPathFactory
) -> ParseConfig:
    out = tmp_path_factory.mktemp("parsed") / "masks.h5"
    return parse_config(tiny_figures, tiny_weights, out)


@pytest.fixture(scope="module")
def parsed(config: ParseConfig) -> ParseResult:
    """The whole data set parsed; copy it before changing it."""
    return parse(config)


@pytest.fixture
def copied(parsed: ParseResult, config: ParseConfig, tmp_path: Path) -> ParseConfig:
    """The configuration of a copy of the parsed cache; it lies as deep, so the way to the images is the same."""
    shutil.copytree(parsed.path.parent, tmp_path, dirs_exist_ok=True)
    return replace(config, out=tmp_path / "masks.h5")
