r"""Crossbar: a matrix of conductances, :math:`I_j = \sum_i M_{ji} v_i`, whose row currents add on the nodes it drives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from PySpice.Spice.Netlist import Netlist, SubCircuit

from circuitlsc.circuit.cells.base import Cell, Wires, number
from circuitlsc.io.arrays import Array
from circuitlsc.planning.scaling import Scaling

# ngspice's matrix lies in memory in the order in which the elements come, and its factorisation walks down columns:
# written column by column, a 64 x 256 residual circuit factors in 0.7 of the time. Small ones fit into the cache, and
# are written by row.
BY_COLUMN = 1024


@dataclass(frozen=True, eq=False)
class Crossbar(Cell):
    """A linear map of a voltage vector to a current vector, one transconductance per nonzero entry.

    Sums are elements that share a node, never one long expression: ngspice loads those five times slower.

    Parameters
    ----------
    matrix : array, shape (size, n_inputs)
        In model units (output units per input unit).
    source, target : str
        Quantities at its input and output, which fix the voltage scales.
    """

    matrix: Array
    source: str
    target: str

    ports = ("v",)
    linear = True

    def respond(self, inputs: Mapping[str, Array]) -> tuple[Array, dict[str, Array]]:
        """Return M v, and M."""
        return np.asarray(inputs["v"] @ self.matrix.T), {"v": self.matrix}

    def conductances(self, scaling: Scaling) -> Array:
        """Return the transconductances, siemens, shape (size, n_inputs)."""
        return np.asarray(self.matrix * scaling.volts(self.target) / scaling.volts(self.source) / scaling.r_node)

    def subcircuits(self, scaling: Scaling) -> tuple[SubCircuit, ...]:
        """Return ``lsc_<name> out_0 .. in_0 ..`` with one G element per nonzero entry."""
        n_in = self.matrix.shape[1]
        outs, ins = [f"out_{j}" for j in range(self.size)], [f"in_{i}" for i in range(n_in)]
        cell = self.defined(f"crossbar: current out_j = sum_i g_ji V(in_i), {self.size} x {n_in}", *outs, *ins)
        g = self.conductances(scaling)
        rows, columns = np.nonzero(g)
        if g.size > BY_COLUMN:
            order = np.lexsort((rows, columns))
            rows, columns = rows[order], columns[order]
        for j, i in zip(rows.tolist(), columns.tolist(), strict=True):
            cell.VCCS(f"{j}_{i}", 0, outs[j], ins[i], 0, number(g[j, i]))
        return (cell,)

    def emit(self, netlist: Netlist, wires: Wires, scaling: Scaling) -> None:
        """Add the one crossbar."""
        netlist.X(self.name, f"lsc_{self.name}", *wires.output, *wires.inputs["v"])
