"""Lowering: signal-flow graph -> PySpice Circuit (or one SubCircuit) of PySpice SubCircuits."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

from PySpice.Spice.Netlist import Circuit, Netlist, SubCircuit

from circuitlsc.circuit.graph import SignalFlowGraph
from circuitlsc.errors import InputError
from circuitlsc.planning.scaling import Scaling
from circuitlsc.simulator.ngspice.deck import check_name


@contextmanager
def many_objects() -> Iterator[None]:
    """Pause Python's cyclic garbage collector: of a large netlist's objects none can go yet, and looking takes a third."""
    running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if running:
            gc.enable()


def parameters(graph: SignalFlowGraph, scaling: Scaling, step: float) -> dict[str, float]:
    """Return the ``.param`` values that the subcircuits refer to."""
    values = {"c_int": float(scaling.c_int)}
    noise = graph.noise
    if noise is not None and noise.form == "trrandom":
        values["t_hold"] = float(step * scaling.tau)
        values["i_rms"] = float(scaling.noise_amperes(step, noise.temperature))
    return values


def fill(netlist: Netlist, graph: SignalFlowGraph, scaling: Scaling) -> None:
    """Emit every cell of a graph into a netlist: definitions first, then instances."""
    defined = set()
    for cell in graph.cells:
        for definition in cell.subcircuits(scaling):
            if definition.name not in defined:
                netlist.subcircuit(definition)
                defined.add(definition.name)
    for cell in graph.cells:
        cell.emit(netlist, graph.wires(cell), scaling)


def lower(graph: SignalFlowGraph, scaling: Scaling, *, step: float, title: str = "circuitlsc sampler") -> Circuit:
    """Return the circuit of a graph.

    Parameters
    ----------
    graph : SignalFlowGraph
    scaling : Scaling
        Volts, amperes and seconds per model unit.
    step : float
        Noise step, in units of tau.
    title : str
        First line of the netlist.

    Returns
    -------
    PySpice.Spice.Netlist.Circuit
        Nodes ``u_i``, ``s_i`` (a prior with s = u has none), ``e_i``, ``n_i`` and, in the residual form, ``r_j``.
    """
    circuit = Circuit(title)
    for name, value in parameters(graph, scaling, step).items():
        circuit.parameter(name, repr(value))
    fill(circuit, graph, scaling)
    return circuit


def lower_to_subcircuit(graph: SignalFlowGraph, scaling: Scaling, *, step: float, name: str) -> SubCircuit:
    """Return the same circuit as one subcircuit with the pins ``u_0 .. u_K-1``, to be put into a larger one."""
    pins = graph.integrator.nodes
    check_name("name", name)
    whole = SubCircuit(name, *pins, **{k: repr(v) for k, v in parameters(graph, scaling, step).items()})
    fill(whole, graph, scaling)
    if name in (inner := [str(cell.name).lower() for cell in whole.subcircuits]):
        raise InputError(f"name = {name!r} is that of a cell inside it. Give a name other than {', '.join(inner)}.")
    return whole
