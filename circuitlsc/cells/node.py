r"""Summing node and constant input: currents into a resistor, :math:`v = R \sum I`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PySpice.Spice.Netlist import Netlist, SubCircuit

from circuitlsc.arrays import Array
from circuitlsc.cells.base import Cell, Wires, described, number

if TYPE_CHECKING:
    from circuitlsc.scaling import Scaling


@dataclass(frozen=True, eq=False)
class Sum(Cell):
    """A vector of nodes where currents add; see `Residual` and `Gradient`."""

    ports = ("crossbar", "input")

    def evaluate(self, inputs: Mapping[str, Array]) -> Array:
        """Return the sum of the inputs."""
        return np.asarray(sum(inputs.values()))

    def partials(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Return ones."""
        return {port: np.ones(self.size) for port in inputs}

    def subcircuits(self, scaling: Scaling) -> tuple[SubCircuit, ...]:
        """Return ``lsc_node v``: the resistor that turns the summed current into a voltage."""
        cell = described(SubCircuit("lsc_node", "v"), "summing node: V(v) = resistance times the sum of currents")
        cell.R("sum", "v", 0, number(scaling.r_node))
        return (cell,)

    def emit(self, netlist: Netlist, wires: Wires, scaling: Scaling) -> None:
        """Add one node per component."""
        for i, node in enumerate(self.nodes):
            netlist.X(f"{self.name}_{i}", "lsc_node", node)


class Residual(Sum):
    """The residual r = A s - x."""

    quantity = "r"


class Gradient(Sum):
    """The likelihood's gradient e = A^T r / sigma^2 = G s - b."""

    quantity = "e"


@dataclass(frozen=True, eq=False)
class Input(Cell):
    """A constant current into each summing node: -x of the residual form, -b of the Gram form.

    Parameters
    ----------
    value : array, shape (size,)
        In units of the target.
    target : str
        Quantity of the node that it feeds.
    """

    value: Array
    target: str

    def evaluate(self, inputs: Mapping[str, Array]) -> Array:
        """Return the constant."""
        return self.value

    def partials(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Return nothing: there is no input."""
        return {}

    def subcircuits(self, scaling: Scaling) -> tuple[SubCircuit, ...]:
        """Return ``lsc_input v``: a current source of parameter ``i_in``."""
        cell = described(SubCircuit("lsc_input", "v", i_in=0.0), "input: constant current i_in into v")
        cell.I("in", 0, "v", "{i_in}")
        return (cell,)

    def emit(self, netlist: Netlist, wires: Wires, scaling: Scaling) -> None:
        """Add one source per component."""
        unit = scaling.volts(self.target) / scaling.r_node
        for i, node in enumerate(wires.output):
            netlist.X(f"{self.name}_{i}", "lsc_input", node, i_in=number(self.value[i] * unit))
