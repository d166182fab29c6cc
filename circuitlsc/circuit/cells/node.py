r"""Summing node and constant input: currents into a resistor, :math:`v = R \sum I`.

At device level the resistor is the feedback of an op-amp whose virtual ground collects the currents.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

import numpy as np
from PySpice.Spice.Netlist import Netlist, SubCircuit

from circuitlsc.circuit.cells.base import Cell, Wires, number
from circuitlsc.circuit.cells.op_amp import OpAmps, finite_gain, op_amp
from circuitlsc.circuit.cells.resistors import ResistorCrossbar, full_scale
from circuitlsc.io.arrays import Array
from circuitlsc.model.stream import Stream
from circuitlsc.nonideal.hardware import Hardware
from circuitlsc.planning.scaling import Scaling


@dataclass(frozen=True, eq=False)
class Sum(Cell):
    """A vector of nodes where currents add; see `Residual` and `Gradient`."""

    ports: ClassVar[tuple[str, ...]] = ("crossbar", "input", "other")
    definition = "lsc_node"

    def respond(self, inputs: Mapping[str, Array]) -> tuple[Array, dict[str, Array]]:
        """Return the sum of the inputs, and ones."""
        return np.asarray(sum(inputs.values())), {port: np.ones(self.size) for port in inputs}

    def subcircuits(self, scaling: Scaling) -> tuple[SubCircuit, ...]:
        """Return ``lsc_node v``: the resistor that turns the summed current into a voltage."""
        cell = self.defined("summing node: V(v) = resistance times the sum of currents", "v")
        cell.R("sum", "v", 0, number(scaling.r_node))
        return (cell,)

    def pins(self, wires: Wires) -> tuple[tuple[str, ...], ...]:
        """Return the nodes alone: what feeds them is connected to them."""
        return (self.nodes,)


class Residual(Sum):
    """The residual r = A s - x."""

    quantity = "r"


class Gradient(Sum):
    """The likelihood's gradient e = A^T r / sigma^2 = G s - b."""

    quantity = "e"


@dataclass(frozen=True, eq=False)
class TransimpedanceSum(OpAmps, Sum):
    r"""A vector of virtual grounds whose op-amps turn the summed currents into voltages; see `DeviceResidual`.

    .. math:: \left(1 + \frac{N}{A_0}\right) v = R_f \sum I + N v_{os}, \qquad N = 1 + R_f (Y + 1/R_x)

    with Y the admittance of the crossbar's rows (a matrix, if its wires or drivers resist) and 1/R_x that of the input.

    Parameters
    ----------
    crossbar : ResistorCrossbar
        What feeds the virtual grounds; it fixes the feedback resistor.
    source : str
        Quantity at the crossbar's input.
    has_input : bool
        Whether a constant input feeds them too.
    hardware : Hardware
    """

    crossbar: ResistorCrossbar
    source: str
    has_input: bool
    hardware: Hardware

    ports = ("crossbar", "input")  # its noise gain knows these
    linear = True
    definition = "lsc_tia"

    def port_nodes(self, port: str) -> tuple[str, ...]:
        """Currents go into the virtual grounds."""
        return tuple(f"v{node}" for node in self.nodes)

    @cached_property
    def feedback(self) -> float:
        """Feedback resistor, ohm: full scale of the crossbar's matrix over its window of conductances."""
        return self.hardware.ohm(feedback_resistor(self.crossbar, self.source, self.quantity))

    @cached_property
    def noise_gain(self) -> Array:
        """N, shape (size, size): what an op-amp's input offset is multiplied by."""
        eye = np.eye(self.size)
        return np.asarray(self.feedback * self.crossbar.network[1] + (2.0 if self.has_input else 1.0) * eye)

    @cached_property
    def _loop(self) -> tuple[Array, Array]:
        loop = np.eye(self.size) + self.noise_gain * finite_gain(self.hardware)
        closed = np.asarray(np.linalg.inv(loop), dtype=float)
        return closed, closed @ self.noise_gain @ self.offset / self.hardware.scaling.volts(self.quantity)

    def respond(self, inputs: Mapping[str, Array]) -> tuple[Array, dict[str, Array]]:
        """Return the sum of the inputs, with the op-amps' finite gain and offsets, and the closed loop's matrix for each."""
        closed, offset = self._loop
        return np.asarray(sum(inputs.values()) @ closed.T + offset), dict.fromkeys(inputs, closed)

    def subcircuits(self, scaling: Scaling) -> tuple[SubCircuit, ...]:
        """Return the op-amp, and ``lsc_tia a y``: it with its feedback resistor."""
        cell = self.defined("transimpedance amplifier: V(y) = -rf I(a)", "a", "y", rf=1.0, vos=0.0)
        cell.R("f", "a", "y", "{rf}")
        cell.X("amp", "lsc_op_amp", 0, "a", "y", vos="{vos}")
        return (op_amp(self.hardware), cell)

    def pins(self, wires: Wires) -> tuple[tuple[str, ...], ...]:
        """Return the virtual grounds and the outputs."""
        return self.port_nodes("crossbar"), self.nodes

    def parameters(self, scaling: Scaling) -> Mapping[str, Array]:
        """Return the feedback resistor and the input offsets."""
        return {"rf": np.full(self.size, self.feedback), "vos": self.offset}


