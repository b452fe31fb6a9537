"""Public names, commands and options change only on purpose: tests/public_names.txt lists them all.

After a change that is meant: `python tests/test_public_names.py` writes the file anew.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import click

FILE = Path(__file__).with_name("public_names.txt")


def commands(command: click.Command, path: str) -> Iterator[str]:
    """One line per command, then one per option or argument, in the order of the help."""
    yield path
    for param in command.params:
        if isinstance(param, click.Option):
            names = " ".join([*param.opts, *param.secondary_opts])
        else:
            names = param.make_metavar(click.Context(command)) or f"{(param.name or '').upper()}..."
        kind = "" if isinstance(param, click.Option) and param.is_flag else f" {_kind(param)}"
        yield f"    {names}{kind}{' (required)' if param.required else ''}"
    if isinstance(command, click.Group):
        for name, one in command.commands.items():
            yield from commands(one, f"{path} {name}")


def _kind(param: click.Parameter) -> str:
    return "|".join(param.type.choices) if isinstance(param.type, click.Choice) else param.type.name


def listing() -> str:
    import cscl
    import parsing
    from cli import main

    names = [f"{package.__name__}.{name}" for package in (parsing, cscl) for name in package.__all__]
    return "\n".join([*names, "", *commands(main, "cscl")]) + "\n"


def test_public_names_commands_and_options_are_those_on_file() -> None:
    assert listing().splitlines() == FILE.read_text(encoding="utf-8").splitlines()


if __name__ == "__main__":
    sys.path.insert(0, str(FILE.parents[1]))
    FILE.write_text(listing(), encoding="utf-8")
