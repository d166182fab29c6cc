r"""Cells whose threshold, rate and noise level are voltages: what a circuit needs that learns its prior and its noise.

With :math:`v = a_w(u) - u_0` (nonnegative codes) or :math:`v_\pm = \pm u - u_0` (signed ones), f a
rounded ramp and g its slope,

.. math:: s = f(v), \quad \mathrm{drift} = -\left[ g(v)\,a_w'(u)\,e + \lambda\,a_w'(u) \right]
          \qquad\text{or}\qquad s = f(v_+) - f(v_-), \quad
          \mathrm{drift} = -\left[ (g(v_+) + g(v_-))\,e + \lambda\,a_w'(u) \right]

Fang et al. 2022, eqs. (3.9), (3.13), (2.9), (2.10), corrected (docs/learning.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from PySpice.Spice.Netlist import SubCircuit

from circuitlsc.circuit.cells.base import Cell, Wires, number
from circuitlsc.circuit.cells.plastic import Slow
from circuitlsc.io.arrays import Array
from circuitlsc.model.piecewise_linear import Table, crowded_knots
from circuitlsc.planning.scaling import Scaling

LEAST = 1e-3  # of a unit: what a divisor is kept above


class ThresholdVoltage(Slow):
    """The threshold u0 as a capacitor's voltage."""

    quantity = "u0"
    definition = "lsc_u0"
    what = "threshold u0"


class SparsityVoltage(Slow):
    """The sparsity -log(pi) as a capacitor's voltage: with lam that moves too, u0 = -log(pi)/lam is no state of its own."""

    quantity = "logpi"
    definition = "lsc_sparsity"
    what = "sparsity -log(pi)"


class RateVoltage(Slow):
    """The slab's rate lam as a capacitor's voltage."""

    quantity = "lam"
    definition = "lsc_lam"
    what = "rate lam"


class NoiseVoltage(Slow):
    """The noise level sigma as a capacitor's voltage."""

    quantity = "sigma"
    definition = "lsc_sigma"
    what = "noise level sigma"


@dataclass(frozen=True, eq=False)
class Corner:
    """Tables of a rounded ramp f and its slope g at 0, of a_w(u) and its slope, for one width.

    The mean of g's table between any two knots is f's slope there, so that the drift stays a gradient. The current of the
    prior is content with a coarser a_w' than a_w itself: the two differ within 3 widths of u = 0, where g is closed
    unless u0 is as small.

    Attributes
    ----------
    code, gate, size, sign : Table
        f, g, a_w, a_w'.
    signed : bool
        Whether codes may be negative.
    """

    code: Table
    gate: Table
    size: Table
    sign: Table
    signed: bool

    def values(self, u: Array, u0: Array) -> _Values:
        """Return the code, what the rules need, and the slopes of the tables at u (..., n_latents), u0 (..., 1)."""
        sign, bend = self.sign.with_slope(u)
        if not self.signed:
            a, da = self.size.with_slope(u)
            code, gate = (_Slopes.of(table, a - u0, da) for table in (self.code, self.gate))
            force = _Slopes(gate.value * sign, gate.u * sign + gate.value * bend, gate.u0 * sign)
            return _Values(code, code, force, gate, gate, sign, bend)
        (f, f_below), (g, g_below) = (
            (_Slopes.of(table, u - u0, 1.0), _Slopes.of(table, -u - u0, -1.0)) for table in (self.code, self.gate)
        )
        code, push, on = f.plus(f_below, -1.0), g.plus(g_below, -1.0), g.plus(g_below)
        return _Values(code, f.plus(f_below), on, push, on, sign, bend)

    def spice(self, what: str, scaling: Scaling, unit: float) -> str:
        """Return an expression of V(u), V(u0): ``"code"``, ``"size"`` (abs(s)), ``"force"`` (ds/du), ``"on"``, ``"push"``."""
        table = self.code if what in ("code", "size") else self.gate
        if not self.signed:
            magnitude = self.size.spice("u", scaling.volt, scaling.volt)
            expression = table.spice_of(f"{magnitude}-V(u0)", scaling.volt, unit)
            return f"{expression}*{self.sign.spice('u', scaling.volt, 1.0)}" if what == "force" else expression
        above = table.spice_of("V(u)-V(u0)", scaling.volt, unit)
        below = table.spice_of("-V(u)-V(u0)", scaling.volt, unit)
        return f"({above}{'-' if what in ('code', 'push') else '+'}{below})"


