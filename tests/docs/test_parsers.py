"""What docs/parsers.md tells a user to write works as it stands there."""

import re
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from support.places import ROOT

from cli import main
from parsing import MaskCache
from parsing.labels import label_set
from parsing.parsers.registry import PARSERS
from parsing.schemes import part_scheme

PAGE = (ROOT / "docs" / "parsers.md").read_text(encoding="utf-8")
CODE = {kind: re.findall(rf"```{kind}\n(.*?)```", PAGE, re.DOTALL) for kind in ("python", "toml")}


def test_the_parser_of_twenty_lines_parses(tiny_figures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = CODE["python"]
    assert len([line for line in code.splitlines() if line.strip()]) <= 20
    monkeypatch.chdir(tmp_path)
    (command,) = re.findall(r"`(cscl parse --parser python:.*?)`", PAGE, re.DOTALL)
    *_, name, _, weights = command.split()
    Path(name.removeprefix("python:")).write_text(code, encoding="utf-8")
    network = torch.nn.Conv2d(3, 7, kernel_size=9, padding=4)
    torch.save(network.state_dict(), weights)
    where = ["--dataset", "sysu", "--root", str(tiny_figures), "--out", "m.h5", "--workers", "0", "--limit", "2"]
    given = [*command.split()[1:], *where]
    ended = CliRunner().invoke(main, given)
    assert ended.exit_code == 0, ended.output
    cache = MaskCache("m.h5")
    assert (cache.labels.name, cache.licence, cache.made_by["parser"]) == ("pascal", "CC BY 4.0, me", name)
    file = Path(name.removeprefix("python:"))
    file.write_text(code.replace("0.25, 0.25, 0.25", "0.25, 0.25, 0.25 ") + "# changed\n", encoding="utf-8")
    ended = CliRunner().invoke(main, given)
    assert ended.exit_code == 2
    assert "another parser or options (weights" in ended.stderr


def test_the_label_set_and_the_part_scheme_fit_each_other(tmp_path: Path) -> None:
    for name, text in zip(("mine", "halves"), CODE["toml"], strict=True):
        (tmp_path / f"{name}.toml").write_text(text, encoding="utf-8")
    labels, scheme = label_set(str(tmp_path / "mine.toml")), part_scheme(str(tmp_path / "halves.toml"))
    assert labels.swaps == ((4, 5),)
    assert scheme.table(labels)[: len(labels)].tolist() == [0, 1, 1, 2, 2, 2]
    assert set(scheme.table(label_set("person7"))[:8]) == {0, 1, 2}


def test_every_form_of_a_parsers_name_is_on_the_page() -> None:
    assert [name for name in PARSERS if f"`{name}`" not in PAGE] == []


def test_the_command_lines_of_compare_are_understood(tmp_path: Path) -> None:
    lines = re.findall(r"^cscl parser compare .*", PAGE, re.MULTILINE)
    assert len(lines) == 2
    words = re.findall(r'"([^"]+)"', " ".join(lines))
    for one in words:
        ended = CliRunner().invoke(
            main, ["parser", "compare", "street", f"{one} --nonsense", "--images", str(tmp_path)]
        )
        assert "No such option" in ended.stderr  # all before it were understood
