"""The description for a package index: README.md, whose links to files of the checkout lead nowhere there."""

import re
from pathlib import Path

from setuptools import setup

_LOCAL = r"\((?!https?://)[^)]+\)"


def describe_for_index(readme: str) -> str:
    """Return the text without pictures of the checkout, and with the names of its files in place of links to them."""
    without_pictures = re.sub(rf"^!\[[^\]]*\]{_LOCAL}\n+(\*[^*]+\*\n+)?", "", readme, flags=re.MULTILINE)
    return re.sub(rf"\[([^\]]+)\]{_LOCAL}", r"\1", without_pictures)


if __name__ == "__main__":
    text = (Path(__file__).parent / "README.md").read_text(encoding="utf-8")
    setup(long_description=describe_for_index(text), long_description_content_type="text/markdown")
