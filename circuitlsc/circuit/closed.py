"""A graph with closed forms in the place of its tables: the same cells, names and wires."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from circuitlsc.circuit.cells import Cell, Exponential, Gate, Integrator, ShiftedThreshold, Softplus, Threshold
from circuitlsc.circuit.graph import SignalFlowGraph
from circuitlsc.errors import InputError
from circuitlsc.model.closed_forms import Curve, Form, Forms
from circuitlsc.model.piecewise_linear import Table
from circuitlsc.planning.scaling import Scaling


def closed(graph: SignalFlowGraph, forms: Forms) -> SignalFlowGraph:
    """Return a graph whose cells have the closed forms of their tables.

    Parameters
    ----------
    graph : SignalFlowGraph
    forms : Forms
        What its tables are of: `circuitlsc.model.closed_forms.forms_of`.
    """

    def in_closed_form(cell: Cell) -> Cell:
        if isinstance(cell, Threshold):
            return replace(cell, table=_curve(cell, cell.table, forms.code))
        if isinstance(cell, Gate):
            comparator = None if cell.comparator is None else _curve(cell, cell.comparator, forms.gate)
            prior = None if cell.prior is None else _curve(cell, cell.prior, forms.cost)
            return replace(cell, comparator=comparator, prior=prior)
        if isinstance(cell, ShiftedThreshold):
            code, gate = (
                _curve(cell, cell.corner.code, forms.code),
                _curve(cell, cell.corner.gate, forms.gate),
            )
            return replace(cell, corner=replace(cell.corner, code=code, gate=gate))
        if isinstance(cell, (Exponential, Softplus)):
            form = forms.scale if isinstance(cell, Exponential) else forms.limit
            return replace(cell, table=_curve(cell, cell.table, form))
        return cell

    return _with(graph, in_closed_form)


def leaking(graph: SignalFlowGraph, scaling: Scaling) -> SignalFlowGraph:
    """Return a graph whose integrators have their leak as a conductance, which a twin leaves out otherwise.

    It is 1e-9 per tau; where a state goes to either side of 0 that may become 1e-6, and paths are compared to less.
    """
    leak = scaling.tau / (scaling.leak * scaling.c_int)
    return _with(graph, lambda c: replace(c, conductance=c.conductance + leak) if isinstance(c, Integrator) else c)


def _with(graph: SignalFlowGraph, change: Callable[[Cell], Cell]) -> SignalFlowGraph:
    """Return a graph with other cells of the same names."""
    made = SignalFlowGraph()
    other = {cell.name: made.add(change(cell)) for cell in graph.cells}
    for source, target, port in graph.graph.edges(data="port"):
        made.wire(other[source], other[target], port)
    return made


def _curve(cell: Cell, table: Table, form: Form | None) -> Curve:
    """Return the curve of a table."""
    if form is None:
        raise InputError(f"cell {cell.name!r} has a table, and no closed form of it is known. Use tables.")
    return Curve(table.knots, form.value(table.knots), form)
