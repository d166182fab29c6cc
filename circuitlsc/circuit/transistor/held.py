r"""A chip whose states are held: its operating point, its supply current, and how long its cells lag.

The whole netlist of transistors with each u_i at a voltage source; the current out of that source is the drift. Beside an
operating point the drift follows a small change of u_k as

.. math:: \delta I_i(\omega) \approx H_{ik}\,(1 - j\omega\,t_{ik})\,\delta u_k

and t is the lag: of the gate lines, which few units of weak current charge, and of what comes after them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from PySpice.Spice.Netlist import Netlist, SubCircuit

from circuitlsc.circuit.cells.base import Cell, Wires, number
from circuitlsc.circuit.graph import SignalFlowGraph
from circuitlsc.circuit.lowering import lower
from circuitlsc.circuit.transistor.kept import analysed
from circuitlsc.circuit.transistor.silicon import Silicon
from circuitlsc.errors import SimulationError
from circuitlsc.io.arrays import Array
from circuitlsc.model.sparse_coding import SparseCodingModel
from circuitlsc.planning.scaling import Scaling

SLOW = 1e-2  # hertz: far below any corner of the cells


@dataclass(frozen=True, eq=False)
class HeldStates(Cell):
    """States that voltage sources hold.

    Parameters
    ----------
    u : array, shape (size,)
        Model units.
    moved : int
        The one that moves in a small-signal analysis.
    """

    u: Array
    moved: int = field(default=0, kw_only=True)

    quantity = "u"
    ports = ("drift",)

    def respond(self, inputs: Mapping[str, Array]) -> tuple[Array, dict[str, Array]]:
        """Return u; the drift does not move it."""
        return self.u, {}

    def subcircuits(self, scaling: Scaling) -> tuple[SubCircuit, ...]:
        """Return nothing."""
        return ()

    def emit(self, netlist: Netlist, wires: Wires, scaling: Scaling) -> None:
        """Add a voltage source for each state."""
        for i, node in enumerate(self.nodes):
            value = number(self.u[i] * scaling.volt)
            netlist.V(f"held_{i}", node, 0, f"{value!r} ac 1" if i == self.moved else value)


def held_deck(chip: Silicon, model: SparseCodingModel, scaling: Scaling, u: Array, moved: int = 0) -> str:
    """Return the deck of a chip's transistors with its states held at u (n_latents,), model units, without an analysis."""
    keys = replace(chip.sizes.keys, engine="full")
    full = replace(chip, sizes=replace(chip.sizes, keys=keys))
    graph = SignalFlowGraph()
    states = graph.add(HeldStates("held", len(u), np.asarray(u, dtype=float), moved=moved))
    graph.wire(full.force(graph, states, model, None), states, "drift")
    circuit = lower(graph, scaling, step=1.0, title="a chip whose states are held")
    measured = " ".join([*(f"i(vheld_{i})" for i in range(len(u))), "i(vdd)", "i(vss)"])
    return "\n".join([str(circuit), full.cards(graph), f".save {measured} all", ".end", ""])


def lags(chip: Silicon, model: SparseCodingModel, scaling: Scaling, u: Array, moved: int) -> tuple[Array, Array]:
    """Return what the drifts change by with u_k, in 1/tau, and how long each change lags, in seconds; (n_latents,) each.

    Raises
    ------
    SimulationError
        If ngspice found no operating point there.
    """
    deck = held_deck(chip, model, scaling, u, moved)
    values = []
    for hertz in (SLOW, 100 * SLOW):
        found = analysed(deck, f"ac lin 1 {hertz!r} {hertz!r}", complex_values=True)
        values.append([found[f"vheld_{i}#branch"][0] for i in range(len(u))])
    slow, fast = np.array(values)
    if not np.isfinite(slow).all():
        raise SimulationError("ngspice found no operating point of a chip whose states are held.", 0)
    gain = np.real(slow) * scaling.volt / scaling.drift_current
    delay = -np.imag(fast) / np.real(fast) / (2 * np.pi * 100 * SLOW)
    return np.asarray(gain), np.asarray(delay)
