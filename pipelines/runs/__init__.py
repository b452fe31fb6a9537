"""The folder of a training run: its files, its log, its embeddings and its scores."""

from typing import Literal, get_args

Format = Literal["text", "md", "latex", "csv"]
FORMATS: tuple[Format, ...] = get_args(Format)
"""Formats of a table of results, see pipelines/runs/tables.py."""
