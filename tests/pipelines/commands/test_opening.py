"""A command opens each cache that it is given once: an index of a large data set takes a second to read."""

from collections import Counter
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli import main
from parsing.cache.sealed import check_seal


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("masks info {masks}", 0),
        ("masks score {masks}", 0),
        ("masks compare {masks} {other}", 0),
        ("masks report {masks} -o {out} --no-images --thumbnails 1", 0),
        ("masks export {masks} --to png -o {out}", 0),
        ("train --masks {masks} --run {out} --method baseline --set train.identities=999", 2),
    ],
)
def test_each_cache_is_opened_once(
    command: str, code: int, masks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: Counter[Path] = Counter()

    def counted(file: Path) -> None:
        opened[file] += 1
        check_seal(file)

    monkeypatch.setattr("parsing.cache.reader.check_seal", counted)
    other = tmp_path / "again" / ".." / masks.name
    (tmp_path / "again").mkdir()
    (tmp_path / masks.name).symlink_to(masks)
    (tmp_path / masks.with_suffix(".shards").name).symlink_to(masks.with_suffix(".shards"))
    arguments = command.format(masks=masks, other=other, out=tmp_path / "out").split()
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == code, result.output
    assert set(opened.values()) == {1}, opened
