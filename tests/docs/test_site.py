"""The documentation's site: its navigation has every page, its reference every public name."""

import re

from support.places import ROOT

import cscl
import parsing

DOCS = ROOT / "docs"
PAGES = {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")}


def test_every_page_is_in_the_navigation_once() -> None:
    named = re.findall(r"\S+\.md$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(named) == sorted(PAGES)


def test_every_public_name_of_parsing_and_cscl_is_in_the_reference() -> None:
    text = "\n".join((DOCS / page).read_text(encoding="utf-8") for page in PAGES if page.startswith("api/"))
    shown = set(re.findall(r"^::: (\S+)$", text, re.MULTILINE))
    public = {f"{module.__name__}.{name}" for module in (parsing, cscl) for name in module.__all__}
    assert public - shown == set()