class _Slopes(NamedTuple):
    """A function of u and u0, and its slopes: those of its tables, which Newton's iteration needs."""

    value: Array
    u: Array
    u0: Array

    @classmethod
    def of(cls, table: Table, v: Array, dv: Array | float) -> _Slopes:
        """Return a table at v(u) - u0, with dv the slope of v."""
        value, slope = table.with_slope(v)
        return cls(value, slope * dv, -slope)

    def plus(self, other: _Slopes, factor: float = 1.0) -> _Slopes:
        """Return the sum with ``factor`` times another function."""
        return _Slopes(*(a + factor * b for a, b in zip(self, other, strict=True)))


class _Values(NamedTuple):
    s: _Slopes
    size: _Slopes  # abs(s)
    force: _Slopes  # what e is multiplied by, ds/du
    push: _Slopes  # what e is multiplied by in the rule of u0, -ds/du0
    on: _Slopes  # the smooth indicator of an active latent
    sign: Array
    bend: Array


def corner(width: float, *, signed: bool, per_side: int = 8) -> Corner:
    """Tabulate the cells for comparators of input width ``width``, in model units."""
    knots = crowded_knots(np.zeros(1), width, per_side=per_side)
    gate = _flat_ends(knots, 1 / (1 + np.exp(-knots / width)), 0.0, 1.0, width)
    # as for the fixed prior: two knots a side do for a corner that noise crosses fast
    sign = Table(np.array([-3.0, -1.8, 1.8, 3.0]) * width, np.array([-1.0, -1.0, 1.0, 1.0]))
    around = crowded_knots(np.zeros(1), width, per_side=4, span=6.0)
    size = _integral(_flat_ends(around, np.tanh(around / width), -1.0, 1.0, width))
    size = Table(size.knots, size.values + (size.knots[-1] - size.values[-1]))  # abs(u) far from 0
    return Corner(_integral(gate), gate, size, sign, signed)


def _flat_ends(knots: Array, values: Array, low: float, high: float, width: float) -> Table:
    knots = np.concatenate([[knots[0] - width], knots, [knots[-1] + width]])
    return Table(knots, np.concatenate([[low, low], values[1:-1], [high, high]]))


def _integral(slope: Table) -> Table:
    """Return the table whose mean slope between two knots is that of ``slope``'s table, 0 at its first knot."""
    rise = np.diff(slope.knots) * (slope.values[1:] + slope.values[:-1]) / 2
    return Table(slope.knots, np.concatenate([[0.0], np.cumsum(rise)]))


@dataclass(frozen=True, eq=False)
class AdaptiveThreshold(Cell):
    """The code s of u and of a threshold that moves.

    Parameters
    ----------
    corner : Corner
    """

    corner: Corner

    quantity = "s"
    ports = ("u", "u0")
    definition = "lsc_threshold"

    def respond(self, inputs: Mapping[str, Array]) -> tuple[Array, dict[str, Array]]:
        """Return s, shape (..., n_latents), ds/du and ds/du0."""
        s = self.corner.values(inputs["u"], inputs["u0"]).s
        return s.value, {"u": s.u, "u0": s.u0}

    def subcircuits(self, scaling: Scaling) -> tuple[SubCircuit, ...]:
        """Return ``lsc_threshold u u0 s``."""
        cell = self.defined("threshold: V(s) = s(V(u), V(u0))", "u", "u0", "s")
        cell.B("s", 0, "s", current_expression=self.corner.spice("code", scaling, scaling.volt / scaling.r_node))
        cell.R("s", "s", 0, number(scaling.r_node))
        return (cell,)


