"""How far work is, and how long it still takes: lines in a terminal, or a bar in a notebook."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TypeAlias

from circuitlsc.errors import InputError
from circuitlsc.io.markup import render

Advance: TypeAlias = Callable[[int, float], None]  # a part, and how much of it is done
Progress: TypeAlias = bool | Callable[..., None] | None

_EVERY = 0.2  # seconds between updates of a notebook
_SETTLED = 1.0  # seconds after which the pace says how long the rest takes


class Line(Protocol):
    """Adds a line for some work; what it returns is told how much of a part is done."""

    def __call__(self, name: str, total: float, unit: str, found: float = 0) -> Advance:
        """Return what is called as ``advance(part, done)``; ``found`` of the total was done before, at no cost."""


class Pace:
    """How much of some work is done, and how long the rest takes at the pace since the first of it was done."""

    def __init__(self, total: float, unit: str, found: float = 0) -> None:
        self.total, self._unit, self._found = total, unit, found
        self._parts: dict[int, float] = {}
        self._first: tuple[float, float] | None = None  # when it was told of, and how much was done by then

    def advance(self, part: int, done: float) -> None:
        """Take down how much of a part is done."""
        self._parts[part] = done
        if self._first is None and self.done > self._found:
            self._first = time.monotonic(), self.done

    @property
    def done(self) -> float:
        """How much is done of all parts."""
        return sum(self._parts.values())

    def said(self) -> str:
        """Say it: "12,000 of 40,000 steps, 8 s left"; what was found done says nothing about time."""
        done = self.done
        said = f"{self._count(done)} of {self.amount}"
        if self._first is None or done >= self.total:
            return said
        spent, made = time.monotonic() - self._first[0], done - self._first[1]
        return f"{said}, {duration(spent / made * (self.total - done))} left" if spent > _SETTLED and made > 0 else said

    @property
    def amount(self) -> str:
        """All of it, as "40,000 steps"."""
        return f"{self._count(self.total)} {self._unit}"

    def _count(self, number: float) -> str:
        return f"{number:,.0f}" if self.total >= 10 else f"{number:.2g}"


def duration(seconds: float) -> str:
    """Return a time as a person says it: "8 s", "3 min", "2 h 10 min"."""
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{minutes} min" if not hours else f"{hours} h {minutes} min" if hours < 48 else f"{hours / 24:.0f} days"


_guard = threading.Lock()
_shown: list[Line] = []  # what shows lines at the moment: work inside other work adds its lines to the same display


@contextmanager
def progress_lines() -> Iterator[Line]:
    """Show what is being done, a line each with its share and time left.

    In a Jupyter notebook a line is an output of the cell; else it goes to stderr (only its end if that is no terminal).
    """
    with _guard:
        outer = _shown[-1] if _shown else None
    if outer is not None:
        yield outer
        return
    with _in_notebook() if in_notebook() else _in_terminal() as line:
        _shown.append(line)
        try:
            yield line
        finally:
            _shown.remove(line)


@contextmanager
def told(progress: Progress, name: str, total: float, unit: str, found: float = 0) -> Iterator[Advance | None]:
    """Yield what is told of the progress of parts, or None.

    Parameters
    ----------
    progress : bool, callable or None
        True shows a line, False none, and None one in a Jupyter notebook only. A callable is yielded as it is.
    name, unit : str
    total : float
    found : float
        How much of it was done before, at no cost.

    Raises
    ------
    InputError
        If ``progress`` is none of these.
    """
    if not (progress is None or isinstance(progress, bool) or callable(progress)):
        raise InputError(f"progress = {progress!r:.100} cannot be used. Give True, False, None or a function.")
    if callable(progress):
        yield progress
    elif progress or (progress is None and in_notebook()):
        with progress_lines() as line:
            yield line(name, total, unit, found)
    else:
        yield None


@contextmanager
def told_whole(
    progress: Progress, name: str, total: float, unit: str, found: float = 0
) -> Iterator[Callable[[float, float], None] | None]:
    """As `told`, for work in one part; what is yielded, and a callable ``progress``, is called as ``(done, total)``."""
    with told(progress, name, total, unit, found) as tell:
        if callable(progress):
            yield progress
        else:
            yield None if tell is None else lambda done, _: tell(0, done)


def in_notebook() -> bool:
    """Return whether this runs in a Jupyter kernel, whose frontends show what is displayed."""
    if "IPython" not in sys.modules:
        return False
    from IPython import get_ipython

    return getattr(get_ipython(), "kernel", None) is not None


@contextmanager
def _in_terminal() -> Iterator[Line]:
    from rich import progress
    from rich.console import Console

    columns = (progress.BarColumn(bar_width=20), "{task.fields[said]}")
    with progress.Progress(
        "{task.description}", *columns, progress.TimeElapsedColumn(), console=Console(stderr=True)
    ) as bar:

        def line(name: str, total: float, unit: str, found: float = 0) -> Advance:
            pace = Pace(total, unit, found)
            task = bar.add_task(name, total=total, said=pace.said())

            def advance(part: int, done: float) -> None:
                pace.advance(part, done)
                bar.update(task, completed=pace.done, said=pace.said())

            return advance

        yield line


@contextmanager
def _in_notebook() -> Iterator[Line]:
    from IPython.display import display

    show: Callable[..., Any] = display
    shown: list[tuple[str, Pace, Any]] = []

    def line(name: str, total: float, unit: str, found: float = 0) -> Advance:
        pace = Pace(total, unit, found)
        handle, last = show(_bar(name, pace), raw=True, display_id=True), time.monotonic()
        shown.append((name, pace, handle))

        def advance(part: int, done: float) -> None:
            nonlocal last
            pace.advance(part, done)
            if time.monotonic() - last >= _EVERY:
                handle.update(_bar(name, pace), raw=True)
                last = time.monotonic()

        return advance

    try:
        yield line
    finally:
        for name, pace, handle in shown:  # a line stays, the same for every run that reached its end
            said = pace.amount if pace.done >= pace.total else f"stopped at {pace.said().partition(', ')[0]}"
            handle.update({"text/plain": f"{name}: {said}"}, raw=True)


def _bar(name: str, pace: Pace) -> dict[str, str]:
    """Return the state of some work in the forms that frontends show."""
    said = pace.said()
    html = render("progress.html.jinja", name=name, said=said, done=pace.done, total=pace.total)
    return {"text/html": html, "text/plain": f"{name}: {said}"}
