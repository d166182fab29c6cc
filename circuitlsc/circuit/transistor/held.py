r"""A chip whose states are held: its operating point, its supply current, and how long its cells lag.

The whole netlist of transistors with each u_i at a voltage source; the current out of that source is the drift. Beside an
operating point the drift follows a small change of u_k as

.. math:: \delta I_i(\omega) \approx H_{ik}\,(1 - j\omega\,t_{ik})\,\delta u_k

and t is the lag: of the gate lines, which few units of weak current charge, and of what comes after them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from PySpice.Spice.BasicElement import SubCircuitElement
from PySpice.Spice.Netlist import Circuit, Netlist, SubCircuit

from circuitlsc.circuit.cells.base import Cell, Wires, number
from circuitlsc.circuit.graph import SignalFlowGraph
from circuitlsc.circuit.lowering import lower
from circuitlsc.circuit.transistor.kept import analysed
from circuitlsc.circuit.transistor.parts import BELOW
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


def _held(chip: Silicon, model: SparseCodingModel, scaling: Scaling, u: Array, moved: int = 0) -> tuple[Circuit, str]:
    """Return the netlist of a chip's transistors with its states held at u (n_latents,), model units, and its cards."""
    full = replace(chip, sizes=replace(chip.sizes, keys=replace(chip.sizes.keys, engine="full")))
    graph = SignalFlowGraph()
    states = graph.add(HeldStates("held", len(u), np.asarray(u, dtype=float), moved=moved))
    graph.wire(full.force(graph, states, model, None), states, "drift")
    return lower(graph, scaling, step=1.0, title="a chip whose states are held"), full.cards(graph)


def _deck(circuit: Circuit, cards: str, saved: Sequence[str]) -> str:
    """Return a deck without an analysis that saves vectors, as ``i(vdd)``."""
    return "\n".join([str(circuit), cards, ".save " + " ".join(saved), ".end", ""])


def powers(chip: Silicon, model: SparseCodingModel, scaling: Scaling, u: Array) -> dict[str, float]:
    """Return what each instance takes from the supply with the states held at u (n_latents,), watt, by its name.

    Raises
    ------
    SimulationError
        If ngspice found no operating point there.
    """
    circuit, cards = _held(chip, model, scaling, u)
    metered, names = _metered(circuit)
    rails = {"vdd": chip.supply - BELOW, "vss": -BELOW}
    found = analysed(_deck(metered, cards, [f"i(v{rail}_{name})" for name in names for rail in rails]), "op")
    out = {
        name: sum(volt * float(found[f"v{rail}_{name}#branch"][0]) for rail, volt in rails.items()) for name in names
    }
    if not np.isfinite(list(out.values())).all():
        raise SimulationError("ngspice found no operating point of a chip whose states are held.", 0)
    return out


def _metered(circuit: Circuit) -> tuple[Circuit, list[str]]:
    """Return a circuit whose instances have their supply through sources of 0 V, ``vdd_NAME`` and ``vss_NAME``; their names."""
    out, names = Circuit(circuit.title), []
    for definition in circuit.subcircuits:
        out.subcircuit(definition)
    for element in circuit.elements:
        if not isinstance(element, SubCircuitElement):
            element.copy_to(out)
            continue
        name = str(element.name)[1:].lower()
        nodes = [str(pin.node) for pin in element.pins]
        out.X(name, element.subcircuit_name, *(f"{n}_{name}" if n in ("vdd", "vss") else n for n in nodes))
        for rail in ("vdd", "vss"):
            out.V(f"{rail}_{name}", rail, f"{rail}_{name}", 0.0)
            if rail not in nodes:  # as a mirror of one kind
                out.R(f"{rail}_{name}", f"{rail}_{name}", 0, 1e15)
        names.append(name)
    return out, names


SWEPT = f"ac dec 1 {SLOW!r} {100 * SLOW!r}"  # at one operating point; the first and the last frequency count


def lags(chip: Silicon, model: SparseCodingModel, scaling: Scaling, u: Array, moved: int) -> tuple[Array, Array]:
    """Return what the drifts change by with u_k, in 1/tau, and how long each change lags, in seconds; (n_latents,) each.

    Raises
    ------
    SimulationError
        If ngspice found no operating point there.
    """
    slow, delay = _followed(
        chip, model, scaling, u, moved, [(f"i(vheld_{i})", f"vheld_{i}#branch") for i in range(len(u))]
    )
    return slow * scaling.volt / scaling.drift_current, delay


def node_lags(
    chip: Silicon, model: SparseCodingModel, scaling: Scaling, u: Array, moved: int, nodes: Sequence[str]
) -> Array:
    r"""Return how long the volts of nodes (by flat names, as ``s_0``) lag behind u_k, in seconds.

    A node that holds the logarithm of a current I is moved by that current alone,

    .. math:: t = C/g_m(I) = C n U_T/I

    Raises
    ------
    SimulationError
        If ngspice found no operating point there.
    """
    return _followed(chip, model, scaling, u, moved, [(f"v({node})", node) for node in nodes])[1]


def _followed(
    chip: Silicon, model: SparseCodingModel, scaling: Scaling, u: Array, moved: int, what: Sequence[tuple[str, str]]
) -> tuple[Array, Array]:
    """Return what vectors (as saved, and as found) change by with the volts of u_k, and their lags, seconds."""
    deck = _deck(*_held(chip, model, scaling, u, moved), [saved for saved, _ in what])
    found = analysed(deck, SWEPT, complex_values=True)
    slow, fast = np.array([found[name][[0, -1]] for _, name in what]).T
    if not np.isfinite(slow).all():
        raise SimulationError("ngspice found no operating point of a chip whose states are held.", 0)
    return np.real(slow), -np.imag(fast) / np.real(fast) / (2 * np.pi * 100 * SLOW)
