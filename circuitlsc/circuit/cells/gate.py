r"""Comparator gate: the force -(g(u) e + c'(u)) on a neuron, from the gradient e, as a current."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from PySpice.Spice.Netlist import SubCircuit
from scipy.optimize import brentq

from circuitlsc.circuit.cells.base import Cell, State, Wires, number
from circuitlsc.io.arrays import Array
from circuitlsc.model.piecewise_linear import Table
from circuitlsc.nonideal.hardware import Hardware
from circuitlsc.planning.scaling import Scaling


@dataclass(frozen=True, eq=False)
class Gate(Cell):
    r"""Drift of the state: likelihood through the comparator, plus the prior.

    .. math:: \mathrm{drift}_i = -\left[ s_w'(u_i)\, e_i + c_w'(u_i) \right]

    Fang et al. 2022, eq. (3.9), corrected: the sign of u and 1/sigma^2 act on the likelihood's force too.

    Parameters
    ----------
    comparator : Table or None
        ds/du against u; None for a prior whose code is u itself (the gate is 1, and linear).
    prior : Table or None
        c'(u) against u; None for a quadratic cost.
    stiffness : float
        c'(u)/u of a quadratic cost (1/sd^2); 0 if ``prior`` is a table.
    apart : bool
        Whether the force acts on another node than u (on the momentum p).
    """

    comparator: Table | None
    prior: Table | None
    stiffness: float = 0.0
    apart: bool = field(default=False, kw_only=True)

    ports = ("u", "e")
    definition = "lsc_gate"

    @property
    def errors(self) -> tuple[Array | float, ...]:
        """Offset of u, gain and offset of e, and the prior's factor, model units; what an ideal gate has."""
        return 0.0, 1.0, 0.0, 1.0

    @property
    def _on(self) -> str:
        """The pin that the force acts on."""
        return "p" if self.apart else "u"

    def pins(self, wires: Wires) -> tuple[tuple[str, ...], ...]:
        """Return u, e, and the momentum if the force acts on it."""
        return super().pins(wires)[: 3 if self.apart else 2]

    def respond(self, inputs: Mapping[str, Array]) -> tuple[Array, dict[str, Array]]:
        """Return the drift, units per tau, d(drift)/du at fixed e and d(drift)/de, with one search in each table."""
        offset, gain, shift, factor = self.errors
        u, e = inputs["u"], gain * (inputs["e"] + shift)
        cost, bend = (self.stiffness * u, self.stiffness) if self.prior is None else self.prior.with_slope(u)
        gate, steep = (1.0, 0.0) if self.comparator is None else self.comparator.with_slope(u + offset)
        return -(e * gate + factor * cost), {"u": -(factor * bend + e * steep), "e": -gain * gate * np.ones_like(e)}

    def subcircuits(self, scaling: Scaling) -> tuple[SubCircuit, ...]:
        """Return ``lsc_gate u e``: a current out of node u (or p) that depends on V(u) and V(e)."""
        on = self._on
        force = "force: drift current -(e" if self.comparator is None else "comparator gate: drift current -(s'(u) e"
        prior = "c'(u)" if self.prior is not None else f"{number(self.stiffness)!r} u"
        cell = self.defined(f"{force} + {prior}) into {on}", "u", "e", *("p" * self.apart))
        per_volt_e = scaling.drift_current / scaling.volt_e
        terms = []
        if self.prior is not None:
            terms.append(self.prior.spice("u", scaling.volt, scaling.drift_current))
        if self.comparator is not None:
            terms.append(f"V(e)*{self.comparator.spice('u', scaling.volt, per_volt_e)}")
        if terms:
            cell.B("g", on, 0, current_expression="+".join(terms))
        if self.comparator is None:
            cell.VCCS("e", on, 0, "e", 0, number(per_volt_e))
        if self.prior is None:
            cell.VCCS("p", on, 0, "u", 0, number(scaling.drift_current / scaling.volt * self.stiffness))
        return (cell,)


# tau: how long a comparator's output takes to move its threshold. A faster one makes the implicit step ambiguous (two
# stable outputs within a step): at 0.001 tau ngspice rejected more points than it took
REGENERATION = 0.05
R_LAG = 1e6  # ohm


def _feedback(distance: float, width: float) -> float:
    """Return the feedback k that sets the thresholds of a logistic of input width w ``distance`` apart; same units."""

    def reached(k: float) -> float:
        r = np.sqrt(1 - 4 * width / k)
        return float(k * r - 2 * width * np.log((1 + r) / (1 - r)))

    low = 4 * width * (1 + 1e-12)
    return float(brentq(lambda k: reached(k) - distance, low, 2 * distance + 20 * width))


