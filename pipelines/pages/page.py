"""Write the page of a run: one HTML file that contains its pictures and needs no network and no prior knowledge."""

import base64
import io
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from PIL import Image

from parsing.errors import InputError, MissingError
from parsing.files import write_file

from .thumbnails import Thumbnails

MEANINGS = {
    "Rank-1": "how often the gallery image ranked first shows the person of the query",
    "Rank-5": "how often the person of the query is among the first five",
    "Rank-10": "how often the person of the query is among the first ten",
    "Rank-20": "how often the person of the query is among the first twenty",
    "mAP": "mean average precision: share of right images down to each right one, averaged over these",
    "mINP": "mean inverse negative penalty: share of right images down to the last, hardest right one",
}
"""What a measure says, in a line, for readers outside the field."""

LARGE = 2**20
"""Bytes of a PNG above which a page contains it as JPEG."""
_KINDS = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg"}


@dataclass(frozen=True)
class SummaryRow:
    """One row of the headline table.

    Attributes:
        value, chance: shares in [0, 1], shown in per cent; `chance` is the expected value of a random ranking.
        meaning: explanation of the measure; MEANINGS has the usual ones.
    """

    name: str
    value: float
    chance: float | None = None
    meaning: str = ""


@dataclass(frozen=True)
class Table:
    """A table of texts, shown unchanged; the first column names the row.

    sentences: whether the other columns are sentences, which are wrapped, or numbers, which are not.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    sentences: bool = False


@dataclass(frozen=True)
class Section:
    """A section of the page: heading, explanation, and a picture (PNG or JPEG), a table or a command.

    half: whether it takes half of a wide page, beside another such section.
    """

    title: str
    caption: str
    picture: Path | None = None
    table: Table | None = None
    command: str = ""
    half: bool = False


def write_page(
    out_dir: Path,
    title: str,
    summary: Iterable[SummaryRow],
    sections: Iterable[Section],
    *,
    lead: str = "",
    protocol: str = "",
    simulated: str = "",
    facts: Mapping[str, str] | None = None,
    subject: str = "This run",
    thumbnails: Thumbnails | None = None,
) -> Path:
    """Write `out_dir/index.html` and return its path. All texts are escaped.

    Args:
        lead: a sentence or two about the content of the page.
        protocol: conditions of the headline's values: gallery rule, number of trials, re-ranking, selection of the
            weights.
        simulated: description of the data if they are simulated, shown above the values; empty otherwise.
        facts: settings and values of the run, in order.
        subject: what the headline's values describe.
        thumbnails: pictures below the sections.

    Raises:
        MissingError: if a picture does not exist.
        InputError: if a picture is of another kind, rows of a table do not fit its columns, or a share is not in [0,
            1].
    """
    templates = Environment(
        loader=PackageLoader("pipelines.pages", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters["inline"] = _inline
    templates.filters["prose"] = _mark_code
    templates.filters["breakable"] = _mark_breaks
    page = templates.get_template("page.html" if thumbnails is None else "thumbnails.html")
    rows = [_prepare_row(row) for row in summary]
    html = page.render(
        title=title,
        lead=lead,
        protocol=protocol,
        simulated=simulated,
        summary=rows,
        beside_chance=any(row["chance"] for row in rows),
        sections=[_embed_picture(section) for section in sections],
        facts=facts or {},
        subject=subject,
        thumbnails=thumbnails,
    )
    out_dir.mkdir(parents=True, exist_ok=True)
    path = out_dir / "index.html"
    write_file(path, html.encode("utf-8"), sync=False)
    return path


def _prepare_row(row: SummaryRow) -> dict[str, str]:
    """Return a headline row as the template shows it: shares in per cent, the bar's and the mark's width in CSS."""
    for share in (row.value, row.chance):
        if share is not None and not (math.isnan(share) or 0 <= share <= 1):
            raise InputError(f"{row.name} must be a share in [0, 1], got {share:g}")
    return {
        "name": row.name,
        "value": _per_cent(row.value),
        "chance": "" if row.chance is None else _per_cent(row.chance),
        "width": f"{0 if math.isnan(row.value) else 100 * row.value:.2f}%",
        "meaning": row.meaning or MEANINGS.get(row.name, ""),
    }


def _per_cent(share: float) -> str:
    return "not measured" if math.isnan(share) else f"{100 * share:.1f} %"


def _embed_picture(section: Section) -> dict[str, object]:
    """Return the section as the template shows it, its picture as a data URI."""
    table = section.table
    if table and any(len(row) != len(table.columns) for row in table.rows):
        raise InputError(f"section {section.title!r}: every row of its table must have {len(table.columns)} cells")
    return {
        "title": section.title,
        "caption": section.caption,
        "picture": _data_uri(section.picture) if section.picture else "",
        "width": _measure_width(section.picture) if section.picture else 0,
        "half": section.half,
        "table": table,
        "command": section.command,
    }


def _data_uri(picture: Path) -> str:
    kind = _KINDS.get(picture.suffix.lower())
    if kind is None:
        raise InputError(f"pictures of a page must be PNG or JPEG, got {picture}")
    if not picture.is_file():
        raise MissingError(f"no picture at {picture}; draw it before the page is written")
    data = picture.read_bytes()
    if kind != "image/png" or len(data) <= LARGE:
        return _inline(data, kind)
    # A sheet of photographs takes a fifth of the bytes as JPEG; the PNG stays beside the page.
    file = io.BytesIO()
    with Image.open(picture) as image:
        image.convert("RGB").save(file, "JPEG", quality=90, subsampling=0)
    return _inline(file.getvalue(), "image/jpeg")


def _measure_width(picture: Path) -> int:
    """Return the width of a picture in pixels, to which a page enlarges it at most."""
    with Image.open(picture) as image:
        return image.width


def _mark_code(text: str) -> Markup:
    """Return escaped text in which `commands` and options such as --root are code, which is not broken."""
    safe = re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text)))
    return Markup(re.sub(r"(?<![\w-])(--[a-z][\w-]*)(?![^<]*</code>)", r"<code>\1</code>", safe))


def _mark_breaks(name: str) -> Markup:
    """Return an escaped name that is broken behind a slash or an underscore, if it must be."""
    return Markup(re.sub(r"([/_])", r"\1<wbr>", str(escape(name))))


def _inline(data: bytes, kind: str) -> str:
    """Return a file's content as a data URI."""
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"
