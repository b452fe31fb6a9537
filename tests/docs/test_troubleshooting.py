"""Every message on the page is one that the code has."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def find_messages() -> list[str]:
    """Return the texts in the code, with `...` for what is put into them."""
    found = []
    for folder in ("parsing", "cscl", "pipelines", "data"):
        for file in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.JoinedStr):
                    parts = [str(p.value) if isinstance(p, ast.Constant) else "..." for p in node.values]
                    found.append("".join(parts))
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found.append(node.value)
    return found


def test_each_message_is_in_the_code() -> None:
    page = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `([^`]+)` \|", page, re.MULTILINE)
    messages = find_messages()
    unknown = []
    for message in listed:
        pieces = [piece.strip() for piece in message.split("...") if piece.strip(" ;:,")]
        if not any(all(piece in text for piece in pieces) for text in messages):
            unknown.append(message)
    assert len(listed) > 20
    assert unknown == []
