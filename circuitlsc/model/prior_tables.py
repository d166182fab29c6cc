"""The cells that realise a prior: tables of the code, of the comparator's gate, and of the prior's force, against u."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from circuitlsc.io.arrays import Array
from circuitlsc.model.piecewise_linear import Table, crowded_knots, tabulate

ERROR = 1e-3  # of the largest slope that matters: how well a table follows a smooth cost's, if MOST_KNOTS allow
MATTERS = 10.0  # a slope matters where the cost is less than that above its least
MOST_KNOTS = 60


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


class _Curves(Protocol):
    """What the tables are made of: functions of u of a `circuitlsc.model.prior.Prior`, and where they bend."""

    @property
    def signed(self) -> bool: ...
    @property
    def sparse(self) -> bool: ...
    @property
    def threshold(self) -> float: ...
    @property
    def curvature(self) -> float: ...
    def latent(self, u: Array, width: float = 0.0) -> Array: ...
    def latent_grad(self, u: Array, width: float = 0.0) -> Array: ...
    def cost(self, u: Array, width: float = 0.0) -> Array: ...
    def cost_grad(self, u: Array, width: float = 0.0) -> Array: ...
    def cells(self, width: float, reach: float) -> PriorCells: ...


def comparator_cells(prior: _Curves, width: float, *, per_side: int = 8) -> PriorCells:
    """Tabulate the cells of a prior with the cost lam abs(u): comparators at +-u0, and the sign of u.

    The code's table is the exact integral of the comparator's between any two knots, so that the pair stays a
    gradient: the mean gate over a segment is the slope of s there.
    """
    # two knots a side suffice for the sign's corner at 0: its table is odd, and noise crosses it fast
    sign = Table(
        np.array([-3.0, -1.8, 1.8, 3.0]) * width,
        prior.cost_grad(np.array([-40.0, -40.0, 40.0, 40.0]) * width, width),
    )
    code, gate = _code_tables(prior, width, per_side)
    return PriorCells(code, gate, sign)


def _code_tables(prior: _Curves, width: float, per_side: int = 8) -> tuple[Table, Table] | tuple[None, None]:
    """Return the tables of the code and of its gate; None if the code is u itself."""
    if prior.signed and not prior.sparse:
        return None, None
    u0 = prior.threshold
    knots = crowded_knots(np.array([-u0, u0]), width, per_side=per_side)
    gate = _saturated(tabulate(lambda u: prior.latent_grad(u, width), knots), prior, width)
    return _integral(gate, prior, width), gate


def cost_cells(prior: _Curves, width: float, reach: float, *, symmetric: bool) -> PriorCells:
    r"""Tabulate the cells of a prior with a smooth cost: f = c'(u) up to abs(u) = reach, flat beyond.

    The knots stand where f bends, at equal shares of :math:`\int |f''/\epsilon|^{1/2} du`, and the values there are such
    that the table's integral is the cost (an interpolant's errors would add up). The error :math:`\epsilon` is 1e-3 of
    abs(f), or of the largest abs(f) where the cost is within 10 of its least (above, it grows with the cost). If that
    takes more than 60 knots, there are 60: for Cauchy and square-root costs over a reach of 50 to 200 slabs they give
    2e-3 to 4e-3.

    Parameters
    ----------
    prior : Prior
    width : float
        Width of the comparators, in model units.
    reach : float
        In model units.
    symmetric : bool
        Whether f is odd; then the table is, to the last bit.
    """
    # fine enough for the narrowest feature: a comparator, or the cost's own bend
    fine = 0.1 * min(width, 1.0 / np.sqrt(prior.curvature)) if prior.curvature > 0 else 0.1 * width
    grid = fine * np.sinh(np.linspace(0, np.arcsinh(reach / fine), 20_001))
    if not symmetric:
        grid = np.concatenate([-grid[:0:-1], grid])
    force, cost = np.asarray(prior.cost_grad(grid, width)), np.asarray(prior.cost(grid, width))
    above = (cost - cost.min()) / MATTERS
    error = ERROR * np.maximum(np.abs(force), np.abs(force[above < 1]).max()) * np.maximum(above, 1)
    share = np.sqrt(np.abs(np.gradient(np.gradient(force, grid), grid)) / error)
    bend = np.concatenate([[0.0], np.cumsum(np.diff(grid) * (share[1:] + share[:-1]) / 2)])
    # a little for length: where f is straight, knots must still come one after the other
    bend += 1e-3 * (1 + bend[-1]) * (grid - grid[0]) / (grid[-1] - grid[0])
    for n in range(4, MOST_KNOTS // (2 if symmetric else 1), 2):
        knots = np.interp(np.linspace(0, bend[-1], n), bend, grid)
        values = _same_integral(knots, np.interp(knots, grid, force), np.interp(knots, grid, cost))
        if (np.abs(np.interp(grid, knots, values) - force) < error).all():
            break
    if symmetric:
        values[0] = 0.0
        knots, values = np.concatenate([-knots[:0:-1], knots]), np.concatenate([-values[:0:-1], values])
    # a flat segment at each end: beyond it c' stays what it is
    knots = np.concatenate([[knots[0] - width], knots, [knots[-1] + width]])
    code, gate = _code_tables(prior, width)
    return PriorCells(code, gate, Table(knots, np.concatenate([values[:1], values, values[-1:]])))


def _same_integral(knots: Array, values: Array, integral: Array) -> Array:
    """Return a table's values moved so that its integral is the given one, to the next order of the spacing."""
    # what the trapezoid rule has too much in each cell, per length: taken from both of its knots
    excess = (values[1:] + values[:-1]) / 2 - np.diff(integral) / np.diff(knots)
    around = np.concatenate([excess[:1], excess, excess[-1:]])
    return np.asarray(values - (around[1:] + around[:-1]) / 2)


