"""Recipes: the shipped ones (TOML), and reading them into frozen dataclasses."""

from typing import Literal, get_args

Method = Literal["cscl", "baseline", "agw"]
METHODS: tuple[Method, ...] = get_args(Method)
"""`cscl` is the defaults; what another one changes is its file in `pipelines/recipes/methods/`."""
