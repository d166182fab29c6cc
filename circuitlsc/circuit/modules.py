"""The same graph for other simulators: cells as Verilog-A modules, or as primitives where they are made of parts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from PySpice.Spice.Netlist import Circuit

from circuitlsc.circuit import cells
from circuitlsc.circuit.cells import Cell, Wires
from circuitlsc.circuit.cells.base import number
from circuitlsc.circuit.cells.plastic import Multipliers
from circuitlsc.circuit.electrical_rules import Element, flatten
from circuitlsc.circuit.graph import SignalFlowGraph
from circuitlsc.circuit.lowering import fill, many_objects
from circuitlsc.errors import InputError, NetlistError
from circuitlsc.io.arrays import Array
from circuitlsc.model.closed_forms import Curve, Form
from circuitlsc.nonideal.nonidealities import ideal_value
from circuitlsc.planning.scaling import Scaling
from circuitlsc.simulator.modules import CONDUCTANCE, PRIMITIVES, Instance, Netlist, Source

#: what an element of a subcircuit is, by its first letter
ELEMENTS = {"R": "resistor", "C": "capacitor", "E": "vcvs", "G": "vccs", "V": "vsource", "I": "isource"}
#: imperfections that are tables or switches in ngspice
WITHOUT_MODULE = ("integrator.rail", "op_amp.rail", "op_amp.slew_rate", "comparator.delay", "comparator.hysteresis")


def in_modules(graph: SignalFlowGraph, scaling: Scaling) -> Netlist:
    """Lower a graph of closed forms (`circuitlsc.circuit.closed`) to instances of modules and of primitives.

    Raises
    ------
    InputError
        If a cell has neither a module, nor a subcircuit of primitives.
    """
    instances, sources = list[Instance](), list[Source]()
    for cell in graph.cells:
        wires = graph.wires(cell)
        rule = RULES.get(type(cell))
        if rule is not None and not (isinstance(cell, cells.Input) and cell.streamed):
            instances += rule(cell, wires, scaling)
            continue
        for each in _elements(cell, graph, scaling):
            made = _primitive(cell, each)
            if isinstance(made, Source):
                sources.append(made)
            else:
                instances.append(made)
    return Netlist(tuple(instances), tuple(sources))


def _elements(cell: Cell, graph: SignalFlowGraph, scaling: Scaling) -> list[Element]:
    """Return the elements of a cell, flattened."""
    _check_parts(cell)
    if isinstance(cell, cells.Feedback):
        raise _no_module(cell)
    circuit = Circuit(cell.name)
    circuit.parameter("c_int", repr(float(scaling.c_int)))
    with many_objects():
        fill(circuit, graph, scaling, [cell])
        return flatten(circuit)


def _check_parts(cell: Cell) -> None:
    """Raise InputError if a cell's parts have imperfections that no module describes."""
    hardware = getattr(cell, "hardware", None)
    found = () if hardware is None else hardware.parts.imperfections()
    refused = [
        f"nonideal.{each.name} = {each.value!r} (ideal: {ideal_value(each.name)!r})"
        for each in found
        if each.name in WITHOUT_MODULE
    ]
    if refused:
        which = "is a table or a switch" if len(refused) == 1 else "are tables or switches"
        raise InputError(
            f"{', '.join(refused)} {which} in ngspice, and no Verilog-A module describes that. Set "
            f"{'it to its ideal value' if len(refused) == 1 else 'each to its ideal value'}."
        )


def _no_module(cell: Cell) -> InputError:
    return InputError(
        f"cell {cell.name!r} ({type(cell).__name__}) has no Verilog-A module; those of closed loops that sample have one, and "
        'of LCA. Use level = "ideal" or "device", loop = "closed".'
    )


def _primitive(cell: Cell, element: Element) -> Instance | Source:
    """Return an element of a subcircuit: a primitive, or a source whose value comes from outside."""
    if element.kind not in ELEMENTS:
        raise _no_module(cell)
    kind = ELEMENTS[element.kind]
    text = str(element.spice).split()[1 + len(element.nodes)]
    if text == "external":
        return Source(element.name, element.name, element.nodes, kind)
    try:
        value = element.scope.number(text)
    except NetlistError as error:
        raise InputError(
            f"cell {cell.name!r} makes its values within ngspice ({error}) Use the form in which they come from outside."
        ) from None
    return Instance(element.name, kind, element.nodes, {PRIMITIVES[kind]: value})


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


