"""A chip: a design at a corner with the errors of its devices, and the part of a signal-flow graph that it is."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from circuitlsc.circuit import cells
from circuitlsc.circuit.cells import Cell
from circuitlsc.circuit.graph import SignalFlowGraph
from circuitlsc.circuit.transistor.behaviour import TabulatedGate, TabulatedThreshold
from circuitlsc.circuit.transistor.design import Design
from circuitlsc.circuit.transistor.tables import ChipTables, characterise
from circuitlsc.io.arrays import Array
from circuitlsc.model.sparse_coding import SparseCodingModel
from circuitlsc.model.stream import Stream
from circuitlsc.nonideal.nonidealities import Nonidealities


@dataclass(frozen=True, eq=False)
class Silicon:
    """One chip of a design.

    Parameters
    ----------
    sizes : Design
    parts : Nonidealities
        The corner, and the seed and size of what devices differ by.
    """

    sizes: Design
    parts: Nonidealities

    @cached_property
    def tables(self) -> ChipTables:
        """What its cells do (measured in ngspice, or known from before)."""
        return characterise(self.sizes, self.parts)

    def read(self, u: Array) -> Array:
        """Return the code that the lines carry at states u (..., n_latents), in model units."""
        u = np.asarray(u, dtype=float)
        tables = self.tables.of(u.shape[-1])
        return np.stack([t.code(u[..., i]) for i, t in enumerate(tables)], axis=-1)

    def active(self, u: Array) -> NDArray[np.bool_]:
        """Return which latents' lines carry more than I0, which is what an inactive and an active half have in common."""
        return np.asarray(self.read(u) > self.sizes.width)

    def force(
        self, graph: SignalFlowGraph, state: Cell, model: SparseCodingModel, x: Array, stream: Stream | None, **given: Any
    ) -> Cell:
        """Wire up the neurons' cells and the crossbar, and return the gate."""
        n, tables = state.size, self.tables.of(state.size)
        code = graph.add(TabulatedThreshold("threshold", n, tables), u=state)
        e = graph.add(cells.Gradient("gradient", n))
        crossbar = cells.Crossbar("inhibition", n, matrix=self.sizes.gram, source="s", target="e")
        graph.wire(graph.add(crossbar, v=code), e, "crossbar")
        rows = None if stream is None else stream.with_rows(-model.drives(stream.rows))
        value = -model.drive(x) if rows is None else rows.rows[0]
        entering = cells.Input("inhibition_input", n, value=np.asarray(value), target="e", stream=rows, **given)
        graph.wire(graph.add(entering), e, "input")
        return graph.add(TabulatedGate("gate", n, tables), u=state, e=e)
