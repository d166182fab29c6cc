r"""Threshold cell: s = f_w(a_w(u)) (nonnegative codes) or the soft threshold of u (signed codes), as a voltage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from PySpice.Spice.Netlist import SubCircuit

from circuitlsc.circuit.cells.base import Cell, number
from circuitlsc.io.arrays import Array
from circuitlsc.model.piecewise_linear import Table
from circuitlsc.nonideal.hardware import Hardware
from circuitlsc.planning.scaling import Scaling


@dataclass(frozen=True, eq=False)
class Threshold(Cell):
    """The code s of the state u (Fang et al. 2022, section 3.1), through comparators of finite gain.

    Parameters
    ----------
    table : Table
        s(u), both in model units; tabulated from the prior's smooth `latent`.
    """

    table: Table

    quantity = "s"
    ports = ("u",)
    definition = "lsc_threshold"

    def respond(self, inputs: Mapping[str, Array]) -> tuple[Array, dict[str, Array]]:
        """Return s(u) and ds/du, with one search in the table."""
        s, slope = self.table.with_slope(inputs["u"])
        return s, {"u": slope}

    def subcircuits(self, scaling: Scaling) -> tuple[SubCircuit, ...]:
        """Return ``lsc_threshold u s``: a table that drives a current through a resistor."""
        cell = self.defined("threshold: V(s) = s(V(u)), the code of a state", "u", "s")
        current = self.table.spice("u", scaling.volt, scaling.volt / scaling.r_node)
        cell.B("s", 0, "s", current_expression=current)
        cell.R("s", "s", 0, number(scaling.r_node))
        return (cell,)


@dataclass(frozen=True, eq=False)
class DeviceThreshold(Threshold):
    """The same cell with an input offset of its own, and an output that can drive a crossbar.

    Parameters
    ----------
    hardware : Hardware
    """

    hardware: Hardware

    @cached_property
    def offset(self) -> Array:
        """Input offset voltages, volt, shape (size,)."""
        parts = self.hardware.parts
        return parts.normals(self.elements, "offset", parts.comparator.threshold_offset)

    def respond(self, inputs: Mapping[str, Array]) -> tuple[Array, dict[str, Array]]:
        """Return s(u + offset), and its slope."""
        return super().respond({"u": inputs["u"] + self.offset / self.hardware.scaling.volt})

    def subcircuits(self, scaling: Scaling) -> tuple[SubCircuit, ...]:
        """Return ``lsc_threshold u s``: a table that holds the voltage of s."""
        cell = self.defined("threshold: V(s) = s(V(u) + vos)", "u", "s", vos=0.0)
        cell.B("s", "s", 0, voltage_expression=self.table.spice_of("V(u)+{vos}", scaling.volt, scaling.volt))
        return (cell,)

    def parameters(self, scaling: Scaling) -> Mapping[str, Array]:
        """Return the input offsets."""
        return {"vos": self.offset}
