"""Objects that say what they are in a line, and show their numbers as tables in a notebook."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Any

from circuitlsc.io.markup import render
from circuitlsc.io.report import Facts, Note, Report

LINE = 120  # characters that a line has at most


class Tabled:
    """An object that a notebook shows as a table."""

    def _facts(self) -> Iterator[tuple[str, str]]:
        """Yield what it is as labelled lines."""
        yield from ()

    def _shows(self) -> Report:
        """Return what it shows: its facts, if it has no more."""
        return Report((Facts(tuple(self._facts())),))

    def _repr_html_(self) -> str:
        return render("report.html.jinja", title=type(self).__name__, report=self._shows())


class Shown(Tabled):
    """An object that says what it is in a line, too; a dataclass keeps this line instead of making one of all its values."""

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        if "__repr__" not in cls.__dict__:
            cls.__repr__ = Shown.__repr__  # type: ignore[method-assign]

    def _line(self) -> str:
        """Return what says most, separated by commas."""
        raise NotImplementedError

    def _shows(self) -> Report:
        return super()._shows() if any(self._facts()) else Report((Note(self._line()),))

    def __repr__(self) -> str:
        name = type(self).__name__
        return f"{name}({textwrap.shorten(self._line(), LINE - len(name) - 2, placeholder=' ...')})"


def counted(number: int, what: str, many: str = "") -> str:
    """Return a number of things: "1 chain", "2 chains"."""
    return f"{number:,} {what if number == 1 else many or what + 's'}"
