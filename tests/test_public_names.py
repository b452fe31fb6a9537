"""Public names, commands and options change on purpose only: `public_names.txt` beside this file lists them.

After a wanted change, `PYTHONPATH=. python tests/test_public_names.py > tests/public_names.txt` writes the list again;
note what was removed in CHANGELOG.md.
"""

from collections.abc import Iterator
from pathlib import Path

import click

import cscl
import parsing
import parsing.parser
import parsing.torch_dataset
import parsing.weights
from cli import main
from data.registry import DATA_SETS
from parsing.exporters import EXPORTERS
from parsing.labels import LABEL_SETS
from parsing.parsers.registry import PARSERS
from parsing.schemes import PART_SCHEMES

LIST = Path(__file__).with_name("public_names.txt")
TABLES = {
    "data set": DATA_SETS,
    "exporter": EXPORTERS,
    "label set": LABEL_SETS,
    "parser": PARSERS,
    "part scheme": PART_SCHEMES,
}


def commands(command: click.Command, name: str) -> Iterator[str]:
    """One line per command, argument and option, with what an option may be if it is one of a few."""
    yield name
    for parameter in command.params:
        spelt = " ".join((*parameter.opts, *parameter.secondary_opts))
        choices = f" {'|'.join(sorted(parameter.type.choices))}" if isinstance(parameter.type, click.Choice) else ""
        yield f"{name} {spelt if isinstance(parameter, click.Option) else spelt.upper()}{choices}"
    if isinstance(command, click.Group):
        context = click.Context(command)
        for child in command.list_commands(context):
            found = command.get_command(context, child)
            assert found is not None
            yield from commands(found, f"{name} {child}")


def public() -> list[str]:
    """All that other people's scripts may rely on, sorted."""
    modules = (parsing, parsing.parser, parsing.weights, cscl)
    names = [f"from {module.__name__} import {name}" for module in modules for name in module.__all__]
    names.append(f"from parsing.torch_dataset import {parsing.torch_dataset.WithMasks.__name__}")
    rows = [f"{kind}: {name}" for kind, table in TABLES.items() for name in table]
    return sorted({*names, *rows, *commands(main, "cscl")})


def test_public_names_commands_and_options_are_those_listed() -> None:
    assert public() == LIST.read_text(encoding="utf-8").splitlines()


if __name__ == "__main__":
    print("\n".join(public()))
