"""How tests parse drawn pedestrians: fast, in this process."""

from pathlib import Path

from parsing.cache.index import shard_folder
from parsing.files import file_hash
from parsing.parsers.registry import ParserSpec
from pipelines.parse.config import ParseConfig


def parse_config(root: Path, weights: Path, out: Path) -> ParseConfig:
    """Return how to parse images in the layout of SYSU-MM01 into masks of 32 x 16 pixels."""
    return ParseConfig("sysu", root=root, out=out, parser=ParserSpec(weights=weights), size=(32, 16), workers=0)


def hashes(index: Path) -> dict[str, str]:
    """Return the SHA-256 of each file of a cache by its name."""
    return {p.name: file_hash(p) for p in (*index.parent.glob(f"{index.name}*"), *shard_folder(index).iterdir())}
