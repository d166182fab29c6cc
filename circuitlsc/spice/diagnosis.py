"""Why ngspice gave up, from what it printed: which node, and the likely reason."""
from __future__ import annotations
from collections.abc import Sequence
def diagnose(reason: str, log: Sequence[str]) -> str:
    return reason