@dataclass(frozen=True, eq=False)
class AdaptiveGate(Cell):
    """The force on a neuron with a threshold that moves, and a rate that may.

    Parameters
    ----------
    corner : Corner
    lam : float or None
        The rate, if it is fixed; None takes it from the port ``lam``.
    apart : bool
        Whether the force acts on another node than u (on what is written into a memory).
    """

    corner: Corner
    lam: float | None
    apart: bool = field(default=False, kw_only=True)

    definition = "lsc_gate"

    @property
    def ports(self) -> tuple[str, ...]:  # type: ignore[override]
        """Names of the inputs."""
        return ("u", "e", "u0") if self.lam is not None else ("u", "e", "u0", "lam")

    def respond(self, inputs: Mapping[str, Array]) -> tuple[Array, dict[str, Array]]:
        """Return the drift, units per tau, and its derivatives."""
        e, lam = inputs["e"], inputs["lam"] if self.lam is None else np.full(1, self.lam)
        v = self.corner.values(inputs["u"], inputs["u0"])
        partials = {"u": -(v.force.u * e + lam * v.bend), "e": -v.force.value, "u0": -v.force.u0 * e}
        if self.lam is None:
            partials["lam"] = -v.sign
        return -(v.force.value * e + lam * v.sign), partials

    def subcircuits(self, scaling: Scaling) -> tuple[SubCircuit, ...]:
        """Return ``lsc_gate u e u0 (lam)``: a current out of u."""
        on = "p" if self.apart else "u"
        text = f"comparator gate: drift current -(ds/du e + lam sign(u)) into {on}"
        cell = self.defined(text, *self.ports, *("p" * self.apart))
        per_volt_e = scaling.drift_current / scaling.volt_e
        force = self.corner.spice("force", scaling, per_volt_e)
        sign = self.corner.sign
        if self.lam is None:
            prior = f"V(lam)*{sign.spice('u', scaling.volt, scaling.drift_current / scaling.volt)}"
        else:
            prior = sign.spice("u", scaling.volt, self.lam * scaling.drift_current)
        cell.B("g", on, 0, current_expression=f"{prior}+V(e)*{force}")
        return (cell,)

    def pins(self, wires: Wires) -> tuple[tuple[str, ...], ...]:
        """Return the inputs: the current leaves u, or the node that is apart."""
        return super().pins(wires)[: len(self.ports) + self.apart]


class Precision(Cell):
    """The residual over the noise's variance, q = r/sigma^2: one divider per pixel, before the crossbar that goes back."""

    quantity = "q"
    ports = ("r", "sigma")
    definition = "lsc_precision"

    def respond(self, inputs: Mapping[str, Array]) -> tuple[Array, dict[str, Array]]:
        """Return q, shape (..., D), dq/dr and dq/dsigma."""
        r, sigma = inputs["r"], np.maximum(inputs["sigma"], LEAST)
        return r / sigma**2, {"r": np.broadcast_to(sigma**-2.0, r.shape), "sigma": -2 * r / sigma**3}

    def subcircuits(self, scaling: Scaling) -> tuple[SubCircuit, ...]:
        """Return ``lsc_precision r sigma q``."""
        cell = self.defined("divider: V(q) = V(r)/V(sigma)^2, in units", "r", "sigma", "q")
        unit = number(scaling.volt_e / scaling.volt_r * scaling.volt**2 / scaling.r_node)
        cell.B("q", 0, "q", current_expression=f"{unit!r}*V(r)/max(V(sigma),{number(LEAST * scaling.volt)!r})**2")
        cell.R("q", "q", 0, number(scaling.r_node))
        return (cell,)


@dataclass(frozen=True, eq=False)
class Follower(Cell):
    r"""A threshold that follows the rate: :math:`u_0 = -\log(\pi)/\lambda`.

    Parameters
    ----------
    pi : float or None
        P(active), if it is held; None takes -log(pi) from the port ``logpi``.
    """

    pi: float | None

    quantity = "u0"
    definition = "lsc_follower"

    @property
    def ports(self) -> tuple[str, ...]:  # type: ignore[override]
        """Names of the inputs."""
        return ("lam",) if self.pi is not None else ("lam", "logpi")

    def respond(self, inputs: Mapping[str, Array]) -> tuple[Array, dict[str, Array]]:
        """Return u0, shape (..., 1), du0/dlam and du0/d(-log pi)."""
        lam = np.maximum(inputs["lam"], LEAST)
        sparsity = inputs["logpi"] if self.pi is None else np.full(1, -np.log(self.pi))
        partials = {"lam": -sparsity / lam**2}
        return np.asarray(sparsity / lam), partials if self.pi is not None else {**partials, "logpi": 1 / lam}

    def subcircuits(self, scaling: Scaling) -> tuple[SubCircuit, ...]:
        """Return ``lsc_follower lam (logpi) u0``."""
        cell = self.defined("divider: V(u0) = -log(pi)/lam, in units", *self.ports, "u0")
        if self.pi is None:
            above = f"{number(scaling.volt / scaling.r_node)!r}*V(logpi)"
        else:
            above = f"{number(-np.log(self.pi) * scaling.volt**2 / scaling.r_node)!r}"
        cell.B("u", 0, "u0", current_expression=f"{above}/max(V(lam),{number(LEAST * scaling.volt)!r})")
        cell.R("u", "u0", 0, number(scaling.r_node))
        return (cell,)

    def element(self, i: int) -> str:
        """Return the name of the one divider."""
        return self.name
