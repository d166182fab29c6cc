"""What a vector cell is: one idea with a NumPy transfer function and a PySpice subcircuit, side by side."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from PySpice.Spice.Netlist import Netlist, SubCircuit

from circuitlsc.io.arrays import Array
from circuitlsc.planning.scaling import Scaling


@dataclass(frozen=True, eq=False)
class Cell(ABC):
    """A vector of ``size`` identical subcircuits.

    A *voltage* cell owns the nodes of its output, ``<letter>_<i>``. A *current* cell owns none: it drives the nodes
    of the cell that it feeds, where the currents of several cells add (that is how an analog circuit sums).

    Parameters
    ----------
    name : str
        Unique in its graph; instances are called ``X<name>_<i>``.
    size : int
        Length of the output vector.
    symbol : str
        What a voltage cell's nodes are called if not by its quantity: v, where a graph has a second vector like u.
    """

    name: str
    size: int
    symbol: str = field(default="", kw_only=True)

    #: what the cell's output is, by which its volts are scaled: u, s, r, e; "" for a current cell
    quantity: ClassVar[str] = ""
    #: names of the input ports
    ports: ClassVar[tuple[str, ...]] = ()
    #: the subcircuit that each instance is one of; "" stands for lsc_ and the cell's own name
    definition: ClassVar[str] = ""
    #: whether `respond` returns matrices (size, n) rather than slopes (..., size)
    linear: ClassVar[bool] = False

    @property
    def letter(self) -> str:
        """What its output is called in formulas, node names and samples; "" for a current cell."""
        return self.symbol or self.quantity

    @property
    def nodes(self) -> tuple[str, ...]:
        """Names of the output nodes of a voltage cell."""
        return tuple(f"{self.letter}_{i}" for i in range(self.size)) if self.letter else ()

    @property
    def taken(self) -> tuple[str, ...]:
        """All nodes that the cell gives a name: of its output, and those that its ports lead to."""
        named = [node for nodes in (self.nodes, *map(self.port_nodes, self.ports)) for node in nodes]
        return tuple(dict.fromkeys(node for node in named if node != "0"))

    def port_nodes(self, port: str) -> tuple[str, ...]:
        """Return the nodes into which a current cell that feeds ``port`` drives its current."""
        return self.nodes

    @property
    def elements(self) -> tuple[str, ...]:
        """Names of the instances, under which their errors are drawn too."""
        return tuple(map(self.element, range(self.size)))

    def element(self, i: int) -> str:
        """Return the name of an instance."""
        return f"{self.name}_{i}"

    @abstractmethod
    def respond(self, inputs: Mapping[str, Array]) -> tuple[Array, dict[str, Array]]:
        """Return the output (..., size) of the inputs (..., n), in model units, and d(output)/d(input) by port.

        A derivative is (..., size) for an elementwise port, (size, n) for a linear one.
        """

    def evaluate(self, inputs: Mapping[str, Array]) -> Array:
        """Return the output alone."""
        return self.respond(inputs)[0]

    def partials(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Return the derivatives alone."""
        return self.respond(inputs)[1]

    @abstractmethod
    def subcircuits(self, scaling: Scaling) -> tuple[SubCircuit, ...]:
        """Return the subcircuit definitions that `emit` uses."""

    def states(self, scaling: Scaling) -> tuple[State, ...]:
        """Return the cell's capacitors, if it has any."""
        return ()

    def defined(self, text: str, *pins: str, **defaults: float) -> SubCircuit:
        """Return an empty definition of one instance, with its comment and the default values of its parameters."""
        return described(SubCircuit(self.definition or f"lsc_{self.name}", *pins, **defaults), text)

    def pins(self, wires: Wires) -> tuple[tuple[str, ...], ...]:
        """Return the nodes at each pin, one for each instance or the one that all share: inputs, then the output."""
        return (*(wires.inputs[port] for port in self.ports), wires.output)

    def parameters(self, scaling: Scaling) -> Mapping[str, Array]:
        """Return by name what differs from one instance to the next, a value for each; ideal ones are all alike."""
        return {}

    def emit(self, netlist: Netlist, wires: Wires, scaling: Scaling) -> None:
        """Add the cell's instances to a circuit."""
        definition, values = self.definition or f"lsc_{self.name}", self.parameters(scaling)
        for i, nodes in enumerate(zip(*(pin.tolist() for pin in np.broadcast_arrays(*self.pins(wires))), strict=True)):
            given = {name: number(value[i]) for name, value in values.items()}
            netlist.X(self.element(i), definition, *nodes, **given)


@dataclass(frozen=True)
class State:
    """A capacitor whose voltage the next piece of a run takes up again: its flattened name, its node, its first voltage."""

    capacitor: str
    node: str
    start: float = 0.0


@dataclass(frozen=True)
class Wires:
    """The node names around a cell: its inputs by port, and its output (own nodes, or those that it drives)."""

    inputs: Mapping[str, tuple[str, ...]]
    output: tuple[str, ...]
    #: nodes of the cell that a current cell feeds (they differ from ``output`` where the port has nodes of its own)
    target: tuple[str, ...]


def described(subcircuit: SubCircuit, text: str) -> SubCircuit:
    """Give a subcircuit the comment that decks carry at its head: pins, equation."""
    subcircuit.raw_spice = f"* {text}"
    return subcircuit


def number(value: float) -> float:
    """Return a Python float, whose repr goes into a deck (NumPy's would read ``np.float64(...)``)."""
    value = float(value)
    if not np.isfinite(value):
        raise ValueError(f"{value!r} cannot be written into a netlist")
    return value
