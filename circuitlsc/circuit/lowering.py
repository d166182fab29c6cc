"""Lowering: signal-flow graph -> PySpice Circuit (or one SubCircuit) of PySpice SubCircuits."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice

from PySpice.Spice.BasicElement import SubCircuitElement
from PySpice.Spice.Netlist import Circuit, Netlist, SubCircuit

from circuitlsc.circuit.cells import Cell
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
    if graph.noises and graph.noises[0].form == "trrandom":
        values["t_hold"] = float(step * scaling.tau)
        values["i_rms"] = float(scaling.noise_amperes(step, graph.noises[0].temperature))
    return values


def fill(netlist: Netlist, graph: SignalFlowGraph, scaling: Scaling, cells: Sequence[Cell] | None = None) -> None:
    """Emit every cell of a graph (or some) into a netlist: definitions first, then instances.

    Cells share a definition if its text is the same. What another cell defines otherwise under the same name gets that
    cell's name at its end.
    """
    defined: dict[str, SubCircuit] = {}
    renamed: dict[str, dict[str, str]] = {}
    emitted = graph.cells if cells is None else cells
    for cell in emitted:
        own = renamed[cell.name] = {}
        for definition in cell.subcircuits(scaling):
            name = definition.name
            _rename(definition, own)  # one that calls another of another name is another one
            if name in defined:
                if str(definition) == str(defined[name]):
                    continue
                own[name] = definition._name = f"{name}_{cell.name}"  # PySpice has no setter
            defined[definition.name] = definition
            netlist.subcircuit(definition)
    for cell in emitted:
        there = len(netlist.elements)
        cell.emit(netlist, graph.wires(cell), scaling)
        _rename(netlist, renamed[cell.name], there)


def _rename(netlist: Netlist, names: dict[str, str], first: int = 0) -> None:
    """Let the elements of a netlist, from the first on, call subcircuits by other names."""
    for element in islice(netlist.elements, first, None) if names else ():
        if isinstance(element, SubCircuitElement):
            element.subcircuit_name = names.get(element.subcircuit_name, element.subcircuit_name)


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
    pins = graph.neurons.nodes
    check_name("name", name)
    whole = SubCircuit(name, *pins, **{k: repr(v) for k, v in parameters(graph, scaling, step).items()})
    fill(whole, graph, scaling)
    if name in (inner := [str(cell.name).lower() for cell in whole.subcircuits]):
        raise InputError(f"name = {name!r} is that of a cell inside it. Give a name other than {', '.join(inner)}.")
    return whole
