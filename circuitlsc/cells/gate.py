r"""Comparator gate: the force -(g(u) e + c'(u)) on a neuron, from the gradient e, as a current."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PySpice.Spice.Netlist import Netlist, SubCircuit

from circuitlsc.arrays import Array
from circuitlsc.cells.base import Cell, Wires, described, number
from circuitlsc.cells.tables import Table

if TYPE_CHECKING:
    from circuitlsc.scaling import Scaling


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
    """

    comparator: Table | None
    prior: Table | None
    stiffness: float = 0.0

    ports = ("u", "e")

    def evaluate(self, inputs: Mapping[str, Array]) -> Array:
        """Return the drift, in units per tau."""
        u, e = inputs["u"], inputs["e"]
        force = e if self.comparator is None else e * self.comparator(u)
        return -(force + (self.stiffness * u if self.prior is None else self.prior(u)))

    def partials(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Return d(drift)/du at fixed e, and d(drift)/de."""
        u, e = inputs["u"], inputs["e"]
        du = np.full_like(u, self.stiffness) if self.prior is None else self.prior.slope(u)
        if self.comparator is None:
            return {"u": -du, "e": -np.ones_like(e)}
        return {"u": -(du + e * self.comparator.slope(u)), "e": -self.comparator(u)}

    def subcircuits(self, scaling: Scaling) -> tuple[SubCircuit, ...]:
        """Return ``lsc_gate u e``: a current out of node u that depends on V(u) and V(e)."""
        cell = described(SubCircuit("lsc_gate", "u", "e"), "comparator gate: drift current -(s'(u) e + c'(u)) into u")
        per_volt_e = scaling.drift_current / scaling.volt_e
        terms = []
        if self.prior is not None:
            terms.append(self.prior.spice("u", scaling.volt, scaling.drift_current))
        if self.comparator is not None:
            terms.append(f"V(e)*{self.comparator.spice('u', scaling.volt, per_volt_e)}")
        if terms:
            cell.B("g", "u", 0, current_expression="+".join(terms))
        if self.comparator is None:
            cell.VCCS("e", "u", 0, "e", 0, number(per_volt_e))
        if self.prior is None:
            cell.VCCS("p", "u", 0, "u", 0, number(scaling.drift_current / scaling.volt * self.stiffness))
        return (cell,)

    def emit(self, netlist: Netlist, wires: Wires, scaling: Scaling) -> None:
        """Add one gate per latent."""
        for i, (u, e) in enumerate(zip(wires.inputs["u"], wires.inputs["e"], strict=True)):
            netlist.X(f"{self.name}_{i}", "lsc_gate", u, e)
