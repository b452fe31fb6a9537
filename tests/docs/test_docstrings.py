"""The examples in docstrings answer what stands below them, but for those of files that only a user has."""

import doctest
import inspect
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest
from support.places import ROOT

import parsing

OF_A_USER = ("data/sysu_masks.h5", "data/mine.h5", "# doctest: +SKIP")
"""What stands in an example that needs files."""


def list_modules() -> list[str]:
    """Return the modules with examples in their docstrings."""
    files = (
        file for folder in ("parsing", "cscl", "data", "pipelines") for file in sorted((ROOT / folder).rglob("*.py"))
    )
    return [name_module(file) for file in files if ">>> " in file.read_text(encoding="utf-8")]


def name_module(file: Path) -> str:
    return ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def find_examples(module: ModuleType) -> list[doctest.DocTest]:
    known = {name: getattr(parsing, name) for name in parsing.__all__} | vars(module)
    found = doctest.DocTestFinder(exclude_empty=True).find(module, globs=known, extraglobs={})
    return [one for one in found if one.examples and not any(sign in str(one.docstring) for sign in OF_A_USER)]


@pytest.mark.parametrize("name", list_modules())
def test_the_examples_of_a_module_answer_as_they_say(name: str) -> None:
    module = import_module(name)
    assert inspect.ismodule(module)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    for example in find_examples(module):
        runner.run(example)
    assert runner.summarize(verbose=False).failed == 0
