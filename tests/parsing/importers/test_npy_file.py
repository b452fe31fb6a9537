"""Arrays of .npy files: read by several threads at once, whatever the interpreter does meanwhile."""

import gc
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from parsing.importers.npy_file import read_npy


@pytest.fixture
def threads_change_in_collections() -> Iterator[None]:
    """Collect garbage often, and let another thread run meanwhile: also in the middle of parsing a header."""

    def wait(*_: object) -> None:
        time.sleep(1e-5)

    before = gc.get_threshold()
    gc.callbacks.append(wait)
    gc.set_threshold(50)
    yield
    gc.set_threshold(*before)
    gc.callbacks.remove(wait)


@pytest.mark.usefixtures("threads_change_in_collections")
def test_threads_read_at_once(tmp_path: Path) -> None:
    files = [tmp_path / f"{number}.npy" for number in range(20)]
    for number, file in enumerate(files):
        np.save(file, np.full((6, 4, 3), number, np.float32))
    with ThreadPoolExecutor(8) as pool:  # without the lock, Python 3.11 raised SystemError for one file in fifty
        found = list(pool.map(lambda file: float(read_npy(file).mean()), files * 40))
    assert found == [float(number) for number in range(20)] * 40
