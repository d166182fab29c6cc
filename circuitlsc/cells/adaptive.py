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
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from PySpice.Spice.Netlist import Netlist, SubCircuit

from circuitlsc.arrays import Array
from circuitlsc.cells.base import Cell, Wires, described, number
from circuitlsc.cells.plastic import Slow
from circuitlsc.tables import Table, crowded_knots

if TYPE_CHECKING:
    from circuitlsc.scaling import Scaling

LEAST = 1e-3  # of a unit: what a divisor is kept above


class ThresholdVoltage(Slow):
    """The threshold u0 as a capacitor's voltage."""

    quantity = "u0"
    subcircuit_name = "lsc_u0"
    what = "threshold u0"


class RateVoltage(Slow):
    """The slab's rate lam as a capacitor's voltage."""

    quantity = "lam"
    subcircuit_name = "lsc_lam"
    what = "rate lam"


class NoiseVoltage(Slow):
    """The noise level sigma as a capacitor's voltage."""

    quantity = "sigma"
    subcircuit_name = "lsc_sigma"
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
            (f, df), (g, dg) = self.code.with_slope(a - u0), self.gate.with_slope(a - u0)
            code, gate = _Slopes(f, df * da, -df), _Slopes(g, dg * da, -dg)
            force = _Slopes(g * sign, dg * da * sign + g * bend, -dg * sign)
            return _Values(code, code, force, gate, gate, sign, bend)
        (f1, df1), (f2, df2) = self.code.with_slope(u - u0), self.code.with_slope(-u - u0)
        (g1, dg1), (g2, dg2) = self.gate.with_slope(u - u0), self.gate.with_slope(-u - u0)
        return _Values(
            s=_Slopes(f1 - f2, df1 + df2, df2 - df1),
            size=_Slopes(f1 + f2, df1 - df2, -df1 - df2),
            force=_Slopes(g1 + g2, dg1 - dg2, -dg1 - dg2),
            push=_Slopes(g1 - g2, dg1 + dg2, dg2 - dg1),
            on=_Slopes(g1 + g2, dg1 - dg2, -dg1 - dg2),
            sign=sign,
            bend=bend,
        )

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


@dataclass(frozen=True)
class _Slopes:
    """A function of u and u0, and its slopes: those of its tables, which Newton's iteration needs."""

    value: Array
    u: Array
    u0: Array


