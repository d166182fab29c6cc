"""Cells of the signal-flow graph as transistors: the netlist is that of a chip, the NumPy form what it was measured to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from PySpice.Spice.Netlist import Netlist, SubCircuit

from circuitlsc.circuit.cells import Crossbar, Gradient, Input
from circuitlsc.circuit.cells.base import State, Wires, number
from circuitlsc.circuit.transistor.amplified import AmplifiedNoise
from circuitlsc.circuit.transistor.behaviour import NegativeThreshold, TabulatedGate, TabulatedThreshold
from circuitlsc.circuit.transistor.cells.amplifier import AmplifierDesign, amplifier, amplifier_bias
from circuitlsc.circuit.transistor.crossbar import Entry
from circuitlsc.circuit.transistor.parts import BELOW, Chip, Placed, TransistorCell, definitions, place
from circuitlsc.io.arrays import Array
from circuitlsc.planning.scaling import Scaling


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
        return tuple(definitions(self.placed(["u"] * self.size), self.chip).values())

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
        return tuple(definitions(self.placed(["u"] * self.size, ["e"] * self.size), self.chip).values())

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
    """Entries of one sign as unit mirrors (`circuitlsc.circuit.transistor.crossbar.entries`).

    Parameters
    ----------
    entries : sequence of Entry
    chip : Chip
    """

    entries: Sequence[Entry] = field(kw_only=True)
    chip: Chip = field(kw_only=True)

    def placed(self, targets: Sequence[str]) -> list[Placed]:
        """Return the instances that drive these nodes."""
        return [
            (entry.name, entry.cell, (line_of(entry.line, entry.source), targets[entry.target]))
            for entry in self.entries
        ]

    def subcircuits(self, scaling: Scaling) -> tuple[SubCircuit, ...]:
        """Return the mirrors of each number of units."""
        return tuple(definitions(self.placed(["e"] * self.size), self.chip).values())

    def emit(self, netlist: Netlist, wires: Wires, scaling: Scaling) -> None:
        """Add one mirror for each entry, or two if codes are signed."""
        place(netlist, self.placed(wires.output), self.chip)


@dataclass(frozen=True, eq=False)
class NoiseTransistors(AmplifiedNoise):
    """Amplifiers of a resistor's noise, whose Brownian voltage comes from outside in series with C_n, and their bias.

    Parameters
    ----------
    design : AmplifierDesign
    celsius : float
        What the bias currents follow.
    chip : Chip
    """

    design: AmplifierDesign = field(kw_only=True)
    celsius: float = field(kw_only=True)
    chip: Chip = field(kw_only=True)

    def placed(self, states: Sequence[str]) -> list[Placed]:
        """Return the amplifiers of neurons whose states are at these nodes, and what biases them."""
        cell = amplifier(self.design)
        each = [(f"amplifier_{i}", cell, (f"{self.element(i)}_v", u)) for i, u in enumerate(states)]
        return [("amplifier_bias", amplifier_bias(self.design, self.celsius), ()), *each]

    def devices(self) -> tuple[str, ...]:
        """Names of the voltage sources."""
        return tuple(f"v{source}".lower() for source in self.sources)

    def subcircuits(self, scaling: Scaling) -> tuple[SubCircuit, ...]:
        """Return the cells and those that they use."""
        return tuple(definitions(self.placed(["u"] * self.size), self.chip).values())

    def emit(self, netlist: Netlist, wires: Wires, scaling: Scaling) -> None:
        """Add the amplifiers, the capacitors C_n, and the sources; the neurons' capacitors stand on ground."""
        place(netlist, self.placed(wires.target), self.chip)
        for name, plate, model in zip(self.elements, wires.output, self.models, strict=True):
            netlist.V(f"{name}_plate", plate, 0, 0.0)
            netlist.V(name, f"{name}_b", 0, "external" if self.form == "external" else 0.0)
            netlist.C(name, f"{name}_v", f"{name}_b", self.design.c_n)
            if self.form != "external":
                held = number(model.density * self.design.c_n)
                netlist.I(name, 0, f"{name}_v", f"trrandom(2 {{t_hold}} 0 {{{held!r}/sqrt(t_hold)}} 0)")

    def states(self, scaling: Scaling) -> tuple[State, ...]:
        """Return nothing: each piece of a run starts amplifiers at rest, where they are again after some 1/b."""
        return ()


def line_of(pin: str, i: int) -> str:
    """Return the node of a neuron's gate line."""
    return f"s_{i}" if pin == "ps" else f"{pin}_{i}"


@dataclass(frozen=True, eq=False)
class CurrentInput(Input):
    """-b as currents from outside (of a converter beside the chip), straight into the nodes of e: those of a stream."""

    def unit(self, scaling: Scaling) -> float:
        """Return ampere per unit of e."""
        return scaling.drift_current


@dataclass(frozen=True, eq=False)
class MirroredInput(CurrentInput):
    """-b as currents that mirrors, with errors of their own, derive from bias lines.

    Parameters
    ----------
    gains : array, shape (size,)
        What the inputs are over b.
    mirrors : sequence of Placed
        With the pin e.
    chip : Chip
    """

    gains: Array = field(kw_only=True)
    mirrors: Sequence[Placed] = field(kw_only=True)
    chip: Chip = field(kw_only=True)

    def respond(self, inputs: Mapping[str, Array]) -> tuple[Array, dict[str, Array]]:
        """Return -b as the mirrors make it."""
        return self.value * self.gains, {}

    def subcircuits(self, scaling: Scaling) -> tuple[SubCircuit, ...]:
        """Return the mirrors."""
        return tuple(definitions(self.mirrors, self.chip).values())

    def emit(self, netlist: Netlist, wires: Wires, scaling: Scaling) -> None:
        """Add the mirrors of each component."""
        place(netlist, self.mirrors, self.chip)
