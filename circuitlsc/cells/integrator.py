r"""Integrator neuron: a capacitor that sums currents, :math:`C\,du/dt = I`, with its noise voltage in series."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from PySpice.Spice.Netlist import Netlist, SubCircuit

from circuitlsc.arrays import Array
from circuitlsc.cells.base import Cell, Wires, described, number

if TYPE_CHECKING:
    from circuitlsc.scaling import Scaling


@dataclass(frozen=True, eq=False)
class Integrator(Cell):
    r"""The state of the circuit: tau du/dt = drift, one capacitor per latent.

    The capacitor's lower plate is a node of its own, ``n_i``: a Brownian voltage there is the Thevenin form of white
    noise current into ``u_i``, and the trapezoid integrates it exactly at every step. Its resistor to ground, the DC
    path that every node must have, leaks 1e-9 units per tau and unit.

    Parameters
    ----------
    start : array, shape (size,)
        Initial u, in model units.
    """

    start: Array

    quantity = "u"
    ports = ("drift", "noise")

    def port_nodes(self, port: str) -> tuple[str, ...]:
        """Drift currents enter at u_i; noise voltages sit at n_i, in series with the capacitor."""
        return self.nodes if port == "drift" else tuple(f"n_{i}" for i in range(self.size))

    def evaluate(self, inputs: Mapping[str, Array]) -> Array:
        """Return du/dt in units per tau (the leak is left out: 1e-9)."""
        return inputs["drift"]

    def partials(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Not used: the integrator closes the loop."""
        raise NotImplementedError("the integrator is the state; it has no static transfer function")

    def subcircuits(self, scaling: Scaling) -> tuple[SubCircuit, ...]:
        """Return ``lsc_neuron u n``: capacitor from u to n, leak from u to ground."""
        cell = described(
            SubCircuit("lsc_neuron", "u", "n", ic=0.0), "integrator neuron: c_int dV(u,n)/dt = current into u"
        )
        cell.C("int", "u", "n", "{c_int}", initial_condition="{ic}")
        cell.R("leak", "u", 0, number(scaling.leak))
        return (cell,)

    def emit(self, netlist: Netlist, wires: Wires, scaling: Scaling) -> None:
        """Add one neuron per latent."""
        for i, (u, n) in enumerate(zip(self.nodes, self.port_nodes("noise"), strict=True)):
            netlist.X(f"{self.name}_{i}", "lsc_neuron", u, n, ic=number(self.start[i] * scaling.volt))

    def capacitors(self) -> tuple[str, ...]:
        """Names of the capacitors as ngspice flattens them, for setting their initial conditions."""
        return tuple(f"c.x{self.name}_{i}.cint".lower() for i in range(self.size))