class DeviceResidual(TransimpedanceSum):
    """The residual r = A s - x, from op-amps."""

    quantity = "r"


class DeviceGradient(TransimpedanceSum):
    """The likelihood's gradient e, from op-amps."""

    quantity = "e"


def feedback_resistor(crossbar: ResistorCrossbar, source: str, target: str) -> float:
    """Return R_f, ohm: an entry M of the matrix times one unit of the source is M units of the target."""
    part, scaling = crossbar.hardware.parts.crossbar, crossbar.hardware.scaling
    gain = full_scale(crossbar.matrix) * scaling.volts(target) / scaling.volts(source)
    return gain / (part.g_on - part.g_off)


@dataclass(frozen=True, eq=False)
class Input(Cell):
    """A current into each summing node: -x of the residual form, -b of the Gram form; constant, or streamed.

    Parameters
    ----------
    value : array, shape (size,)
        In units of the target; the first row if it is streamed.
    target : str
        Quantity of the node that it feeds.
    stream : Stream or None
        The values that follow each other, rows of shape (size,).
    form : str
        How a stream enters: ``"external"`` (from the engine), or ``"pwl"`` (written into the deck).
    step : float
        Step of the noise in tau: how long a change takes in a deck.
    """

    value: Array
    target: str
    stream: Stream | None = field(default=None, kw_only=True)
    form: str = field(default="external", kw_only=True)
    step: float = field(default=0.0, kw_only=True)

    definition = "lsc_input"
    source_letter: ClassVar[str] = "i"

    @property
    def streamed(self) -> bool:
        """Whether the values come from outside."""
        return self.stream is not None

    @property
    def written(self) -> bool:
        """Whether the stream is written into the deck: a source of its own for each component."""
        return self.streamed and self.form == "pwl"

    def unit(self, scaling: Scaling) -> float:
        """Return what the source gives per unit of the target: ampere here, volt at device level."""
        return scaling.volts(self.target) / scaling.r_node

    def devices(self) -> tuple[str, ...]:
        """Names of the sources as ngspice flattens them."""
        letter = self.source_letter
        return tuple(f"{letter}.x{self.name}_{i}.{letter}in".lower() for i in range(self.size))

    def respond(self, inputs: Mapping[str, Array]) -> tuple[Array, dict[str, Array]]:
        """Return the constant; there is no input."""
        return self.value, {}

    def subcircuits(self, scaling: Scaling) -> tuple[SubCircuit, ...]:
        """Return ``lsc_input v``: a current source."""
        if self.written:
            return ()
        defaults = {} if self.streamed else {"i_in": 0.0}
        text = "input: a current from outside into v" if self.streamed else "input: constant current i_in into v"
        cell = self.defined(text, "v", **defaults)
        cell.I("in", 0, "v", "external" if self.streamed else "{i_in}")
        return (cell,)

    def pins(self, wires: Wires) -> tuple[tuple[str, ...], ...]:
        """Return the nodes that it feeds."""
        return (wires.output,)

    def parameters(self, scaling: Scaling) -> Mapping[str, Array]:
        """Return the constants."""
        return {} if self.streamed else {f"{self.source_letter}_in": self.value * self.unit(scaling)}

    def emit(self, netlist: Netlist, wires: Wires, scaling: Scaling) -> None:
        """Add one source per component."""
        if not self.written:
            super().emit(netlist, wires, scaling)
            return
        assert self.stream is not None
        for i, node in enumerate(wires.output):
            if self.stream.order == "once":
                netlist.I(self.element(i), 0, node, self.waveform(i, scaling))
            else:  # ngspice repeats the waveforms of voltage sources alone
                own = f"{self.name}_{i}"
                netlist.V(self.element(i), own, 0, self.waveform(i, scaling))
                netlist.VCCS(self.element(i), 0, node, own, 0, 1.0)

    def waveform(self, i: int, scaling: Scaling) -> str:
        """Return ``PWL(...)`` of one component of the stream."""
        assert self.stream is not None
        times, rows = self.stream.corners(self.step)
        pairs = zip(times * scaling.tau, rows[:, i] * self.unit(scaling), strict=True)
        again = "" if self.stream.order == "once" else f" r={number(times[1] * scaling.tau)!r}"
        return "PWL(" + " ".join(f"{number(t)!r} {number(v)!r}" for t, v in pairs) + ")" + again


