"""The command line: build, run, compare, calibrate, friction, learn, budget, yield, paper, draw, check, doctor.

Results go to stdout, progress and notes to stderr. Exit codes: 0 agrees (or done), 1 failed, 2 usage, 3 disagrees,
4 inconclusive.
"""

from __future__ import annotations

import signal

from typer.models import CommandInfo

from circuitlsc.commands import check, imperfections, learn, sampling, studies
from circuitlsc.commands.shared import EXIT_CODES, FAILED, USAGE, app

__all__ = ["EXIT_CODES", "FAILED", "USAGE", "app", "check", "imperfections", "learn", "main", "sampling", "studies"]

# in the order in which --help lists them
ORDER = (
    "build",
    "run",
    "compare",
    "calibrate",
    "friction",
    "learn",
    "budget",
    "yield",
    "paper",
    "draw",
    "check",
    "doctor",
)


def _place(command: CommandInfo) -> int:
    assert command.callback is not None
    return ORDER.index(command.name or command.callback.__name__)


app.registered_commands.sort(key=_place)


def main() -> None:
    """Entry point of the ``circuitlsc`` command."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a polite kill cleans up like Ctrl-C
    app(prog_name="circuitlsc")
