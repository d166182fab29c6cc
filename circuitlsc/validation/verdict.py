"""What every judgement has: a verdict, its reason, and plain data for a file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

from circuitlsc.io.report import Report, p_text
from circuitlsc.io.shown import Shown

Outcome = Literal["agrees", "disagrees", "inconclusive"]


@dataclass(frozen=True)
class Verdict(Shown):
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

    def _line(self) -> str:
        return f"{self.verdict}: {self.reason}"

    def _facts(self) -> Iterator[tuple[str, str]]:
        for f in fields(self):
            value = getattr(self, f.name)
            if isinstance(value, (bool, int, str)) and f.name not in ("verdict", "reason"):
                yield f.name.replace("_", " "), str(value)
            elif f.name == "p_value":
                yield "p value", p_text(value).removeprefix("= ")
            elif isinstance(value, float):
                yield f.name.replace("_", " "), f"{value:.4g}"

    def _shows(self) -> Report:
        return replace(super()._shows(), verdict=self.verdict, reason=self.reason)

    def to_dict(self) -> dict[str, Any]:
        """Return lists, dicts, strings and finite numbers only."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self), allow_nan=False))
        return plain
