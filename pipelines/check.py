"""`cscl data check`: counts a data set's folder against the numbers that its authors published."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from data.datasets import data_set, find_root
from data.listing import require
from data.records import DataSet
from parsing.errors import InputError

NAMED = 5
"""How many identities a note names before it says how many more there are."""


@dataclass(frozen=True, slots=True)
class CheckRow:
    """One thing counted; `published` is None where the authors gave no number; `note` names what is wrong."""

    what: str
    published: int | None
    found: int | None
    ok: bool
    note: str = ""


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What a folder holds beside what it should hold."""

    name: str
    root: str
    rows: tuple[CheckRow, ...]

    @property
    def ok(self) -> bool:
        return all(row.ok for row in self.rows)

    def to_json(self) -> dict[str, Any]:
        """Everything as plain numbers, strings and lists, for `json.dumps`."""
        return {**asdict(self), "rows": [asdict(row) for row in self.rows], "ok": self.ok}

    def lines(self) -> list[str]:
        """A table, one row a line, with what differs marked and a verdict at the end."""
        cells = [("", "published", "found", "", "")]
        cells += [
            (row.what, _number(row.published), _number(row.found), "ok" if row.ok else "DIFFERS", row.note)
            for row in self.rows
        ]
        w = [max(len(row[column]) for row in cells) for column in range(4)]
        table = [
            f"{what:<{w[0]}}  {should:>{w[1]}}  {found:>{w[2]}}  {ok:<{w[3]}}  {note}".rstrip()
            for what, should, found, ok, note in cells
        ]
        different = sum(not row.ok for row in self.rows)
        if different:
            verdict = f"{different} of {len(self.rows)} rows differ (those of `cscl data make` do so by design)"
        else:
            verdict = f"all {len(self.rows)} rows as they should be"
        return [f"{self.name} in {self.root}", *table, verdict]


def check(name: str, root: Path | None = None) -> CheckReport:
    """Count the data set `name` below `root` (or where it is usually kept).

    Raises InputError where the folder is not the data set's; a list that cannot be used is a row.
    """
    place = find_root(name, root)
    kind = data_set(name)
    require(kind, place)
    try:
        opened = kind(place)
    except InputError as error:
        return CheckReport(name, str(place), (CheckRow("lists and folders", None, None, False, str(error)),))
    return CheckReport(name, str(place), (*_counted(opened), *_gaps(opened)))


def _counted(data_set: DataSet) -> Iterable[CheckRow]:
    found = data_set.counts()
    for what in (*data_set.published, *(what for what in found if what not in data_set.published)):
        published = data_set.published.get(what)
        yield CheckRow(what, published, found.get(what), published is None or published == found.get(what))


def _gaps(data_set: DataSet) -> Iterable[CheckRow]:
    seen: dict[str, set[int]] = {"visible": set(), "infrared": set()}
    for image in data_set.images:
        if image.identity >= 0:
            seen[image.modality].add(image.identity)
    everyone = seen["visible"] | seen["infrared"]
    yield _gap("identities listed, but without images", data_set.listed - everyone)
    for modality, identities in seen.items():
        yield _gap(f"identities without {modality} images", everyone - identities)


def _gap(what: str, identities: Iterable[int]) -> CheckRow:
    numbers = sorted(identities)
    note = ", ".join(str(number) for number in numbers[:NAMED])
    if len(numbers) > NAMED:
        note += f" and {len(numbers) - NAMED} more"
    return CheckRow(what, None, len(numbers), not numbers, note)


def _number(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"
