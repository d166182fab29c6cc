"""Feedback cell: where a loop is broken, sources that give the gates the gradient as extrapolated from earlier steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from PySpice.Spice.Netlist import SubCircuit

from circuitlsc.circuit.cells.base import Cell, Wires
from circuitlsc.io.arrays import Array
from circuitlsc.planning.scaling import Scaling


@dataclass(frozen=True, eq=False)
class Feedback(Cell):
    """The gradient e as the gates see it: e itself for a slow signal, extrapolated by the engine (`planning.broken_loop`).

    The nodes of e are solved, read back after each time point, and drive no one; a source per latent takes their place: a
    current through 1 ohm, so that amperes are volts (a voltage source would add an unknown, its own current). What the cell
    does in time is not part of the graph: its transfer function is the identity.
    """

    quantity = "f"
    ports = ("e",)
    definition = "lsc_feedback"

    def respond(self, inputs: Mapping[str, Array]) -> tuple[Array, dict[str, Array]]:
        """Return e, and ones."""
        return np.asarray(inputs["e"]), {"e": np.ones_like(inputs["e"])}

    def devices(self) -> tuple[str, ...]:
        """Names of the current sources as ngspice flattens them."""
        return tuple(f"i.x{self.name}_{i}.if".lower() for i in range(self.size))

    def subcircuits(self, scaling: Scaling) -> tuple[SubCircuit, ...]:
        """Return ``lsc_feedback f``: a current from outside through 1 ohm."""
        cell = self.defined("feedback: V(f) = the gradient, extrapolated by the engine", "f")
        cell.I("f", 0, "f", "external")
        cell.R("f", "f", 0, 1.0)
        return (cell,)

    def pins(self, wires: Wires) -> tuple[tuple[str, ...], ...]:
        """Return the gates' nodes alone."""
        return (self.nodes,)
