"""What every judgement has: a verdict, its reason, and plain data for a file."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, Literal

Outcome = Literal["agrees", "disagrees", "inconclusive"]


@dataclass(frozen=True)
class Verdict:
    """A verdict and why.

    Attributes
    ----------
    verdict : str
        ``agrees``, ``disagrees`` or ``inconclusive``.
    reason : str
        A sentence or two: what decided, and what would do if nothing did.
    """

    verdict: Outcome
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """Return lists, dicts, strings and finite numbers only."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self), allow_nan=False))
        return plain
