"""Count the files of a data set and compare them with the published numbers (`cscl data check`)."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from data.records import DataSet
from data.registry import check_layout, data_set, find_root, open_data_set
from data.simulators.layouts import is_simulated
from parsing.errors import InputError
from parsing.words import list_briefly, quote_path


@dataclass(frozen=True, slots=True)
class CheckRow:
    """One count. `published` is None if the authors gave no number; `note` says what is wrong."""

    what: str
    published: int | None
    found: int | None
    ok: bool
    note: str = ""


@dataclass(frozen=True, slots=True)
class CheckReport:
    """The counts of a data set's folder beside the published ones."""

    name: str
    root: str
    rows: tuple[CheckRow, ...]

    @property
    def ok(self) -> bool:
        return all(row.ok for row in self.rows)

    def to_json(self) -> dict[str, Any]:
        """Return all values as numbers, strings and lists."""
        return {**asdict(self), "rows": [asdict(row) for row in self.rows], "ok": self.ok}

    def lines(self) -> list[str]:
        """Return a table, one row a line, with what differs marked and a verdict at the end."""
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
            verdict = f"{different} of {len(self.rows)} rows differ"
            if any(row.published is not None and not row.ok for row in self.rows):
                verdict += " (those of `cscl data make` do so by design)"
        else:
            verdict = f"all {len(self.rows)} rows as they should be"
        return [f"{self.name} in {self.root}", *table, verdict]


def check(dataset: str, root: Path | None = None, pattern: str | None = None) -> CheckReport:
    """Return the counts of a data set.

    Args:
        dataset: its name.
        root: its folder; None for the usual places.
        pattern: as in `open_data_set`.

    Raises:
        InputError: if the folder does not hold this data set. A list that cannot be used is a row of the report.
    """
    place = find_root(dataset, root)
    kind = data_set(dataset)
    check_layout(kind, place)
    kind.require(place)
    try:
        opened = open_data_set(dataset, place, pattern=pattern)
    except InputError as error:
        return CheckReport(
            dataset, str(place), (CheckRow("lists and folders", published=None, found=None, ok=False, note=str(error)),)
        )
    return CheckReport(dataset, str(place), (*_counted(opened), *_found(opened), *_gaps(opened)))


def compare_published(data_set: DataSet) -> str:
    """Return in one line in what a folder differs from the published data set, such as a part of it; empty if not.

    Nothing is said of simulated data sets, which differ by design, nor of counts that the folder cannot have, as those
    of splits whose lists are not there.
    """
    if is_simulated(data_set.root):
        return ""
    different = [
        f"{row.what}: {_number(row.found)} for {_number(row.published)}"
        for row in _counted(data_set)
        if not row.ok and row.found is not None
    ]
    if not different:
        return ""
    return (
        f"{data_set.root} is not {data_set.name} as it was published: {list_briefly(different, 4)}; "
        f"`cscl data check --dataset {data_set.name} --root {quote_path(data_set.root)}` shows all counts"
    )


def _counted(data_set: DataSet) -> Iterable[CheckRow]:
    found = data_set.counts()
    for what in (*data_set.published, *(what for what in found if what not in data_set.published)):
        published = data_set.published.get(what)
        yield CheckRow(
            what, published=published, found=found.get(what), ok=published is None or published == found.get(what)
        )


def _gaps(data_set: DataSet) -> Iterable[CheckRow]:
    seen: dict[str, set[int]] = {"visible": set(), "infrared": set()}
    for image in data_set.images:
        if image.identity >= 0:
            seen[image.modality].add(image.identity)
    everyone = seen["visible"] | seen["infrared"]
    gaps: dict[str, Iterable[int]] = {"identities listed, but without images": data_set.listed - everyone}
    there = {image.modality for image in data_set.images}  # a set of one modality lacks nobody in the other
    gaps |= {f"identities without {m} images": everyone - found for m, found in seen.items() if m in there}
    for what, identities in gaps.items():
        people = [data_set.person(identity) for identity in sorted(identities)]
        yield CheckRow(what, published=None, found=len(people), ok=not people, note=list_briefly(people))


def _found(data_set: DataSet) -> Iterable[CheckRow]:
    for finding in data_set.findings():
        yield CheckRow(finding.what, published=None, found=finding.count, ok=not finding.wrong, note=finding.note)


def _number(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"
