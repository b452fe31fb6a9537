"""`cscl masks report`: one file that needs no network, with everything a cache says and all names escaped."""

import re
import shutil
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from support.browser import check_layout, run_in_browser
from support.caches import edit
from support.pages import Page

from cli import main
from parsing import InputError, MaskCache
from parsing.cache.shard import Status
from pipelines.masks.report import ReportConfig, report

MakeCache = Callable[..., MaskCache]
HOSTILE = "cam1/<script>alert(1)<\\/script>\"' onerror=x/0001.jpg"


def read(path: Path) -> Any:
    return Page(path.read_text(encoding="utf-8"))


def shown(page: Any) -> list[dict[str, str]]:
    return [attributes for tag, attributes in page.tags if attributes.get("class") == "card"]


@pytest.fixture(scope="module")
def whole(masks: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("report")
    return report(ReportConfig(masks, out)).page


def test_the_page_is_one_file_that_needs_no_network(whole: Path) -> None:
    assert [p.name for p in whole.parent.iterdir()] == ["index.html"]
    text = whole.read_text(encoding="utf-8")
    page = read(whole)
    sources = [a[k] for _, a in page.tags for k in ("src", "href", "data", "action", "srcset") if k in a]
    assert sources
    assert all(s.startswith(("data:image/png;base64,", "data:image/jpeg;base64,")) for s in sources)
    assert not {tag for tag, _ in page.tags} & {"link", "iframe", "object", "embed"}
    assert not re.search(r"https?://|@import|url\(|fetch\(|import\(", re.sub(r"base64,[^\"]+", "", text))
    policy = next(a["content"] for _, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; img-src data:;")


def test_the_page_says_what_the_cache_says(whole: Path, masks: Path) -> None:
    cache, page = MaskCache(masks), read(whole)
    assert "54 images, parsed by street into 7 parts (person7) at 64x32." in page.text
    assert "Simulated data." in page.text
    for wanted in (
        cache.fingerprint,
        cache.licence,
        cache.made_by["weights"][:16],
        "sysu (SYSU-MM01)",
        "sysu_masks.h5",
    ):
        assert wanted in page.text
    assert str(masks.parent) not in page.text  # a page is passed on, the folders of its maker are nobody's business
    rows = {page.cells[i]: page.cells[i + 1 : i + 7] for i in range(len(page.cells) - 6)}
    assert rows["visible, camera 1"][:4] == ["9", "9", "0", "0"]
    assert rows["visible, all"][0] == "36"
    infrared = (cache.modality == 1) & (cache.status == Status.OK)
    assert rows["infrared, all"][4] == f"{cache.confidence[infrared].mean():.3f}"
    assert (
        rows["head"][0]
        == f"{100 * np.mean([(cache[int(n)] == 1).any() for n in np.flatnonzero(cache.modality == 0)]):.1f}"
    )


def test_the_gallery_has_every_image_worst_first_with_image_and_mask(whole: Path, masks: Path) -> None:
    cache, page = MaskCache(masks), read(whole)
    found = shown(page)
    assert len(found) == len(cache)
    empty = int((cache.status == Status.EMPTY).sum())
    sure = [float(card["data-confidence"]) for card in found]
    assert sure[empty:] == sorted(sure[empty:])
    assert {(c["data-modality"], c["data-camera"]) for c in found} == {
        *(("visible", str(c)) for c in (1, 2, 4, 5)), *(("infrared", str(c)) for c in (3, 6)),
    }  # fmt: skip
    layers = [a for tag, a in page.tags if tag == "img" and a.get("class") in ("photo", "mask")]
    assert len(layers) == 2 * len(cache)
    assert {a["loading"] for a in layers} == {"lazy"}


def test_names_are_escaped_everywhere(make_cache: MakeCache, tmp_path: Path) -> None:
    names = [HOSTILE, HOSTILE.replace("0001", "0002"), "cam1/ok.jpg"]
    path = make_cache("lip", names, status=[Status.OK, Status.EMPTY, Status.UNREADABLE]).path
    result = report(ReportConfig(path, tmp_path / "out"))
    text = result.page.read_text(encoding="utf-8")
    assert "<script>alert" not in text
    assert unescape(text.replace("<wbr>", "")).count(HOSTILE) == 2  # of its card
    page = read(result.page)
    assert [tag for tag, _ in page.tags].count("script") == 1
    assert not [a for _, a in page.tags if "onerror" in a]
    assert names[1] in page.text


def test_images_that_are_gone_are_told_of_and_the_masks_stand_alone(make_cache: MakeCache, tmp_path: Path) -> None:
    result = report(ReportConfig(make_cache("lip").path, tmp_path / "out"))
    assert (result.shown, result.missing) == (8, 8)
    page = read(result.page)
    assert "None of the images is where they are looked for, in SYSU-MM01" in page.text
    classes = [a.get("class") for tag, a in page.tags if tag == "img"]
    assert (classes.count("mask"), classes.count("photo")) == (8, 0)
    assert "Simulated" not in page.text


def test_images_that_moved_are_found_with_root_and_left_out_when_told(
    masks: Path, figures: Path, tmp_path: Path
) -> None:
    shutil.copy(masks, tmp_path / "masks.h5")
    shutil.copytree(masks.with_suffix(".shards"), tmp_path / "masks.shards")
    config = ReportConfig(tmp_path / "masks.h5", tmp_path / "out", thumbnails=12)
    assert report(config).missing == 12
    result = report(ReportConfig(config.file, out=config.out, root=figures, thumbnails=12))
    assert (result.shown, result.missing) == (12, 0)
    text = read(result.page).text
    assert "12 of 54 masks" in text
    assert "licence may forbid" in text
    result = report(ReportConfig(config.file, out=config.out, root=figures, thumbnails=12, images=False))
    page = read(result.page)
    assert result.missing == 0
    assert "photo" not in [a.get("class") for _, a in page.tags]
    assert "licence may forbid" not in page.text


def test_failures_are_listed_and_a_long_list_says_how_long(make_cache: MakeCache, tmp_path: Path) -> None:
    names = [f"a/{n:04d}.jpg" for n in range(250)]
    status = [Status.EMPTY] * 240 + [Status.UNREADABLE] * 10
    path = make_cache("person7", names, status=status, size=(16, 16)).path
    page = read(report(ReportConfig(path, tmp_path / "out", thumbnails=0)).page)
    assert "10 images have no mask and 240 masks have nobody in them. The first 200 of these 250:" in page.text
    assert page.cells.count("no mask") == 10 + 1  # and the heading of a column
    assert page.cells.count("nobody found") == 190 + 1
    assert page.cells.count("unreadable image: no such file") == 10
    assert page.cells.count("the parser labelled every pixel as background") == 190
    assert not shown(page)


def test_a_cache_with_nothing_to_show_still_makes_a_page(make_cache: MakeCache, tmp_path: Path) -> None:
    path = make_cache("person7", status=[Status.UNREADABLE] * 8).path
    result = report(ReportConfig(path, tmp_path / "out"))
    assert result.shown == 0
    assert "8 images have no mask" in read(result.page).text


def test_identities_and_cameras_that_are_unknown_are_not_numbered(make_cache: MakeCache, tmp_path: Path) -> None:
    path = make_cache("lip").path
    with edit(path) as file:
        file["identity"][:] = -1
        file["camera"][:] = 0
    page = read(report(ReportConfig(path, tmp_path / "out")).page)
    assert "id -1" not in page.text
    assert "camera 0" not in page.text
    assert ("option", {"value": "0"}) in page.tags
    assert "unknown" in page.cells


def test_the_same_command_writes_the_same_page_and_never_over_somebody_elses(
    masks: Path, whole: Path, tmp_path: Path
) -> None:
    again = report(ReportConfig(masks, whole.parent))
    copy = report(ReportConfig(masks, tmp_path / "copy"))
    assert again.page.read_bytes() == copy.page.read_bytes()
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "index.html").write_text("<html>theirs")
    with pytest.raises(InputError, match="is not a page of cscl; give another -o"):
        report(ReportConfig(masks, tmp_path / "theirs"))
    with pytest.raises(InputError, match="that is a file; give a folder"):
        report(ReportConfig(masks, masks))


def test_the_command_says_where_the_page_is_and_what_it_lacks(make_cache: MakeCache, tmp_path: Path) -> None:
    arguments = ["masks", "report", str(make_cache("lip").path), "-o", str(tmp_path / "out")]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    assert str(tmp_path / "out" / "index.html") in result.stdout
    assert "note: 8 of its 8 images were not found; give --root" in result.stdout


STEPS = """
function inspect(inner, view, width, done) {
  inner.querySelector(".card").scrollIntoView();
  setTimeout(() => {
    const form = inner.getElementById("controls"), large = inner.getElementById("large");
    const set = (name, key, value) => {
      form.elements[name][key] = value;
      form.dispatchEvent(new view.Event("input", { bubbles: true }));
    };
    const cards = Array.from(inner.querySelectorAll("#cards .card"));
    const shown = () => cards.filter((card) => card.getClientRects().length > 0).length;
    const seen = (kind) => view.getComputedStyle(cards[0].querySelector(kind)).visibility;
    const box = cards[0].querySelector(".photo").getBoundingClientRect();
    const found = { width, all: shown(), wide: inner.documentElement.scrollWidth, tall: box.height / box.width,
      decoded: cards[0].querySelector(".photo").naturalWidth > 0 };
    set("modality", "value", "infrared"); found.infrared = shown();
    set("identity", "value", "1, 2"); found.two = shown();
    set("high", "value", "0"); found.none = shown();
    form.reset();
    setTimeout(() => {
      found.reset = shown();
      set("image", "checked", false); found.image = seen(".photo"); found.mask = seen(".mask");
      set("opacity", "value", "1");
      found.opacity = view.getComputedStyle(cards[0].querySelector(".mask")).opacity;
      cards[0].querySelector(".stack").click();
      found.open = large.open;
      found.first = large.querySelector("figcaption").textContent;
      large.querySelector("[data-step='1']").click();
      found.second = large.querySelector("figcaption").textContent;
      large.querySelector("[data-step='0']").click();
      found.closed = !large.open;
        done(found);
      }, 50);
  }, 300);
}
"""


@pytest.mark.browser
def test_filters_layers_and_enlarging_work_at_desktop_and_phone_width(whole: Path, masks: Path, tmp_path: Path) -> None:
    cache = MaskCache(masks)
    infrared = cache.modality == 1
    for result in run_in_browser(whole, STEPS, tmp_path, (1280, 360)):
        assert result["wide"] <= result["width"]
        assert (result["all"], result["reset"]) == (54, 54)
        assert result["infrared"] == int(infrared.sum())
        assert result["two"] == int((infrared & np.isin(cache.identity, (1, 2))).sum())
        assert result["none"] == int((infrared & np.isin(cache.identity, (1, 2)) & (cache.confidence < 5e-5)).sum())
        assert (result["image"], result["mask"], float(result["opacity"])) == ("hidden", "visible", 1)
        assert result["decoded"]
        assert 1.2 < result["tall"] < 6
        assert result["open"]
        assert result["closed"]
        assert result["first"] != result["second"]


@pytest.mark.browser
def test_the_layout_fits_desktop_and_phone(whole: Path, tmp_path: Path) -> None:
    check_layout(whole, tmp_path)


def test_failures_say_why(make_cache: MakeCache, tmp_path: Path) -> None:
    status = [Status.UNREADABLE] * 3 + [Status.FATAL, Status.EMPTY]
    cache = make_cache("person7", [f"{n}.jpg" for n in range(5)], status=status)
    root = tmp_path / "images"
    root.mkdir()
    (root / "0.jpg").write_bytes(b"no image")
    Image.new("RGB", (8, 16)).save(root / "2.jpg")
    page = read(report(ReportConfig(cache.path, tmp_path / "report", root)).page)
    first = page.cells.index("0.jpg")
    why = {page.cells[i]: page.cells[i + 2] for i in range(first, first + 15, 3)}
    assert why["0.jpg"] == "unreadable image: cannot identify image file '0.jpg'"
    assert why["1.jpg"] == "unreadable image: no such file"
    assert why["2.jpg"].endswith("can be read now: cscl masks verify says what to do")
    assert "memory" in why["3.jpg"]
    assert "background" in why["4.jpg"]
    assert str(tmp_path) not in page.text
