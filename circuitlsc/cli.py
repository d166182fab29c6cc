"""The command line: build, run, compare, calibrate, friction, learn, budget, yield, paper, draw, check, doctor.

Results go to stdout, progress and notes to stderr. Exit codes: 0 agrees (or done), 1 failed, 2 usage, 3 disagrees,
4 inconclusive.
"""

from __future__ import annotations

import signal
import sys

from typer.models import CommandInfo

from circuitlsc.commands import check, imperfections, learn, sampling, studies
from circuitlsc.commands.shared import EXIT_CODES, FAILED, INTERRUPTED, USAGE, app

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

_EARLY = "circuitlsc: error: interrupted; nothing was written"


def _place(command: CommandInfo) -> int:
    assert command.callback is not None
    return ORDER.index(command.name or command.callback.__name__)


app.registered_commands.sort(key=_place)


def main() -> None:
    """Entry point of the ``circuitlsc`` command."""
    if sys.flags.optimize > 1:
        print(
            "circuitlsc: error: PYTHONOPTIMIZE = 2 (python -OO) removes docstrings, and ArviZ cannot be imported without. "
            "Set it to 1, or unset it.",
            file=sys.stderr,
        )
        sys.exit(USAGE)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a polite kill cleans up like Ctrl-C
    try:
        app(prog_name="circuitlsc")
    except (KeyboardInterrupt, RuntimeError) as error:
        # before a command's own handling, during its imports (NumPy's turn the interrupt into another error)
        if not isinstance(error, KeyboardInterrupt) and not isinstance(error.__cause__, KeyboardInterrupt):
            raise
        print(_EARLY, file=sys.stderr)
        sys.exit(INTERRUPTED)
    except SystemExit as ended:
        if isinstance(getattr(ended.__context__, "__cause__", None), KeyboardInterrupt):
            print(_EARLY, file=sys.stderr)  # Typer caught it, and says nothing
        raise
