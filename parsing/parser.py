"""Base classes of your own parser: `from parsing.parser import NetworkParser`, used as `--parser python:FILE`."""

from .parsers.base import NetworkParser, Parser
from .resize import Size

__all__ = ["NetworkParser", "Parser", "Size"]