@dataclass(frozen=True, eq=False)
class DeviceInput(Input):
    """The same input as a voltage behind a resistor R_x = R_f, into a virtual ground.

    Parameters
    ----------
    crossbar : ResistorCrossbar
        The one that feeds the same virtual grounds.
    source : str
        Quantity at the crossbar's input.
    """

    crossbar: ResistorCrossbar = field(kw_only=True)
    source: str = field(kw_only=True)

    source_letter = "v"

    @property
    def taken(self) -> tuple[str, ...]:
        """A waveform's sources have nodes of their own, x_i."""
        return tuple(f"x_{i}" for i in range(self.size)) if self.written else ()

    def unit(self, scaling: Scaling) -> float:
        """Return volts per unit of the target; the amplifier inverts."""
        return -scaling.volts(self.target)

    def subcircuits(self, scaling: Scaling) -> tuple[SubCircuit, ...]:
        """Return ``lsc_input v``: a voltage behind a resistor."""
        hardware = self.crossbar.hardware
        pins = ("x", "v") if self.written else ("v",)
        defaults = {} if self.streamed else {"v_in": 0.0}
        text = "input: a voltage from outside" if self.streamed else "input: a voltage v_in"
        cell = self.defined(text + " behind a resistor into v", *pins, **defaults)
        if not self.written:
            cell.V("in", "x", 0, "external" if self.streamed else "{v_in}")
        cell.R("x", "x", "v", number(hardware.ohm(feedback_resistor(self.crossbar, self.source, self.target))))
        return (cell,)

    def emit(self, netlist: Netlist, wires: Wires, scaling: Scaling) -> None:
        """Add one source per component."""
        if not self.written:
            super().emit(netlist, wires, scaling)
            return
        for i, (own, node) in enumerate(zip(self.taken, wires.output, strict=True)):
            netlist.V(self.element(i), own, 0, self.waveform(i, scaling))
            netlist.X(self.element(i), self.definition, own, node)
