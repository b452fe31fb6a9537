"""Open a page in headless Chromium, run a script in it, and check that its layout fits desktop and phone."""

import base64
import json
import os
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
WIDTHS = (1280, 390)
OPEN = """
const page = new TextDecoder().decode(Uint8Array.from(atob(PAGE), (c) => c.charCodeAt(0)));
function look(width) {
  return new Promise((done) => {
    const frame = document.createElement("iframe");
    frame.style.cssText = `width: ${width}px; height: 900px; border: 0`;
    frame.onload = () => setTimeout(() => inspect(frame.contentDocument, frame.contentWindow, width, done), 300);
    frame.srcdoc = page;
    document.body.replaceChildren(frame);
  });
}
const results = [];
WIDTHS.reduce((before, width) => before.then(() => look(width)).then((found) => results.push(found)), Promise.resolve())
  .then(() => { document.body.replaceChildren(); document.body.dataset.result = JSON.stringify(results); });
"""
LAYOUT = """
function inspect(inner, view, width, done) {
  const boxes = (what) => Array.from(inner.querySelectorAll(what)).map((e) => [e, e.getBoundingClientRect()]);
  const lines = (e) => { const range = inner.createRange(); range.selectNodeContents(e);
    return new Set(Array.from(range.getClientRects()).map((r) => Math.round(r.top / 4))).size; };
  const scrolls = boxes(".scroll");
  done({
    width,
    page: inner.documentElement.scrollWidth,
    used: inner.querySelector("main").getBoundingClientRect().width / inner.documentElement.clientWidth,
    paragraphs: Math.max(...boxes("section:not(.half) > p").map(([e, box]) => box.width)),
    main: inner.querySelector("main").getBoundingClientRect().width,
    pictures: boxes("figure.scroll img").map(([e, box]) => ({ name: e.alt, natural: e.naturalWidth, width: box.width,
      room: e.parentElement.clientWidth, half: e.closest("section").classList.contains("half") })),
    broken: boxes("main th").filter(([e]) => e.textContent.trim() && e.getClientRects().length && lines(e) > 1)
      .map(([e]) => e.textContent),
    outside: scrolls.filter(([e, box]) => box.right > width + 1).length,
    barless: scrolls.filter(([e]) => e.scrollWidth > e.clientWidth + 1 && e.offsetHeight - e.clientHeight < 6)
      .map(([e]) => e.textContent.slice(0, 60)),
    scrolling: scrolls.filter(([e]) => e.scrollWidth > e.clientWidth + 1).length,
    commands: boxes("pre").filter(([e]) => e.scrollWidth > e.clientWidth + 1).length,
  });
}
"""


def run_in_browser(page: Path, script: str, folder: Path, widths: tuple[int, ...] = WIDTHS) -> list[dict[str, Any]]:
    """Return what `script` finds in the page at each width; the test is skipped without a browser.

    script: defines `inspect(document, window, width, done)`, which calls `done` with an object.
    folder: for the browser's profile.
    """
    chromium = next((found for name in CHROMIUM if (found := shutil.which(name))), None)
    if chromium is None:
        pytest.skip(f"no browser: none of {', '.join(CHROMIUM)} is installed")
    encoded = base64.b64encode(page.read_bytes()).decode("ascii")
    harness = folder / "harness.html"
    steps = f'const PAGE = "{encoded}", WIDTHS = {list(widths)};{script}{OPEN}'
    harness.write_text(f"<!DOCTYPE html><body><script>{steps}</script></body>", encoding="utf-8")
    command = [chromium, "--headless", "--disable-gpu", "--virtual-time-budget=20000", "--window-size=1400,1000",
               f"--user-data-dir={folder / 'profile'}", "--dump-dom", harness.as_uri()]  # fmt: skip
    if os.geteuid() == 0:
        command.insert(1, "--no-sandbox")  # Chromium refuses to start as root with it
    dom = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    answer = re.search(r'data-result="([^"]*)"', dom)
    assert answer, dom[-2000:]
    results: list[dict[str, Any]] = json.loads(unescape(answer[1]))
    assert [result["width"] for result in results] == list(widths)
    return results


def check_layout(page: Path, folder: Path) -> None:
    """Check that text and pictures use the width, nothing is cut off or broken, and what is wider scrolls visibly."""
    for found in run_in_browser(page, LAYOUT, folder):
        width = found["width"]
        assert found["page"] <= width, "the page itself scrolls sideways"
        assert found["used"] > 0.9
        assert found["paragraphs"] == pytest.approx(found["main"], abs=2)
        assert found["outside"] == 0
        assert found["broken"] == [], f"names on two lines at {width} pixels"
        assert found["barless"] == [], f"scrolls without a bar at {width} pixels"
        assert found["commands"] == 0, "a command is cut off"
        for picture in found["pictures"]:
            assert picture["natural"] > 0, f"{picture['name']} is no picture"
            if width > 1000:
                assert picture["width"] == pytest.approx(min(picture["natural"], picture["room"]), abs=2), picture
            else:
                assert picture["width"] >= min(picture["natural"], picture["room"]) - 2, picture
                wide = picture["natural"] > 1000
                assert wide == (picture["width"] > picture["room"] + 2), f"{picture}: too small to read"
