"""What docs/cache.md tells a user to write works as it stands there."""

import re
from pathlib import Path

import pytest
from support.places import ROOT

from parsing import MaskCache
from parsing.cache.damage import inspect_cache

PAGE = (ROOT / "docs" / "cache.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))


def test_the_cache_that_the_page_writes_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", SECTIONS["Writing one"], re.DOTALL)
    exec(compile(code, "docs/cache.md", "exec"), {})
    cache = MaskCache("data/own_masks.h5")
    assert inspect_cache(cache.path).damage == ()
    assert (cache.names, cache.labels.name, cache.data_set) == (("cam1/0001/0001.jpg",), "lip", "sysu")
    assert cache.root == tmp_path / "data" / "SYSU-MM01"
    assert (cache[0] == 1).all()
    for code in re.findall(r"```python\n(.*?)```", SECTIONS["Reading it"], re.DOTALL)[:1]:
        lines = [line for line in code.splitlines() if "sysu_masks" not in line]
        exec(compile("\n".join(lines), "docs/cache.md", "exec"), {"cache": cache})
