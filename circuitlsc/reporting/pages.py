"""Several results folders on one page: what differs between them, their numbers in one table, and their figures in one."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import add

from circuitlsc.io.report import Column, Report, Table, Value
from circuitlsc.reporting.page import html
from circuitlsc.reporting.pages_plot import pictures
from circuitlsc.reporting.runs import Run, differing, plain, shown
from circuitlsc.reporting.terms import meanings

MOST_COLUMNS, MOST_UPRIGHT = 8, 5  # on paper: of a table, and of runs beside each other if it has more


def runs_report(runs: Sequence[Run]) -> Report:
    """Return runs as a table, a row for each, and how many of them agree."""
    reports = [run.page.report for run in runs]
    verdicts = [shown(report.verdict) for report in reports]
    columns = [Column("run", "<12"), Column("command", "<20")]
    values: list[Sequence[Value]] = [[run.name for run in runs], [shown(run.page.title) for run in runs]]
    if any(verdicts):
        columns.append(Column("verdict", "<12"))
        values.append([verdict or None for verdict in verdicts])
    for key in differing(runs):
        values.append([run.config.get(key) for run in runs])
        columns.append(_column(key, values[-1], "config"))
    for name in dict.fromkeys(name for report in reports for name in report.summary):
        values.append([plain(report.summary.get(name)) for report in reports])
        columns.append(_column(name, values[-1], "numbers"))
    judged = [verdict for verdict in verdicts if verdict]
    worst = next((verdict for verdict in ("disagrees", "inconclusive") if verdict in judged), "agrees")
    rows = tuple(zip(*values, strict=True))
    return Report((Table(tuple(columns), rows),), worst if judged else "", _sentence(runs))


def runs_html(runs: Sequence[Run], command: str) -> str:
    """Return the page of several runs; every text of their files is shown as text.

    Parameters
    ----------
    runs : sequence of Run
    command : str
        The line that makes it.
    """
    report = runs_report(runs)
    (table,) = (block for block in report.blocks if isinstance(block, Table))
    return html(
        "pages.html.jinja",
        title=f"{len(runs)} runs side by side",
        command=command,
        report=report,
        table=table,
        on_paper=table.upright(MOST_UPRIGHT) if len(table.columns) > MOST_COLUMNS else [],
        runs=runs,
        links=[run.link for run in runs],
        images=pictures(runs, differing(runs)),
        terms=meanings(reduce(add, (run.page.report for run in runs), report)),
    )


def _sentence(runs: Sequence[Run]) -> str:
    """Say how many agree, and which do not."""
    named: dict[str, list[str]] = {}
    for run in runs:
        named.setdefault(shown(run.page.report.verdict), []).append(run.name)
    left = len(named.pop("", ()))
    judged = len(runs) - left
    parts = [f"{len(named.pop('agrees', ()))} of {judged} agree"] if judged else []
    parts += [f"{verdict}: {', '.join(names)}" for verdict, names in named.items()]
    if left:
        parts.append(f"of {left} nothing is judged")
    return f"{'; '.join(parts)}."


def _column(title: str, values: Sequence[Value], group: str) -> Column:
    """Return the column of some values: numbers to the right, to four digits, of configs to six."""
    numbers = [value for value in values if isinstance(value, (int, float))]
    digits = "" if all(isinstance(value, int) for value in numbers) else ".6g" if group == "config" else ".4g"
    return Column(shown(title), f">8{digits}" if numbers else "<8", group)
