"""Cells alone in ngspice: a circuit that holds them and nothing else, its deck, and slopes by differences."""

import numpy as np
from PySpice.Spice.Netlist import Circuit

from circuitlsc.circuit.cells import Wires


def bench(*cells, scaling, **wires):
    """Return a circuit that holds the given cells; ``wires`` by cell name, by default a cell's own nodes."""
    circuit = Circuit("cells alone")
    circuit.parameter("c_int", repr(scaling.c_int))
    defined = set()
    for cell in cells:
        for definition in cell.subcircuits(scaling):
            if definition.name not in defined:
                circuit.subcircuit(definition)
                defined.add(definition.name)
    for cell in cells:
        cell.emit(circuit, wires.get(cell.name, Wires({}, cell.nodes, cell.nodes)), scaling)
    return circuit


def deck(circuit):
    # ngspice returns the iterate before the last, so that values are only as right as the tolerance
    return "\n".join([str(circuit), ".options reltol=1e-12 vntol=1e-15 abstol=1e-21", ".end", ""])


def differences(cell, inputs, port, d):
    """Return d(output)/d(input), shape (size, n), by central differences."""
    columns = []
    for k in range(inputs[port].size):
        move = d * np.eye(inputs[port].size)[k]
        up, down = (cell.evaluate({**inputs, port: inputs[port] + sign * move}) for sign in (1, -1))
        columns.append((up - down) / (2 * d))
    return np.stack(columns, axis=-1)


def jacobian(cell, inputs, port):
    """Return a cell's own partial derivative as a matrix (size, n)."""
    partial = cell.partials(inputs)[port]
    if cell.linear:
        return partial
    return np.diag(partial) if inputs[port].size == partial.size else partial[:, None]
