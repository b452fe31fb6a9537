"""Imports point one way: cli -> pipelines -> {data, cscl, parsing} and data -> parsing; `parsing` travels light."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.places import ROOT

MAY_IMPORT = {
    "cli": {"pipelines", "parsing"},
    "pipelines": {"pipelines", "data", "cscl", "parsing"},
    "data": {"data", "parsing"},
    "cscl": {"cscl"},
    "parsing": {"parsing"},
}
MODULE = ROOT / "cscl" / "__main__.py"
"""`python -m cscl` is the command line under the package's name, not a part of the network: it imports cli alone."""
HEAVY = ("torch", "torchvision", "dask", "distributed", "segmentation_models_pytorch", "lightning", "lightning_fabric",
         "matplotlib", "transformers", "timm", "scipy", "PIL")  # fmt: skip


def imported(file: Path) -> Iterator[tuple[int, str]]:
    """Line and absolute name of every import in a file, those within functions too."""
    parts = file.relative_to(ROOT).with_suffix("").parts
    package = parts[:-1]  # of a module and of an __init__ alike
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            assert node.level <= len(package), f"{file}:{node.lineno} climbs out of its package"
            names = [node.module] if node.module else [alias.name for alias in node.names]
            yield from ((node.lineno, ".".join((*base, name))) for name in names)


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_no_module_imports_against_the_arrows(package: str) -> None:
    files = [ROOT / "cli.py"] if package == "cli" else sorted((ROOT / package).rglob("*.py"))
    files = [file for file in files if file != MODULE]
    assert files
    against = [
        f"{file.relative_to(ROOT)}:{line} imports {name}"
        for file in files
        for line, name in imported(file)
        if name.split(".")[0] in MAY_IMPORT.keys() - MAY_IMPORT[package]
    ]
    assert against == []


def test_the_module_imports_the_command_line_alone() -> None:
    assert {name for _, name in imported(MODULE)} == {"os", "sys", "pathlib", "cli"}


def test_the_walk_sees_every_form_of_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    module = tmp_path / "parsing" / "exporters" / "png.py"
    module.parent.mkdir(parents=True)
    module.write_text(
        "import data.readers.sysu as s, os\nfrom cscl import pam\nfrom . import base\nfrom ..errors import CsclError\n"
        "def f():\n    import pipelines.parse.run\n"
    )
    assert {name for _, name in imported(module)} == {
        "data.readers.sysu", "os", "cscl", "parsing.exporters.base", "parsing.errors", "pipelines.parse.run",
    }  # fmt: skip


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """A repository of somebody else's with packages of our names that must not be imported."""
    for name in ("data", "cscl", "pipelines"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(f"raise RuntimeError('the foreign {name} was imported')\n")
    return tmp_path


def within(folder: Path, code: str) -> subprocess.CompletedProcess[str]:
    """Run code as `python -c` from inside a folder, which then comes first on the path."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run([sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True)


def test_the_cache_is_imported_inside_a_repository_with_packages_of_our_names(foreign: Path) -> None:
    done = within(
        foreign, f"from parsing import MaskCache; import sys; print([m for m in {HEAVY} if m in sys.modules])"
    )
    assert done.stderr == ""
    assert done.stdout.strip() == "[]"


def test_the_writer_and_the_table_of_parsers_are_imported_without_torch() -> None:
    code = (
        f"import sys, parsing.parsers.registry, parsing.cache.writer; print([m for m in {HEAVY} if m in sys.modules])"
    )
    done = within(ROOT, code)
    assert done.stderr == ""
    assert done.stdout.strip() == "[]"


def test_a_parse_is_planned_without_torch() -> None:
    code = (
        "import sys, pipelines.parse.run\n"
        "from parsing.parsers.registry import ParserSpec, describe_parser\n"
        "describe_parser(ParserSpec())\n"
        "print([m for m in ('torch', 'timm', 'scipy') if m in sys.modules])"
    )
    done = within(ROOT, code)
    assert done.stderr == ""
    assert done.stdout.strip() == "[]"


def test_the_foreign_packages_would_have_been_imported(foreign: Path) -> None:
    assert "the foreign data was imported" in within(foreign, "import data").stderr


def test_a_cache_is_read_inside_such_a_repository(foreign: Path, make_cache) -> None:  # type: ignore[no-untyped-def]
    cache = make_cache("lip")
    code = (
        "import sys; from parsing import MaskCache; "
        f"c = MaskCache({str(cache.path)!r}); print(int(c[c.names[0]].sum()), c.parts(0).shape, 'torch' in sys.modules)"
    )
    done = within(foreign, code)
    assert done.stderr == ""
    assert done.stdout.strip() == f"{int(cache[0].sum())} (4, 48, 24) False"


def test_help_is_shown_without_loading_torch() -> None:
    code = (
        "import sys, cli\n"
        "from click.testing import CliRunner\n"
        "assert CliRunner().invoke(cli.main, ['parse', '--help']).exit_code == 0\n"
        "print('torch' in sys.modules)"
    )
    done = within(ROOT, code)
    assert done.stderr == ""
    assert done.stdout.strip() == "False"