@dataclass(frozen=True)
class _Values:
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

    def evaluate(self, inputs: Mapping[str, Array]) -> Array:
        """Return s, shape (..., n_latents)."""
        return self.corner.values(inputs["u"], inputs["u0"]).s.value

    def partials(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Return ds/du and ds/du0."""
        s = self.corner.values(inputs["u"], inputs["u0"]).s
        return {"u": s.u, "u0": s.u0}

    def subcircuits(self, scaling: Scaling) -> tuple[SubCircuit, ...]:
        """Return ``lsc_threshold u u0 s``."""
        cell = described(SubCircuit("lsc_threshold", "u", "u0", "s"), "threshold: V(s) = s(V(u), V(u0))")
        cell.B("s", 0, "s", current_expression=self.corner.spice("code", scaling, scaling.volt / scaling.r_node))
        cell.R("s", "s", 0, number(scaling.r_node))
        return (cell,)

    def emit(self, netlist: Netlist, wires: Wires, scaling: Scaling) -> None:
        """Add one threshold cell per latent."""
        (u0,) = wires.inputs["u0"]
        for i, (u, s) in enumerate(zip(wires.inputs["u"], self.nodes, strict=True)):
            netlist.X(f"{self.name}_{i}", "lsc_threshold", u, u0, s)


@dataclass(frozen=True, eq=False)
class AdaptiveGate(Cell):
    """The force on a neuron with a threshold that moves, and a rate that may.

    Parameters
    ----------
    corner : Corner
    lam : float or None
        The rate, if it is fixed; None takes it from the port ``lam``.
    """

    corner: Corner
    lam: float | None

    @property
    def ports(self) -> tuple[str, ...]:  # type: ignore[override]
        """Names of the inputs."""
        return ("u", "e", "u0") if self.lam is not None else ("u", "e", "u0", "lam")

    def evaluate(self, inputs: Mapping[str, Array]) -> Array:
        """Return the drift, units per tau."""
        return self.respond(inputs)[0]

    def partials(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Return d(drift) by port."""
        return self.respond(inputs)[1]

    def respond(self, inputs: Mapping[str, Array]) -> tuple[Array, dict[str, Array]]:
        """Return both."""
        e, lam = inputs["e"], inputs["lam"] if self.lam is None else np.full(1, self.lam)
        v = self.corner.values(inputs["u"], inputs["u0"])
        partials = {"u": -(v.force.u * e + lam * v.bend), "e": -v.force.value, "u0": -v.force.u0 * e}
        if self.lam is None:
            partials["lam"] = -v.sign
        return -(v.force.value * e + lam * v.sign), partials

    def subcircuits(self, scaling: Scaling) -> tuple[SubCircuit, ...]:
        """Return ``lsc_gate u e u0 (lam)``: a current out of u."""
        cell = described(
            SubCircuit("lsc_gate", *self.ports), "comparator gate: drift current -(ds/du e + lam sign(u)) into u"
        )
        per_volt_e = scaling.drift_current / scaling.volt_e
        force = self.corner.spice("force", scaling, per_volt_e)
        sign = self.corner.sign
        if self.lam is None:
            prior = f"V(lam)*{sign.spice('u', scaling.volt, scaling.drift_current / scaling.volt)}"
        else:
            prior = sign.spice("u", scaling.volt, self.lam * scaling.drift_current)
        cell.B("g", "u", 0, current_expression=f"{prior}+V(e)*{force}")
        return (cell,)

    def emit(self, netlist: Netlist, wires: Wires, scaling: Scaling) -> None:
        """Add one gate per latent."""
        shared = [wires.inputs[p][0] for p in self.ports[2:]]
        for i, (u, e) in enumerate(zip(wires.inputs["u"], wires.inputs["e"], strict=True)):
            netlist.X(f"{self.name}_{i}", "lsc_gate", u, e, *shared)


@dataclass(frozen=True, eq=False)
class Rule(Cell):
    """A current into a slow variable's capacitor: a sum of one term per latent or pixel, and one of its own."""

    linear = True

    def evaluate(self, inputs: Mapping[str, Array]) -> Array:
        """Return the drift, shape (..., 1)."""
        return self.respond(inputs)[0]

    def partials(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Return matrices (..., 1, n) by port."""
        return self.respond(inputs)[1]

    #: ports with one node for each term, then those that all terms share
    each: ClassVar[tuple[str, ...]] = ()
    shared: ClassVar[tuple[str, ...]] = ()

    def emit(self, netlist: Netlist, wires: Wires, scaling: Scaling) -> None:
        """Add one term per latent or pixel."""
        common = [wires.inputs[p][0] for p in self.shared]
        for i, nodes in enumerate(zip(*(wires.inputs[p] for p in self.each), strict=True)):
            netlist.X(f"{self.name}_{i}", f"lsc_{self.name}", wires.output[0], *nodes, *common)


@dataclass(frozen=True, eq=False)
class ThresholdRule(Rule):
    r"""The drift of u0: :math:`-\partial E/\partial u_0 = \sum_i e_i\,1(s_i > 0)` (signed: :math:`e_i\,\mathrm{sign}(s_i)`).

    Fang et al. 2022, eq. (3.13), with the 1/sigma^2 that it drops (e has it).

    Parameters
    ----------
    corner : Corner
    """

    corner: Corner

    each = ("u", "e")
    shared = ("u0",)
    ports = (*each, *shared)

    def respond(self, inputs: Mapping[str, Array]) -> tuple[Array, dict[str, Array]]:
        """Return the drift and its derivatives."""
        e, push = inputs["e"], self.corner.values(inputs["u"], inputs["u0"]).push
        partials = {
            "u": (push.u * e)[..., None, :],
            "e": push.value[..., None, :],
            "u0": (push.u0 * e).sum(-1)[..., None, None],
        }
        return (push.value * e).sum(-1, keepdims=True), partials

    def subcircuits(self, scaling: Scaling) -> tuple[SubCircuit, ...]:
        """Return ``lsc_<name> out u e u0``."""
        cell = described(
            SubCircuit(f"lsc_{self.name}", "out", *self.ports), "threshold rule: current e 1(s > 0) into u0"
        )
        push = self.corner.spice("push", scaling, scaling.drift_current / scaling.volt_e)
        cell.B("r", 0, "out", current_expression=f"V(e)*{push}")
        return (cell,)


@dataclass(frozen=True, eq=False)
class RateRule(Rule):
    r"""The drift of lam with pi held: :math:`\sum_{i\,\mathrm{active}} (1/\lambda - |s_i|)`.

    Fang et al. 2022, eq. (2.10) has the gradient at fixed u0; with u0 = -log(pi)/lam following, this is it.

    Parameters
    ----------
    corner : Corner
    """

    corner: Corner

    each = ("u",)
    shared = ("u0", "lam")
    ports = (*each, *shared)

    def respond(self, inputs: Mapping[str, Array]) -> tuple[Array, dict[str, Array]]:
        """Return the drift and its derivatives."""
        v, lam = self.corner.values(inputs["u"], inputs["u0"]), np.maximum(inputs["lam"], LEAST)
        on, size = v.on, v.size
        partials = {
            "u": (on.u / lam - size.u)[..., None, :],
            "u0": (on.u0 / lam - size.u0).sum(-1)[..., None, None],
            "lam": (-on.value / lam**2).sum(-1)[..., None, None],
        }
        return (on.value / lam - size.value).sum(-1, keepdims=True), partials

    def subcircuits(self, scaling: Scaling) -> tuple[SubCircuit, ...]:
        """Return ``lsc_<name> out u u0 lam``."""
        cell = described(
            SubCircuit(f"lsc_{self.name}", "out", *self.ports), "rate rule: current 1(s > 0) (1/lam - abs(s)) into lam"
        )
        on = self.corner.spice("on", scaling, scaling.drift_current * scaling.volt)
        size = self.corner.spice("size", scaling, scaling.drift_current)
        cell.B("r", 0, "out", current_expression=f"{on}/max(V(lam),{number(LEAST * scaling.volt)!r})-{size}")
        return (cell,)


@dataclass(frozen=True, eq=False)
class NoiseRule(Rule):
    r"""The drift of sigma: :math:`|x - A s|^2 / D - \sigma^2`, which is 0 where sigma is right.

    Fang et al. 2022, eq. (2.9), times sigma^3/D: the same resting point without a division.
    """

    n_features: int

    each = ("r",)
    shared = ("sigma",)
    ports = (*each, *shared)

    def respond(self, inputs: Mapping[str, Array]) -> tuple[Array, dict[str, Array]]:
        """Return the drift and its derivatives."""
        r, sigma = inputs["r"], inputs["sigma"]
        partials = {"r": (2 * r / self.n_features)[..., None, :], "sigma": -2 * sigma[..., None]}
        return (r**2).sum(-1, keepdims=True) / self.n_features - sigma**2, partials

    def subcircuits(self, scaling: Scaling) -> tuple[SubCircuit, ...]:
        """Return ``lsc_<name> out r sigma``: one pixel's share."""
        cell = described(
            SubCircuit(f"lsc_{self.name}", "out", *self.ports), "noise rule: current (r^2 - sigma^2)/D into sigma"
        )
        share = scaling.drift_current / self.n_features
        r, sigma = number(share / scaling.volt_r**2), number(share / scaling.volt**2)
        cell.B("r", 0, "out", current_expression=f"{r!r}*V(r)*V(r)-{sigma!r}*V(sigma)*V(sigma)")
        return (cell,)


class Precision(Cell):
    """The residual over the noise's variance, q = r/sigma^2: one divider per pixel, before the crossbar that goes back."""

    quantity = "q"
    ports = ("r", "sigma")

    def evaluate(self, inputs: Mapping[str, Array]) -> Array:
        """Return q, shape (..., D)."""
        return np.asarray(inputs["r"] / np.maximum(inputs["sigma"], LEAST) ** 2)

    def partials(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Return dq/dr and dq/dsigma."""
        r, sigma = inputs["r"], np.maximum(inputs["sigma"], LEAST)
        return {"r": np.broadcast_to(sigma**-2.0, r.shape), "sigma": -2 * r / sigma**3}

    def subcircuits(self, scaling: Scaling) -> tuple[SubCircuit, ...]:
        """Return ``lsc_precision r sigma q``."""
        cell = described(SubCircuit("lsc_precision", "r", "sigma", "q"), "divider: V(q) = V(r)/V(sigma)^2, in units")
        unit = number(scaling.volt_e / scaling.volt_r * scaling.volt**2 / scaling.r_node)
        cell.B("q", 0, "q", current_expression=f"{unit!r}*V(r)/max(V(sigma),{number(LEAST * scaling.volt)!r})**2")
        cell.R("q", "q", 0, number(scaling.r_node))
        return (cell,)

    def emit(self, netlist: Netlist, wires: Wires, scaling: Scaling) -> None:
        """Add one divider per pixel."""
        (sigma,) = wires.inputs["sigma"]
        for j, (r, q) in enumerate(zip(wires.inputs["r"], self.nodes, strict=True)):
            netlist.X(f"{self.name}_{j}", "lsc_precision", r, sigma, q)


@dataclass(frozen=True, eq=False)
class Follower(Cell):
    r"""A threshold that follows the rate, with pi held: :math:`u_0 = -\log(\pi)/\lambda`.

    Parameters
    ----------
    pi : float
    """

    pi: float

    quantity = "u0"
    ports = ("lam",)

    def evaluate(self, inputs: Mapping[str, Array]) -> Array:
        """Return u0, shape (..., 1)."""
        return np.asarray(-np.log(self.pi) / np.maximum(inputs["lam"], LEAST))

    def partials(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Return du0/dlam."""
        return {"lam": np.log(self.pi) / np.maximum(inputs["lam"], LEAST) ** 2}

    def subcircuits(self, scaling: Scaling) -> tuple[SubCircuit, ...]:
        """Return ``lsc_follower lam u0``."""
        cell = described(SubCircuit("lsc_follower", "lam", "u0"), "divider: V(u0) = -log(pi)/V(lam), in units")
        unit = number(-np.log(self.pi) * scaling.volt**2 / scaling.r_node)
        cell.B("u", 0, "u0", current_expression=f"{unit!r}/max(V(lam),{number(LEAST * scaling.volt)!r})")
        cell.R("u", "u0", 0, number(scaling.r_node))
        return (cell,)

    def emit(self, netlist: Netlist, wires: Wires, scaling: Scaling) -> None:
        """Add the one divider."""
        netlist.X(self.name, "lsc_follower", wires.inputs["lam"][0], self.nodes[0])
