"""README.md: its links lead somewhere in the checkout, and none is left that a package index could not follow."""

import re
import runpy

from support.places import ROOT

TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
LOCAL = re.compile(r"\]\((?!https?://)([^)#]+)#?([^)]*)\)")


def find_anchors(page: str) -> set[str]:
    """Return the anchors of a page's headings as code hosts make them."""
    headings = re.findall(r"^#+ (.+)$", page, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_link_leads_to_a_file_and_a_heading_that_exist() -> None:
    links = LOCAL.findall(TEXT)
    assert len(links) > 15
    for name, anchor in links:
        assert (ROOT / name).exists(), name
        assert not anchor or anchor in find_anchors((ROOT / name).read_text(encoding="utf-8")), (name, anchor)


def test_a_package_index_gets_no_link_into_the_checkout() -> None:
    shown = runpy.run_path(str(ROOT / "setup.py"))["describe_for_index"](TEXT)
    assert LOCAL.findall(shown) == []
    assert "docs/troubleshooting.md" in shown, "the names of the files stay"
    assert "Simulated images" not in shown, "a caption goes with its picture"
    assert re.findall(r"^#+ .+$", shown, re.MULTILINE) == re.findall(r"^#+ .+$", TEXT, re.MULTILINE)
