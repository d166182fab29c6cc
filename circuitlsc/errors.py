"""The errors that circuitlsc raises: each message says what was asked, what was got, why not, what to do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


class CircuitLSCError(Exception):
    """Base class of every error that circuitlsc raises on purpose."""


class InputError(CircuitLSCError, ValueError):
    """A value given by the user cannot be used (the command line exits with 2).

    Examples
    --------
    >>> try:
    ...     SpikeSlab(pi=1.5, lam=1.0)
    ... except InputError as error:
    ...     print(error)
    SpikeSlab: pi = 1.5, but P(active) must be in (0, 1]. Give a finite number > 0 and <= 1.
    """


class NetlistError(CircuitLSCError):
    """A circuit breaks an electrical rule, before anything is simulated."""


class MissingSimulatorError(CircuitLSCError):
    """libngspice cannot be found or loaded."""


class ReferenceRefusedError(CircuitLSCError):
    """A reference method does not hold for this model; the message says why and which one does."""


@dataclass
class SimulationError(CircuitLSCError):
    """A chain's transient did not reach its end with finite values.

    Attributes
    ----------
    reason : str
        One sentence: what happened, and what to do.
    chain : int
        Which chain failed.
    deck : pathlib.Path or None
        The deck that was kept for inspection.
    log : tuple of str
        The last lines that the simulator printed.
    """

    reason: str
    chain: int
    deck: Path | None = None
    log: tuple[str, ...] = ()

    def __str__(self) -> str:
        where = f" The deck is kept in {self.deck}." if self.deck else ""
        said = " The last lines of its log: " + " | ".join(self.log) if self.log else ""
        return f"chain {self.chain}: {self.reason}{where}{said}"


def printable(text: str, most: int | None = 200) -> str:
    """Return text without what a terminal would obey, cut after ``most`` characters."""
    plain = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return plain if most is None or len(plain) <= most else plain[: most - 3] + "..."
