"""Fixture of the exporters' tests: an export as the command makes it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from parsing import MaskCache
from pipelines.masks.export import ExportConfig, export

Export = Callable[..., Path]


@pytest.fixture
def exported(tmp_path: Path) -> Export:
    """`exported(cache, "png", ...)` writes the files of an exporter and answers their folder."""

    def run(cache: MaskCache, to: str, out: Path | None = None, **options: Any) -> Path:
        out = out or tmp_path / to
        export(ExportConfig(cache.path, to, out, workers=2, **options))
        return out

    return run