@dataclass(frozen=True, eq=False)
class DeviceGate(Gate):
    r"""The gate with what real comparators and multipliers do.

    .. math:: \mathrm{drift}_i = -\left[ (1+\epsilon_i)\, g(u_i + o_i)\, (e_i + \delta_i) + (1+\lambda_i)\, c'(u_i) \right]

    Offset o, multiplier gain error epsilon and offset delta, error of the prior's current. Hysteresis is positive feedback
    of the comparator's output k (g - 1/2) into its input; it flips where the loop gain reaches 1, and k follows from the
    distance that the two thresholds shall have,

    .. math:: \Delta = k r - 2 w \log\frac{1 + r}{1 - r}, \qquad r = \sqrt{1 - 4 w/k}

    So a comparator with any hysteresis is a switch (k > 4 w), however wide its input is without. The threshold follows
    the output with the time constant ``comparator.regeneration``. A delay is a first-order lag of the gate's signal.

    *What it does to the posterior.* An error lam_i of the prior's current adds lam_i c(u_i) to the energy; an offset delta
    of the multiplier adds delta_i s_i. A gate offset that differs from the threshold cell's makes the drift no gradient
    any more: there is no energy to add to.

    Parameters
    ----------
    hardware : Hardware
    """

    hardware: Hardware = field(kw_only=True)

    @cached_property
    def draws(self) -> tuple[Array, Array, Array, Array]:
        """Comparator offset (V), multiplier gain, multiplier offset (V), prior's factor; each (size,)."""
        parts, names = self.hardware.parts, self.elements
        return (
            parts.normals(names, "offset", parts.comparator.gate_offset),
            parts.factors(names, "multiplier_gain", parts.multiplier.gain_error),
            parts.normals(names, "multiplier_offset", parts.multiplier.offset),
            (1 + parts.prior.lam_error) * parts.factors(names, "lam", parts.prior.lam_mismatch),
        )

    @property
    def errors(self) -> tuple[Array | float, ...]:
        """The draws in model units; delay and hysteresis are not in the NumPy form."""
        offset, gain, shift, factor = self.draws
        return offset / self.hardware.scaling.volt, gain, shift / self.hardware.scaling.volt_e, factor

    @property
    def lag(self) -> float:
        """Seconds by which the comparator's signal lags; 0 if it follows at once."""
        return 0.0 if self.comparator is None else self.hardware.parts.comparator.delay

    @property
    def memory(self) -> float:
        """Seconds after which the comparator's output has moved its threshold; 0 without hysteresis."""
        if self.comparator is None or self.hardware.parts.comparator.hysteresis == 0:
            return 0.0
        return self.hardware.parts.comparator.regeneration or REGENERATION * self.hardware.scaling.tau

    def subcircuits(self, scaling: Scaling) -> tuple[SubCircuit, ...]:
        """Return ``lsc_gate u e`` with its errors as parameters."""
        text = f"comparator gate: drift current -(gain s'(u + vos) (e + e_os) + prior c'(u)) into {self._on}"
        cell = self.defined(text, "u", "e", *("p" * self.apart), vos=0.0, gain=1.0, e_os=0.0, prior=1.0)
        per_volt_e = scaling.drift_current / scaling.volt_e
        prior = (
            f"V(u)*{number(scaling.drift_current / scaling.volt * self.stiffness)!r}"
            if self.prior is None
            else self.prior.spice("u", scaling.volt, scaling.drift_current)
        )
        e = "{gain}*(V(e)+{e_os})"
        if self.comparator is None:
            force = f"{e}*{number(per_volt_e)!r}"
        elif self.lag == self.memory == 0:
            force = f"{e}*{self.comparator.spice_of('V(u)+{vos}', scaling.volt, per_volt_e)}"
        else:
            signal = self.comparator.spice_of(self._input(scaling), scaling.volt, 1 / R_LAG)
            for node, seconds in self._lags:
                cell.B(f"c{node}", 0, node, current_expression=signal)
                cell.R(node, node, 0, R_LAG)
                if seconds > 0:
                    cell.C(node, node, 0, number(seconds / R_LAG), initial_condition=0.0)
            force = f"{e}*V(g)*{number(per_volt_e)!r}"
        cell.B("g", self._on, 0, current_expression=f"{{prior}}*{prior}+{force}")
        return (cell,)

    @property
    def _lags(self) -> list[tuple[str, float]]:
        """Inner nodes that carry the comparator's signal, each with its lag: the gate's g, the memory m."""
        return [("g", self.lag), *([("m", self.memory)] if self.memory > 0 else [])]

    def _input(self, scaling: Scaling) -> str:
        """Return the comparator's input: u, moved by its own output if there is hysteresis."""
        distance = self.hardware.parts.comparator.hysteresis / scaling.volt
        if distance == 0:
            return "V(u)+{vos}"
        assert self.comparator is not None
        steepest = float(np.max(np.abs(self.comparator.slope(self.comparator.knots[:-1]))))
        side = Table(np.array([-2.0, -1.0, 1.0, 2.0]), np.array([-1.0, -1.0, 1.0, 1.0]))
        output, height = f"(2*abs(V(m))-1)*{side.spice('u', 0.05 * scaling.volt, 1.0)}", 1.0
        if np.abs(self.comparator.slope(np.zeros(1)))[0] > steepest / 2:
            output, height = "V(m)", 2.0  # one threshold, at 0, and not two at +-u0: the gate goes from -1 to 1
        half = _feedback(distance, height / (4 * steepest)) * scaling.volt / 2
        return f"V(u)+{{vos}}+{number(half)!r}*{output}"

    def parameters(self, scaling: Scaling) -> Mapping[str, Array]:
        """Return offsets, gains and the prior's factors."""
        return dict(zip(("vos", "gain", "e_os", "prior"), self.draws, strict=True))

    def states(self, scaling: Scaling) -> tuple[State, ...]:
        """Return the capacitors of the lags."""
        return tuple(
            State(f"c.x{self.name}_{i}.c{node}", f"x{self.name}_{i}.{node}")
            for i in range(self.size)
            for node, seconds in self._lags
            if self.comparator is not None and seconds > 0
        )
