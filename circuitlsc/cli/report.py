"""report: pages of folders of results, made again or side by side."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from circuitlsc.cli.shared import Ended, plain
from circuitlsc.errors import InputError, printable
from circuitlsc.io import output as out


@plain("report")
def report(
    folders: Annotated[list[Path], typer.Argument(metavar="OUTDIR...", help="Folders of results.")],
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="PAGE.html",
            help="Page to write (an earlier one is replaced); default: OUTDIR's own.",
        ),
    ] = None,
    show: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
) -> Ended:
    """Put several runs on one page: a sweep, corners, other systems; or make the page of one folder again."""
    if len(folders) > 1 and output is None:
        raise InputError(f"{len(folders)} folders have no page in common. Say where to write it: -o page.html.")
    path = output or folders[0] / out.PAGE
    if output is not None:
        out.PAGES.check(path)  # before there is work that would be lost
    from circuitlsc.reporting.page import load_page, page_html
    from circuitlsc.reporting.pages import runs_html, runs_report
    from circuitlsc.reporting.runs import load_runs

    if len(folders) == 1:
        page = load_page(folders[0])
        verdict = f"{page.report.verdict}: " * bool(page.report.verdict)
        ended = Ended(printable(f"{page.title}: {verdict}{page.report.reason}", None), page=path)
        html = page_html(page, folders[0])
    else:
        runs = load_runs(folders, path)
        ended = Ended(runs_report(runs), "agrees", path)
        html = runs_html(runs, shlex.join(["circuitlsc", "report", *map(str, folders), "-o", str(output)]))
    out.PAGES.write(path, html)
    if show:
        import webbrowser

        if not webbrowser.open(path.absolute().as_uri()):
            print("no browser was found that could open it", file=sys.stderr)
    return ended