def _device_threshold(cell: cells.DeviceThreshold, wires: Wires, scaling: Scaling) -> list[Instance]:
    form = _form(cell, cell.table)
    given = {**_parameters(form, scaling), "g": 1 / scaling.r_node, "vos": cell.offset}
    return _driving(cell, form.module, wires, given)


def _driving(cell: Cell, module: str, wires: Wires, given: Mapping[str, Any]) -> list[Instance]:
    """Return a cell of one input into an inner node, and a source of its voltage, which can drive a crossbar."""
    inner = tuple(f"x{element}.o".lower() for element in cell.elements)
    source, output = cell.pins(wires)
    made = _each(cell, module, zip(source, inner, strict=True), given)
    named = zip(cell.elements, output, inner, strict=True)
    return made + [Instance(f"e.x{name}.eo".lower(), "vcvs", (at, "0", o, "0"), {"gain": 1.0}) for name, at, o in named]


def _gate(cell: cells.Gate, wires: Wires, scaling: Scaling) -> list[Instance]:
    """Return two instances a gate: the likelihood's force, and the prior's."""
    return _forces(cell, wires, scaling, 1.0, 1.0)


def _device_gate(cell: cells.DeviceGate, wires: Wires, scaling: Scaling) -> list[Instance]:
    """Return the same with offsets, the multiplier's gain and the prior's factor."""
    _check_parts(cell)
    vos, gain, e_os, factor = cell.draws
    if cell.comparator is not None:
        return _forces(cell, wires, scaling, gain, factor, vos=vos, e_os=e_os)
    u, *others = cell.pins(wires)
    acts_on = others[-1] if cell.apart else u
    amperes = gain * e_os * scaling.drift_current / scaling.volt_e
    named = zip(cell.elements, acts_on, amperes.tolist(), strict=True)
    shift = [Instance(f"i.x{name}.ios".lower(), "isource", (at, "0"), {"dc": i}) for name, at, i in named if i]
    return _forces(cell, wires, scaling, gain, factor) + shift


def _forces(
    cell: cells.Gate, wires: Wires, scaling: Scaling, gain: Array | float, factor: Array | float, **offsets: Array
) -> list[Instance]:
    """Return the instances of a gate whose two forces are multiplied by numbers."""
    u, e, *on = cell.pins(wires)
    acts_on = on[0] if on else u
    k = gain * scaling.drift_current / scaling.volt_e
    if cell.comparator is None:
        made = _each(cell, CONDUCTANCE, zip(e, acts_on, strict=True), {"g": -k}, "_e")
    else:
        form = _form(cell, cell.comparator)
        given = {**_parameters(form, scaling), "k": k, **offsets}
        made = _each(cell, form.module, zip(u, e, acts_on, strict=True), given, "_e")
    if cell.prior is None:
        siemens = factor * scaling.drift_current / scaling.volt * cell.stiffness
        return made + _each(cell, CONDUCTANCE, zip(u, acts_on, strict=True), {"g": -siemens}, "_c")
    form = _form(cell, cell.prior)
    given = {**_parameters(form, scaling), "i": factor * form.factor * scaling.drift_current}
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


def _of_encoder(cell: cells.Exponential | cells.Softplus, wires: Wires, scaling: Scaling) -> list[Instance]:
    form = _form(cell, cell.table)
    given = {"g": 1 / scaling.r_node, "volt": scaling.volt, **form.numbers}
    return _each(cell, form.module, zip(*cell.pins(wires), strict=True), given)


def _rectifier(cell: cells.Rectifier, wires: Wires, scaling: Scaling) -> list[Instance]:
    return _each(cell, "lsc_rectifier", zip(*cell.pins(wires), strict=True), {"g": 1 / scaling.r_node})


