"""Cells of the signal-flow graph as transistors: the netlist is that of a chip, the NumPy form what it was measured to do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from PySpice.Spice.Netlist import Netlist, SubCircuit

from circuitlsc.circuit.cells import Crossbar, Gradient, Input
from circuitlsc.circuit.cells.base import Wires, number
from circuitlsc.circuit.transistor.behaviour import NegativeThreshold, TabulatedGate, TabulatedThreshold
from circuitlsc.circuit.transistor.cells.mirror import copy
from circuitlsc.circuit.transistor.parts import BELOW, Chip, TransistorCell, definition_name, subcircuits
from circuitlsc.planning.scaling import Scaling

Placed = tuple[str, TransistorCell, tuple[str, ...]]  # an instance: its name, its cell, and the nodes at its pins


def definitions(placed: Sequence[Placed], chip: Chip) -> tuple[SubCircuit, ...]:
    """Return what instances are made of, each definition once."""
    found = {str(d.name): d for name, cell, _ in placed for d in subcircuits(cell, name, chip)}
    return tuple(found.values())


def place(netlist: Netlist, placed: Sequence[Placed], chip: Chip) -> None:
    """Put instances into a netlist."""
    for name, cell, nodes in placed:
        netlist.X(name, definition_name(cell, name, chip), *nodes, *cell.lines)


def resting(placed: Sequence[Placed]) -> Iterator[tuple[str, float]]:
    """Yield the nodes of which an operating point is known roughly, and their volts."""
    for name, cell, nodes in placed:
        yield from cell.nodesets(f"x{name}")  # of its pins below, by the circuit's names
        yield from ((node, cell.rest[pin]) for pin, node in zip(cell.pins, nodes, strict=True) if pin in cell.rest)


@dataclass(frozen=True, eq=False)
class ThresholdTransistors(TabulatedThreshold):
    """The first half of each neuron; its output is the gate line ``ps``, called ``s_i``.

    Parameters
    ----------
    cell : TransistorCell
        With the pins u and ps, and others that the gate and the crossbar share.
    chip : Chip
    """

    cell: TransistorCell = field(kw_only=True)
    chip: Chip = field(kw_only=True)

    def placed(self, states: Sequence[str]) -> list[Placed]:
        """Return the instances of neurons whose states are at these nodes."""
        return [(self.element(i), self.cell, nodes_of(self.cell, i, u=u)) for i, u in enumerate(states)]

    def subcircuits(self, scaling: Scaling) -> tuple[SubCircuit, ...]:
        """Return the cell and those that it uses."""
        return definitions(self.placed(["u"] * self.size), self.chip)

    def emit(self, netlist: Netlist, wires: Wires, scaling: Scaling) -> None:
        """Add the instances."""
        place(netlist, self.placed(wires.inputs["u"]), self.chip)


class NegativeLines(NegativeThreshold):
    """The lines that negative entries copy: of the thresholds' own, so that there is nothing to add."""

    def subcircuits(self, scaling: Scaling) -> tuple[SubCircuit, ...]:
        """Return nothing."""
        return ()

    def emit(self, netlist: Netlist, wires: Wires, scaling: Scaling) -> None:
        """Add nothing."""


def nodes_of(cell: TransistorCell, i: int, **given: str) -> tuple[str, ...]:
    """Return the nodes at the pins of a half of neuron i: those given, ``s_i`` for ps, and else the pin's name with _i."""
    given = {"ps": f"s_{i}", **given}
    return tuple(given.get(pin, f"{pin}_{i}") for pin in cell.pins)


@dataclass(frozen=True, eq=False)
class GateTransistors(TabulatedGate):
    """The second half of each neuron, with the chip's supply and its bias block.

    Parameters
    ----------
    cell, bias : TransistorCell
    supply : float
        Volt, in all.
    chip : Chip
    """

    cell: TransistorCell = field(kw_only=True)
    bias: TransistorCell = field(kw_only=True)
    supply: float = field(kw_only=True)
    chip: Chip = field(kw_only=True)

    def placed(self, states: Sequence[str], gradients: Sequence[str]) -> list[Placed]:
        """Return the instances of neurons, and the bias block."""
        each = enumerate(zip(states, gradients, strict=True))
        halves = [(self.element(i), self.cell, nodes_of(self.cell, i, u=u, e=e)) for i, (u, e) in each]
        return [("bias", self.bias, ()), *halves]

    def subcircuits(self, scaling: Scaling) -> tuple[SubCircuit, ...]:
        """Return the cells and those that they use."""
        return definitions(self.placed(["u"] * self.size, ["e"] * self.size), self.chip)

    def emit(self, netlist: Netlist, wires: Wires, scaling: Scaling) -> None:
        """Add the supply, the bias block and the instances."""
        netlist.V("dd", "vdd", 0, number(self.supply - BELOW))
        netlist.V("ss", "vss", 0, -BELOW)
        place(netlist, self.placed(wires.inputs["u"], wires.inputs["e"]), self.chip)


class CurrentNode(Gradient):
    """The node where the currents of e meet: the splitter's input, and no part of its own."""

    def subcircuits(self, scaling: Scaling) -> tuple[SubCircuit, ...]:
        """Return nothing."""
        return ()

    def emit(self, netlist: Netlist, wires: Wires, scaling: Scaling) -> None:
        """Add nothing."""


@dataclass(frozen=True, eq=False)
class MirrorCrossbar(Crossbar):
    """Entries of one sign as unit mirrors: of positive ones p-channel copies of s+, of negative ones n-channel copies.

    Parameters
    ----------
    weights : array of int, shape (size, n_inputs)
        Units of each entry, >= 0.
    lines : tuple of (str, str)
        Pin of a neuron, by whose line entries are copied, and kind of the copy: of s+ and, if codes are signed, of s-.
    chip : Chip
    """

    weights: np.ndarray = field(kw_only=True)
    lines: tuple[tuple[str, str], ...] = field(kw_only=True)
    chip: Chip = field(kw_only=True)

    def placed(self, targets: Sequence[str]) -> list[Placed]:
        """Return the instances that drive these nodes."""
        return [
            (f"{self.name}_{j}_{i}_{pin}", copy(kind, int(self.weights[j, i])), (line_of(pin, i), targets[j]))
            for j, i in zip(*map(np.ndarray.tolist, np.nonzero(self.weights)), strict=True)
            for pin, kind in self.lines
        ]

    def subcircuits(self, scaling: Scaling) -> tuple[SubCircuit, ...]:
        """Return the mirrors of each number of units."""
        return definitions(self.placed(["e"] * self.size), self.chip)

    def emit(self, netlist: Netlist, wires: Wires, scaling: Scaling) -> None:
        """Add one mirror for each entry, or two if codes are signed."""
        place(netlist, self.placed(wires.output), self.chip)


def line_of(pin: str, i: int) -> str:
    """Return the node of a neuron's gate line."""
    return f"s_{i}" if pin == "ps" else f"{pin}_{i}"


@dataclass(frozen=True, eq=False)
class CurrentInput(Input):
    """-b as currents from outside (of a converter beside the chip) into the nodes of e."""

    def unit(self, scaling: Scaling) -> float:
        """Return ampere per unit of e."""
        return scaling.drift_current
