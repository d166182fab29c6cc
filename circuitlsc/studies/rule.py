"""A design rule: what is there, its limit, and whether it holds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Rule:
    """One rule: what is there, its limit, and whether it holds.

    Attributes
    ----------
    name, text : str
        The text has both numbers, and what to do if the rule is broken.
    value, limit : float
    ok : bool
    """

    name: str
    text: str
    value: float
    limit: float
    ok: bool

    def __str__(self) -> str:
        return self.text


def rule(name: str, text: str, value: float, limit: float, cure: str, *, at_least: bool = False) -> Rule:
    """Return a rule, which is kept if the value is at most (or at least) the limit; a broken one's text says the cure."""
    kept = value >= limit if at_least else value <= limit
    return Rule(name, text if kept else text + cure, value, limit, kept)
