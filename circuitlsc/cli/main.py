"""The command line: circuits, what they sample, studies of many of them, learning, and what is installed.

Results go to stdout, progress and notes to stderr. Exit codes: 0 agrees (or done), 1 failed, 2 usage, 3 disagrees,
4 inconclusive.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, TextIO, cast

from typer import Typer

from circuitlsc.cli import explain, init, learn, report, sampling, studies
from circuitlsc.cli.shared import EXIT_CODES, FAILED, INTERRUPTED, USAGE, app

__all__ = ["EXIT_CODES", "FAILED", "USAGE", "app", "explain", "init", "learn", "main", "report", "sampling", "studies"]

# in the order in which --help lists them
ORDER = (
    "init run report explain build export compare cross-check compare-samplers calibrate friction learn budget yield "
    "characterise paper draw check doctor"
)

_EARLY = "interrupted; nothing was written"


app.registered_commands.sort(key=lambda command: ORDER.split().index(str(command.name)))


class _Stream:
    """A standard stream whose other end may vanish: what a command does, and how it ends, depends on no reader."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream or os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")  # None: it was closed
        self.error = 0

    def write(self, text: str) -> int:
        self._try(lambda stream: stream.write(text))
        return len(text)

    def flush(self) -> None:
        self._try(lambda stream: stream.flush())

    def _try(self, what: Callable[[TextIO], object]) -> None:
        try:
            if not self.error:
                what(self._stream)
        except OSError as error:
            self.error = error.errno or errno.EIO
            with Path(os.devnull).open("wb") as nothing:  # what is still in the buffer has somewhere to go
                os.dup2(nothing.fileno(), self._stream.fileno())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def main(commands: Typer | None = None, name: str = "circuitlsc") -> None:
    """Entry point of the ``circuitlsc`` command, and of others that end as it does."""
    # where a standard stream is closed, the next file would get its number, and what libraries print
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(number, True)
    os.close(number)
    out, err = _Stream(sys.stdout), _Stream(sys.stderr)
    sys.stdout, sys.stderr = cast(TextIO, out), cast(TextIO, err)
    try:
        _main(commands or app, name)
    finally:
        out.flush()
        if out.error not in (0, errno.EPIPE):  # a reader that has seen enough is none
            _leave(f"standard output cannot be written to ({os.strerror(out.error)})", FAILED)


def _leave(message: str, code: int | str | None) -> NoReturn:
    print(f"circuitlsc: error: {message}", file=sys.stderr)
    sys.exit(code)


def _main(commands: Typer, name: str) -> None:
    if sys.flags.optimize > 1:
        unset = "Set it to 1, or unset it."
        _leave(
            f"PYTHONOPTIMIZE = 2 (python -OO) removes docstrings, and ArviZ cannot be imported without. {unset}", USAGE
        )
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a polite kill cleans up like Ctrl-C
    try:
        commands(prog_name=name)
    except (KeyboardInterrupt, RuntimeError) as error:
        # before a command's own handling, during its imports (NumPy's turn the interrupt into another error)
        if not isinstance(error, KeyboardInterrupt) and not isinstance(error.__cause__, KeyboardInterrupt):
            raise
        _leave(_EARLY, INTERRUPTED)
    except SystemExit as ended:
        if isinstance(getattr(ended.__context__, "__cause__", None), KeyboardInterrupt):
            _leave(_EARLY, ended.code)  # Typer caught it, and says nothing
        raise
