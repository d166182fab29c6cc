"""How a run steps: its first steps, and how a broken loop extrapolates (`planning.broken_loop`).

Shared by simulator and twin, and light to load.
"""

from __future__ import annotations

from circuitlsc.io.arrays import Array

FIRST = 1e-4  # ngspice's first two steps are backward Euler: each is this share of h, so that they do no harm
MADE_UP = 0.5  # share of the last extrapolation's error
NEWEST, OLDER, HELD = 2.0 + MADE_UP, -1.0, -MADE_UP  # of e_k, e_(k-1) and f_k


def extrapolate(newest: Array, older: Array, held: Array) -> Array:
    """Return f_(k+1) from e_k, e_(k-1) and f_k, elementwise in any unit."""
    return NEWEST * newest + OLDER * older + HELD * held
