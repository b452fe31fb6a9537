"""The reference of recipe keys, made from the recipe's own classes: `python -m pipelines.recipes.describe`.

docs/recipe.md holds its output; a test compares them.
"""

import inspect
import re
import typing
from collections.abc import Iterator
from dataclasses import fields

from .reading import Recipe

HEAD = """# Recipe keys

Every key of a recipe of `cscl train`, with its default in the recipe class; the shipped recipes set some of them
otherwise (`recipe.toml` of a run has every value). `--set SECTION.KEY=VALUE` changes one.
[method.md](method.md) explains the terms. Made by `python -m pipelines.recipes.describe`.
"""


def describe_recipe() -> str:
    """Return the page in Markdown: a table per section."""
    hints = typing.get_type_hints(Recipe)
    tops = [name for name in hints if not hasattr(hints[name], "__dataclass_fields__")]
    sections = [name for name in hints if name not in tops]
    lines = [HEAD, "## Without a section", "", *_header()]
    meaning = {"method": "see [Training](training.md)", "seed": "of everything that is drawn at random"}
    defaults = {f.name: f.default for f in fields(Recipe)}
    lines += [f"| `{name}` | {_value(defaults[name])} | {_kind(hints[name])} | {meaning[name]} |" for name in tops]
    for section in sections:
        lines += ["", f"## `{section}`", "", *_header(), *_rows(hints[section])]
    return "\n".join(lines) + "\n"


def _header() -> list[str]:
    return ["| key | default | takes | meaning |", "| --- | --- | --- | --- |"]


def _rows(section: type) -> Iterator[str]:
    """Yield a line for each key of a section, in the order of the class."""
    hints = typing.get_type_hints(section)
    meanings = {key: text for kind in section.__mro__ for key, text in _attributes(kind).items()}
    for field in fields(section):
        text = meanings[field.name].replace("|", "\\|")
        yield f"| `{field.name}` | {_value(field.default)} | {_kind(hints[field.name])} | {text} |"


def _attributes(kind: type) -> dict[str, str]:
    """Return what the `Attributes` of a class's docstring say, by name."""
    _, _, block = inspect.cleandoc(kind.__doc__ or "").partition("Attributes:\n")
    block = block.partition("\n\n")[0]
    entries = re.split(r"^    (?=\w+: )", block, flags=re.MULTILINE)[1:]
    found = (entry.partition(": ") for entry in entries)
    return {key: " ".join(text.split()) for key, _, text in found}


def _value(default: object) -> str:
    """Return a default as TOML has it."""
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    return f"`{list(default)}`" if isinstance(default, tuple) else f"`{default!r}`".replace("'", '"')


def _kind(hint: object) -> str:
    """Return the choices of a key, or the kind of value that it takes."""
    if typing.get_origin(hint) is typing.Literal:
        return ", ".join(f"`{choice}`" for choice in typing.get_args(hint))
    if typing.get_origin(hint) is tuple:
        return "whole numbers"
    kinds = {bool: "true or false", int: "whole number", float: "number", str: "text"}
    return " or ".join(kinds[kind] for kind in typing.get_args(hint) or (hint,))


if __name__ == "__main__":
    print(describe_recipe(), end="")
