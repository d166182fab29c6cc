"""check: whether a netlist from a stranger runs commands, or reads or writes outside its folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from circuitlsc.cli.shared import FAILED, app, one_line_errors


@app.command("check")
def check(deck: Annotated[Path, typer.Argument(metavar="DECK.cir", help="Netlist from a stranger.")]) -> None:
    """Say which lines of a netlist could run commands, or read or write outside its folder; the netlist is not run."""
    from circuitlsc.errors import printable
    from circuitlsc.simulator.ngspice.deck_check import check_deck

    with one_line_errors():
        findings = check_deck(deck)
        for finding in findings:
            print(finding)
        if findings:
            raise typer.Exit(FAILED)
        name = printable(str(deck), None)
        folder = printable(str(deck.absolute().parent), None)
        print(f"{name}: nothing found that runs commands, or reads or writes outside {folder} (run it there)")
