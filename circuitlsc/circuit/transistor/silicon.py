"""A chip: a design at a corner with the errors of its devices, and the part of a signal-flow graph that it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from circuitlsc.circuit import cells
from circuitlsc.circuit.cells import Cell, Noise
from circuitlsc.circuit.graph import SignalFlowGraph
from circuitlsc.circuit.transistor.amplified import AmplifiedNoise
from circuitlsc.circuit.transistor.behaviour import NegativeThreshold, TabulatedGate, TabulatedThreshold
from circuitlsc.circuit.transistor.cells.amplifier import AmplifierDesign
from circuitlsc.circuit.transistor.design import SUPPLY, Design
from circuitlsc.circuit.transistor.noise import TRIMMED, MeasuredAmplifier, measure_amplifier, offset_trim, tuned
from circuitlsc.circuit.transistor.parts import Chip, resting
from circuitlsc.circuit.transistor.process import CELSIUS, FILES, PACKAGE, PROCESS, VERSION, include_lines, models
from circuitlsc.circuit.transistor.tables import ChipTables
from circuitlsc.circuit.transistor.transistors import (
    CurrentInput,
    CurrentNode,
    GateTransistors,
    MirrorCrossbar,
    MirroredInput,
    NegativeLines,
    NoiseTransistors,
    ThresholdTransistors,
)
from circuitlsc.circuit.transistor.trim import trimmed
from circuitlsc.io.arrays import Array
from circuitlsc.model.sparse_coding import SparseCodingModel
from circuitlsc.model.stream import Stream
from circuitlsc.nonideal.nonidealities import Nonidealities

NEWTON = "reltol={reltol} abstol={abstol} vntol={vntol} trtol=1e9 gmin=1e-15 itl1=300 itl2=300 itl4=100"
USUAL = {"reltol": "1e-4", "abstol": "1e-14", "vntol": "1e-6"}
#: an amplifier's input has 65 uV rms, and its servo 44 times as much gain to the last stage
FINE = {"reltol": "1e-6", "abstol": "1e-15", "vntol": "1e-8"}


@dataclass(frozen=True, eq=False)
class Silicon:
    """One chip of a design.

    Parameters
    ----------
    sizes : Design
    parts : Nonidealities
        The corner, and the seed and size of what devices differ by.
    b : array, shape (n_latents,)
        Drive of the (first) input, model units.
    tau : float
        Seconds.
    """

    sizes: Design
    parts: Nonidealities
    b: Array
    tau: float

    @cached_property
    def tables(self) -> ChipTables:
        """What its cells do (measured in ngspice, or known from before)."""
        return self._made[1]

    @cached_property
    def _made(self) -> tuple[Chip, ChipTables]:
        return trimmed(self.sizes, Chip(self.parts), self.b)

    @property
    def full(self) -> bool:
        """Whether the netlist is of transistors."""
        return self.sizes.keys.engine == "full"

    @property
    def chip(self) -> Chip:
        """The errors of its devices, and its trims."""
        return self._made[0]

    @property
    def trims(self) -> Mapping[str, float]:
        """Volts of all trims, by the device; those of noise amplifiers if there are any in the circuit."""
        return (self.amplifiers[1] if self.sizes.keys.noise == "amplifier" else self.chip).trims

    @property
    def supply(self) -> float:
        """Volt, in all."""
        return SUPPLY * self.parts.corner.supply

    def what(self) -> str:
        """Say in a sentence what stands for the transistors, and what a deck needs beside it."""
        corner = self.parts.corner
        where = f"{corner.process}, {corner.temperature:g} K, {self.supply:g} V"
        if not self.full:
            return f"Behavioural: threshold and gate are tables of what transistors of {PROCESS} ({where}) were measured to do."
        names = " and ".join(FILES)
        return f"Every transistor of {PROCESS} ({where}). The models {names} of {PACKAGE} {VERSION} must lie beside the deck."

    def read(self, u: ArrayLike) -> Array:
        """Return the code that the lines carry at states u (..., n_latents), in model units."""
        u = np.asarray(u, dtype=float)
        tables = self.tables.of(u.shape[-1])
        return np.stack([t.code(u[..., i]) for i, t in enumerate(tables)], axis=-1)

    def sparse(self, s: Array) -> Array:
        """Return codes of the lines with those of inactive latents as 0: a line always carries a little."""
        return np.where(np.abs(s) > self.sizes.width, s, 0.0)

    def active(self, u: ArrayLike) -> NDArray[np.bool_]:
        """Return which latents are active: those whose line carries more than I0, the current of both halves at u0."""
        return np.asarray(np.abs(self.read(u)) > self.sizes.width)

    def noise(self, name: str, size: int, temperature: float, form: str) -> Noise:
        """Return the noise cell: a voltage in series with the capacitors, or resistors' noise through amplifiers."""
        if self.sizes.keys.noise == "ideal":
            return Noise(name, size, temperature=temperature, form=form)
        made, chip, found = self.amplifiers
        each = [m.model for m in found]
        given: dict[str, Any] = {"temperature": temperature, "form": form}
        given["models"] = each * size if len(each) == 1 else each
        if not self.full:
            return AmplifiedNoise(name, size, **given)
        return NoiseTransistors(name, size, **given, design=made, chip=chip)

    @cached_property
    def amplifiers(self) -> tuple[AmplifierDesign, Chip, list[MeasuredAmplifier]]:
        """The noise amplifiers' design, the chip with their trims, and what each does (one, if all are alike)."""
        sizes, chip = self.sizes, self.chip
        made = replace(tuned(sizes.unit_e, self.tau), area=sizes.keys.area)
        corner = self.parts.corner
        where: dict[str, Any] = {
            "corner": corner.process,
            "celsius": corner.temperature - CELSIUS,
            "supply": self.supply,
        }
        paths = [f"amplifier_{i}" for i in range(1 if chip.matched else len(sizes.weights))]
        if sizes.keys.trim != "none":
            trims = {f"{path}.{TRIMMED}": offset_trim(made, chip, path, **where) for path in paths}
            chip = replace(chip, trims={**chip.trims, **trims})
        return made, chip, [measure_amplifier(made, **where, chip=chip, path=path) for path in paths]

    def force(
        self,
        graph: SignalFlowGraph,
        state: Cell,
        model: SparseCodingModel,
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
        graph.wire(graph.add(self._input(model, stream, **streaming)), e, "input")
        return graph.add(gate, u=state, e=e)

    def _input(self, model: SparseCodingModel, stream: Stream | None, **streaming: Any) -> cells.Input:
        """Return what gives -b."""
        name, n = "inhibition_input", len(self.b)
        if stream is not None:
            rows = stream.with_rows(-model.drives(stream.rows))
            streamed = CurrentInput if self.full else cells.Input
            return streamed(name, n, value=rows.rows[0], target="e", stream=rows, **streaming)
        gains = self.tables.inputs
        if not self.full:
            return cells.Input(name, n, value=-self.b * gains, target="e", **streaming)
        mirrors = self.sizes.inputs(self.b)
        given = {"gains": gains, "mirrors": mirrors, "chip": self.chip, **streaming}
        return MirroredInput(name, n, value=-self.b, target="e", **given)

    def _crossbar(self, graph: SignalFlowGraph, code: Cell, e: Cell, port: str, sign: int) -> None:
        """Wire up the entries of one sign."""
        name = "inhibition" if sign > 0 else "excitation"
        given: dict[str, Any] = {"matrix": self.tables.matrices[sign], "source": "s", "target": "e"}
        crossbar = cells.Crossbar(name, e.size, **given)
        if self.full:
            crossbar = MirrorCrossbar(name, e.size, **given, entries=self.sizes.entries(sign), chip=self.chip)
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
        bias = self.sizes.bias
        sets = {line: bias.rest[line] for line in bias.lines if line in bias.rest}
        amplified = any(isinstance(cell, NoiseTransistors) for cell in graph.cells)
        for cell in graph.cells:
            if isinstance(cell, ThresholdTransistors):
                sets |= resting(cell.placed(graph.wires(cell).inputs["u"]))
            if isinstance(cell, NoiseTransistors):
                sets |= resting(cell.placed(graph.wires(cell).target))
            if isinstance(cell, MirroredInput):
                sets |= resting(cell.mirrors)
            if isinstance(cell, GateTransistors):
                wires = graph.wires(cell)
                sets |= resting(cell.placed(wires.inputs["u"], wires.inputs["e"]))
        folder = None if by_name else models()
        lines = [
            include_lines(corner.process, corner.temperature - CELSIUS, folder=folder),
            *(f".nodeset v({node})={float(volt)!r}" for node, volt in sets.items()),
            f".options {NEWTON.format(**(FINE if amplified else USUAL))}",
        ]
        return "\n".join(lines)
