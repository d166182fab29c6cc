r"""Cells of the signal-flow graph that do what a chip's transistors were measured to do: threshold and gate as tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PySpice.Spice.Netlist import Netlist, SubCircuit

from circuitlsc.circuit.cells.base import Cell, Wires, described, number
from circuitlsc.circuit.transistor.tables import NeuronTables
from circuitlsc.io.arrays import Array
from circuitlsc.model.piecewise_linear import Table
from circuitlsc.planning.scaling import Scaling


@dataclass(frozen=True, eq=False)
class Tabulated(Cell):
    """A cell of which each neuron has tables of its own, or all the same ones.

    Parameters
    ----------
    tables : sequence of NeuronTables
        One for each neuron.
    """

    tables: Sequence[NeuronTables]

    @property
    def _alike(self) -> bool:
        return all(t is self.tables[0] for t in self.tables)

    def _each(self, function: Any, *values: Array) -> tuple[Array, ...]:
        """Return what a function of one neuron's tables makes of its values (..., size), for all neurons."""
        if self._alike:
            return tuple(function(self.tables[0], *values))
        each = [function(t, *(v[..., i] for v in values)) for i, t in enumerate(self.tables)]
        return tuple(np.stack(parts, axis=-1) for parts in zip(*each, strict=True))

    def _names(self) -> list[str]:
        """Return the definition that each instance is one of."""
        own = self.definition
        return [own] * self.size if self._alike else [f"{own}_{i}" for i in range(self.size)]

    def subcircuits(self, scaling: Scaling) -> tuple[SubCircuit, ...]:
        """Return one definition, or one for each neuron if they differ."""
        made = dict(zip(self._names(), self.tables, strict=True))
        return tuple(self._defined(name, tables, scaling) for name, tables in made.items())

    def _defined(self, name: str, tables: NeuronTables, scaling: Scaling) -> SubCircuit:
        raise NotImplementedError

    def emit(self, netlist: Netlist, wires: Wires, scaling: Scaling) -> None:
        """Add the instances."""
        pins = zip(*self.pins(wires), strict=True)
        for i, (name, nodes) in enumerate(zip(self._names(), pins, strict=True)):
            netlist.X(self.element(i), name, *nodes)


@dataclass(frozen=True, eq=False)
class TabulatedThreshold(Tabulated):
    """The code s(u) as the current of a neuron's line, read by a mirror of all its units, was measured."""

    quantity = "s"
    ports = ("u",)
    definition = "lsc_threshold"

    def _table(self, tables: NeuronTables) -> Table:
        return tables.code

    def respond(self, inputs: Mapping[str, Array]) -> tuple[Array, dict[str, Array]]:
        """Return s(u) and ds/du."""
        s, slope = self._each(lambda t, u: self._table(t).with_slope(u), inputs["u"])
        return s, {"u": slope}

    def _defined(self, name: str, tables: NeuronTables, scaling: Scaling) -> SubCircuit:
        cell = described(SubCircuit(name, "u", "s"), "threshold: V(s) = s(V(u)), a line's current as characterised")
        cell.B(
            "s", 0, "s", current_expression=self._table(tables).spice("u", scaling.volt, scaling.volt / scaling.r_node)
        )
        cell.R("s", "s", 0, number(scaling.r_node))
        return cell


class NegativeThreshold(TabulatedThreshold):
    """The code as negative entries of the crossbar read it, from lines of the other kind."""

    def _table(self, tables: NeuronTables) -> Table:
        assert tables.negative is not None
        return tables.negative


@dataclass(frozen=True, eq=False)
class TabulatedGate(Tabulated):
    """The drift F(u, e) as the current into a neuron's capacitor was measured."""

    ports = ("u", "e")
    definition = "lsc_gate"

    def respond(self, inputs: Mapping[str, Array]) -> tuple[Array, dict[str, Array]]:
        """Return the drift, units per tau, d(drift)/du at fixed e and d(drift)/de."""
        drift, by_u, by_e = self._each(lambda t, u, e: t.drift.with_slopes(u, e), inputs["u"], inputs["e"])
        return drift, {"u": by_u, "e": by_e}

    def pins(self, wires: Wires) -> tuple[tuple[str, ...], ...]:
        """Return u and e: the current goes into u."""
        return super().pins(wires)[:2]

    def _defined(self, name: str, tables: NeuronTables, scaling: Scaling) -> SubCircuit:
        cell = described(SubCircuit(name, "u", "e"), "gate: current F(V(u), V(e)) into u, as characterised")
        units = (scaling.volt, scaling.volt_e, scaling.drift_current)
        cell.B("g", 0, "u", current_expression=tables.drift.spice("u", "e", units))
        return cell
