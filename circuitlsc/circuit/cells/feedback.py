"""Cells whose voltages come from elsewhere: the extrapolated gradient of a broken loop, and what is solved once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from PySpice.Spice.Netlist import SubCircuit

from circuitlsc.circuit.cells.base import Cell, Wires
from circuitlsc.io.arrays import Array
from circuitlsc.planning.scaling import Scaling


class FromElsewhere(Cell):
    """Voltages that a simulator gives, a source for each: a current through 1 ohm, so that amperes are volts.

    A voltage source would add an unknown, its own current.
    """

    text: ClassVar[str]

    def devices(self) -> tuple[str, ...]:
        """Names of the current sources as ngspice flattens them."""
        return tuple(f"i.x{self.name}_{i}.if".lower() for i in range(self.size))

    def subcircuits(self, scaling: Scaling) -> tuple[SubCircuit, ...]:
        """Return a cell with the pin ``f``: a current from outside through 1 ohm."""
        cell = self.defined(self.text, "f")
        cell.I("f", 0, "f", "external")
        cell.R("f", "f", 0, 1.0)
        return (cell,)

    def pins(self, wires: Wires) -> tuple[tuple[str, ...], ...]:
        """Return the nodes alone."""
        return (self.nodes,)


@dataclass(frozen=True, eq=False)
class Feedback(FromElsewhere):
    """The gradient e as the gates see it: e itself for a slow signal, extrapolated by the engine (`planning.broken_loop`).

    The nodes of e are solved, read back after each time point, and drive no one; sources take their place. What the cell
    does in time is not part of the graph: its transfer function is the identity.
    """

    quantity = "f"
    ports = ("e",)
    definition = "lsc_feedback"
    text = "feedback: V(f) = the gradient, extrapolated by the engine"

    def respond(self, inputs: Mapping[str, Array]) -> tuple[Array, dict[str, Array]]:
        """Return e, and ones."""
        return np.asarray(inputs["e"]), {"e": np.ones_like(inputs["e"])}


@dataclass(frozen=True, eq=False)
class Held(FromElsewhere):
    """Voltages that a constant input has fixed, of a cell whose nodes these are called like (``symbol``).

    Whoever simulates the circuit solves for them once; they are not part of a NumPy twin, whose graph has the cell itself.
    """

    quantity = "held"
    definition = "lsc_held"
    text = "held: V(f) = a voltage that a constant input fixes, solved once"

    def respond(self, inputs: Mapping[str, Array]) -> tuple[Array, dict[str, Array]]:
        """Refuse: the voltages are a simulator's."""
        raise TypeError(f"{self.name} is held at what a simulator solves for: evaluate the whole circuit's graph")
