"""Write your own parser: `from parsing.parser import NetworkParser` (or `Parser`), then `cscl parse --parser python:FILE`."""

from .parsers.base import NetworkParser, Parser, Size

__all__ = ["NetworkParser", "Parser", "Size"]