def _device_rectifier(cell: cells.DeviceRectifier, wires: Wires, scaling: Scaling) -> list[Instance]:
    return _driving(cell, "lsc_rectifier", wires, {"g": 1 / scaling.r_node, "vos": cell.offset})


def _laplace(cell: cells.LaplaceProduct, wires: Wires, scaling: Scaling) -> list[Instance]:
    given = {"g": 1 / scaling.r_node, "volt": scaling.volt, **cell.parameters(scaling)}
    return _each(cell, "lsc_laplace_product", zip(*cell.pins(wires), strict=True), given)


def _shifted(cell: cells.ShiftedThreshold, wires: Wires, scaling: Scaling) -> list[Instance]:
    form = _form(cell, cell.corner.code)
    given = {**_parameters(form, scaling), "g": 1 / scaling.r_node, "volt": scaling.volt, **cell.parameters(scaling)}
    return _each(cell, form.module, zip(*cell.pins(wires), strict=True), {**given, "rectified": cell.rectified})


def _multiplier(cell: Multipliers, wires: Wires, scaling: Scaling) -> list[Instance]:
    """Return one for each synapse."""
    errors = cell.parameters(scaling)
    p, q = (scaling.volts(quantity) for quantity in cell.quantities)
    given = {**errors, "k": errors.get("k", np.full(1, cell.gain)) * cell.amperes(scaling) / p / q}
    out, first, second = cell.pins(wires)
    values = {name: np.broadcast_to(value, len(out)) for name, value in given.items()}
    return [
        Instance(f"x{cell.element(i)}", "lsc_multiplier", nodes, {name: number(v[i]) for name, v in values.items()})
        for i, nodes in enumerate(zip(first, second, out, strict=True))
    ]


def _drive(cell: cells.Drive, wires: Wires, scaling: Scaling) -> list[Instance]:
    ohm = scaling.volts(cell.quantity) / scaling.drift_current
    return _each(cell, "lsc_node", zip(*cell.pins(wires), strict=True), {"r": ohm})


def _feature(cell: cells.FeatureRectifier, wires: Wires, scaling: Scaling) -> list[Instance]:
    """Return a rectifier with a load."""
    named = zip(cell.elements, cell.nodes, strict=True)
    loads = [Instance(f"r.x{name}.rload".lower(), "resistor", (at, "0"), {"r": scaling.r_node}) for name, at in named]
    return _device_rectifier(cell, wires, scaling) + loads


#: what cells are in modules; others are their own subcircuits, flattened to primitives
RULES: dict[type[Cell], Callable[[Any, Wires, Scaling], list[Instance]]] = {
    cells.Integrator: _integrator,
    cells.Momentum: _integrator,
    cells.Threshold: _threshold,
    cells.DeviceThreshold: _device_threshold,
    cells.Gate: _gate,
    cells.DeviceGate: _device_gate,
    cells.Transconductor: _transconductor,
    cells.Residual: _sum,
    cells.Gradient: _sum,
    cells.Input: _constant,
    cells.Crossbar: _crossbar,
    cells.Memory: _integrator,
    cells.Neurons: _sum,
    cells.Drive: _drive,
    cells.Read: _multiplier,
    cells.Write: _multiplier,
    cells.FeatureRectifier: _feature,
    cells.Layer: _sum,
    cells.Rectifier: _rectifier,
    cells.DeviceRectifier: _device_rectifier,
    cells.Exponential: _of_encoder,
    cells.Softplus: _of_encoder,
    cells.LaplaceProduct: _laplace,
    cells.DeviceLaplaceProduct: _laplace,
    cells.ShiftedThreshold: _shifted,
    cells.DeviceShiftedThreshold: _shifted,
}


def _form(cell: Cell, table: Any) -> Form:
    if not isinstance(table, Curve):
        raise InputError(f"cell {cell.name!r} is a table, and no Verilog-A module has its function. Use closed forms.")
    return table.form


def _parameters(form: Form, scaling: Scaling) -> dict[str, float]:
    return {**{name: value * scaling.volt for name, value in form.volts.items()}, **form.numbers}
