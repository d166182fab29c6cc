"""The same graph for other simulators: ideal cells as instances of Verilog-A modules, what comes from outside as sources."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from circuitlsc.circuit import cells
from circuitlsc.circuit.cells import Cell, Wires
from circuitlsc.circuit.cells.base import number
from circuitlsc.circuit.graph import SignalFlowGraph
from circuitlsc.errors import InputError
from circuitlsc.model.closed_forms import Curve, Form
from circuitlsc.planning.scaling import Scaling
from circuitlsc.simulator.modules import CONDUCTANCE, Instance, Netlist, Source


def in_modules(graph: SignalFlowGraph, scaling: Scaling) -> Netlist:
    """Lower a graph of closed forms (`circuitlsc.circuit.closed`) to instances of modules.

    Raises
    ------
    InputError
        If a cell has no module.
    """
    instances, sources = list[Instance](), list[Source]()
    for cell in graph.cells:
        wires = graph.wires(cell)
        if type(cell) is cells.Noise:
            sources += _outside(cell, cell.form == "external", wires, "vsource")
        elif type(cell) is cells.Input and cell.streamed:
            sources += _outside(cell, not cell.written, wires, "isource")
        elif type(cell) in RULES:
            instances += RULES[type(cell)](cell, wires, scaling)
        else:
            raise InputError(
                f"cell {cell.name!r} ({type(cell).__name__}) has no Verilog-A module; ideal cells have one, of a closed loop "
                'that samples, or of LCA. Use level = "ideal", loop = "closed".'
            )
    return Netlist(tuple(instances), tuple(sources))


def _outside(cell: Any, external: bool, wires: Wires, kind: str) -> list[Source]:
    """Return sources at the capacitors' lower plates, or currents into the nodes that an input feeds."""
    if not external:
        raise InputError(
            f"cell {cell.name!r} makes its values within ngspice. Use the form in which they come from outside."
        )
    named = zip(cell.devices(), cell.elements, wires.output, strict=True)
    order = (lambda node: (node, "0")) if kind == "vsource" else (lambda node: ("0", node))
    return [Source(device, f"{kind[0]}{element}", order(node), kind) for device, element, node in named]


def _each(
    cell: Cell, module: str, nodes: Iterable[tuple[str, ...]], given: Mapping[str, Any], end: str = ""
) -> list[Instance]:
    """Return an instance for each element of a cell; a parameter is one for all, or one for each."""
    values = {name: np.broadcast_to(value, cell.size) for name, value in given.items()}
    return [
        Instance(f"x{cell.element(i)}{end}", module, at, {name: number(value[i]) for name, value in values.items()})
        for i, at in enumerate(nodes)
    ]


def _integrator(cell: cells.Integrator, wires: Wires, scaling: Scaling) -> list[Instance]:
    siemens = cell.conductance * scaling.c_int / scaling.tau
    given = {"c": scaling.c_int * cell.capacitor, "g": 1 / scaling.leak + siemens}
    return _each(cell, "lsc_integrator", zip(*cell.pins(wires), strict=True), given)


def _threshold(cell: cells.Threshold, wires: Wires, scaling: Scaling) -> list[Instance]:
    form = _form(cell, cell.table)
    given = {**_parameters(form, scaling), "g": 1 / scaling.r_node}
    return _each(cell, form.module, zip(*cell.pins(wires), strict=True), given)


def _gate(cell: cells.Gate, wires: Wires, scaling: Scaling) -> list[Instance]:
    """Return two instances a gate: the likelihood's force, and the prior's."""
    u, e, *on = cell.pins(wires)
    acts_on = on[0] if on else u
    k = scaling.drift_current / scaling.volt_e
    if cell.comparator is None:
        made = _each(cell, CONDUCTANCE, zip(e, acts_on, strict=True), {"g": -k}, "_e")
    else:
        form = _form(cell, cell.comparator)
        given = {**_parameters(form, scaling), "k": k}
        made = _each(cell, form.module, zip(u, e, acts_on, strict=True), given, "_e")
    if cell.prior is None:
        siemens = scaling.drift_current / scaling.volt * cell.stiffness
        return made + _each(cell, CONDUCTANCE, zip(u, acts_on, strict=True), {"g": -siemens}, "_c")
    form = _form(cell, cell.prior)
    given = {**_parameters(form, scaling), "i": form.factor * scaling.drift_current}
    return made + _each(cell, form.module, zip(u, acts_on, strict=True), given, "_c")


def _transconductor(cell: cells.Transconductor, wires: Wires, scaling: Scaling) -> list[Instance]:
    given = {"g": cell.gain * scaling.drift_current / scaling.volt}
    return _each(cell, CONDUCTANCE, zip(*cell.pins(wires), strict=True), given)


def _sum(cell: cells.Residual, wires: Wires, scaling: Scaling) -> list[Instance]:
    return _each(cell, "lsc_node", zip(*cell.pins(wires), strict=True), {"r": scaling.r_node})


def _constant(cell: cells.Input, wires: Wires, scaling: Scaling) -> list[Instance]:
    return _each(cell, "lsc_input", zip(*cell.pins(wires), strict=True), {"i_in": cell.value * cell.unit(scaling)})


def _crossbar(cell: cells.Crossbar, wires: Wires, scaling: Scaling) -> list[Instance]:
    """Return an instance for each entry that is not 0."""
    g, source = cell.conductances(scaling), wires.inputs["v"]
    return [
        Instance(f"x{cell.name}_{j}_{i}", CONDUCTANCE, (source[i], wires.output[j]), {"g": number(g[j, i])})
        for j, i in zip(*(k.tolist() for k in np.nonzero(g)), strict=True)
    ]


#: what each cell is in modules
RULES: dict[type[Cell], Callable[[Any, Wires, Scaling], list[Instance]]] = {
    cells.Integrator: _integrator,
    cells.Momentum: _integrator,
    cells.Threshold: _threshold,
    cells.Gate: _gate,
    cells.Transconductor: _transconductor,
    cells.Residual: _sum,
    cells.Gradient: _sum,
    cells.Input: _constant,
    cells.Crossbar: _crossbar,
}


def _form(cell: Cell, table: Any) -> Form:
    if not isinstance(table, Curve):
        raise InputError(f"cell {cell.name!r} is a table, and no Verilog-A module has its function. Use closed forms.")
    return table.form


def _parameters(form: Form, scaling: Scaling) -> dict[str, float]:
    return {**{name: value * scaling.volt for name, value in form.volts.items()}, **form.numbers}