def _saturated(gate: Table, prior: _Curves, width: float) -> Table:
    """Return a comparator's table that ends in flat segments, and so stays flat however large u becomes."""
    knots = np.concatenate([[gate.knots[0] - width], gate.knots, [gate.knots[-1] + width]])
    low, high = prior.latent_grad(np.array([knots[0], knots[-1]]) + np.array([-40.0, 40.0]) * width, width)
    return Table(knots, np.concatenate([[low, low], gate.values[1:-1], [high, high]]))


def _integral(gate: Table, prior: _Curves, width: float) -> Table:
    """Return the code's table as the integral of the comparator's, so that the pair stays a gradient."""
    rise = np.diff(gate.knots) * (gate.values[1:] + gate.values[:-1]) / 2
    s = np.concatenate([[0.0], np.cumsum(rise)])
    if prior.signed:
        s -= (s[0] + s[-1]) / 2  # odd
    else:
        s += prior.latent(gate.knots[:1], width)  # exact far from the corners; 1e-3 w at most inside
    return Table(gate.knots, s)


def rectified_cells(prior: _Curves, width: float, reach: float, strongest: float) -> PriorCells:
    r"""Return the cells of nonnegative codes in a circuit without noise: s = u, and a rectifier at u = 0.

    .. math:: c'(u) = C'(u) \quad (u > 0), \qquad c'(u) = C'(0^+) + \frac{e_{max}}{w}\,u \quad (u < 0)

    The sampler's s = abs(u) has a saddle at u = 0 that nothing leaves without noise; a rectifier keeps the problem convex
    where the cost is. What pulls a latent below zero, at most e_max, moves it by w at most.

    Parameters
    ----------
    prior : Prior
        Of nonnegative codes.
    width : float
        w, in model units.
    reach : float
        Largest u of the tables, in model units.
    strongest : float
        e_max, the largest gradient, in 1/(model unit).
    """
    table = prior.cells(width, reach).prior
    assert table is not None
    far = table.knots > 4 * width  # where abs(u) is u
    at_zero = float(prior.cost_grad(np.array([1e-9 * width]))[0])
    if not far.any():  # C' is constant
        knots, values = np.array([width, 2 * width]), np.full(2, table.values[-1])
    else:
        knots, values = table.knots[far], table.values[far]
    return PriorCells(
        None,
        None,
        Table(np.concatenate([[-2 * width, 0.0], knots]), np.concatenate([[at_zero - 2 * strongest, at_zero], values])),
    )
