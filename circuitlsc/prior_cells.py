"""The cells that realise a prior: tables of the code, of the comparator's gate, and of the prior's force, against u."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from circuitlsc.tables import Table, crowded_knots, tabulate

if TYPE_CHECKING:
    from circuitlsc.priors import Prior


@dataclass(frozen=True, eq=False)
class PriorCells:
    """What a prior puts into each neuron.

    Attributes
    ----------
    threshold : Table or None
        The code s(u); None if the code is u itself.
    comparator : Table or None
        ds/du, the gate on the likelihood's force; None if it is 1.
    prior : Table or None
        c'(u); None for a quadratic cost.
    stiffness : float
        c'(u)/u of a quadratic cost; 0 if ``prior`` is a table.
    """

    threshold: Table | None
    comparator: Table | None
    prior: Table | None
    stiffness: float = 0.0


def comparator_cells(prior: Prior, width: float, *, per_side: int = 8) -> PriorCells:
    """Tabulate the cells of a prior with the cost lam abs(u): comparators at +-u0, and the sign of u.

    The code's table is the exact integral of the comparator's between any two knots, so that the pair stays a
    gradient: the mean gate over a segment is the slope of s there.
    """
    # two knots a side suffice for the sign's corner at 0: its table is odd, and noise crosses it fast
    sign = Table(
        np.array([-3.0, -1.8, 1.8, 3.0]) * width,
        prior.cost_grad(np.array([-40.0, -40.0, 40.0, 40.0]) * width, width),
    )
    if prior.signed and not prior.sparse:
        return PriorCells(None, None, sign)
    u0 = prior.threshold
    knots = crowded_knots(np.array([-u0, u0]), width, per_side=per_side)
    gate = _saturated(tabulate(lambda u: prior.latent_grad(u, width), knots), prior, width)
    return PriorCells(_integral(gate, prior, width), gate, sign)


def _saturated(gate: Table, prior: Prior, width: float) -> Table:
    """Return a comparator's table that ends in flat segments, and so stays flat however large u becomes."""
    knots = np.concatenate([[gate.knots[0] - width], gate.knots, [gate.knots[-1] + width]])
    low, high = prior.latent_grad(np.array([knots[0], knots[-1]]) + np.array([-40.0, 40.0]) * width, width)
    return Table(knots, np.concatenate([[low, low], gate.values[1:-1], [high, high]]))


def _integral(gate: Table, prior: Prior, width: float) -> Table:
    """Return the code's table as the integral of the comparator's, so that the pair stays a gradient."""
    rise = np.diff(gate.knots) * (gate.values[1:] + gate.values[:-1]) / 2
    s = np.concatenate([[0.0], np.cumsum(rise)])
    if prior.signed:
        s -= (s[0] + s[-1]) / 2  # odd
    else:
        s += prior.latent(gate.knots[:1], width)  # exact far from the corners; 1e-3 w at most inside
    return Table(gate.knots, s)
