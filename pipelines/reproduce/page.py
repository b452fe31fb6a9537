"""The page of a reproduction: our figures beside the published ones, a table per protocol."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from data.registry import data_set

from ..pages.page import Section, SummaryRow, Table, write_page
from ..runs.provenance import read_run, write_file
from ..runs.scores import Result
from ..training.progress import format_duration
from .plan import ROWS, PlannedRun, ReproduceConfig
from .published import read_published

RECONSTRUCTION = (
    "CSCL is a reconstruction: its paper's full text is not public, and the network here is built from the abstract "
    "and the closest published formulations. A difference to its published figures says as much about what is not "
    "known as about the method."
)
COLUMNS = ("method", "Rank-1", "mAP", "mINP", "source")


def write_tables(
    config: ReproduceConfig,
    planned: Sequence[PlannedRun],
    results: Mapping[str, Sequence[Result]],
    simulated: bool,
    fingerprint: str,
) -> Path:
    """Write index.html and results.md into the folder of a reproduction, and return the page.

    Args:
        config: of the reproduction.
        planned: its runs.
        results: one per protocol, by the title of the row.
        simulated: whether the images are simulated.
        fingerprint: of the mask cache.
    """
    tables = [(protocol, _make_table(config.dataset, protocol, results)) for protocol in _protocols(results)]
    title = f"CSCL on {data_set(config.dataset).folder}" + " (simulated data)" * simulated
    conditions = _describe_conditions(planned, results)
    warning = "The images are simulated: nothing here can be compared with the published figures." if simulated else ""
    lines = [f"# {title}", "", RECONSTRUCTION, *(["", warning] if warning else []), "", conditions]
    for protocol, table in tables:
        lines += ["", f"## {protocol}", "", *_write_markdown(table)]
    config.folder.mkdir(parents=True, exist_ok=True)
    write_file(config.folder / "results.md", ("\n".join(lines) + "\n").encode())
    shown = ROWS["cscl"].title if ROWS["cscl"].title in results else list(results)[-1]
    headline = results[shown][0]
    return write_page(
        config.folder,
        title=title,
        summary=[
            SummaryRow("Rank-1", headline.cmc[1], headline.chance_rank1),
            SummaryRow("mAP", headline.mAP, headline.chance_map),
            SummaryRow("mINP", headline.mINP),
        ],
        sections=[
            *(Section(protocol, _caption(table), table=table) for protocol, table in tables),
            Section("Trainings", "Every run behind the tables, with the time that it took.", table=_list_runs(planned)),
        ],
        lead=RECONSTRUCTION,
        protocol=f"{headline.protocol}; {conditions}",
        simulated=warning,
        facts=_facts(planned, fingerprint),
        subject=f"{shown} (ours)",
    )


def _protocols(results: Mapping[str, Sequence[Result]]) -> list[str]:
    return [result.protocol for result in next(iter(results.values()))]


def _make_table(name: str, protocol: str, results: Mapping[str, Sequence[Result]]) -> Table:
    """Return our rows, then those of the publications that have this protocol."""
    rows = []
    for title, each in results.items():
        result = next(r for r in each if r.protocol == protocol)
        several = result.runs > 1 or result.trials > 1
        cells = (
            f"{100 * result.figures[figure]:.2f}" + (f" ± {100 * result.deviations[figure]:.2f}" if several else "")
            for figure in ("Rank-1", "mAP", "mINP")
        )
        rows.append([f"{title} (ours)", *cells, "this machine"])
    rows += [
        [one.method, *map(_format_published, one.figures[protocol]), "", one.source]
        for one in read_published(name)
        if protocol in one.figures
    ]
    return Table(COLUMNS, rows)


def _format_published(value: float) -> str:
    """Return a published figure with its own digits, but at least one."""
    return f"{value:.1f}" if round(value, 1) == value else f"{value:.2f}"


def _caption(table: Table) -> str:
    ours = sum(row[-1] == "this machine" for row in table.rows)
    if ours == len(table.rows):
        return "Per cent. No publication in the list reports this protocol."
    return (
        "Per cent, without re-ranking. Published figures are as their authors report them, mostly of an epoch that was "
        "selected on test data."
    )


def _write_markdown(table: Table) -> list[str]:
    marks = ["---", *["---:"] * (len(table.columns) - 2), "---"]
    return [f"| {' | '.join(cells)} |" for cells in (table.columns, marks, *table.rows)]


def _describe_conditions(planned: Sequence[PlannedRun], results: Mapping[str, Sequence[Result]]) -> str:
    one = next(iter(results.values()))[0]
    over = f"mean of {one.runs} runs, " if one.runs > 1 else ""
    deviation = "± standard deviation over the " if one.runs * one.trials > 1 else ""
    deviation += ("runs, " if one.runs > 1 else "trials, ") if deviation else ""
    selected = " and ".join(dict.fromkeys(p.recipe.data.select for p in planned))
    without = [ROWS[row].title for row in dict.fromkeys(p.row for p in planned) if not ROWS[row].flip]
    flips = f"flip averaged (not {', '.join(without)})" if without else "flip averaged"
    return (
        f"{over}{deviation}{one.trials} trial{'s' * (one.trials > 1)} per run, galleries {one.gallery_rule}, cosine "
        f"distance, {flips}, not re-ranked; epoch selected by the rule {selected}, never on test data"
    )


def _list_runs(planned: Sequence[PlannedRun]) -> Table:
    rows = []
    for one in planned:
        sessions = read_run(one.run)[1].sessions
        seconds = math.fsum(float(session["seconds"]) for session in sessions)
        devices = ", ".join(dict.fromkeys(str(session["device"]) for session in sessions))
        rows.append([one.run.name, one.recipe.title, str(one.recipe.train.epochs), format_duration(seconds), devices])
    return Table(("run", "method", "epochs", "training time", "device"), rows)


def _facts(planned: Sequence[PlannedRun], fingerprint: str) -> dict[str, str]:
    session = read_run(planned[-1].run)[1].sessions[-1]
    versions = ", ".join(f"{name} {text}" for name, text in session["versions"].items() if text)
    recipe = planned[-1].recipe
    return {
        "backbone": f"{recipe.model.backbone}, {recipe.data.size[0]}x{recipe.data.size[1]}",
        "precision": str(session["precision"]),
        "mask cache": fingerprint[:16],
        "versions": versions,
    }
