"""The recipes of docs/reuse.md, run as they stand."""

import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from support.places import ROOT

from cli import main
from data.registry import open_data_set
from parsing import MaskCache
from parsing.exporters import EXPORTERS
from parsing.exporters.paths import fill
from parsing.images import orientation
from parsing.parsers.backends import BACKENDS
from parsing.parsers.spec import ParserSpec
from pipelines.masks.export import ExportConfig, export

PAGE = (ROOT / "docs" / "reuse.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))
RECIPES = {title: re.findall(r"```(bash|python)\n(.*?)```", text, re.DOTALL) for title, text in SECTIONS.items()}


@pytest.fixture
def workplace(
    tiny_figures: Path, make_cache: Callable[..., MaskCache], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """What `cscl parse --dataset sysu` leaves, with the classes of its parser, and a folder of SCHP's PNGs."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(tiny_figures, "data/SYSU-MM01")
    names = [image.name for image in open_data_set("sysu", Path("data/SYSU-MM01")).images]
    sizes = [orientation(Path("data/SYSU-MM01") / name)[0] for name in names]
    labels = next(row.labels for row in BACKENDS if row.form == ParserSpec().name)
    make_cache(labels, names, size=(96, 48), path=Path("data/sysu_masks.h5"), source=sizes)
    schp = make_cache("lip", names, size=(96, 48), path=Path("schp/masks.h5"), source=sizes)
    export(ExportConfig(schp.path, "png", Path("schp_output"), palette=True))
    return tmp_path


@pytest.mark.parametrize("title", [title for title, recipe in RECIPES.items() if recipe])
def test_a_recipe_runs(workplace: Path, title: str) -> None:
    for language, text in RECIPES[title]:
        if language == "python":
            exec(compile(text, f"docs/reuse.md: {title}", "exec"), {})
            continue
        for line in text.strip().splitlines():
            command, *arguments = shlex.split(line)
            assert command == "cscl"
            run = CliRunner().invoke(main, arguments)
            assert run.exit_code == 0, f"{line}\n{run.output}"


def test_the_page_has_the_recipes_that_were_asked_for() -> None:
    having = " ".join(title for title, recipe in RECIPES.items() if recipe)
    for wanted in ("PyTorch", "SGIEL", "BPBReID", "KPR", "h5py", "COCO", "AGW", "array", "WebDataset"):
        assert wanted.lower() in having.lower()
    longest = max(len(text.strip().splitlines()) for recipe in RECIPES.values() for _, text in recipe)
    assert longest <= 14


def test_the_table_of_exporters_is_the_packages() -> None:
    rows = re.findall(
        r"^\| `([\w-]+)` \| ([^|]+) \| (?:`([^`]+)`|as above) \|", SECTIONS["All exporters"], re.MULTILINE
    )
    assert [name for name, _, _ in rows] == list(EXPORTERS)
    for name, reader, path in rows:
        assert EXPORTERS[name].reader.startswith(reader.strip())
        assert path in ("", EXPORTERS[name].path)


def test_every_path_on_the_page_can_be_filled() -> None:
    table = SECTIONS["All exporters"].split("another than the")[1]
    templates = re.findall(r"\| `([^`]*\{[^`]*)` \|", table)
    assert len(templates) >= 4
    for template in templates:
        assert fill(template, "visible/train/whole_body_images/0001/1.jpg", "ROOT").suffix in (".npy", ".png")
