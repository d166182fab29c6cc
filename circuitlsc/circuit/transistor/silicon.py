"""A chip: a design at a corner with the errors of its devices, and the part of a signal-flow graph that it is."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from circuitlsc.circuit import cells
from circuitlsc.circuit.cells import Cell
from circuitlsc.circuit.graph import SignalFlowGraph
from circuitlsc.circuit.transistor.behaviour import NegativeThreshold, TabulatedGate, TabulatedThreshold
from circuitlsc.circuit.transistor.design import SUPPLY, Design
from circuitlsc.circuit.transistor.parts import Chip
from circuitlsc.circuit.transistor.process import CELSIUS, include_lines, models
from circuitlsc.circuit.transistor.tables import ChipTables, characterise
from circuitlsc.circuit.transistor.transistors import (
    CurrentInput,
    CurrentNode,
    GateTransistors,
    MirrorCrossbar,
    NegativeLines,
    ThresholdTransistors,
    resting,
)
from circuitlsc.io.arrays import Array
from circuitlsc.model.sparse_coding import SparseCodingModel
from circuitlsc.model.stream import Stream
from circuitlsc.nonideal.nonidealities import Nonidealities

#: the lines that entries copy, and the kinds of the copies: of s+ and of s-, for positive and for negative entries
POSITIVE, NEGATIVE = (("ps", "p"), ("nm", "n")), (("ns", "n"), ("pm", "p"))
NEWTON = "reltol=1e-4 abstol=1e-14 vntol=1e-6 trtol=1e9 gmin=1e-15 itl1=300 itl2=300 itl4=100"


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

    @property
    def full(self) -> bool:
        """Whether the netlist is of transistors."""
        return self.sizes.keys.engine == "full"

    @property
    def chip(self) -> Chip:
        """The errors of its devices."""
        return Chip(self.parts)

    @property
    def supply(self) -> float:
        """Volt, in all."""
        return SUPPLY * self.parts.corner.supply

    def read(self, u: ArrayLike) -> Array:
        """Return the code that the lines carry at states u (..., n_latents), in model units."""
        u = np.asarray(u, dtype=float)
        tables = self.tables.of(u.shape[-1])
        return np.stack([t.code(u[..., i]) for i, t in enumerate(tables)], axis=-1)

    def active(self, u: ArrayLike) -> NDArray[np.bool_]:
        """Return which latents are active: those whose line carries more than I0, the current of both halves at u0."""
        return np.asarray(np.abs(self.read(u)) > self.sizes.width)

    def force(
        self,
        graph: SignalFlowGraph,
        state: Cell,
        model: SparseCodingModel,
        x: ArrayLike,
        stream: Stream | None,
        **streaming: Any,
    ) -> Cell:
        """Wire up the neurons' cells and the crossbar, and return the gate."""
        n, sizes, tables, chip = state.size, self.sizes, self.tables.of(state.size), self.chip
        code: Cell = TabulatedThreshold("threshold", n, tables)
        e: Cell = cells.Gradient("gradient", n)
        gate: Cell = TabulatedGate("gate", n, tables)
        if self.full:
            code = ThresholdTransistors("threshold", n, tables, cell=sizes.threshold, chip=chip)
            e = CurrentNode("gradient", n)
            own: dict[str, Any] = {"cell": sizes.gate, "bias": sizes.bias, "supply": self.supply}
            gate = GateTransistors("gate", n, tables, chip=chip, **own)
        graph.add(code, u=state)
        graph.add(e)
        self._crossbar(graph, code, e, "crossbar", 1)
        if sizes.negative:
            kind = NegativeLines if self.full else NegativeThreshold
            self._crossbar(graph, graph.add(kind("negative", n, tables, symbol="sn"), u=state), e, "other", -1)
        rows = None if stream is None else stream.with_rows(-model.drives(stream.rows))
        value = -model.drive(x) if rows is None else rows.rows[0]
        current = CurrentInput if self.full else cells.Input
        entering = current("inhibition_input", n, value=np.asarray(value), target="e", stream=rows, **streaming)
        graph.wire(graph.add(entering), e, "input")
        return graph.add(gate, u=state, e=e)

    def _crossbar(self, graph: SignalFlowGraph, code: Cell, e: Cell, port: str, sign: int) -> None:
        """Wire up the entries of one sign."""
        sizes, name = self.sizes, "inhibition" if sign > 0 else "excitation"
        weights = np.maximum(sign * sizes.weights, 0)
        given: dict[str, Any] = {"matrix": sign * weights * sizes.weight_unit, "source": "s", "target": "e"}
        crossbar = cells.Crossbar(name, e.size, **given)
        if self.full:
            lines = (POSITIVE if sign > 0 else NEGATIVE)[: 2 if sizes.signed else 1]
            crossbar = MirrorCrossbar(name, e.size, **given, weights=weights, lines=lines, chip=self.chip)
        graph.wire(graph.add(crossbar, v=code), e, port)

    def cards(self, graph: SignalFlowGraph, *, by_name: bool = False) -> str:
        """Return what a deck of transistors needs beside its circuit: models, temperature, options, and a first guess.

        Parameters
        ----------
        graph : SignalFlowGraph
            Made by `force`.
        by_name : bool
            Whether models are included by their names alone, as for a deck that is handed over with them beside it.
        """
        corner = self.parts.corner
        sets = {**self.sizes.bias.rest}
        for cell in graph.cells:
            if isinstance(cell, ThresholdTransistors):
                sets |= dict(resting(cell.placed(graph.wires(cell).inputs["u"])))
            if isinstance(cell, GateTransistors):
                wires = graph.wires(cell)
                sets |= dict(resting(cell.placed(wires.inputs["u"], wires.inputs["e"])))
        folder = None if by_name else models()
        lines = [
            include_lines(corner.process, corner.temperature - CELSIUS, folder=folder),
            *(f".nodeset v({node})={float(volt)!r}" for node, volt in sets.items()),
            f".options {NEWTON}",
        ]
        return "\n".join(lines)
