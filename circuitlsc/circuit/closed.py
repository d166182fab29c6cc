"""A graph with closed forms in the place of its tables: the same cells, names and wires."""

from __future__ import annotations

from dataclasses import replace

from circuitlsc.circuit.cells import Cell, Gate, Threshold
from circuitlsc.circuit.graph import SignalFlowGraph
from circuitlsc.errors import InputError
from circuitlsc.model.closed_forms import Curve, Form, Forms
from circuitlsc.model.piecewise_linear import Table


def closed(graph: SignalFlowGraph, forms: Forms) -> SignalFlowGraph:
    """Return a graph whose cells have the closed forms of their tables.

    Parameters
    ----------
    graph : SignalFlowGraph
        Of ideal cells.
    forms : Forms
        What its tables are of: `circuitlsc.model.closed_forms.forms_of`.
    """
    made, other = SignalFlowGraph(), dict[str, Cell]()
    for cell in graph.cells:
        new = cell
        if isinstance(cell, Threshold):
            new = replace(cell, table=_curve(cell, cell.table, forms.code))
        elif isinstance(cell, Gate):
            comparator = None if cell.comparator is None else _curve(cell, cell.comparator, forms.gate)
            prior = None if cell.prior is None else _curve(cell, cell.prior, forms.cost)
            new = replace(cell, comparator=comparator, prior=prior)
        other[cell.name] = made.add(new)
    for source, target, port in graph.graph.edges(data="port"):
        made.wire(other[source], other[target], port)
    return made


def _curve(cell: Cell, table: Table, form: Form | None) -> Curve:
    """Return the curve of a table."""
    if form is None:
        raise InputError(f"cell {cell.name!r} has a table, and no closed form of it is known. Use tables.")
    return Curve(table.knots, form.value(table.knots), form)
