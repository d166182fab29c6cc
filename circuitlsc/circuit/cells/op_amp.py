r"""Op-amp, inverter and buffer: what drives and reads the crossbars at device level.

Small signals see one pole, :math:`A(s) = A_0 / (1 + s A_0/(2\pi\,\mathrm{GBW}))`. In feedback with noise gain N (1 plus the
ratio of the feedback resistor to what is connected to the virtual ground) an input offset v_os becomes N v_os at the
output, and the closed loop lags by :math:`N/(2\pi\,\mathrm{GBW})`. The output resistance is divided by the loop gain; the
NumPy forms leave it out.

*What it does to the posterior.* An offset of the amplifier that makes e_i adds N v_os to it: the energy gains
N v_os s_i. A lag multiplies the variance of a linear mode by 1 + a_l * lag, with a_l the part of its rate that goes
through the amplifiers (a Gaussian prior; for others there is no formula, and the budget measures).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from PySpice.Spice.Netlist import SubCircuit

from circuitlsc.circuit.cells.base import Cell, State, described, number
from circuitlsc.io.arrays import Array
from circuitlsc.model.piecewise_linear import Table
from circuitlsc.nonideal.hardware import Hardware
from circuitlsc.planning.scaling import Scaling

INFINITE_GAIN = 1e12  # what stands for an infinite gain: products of a crossbar are then right to 1e-10
FASTEST = 1e5  # 2 pi GBW tau that stands for an infinite GBW where a slew rate needs a capacitor
C_POLE = 1e-12  # farad


def clamp(rail: float, drive: float) -> str:
    """Return a current that leaves a node only beyond +-rail, smoothly: at most 3 % beyond it for a current ``drive``."""
    knots = np.array([-1.06, -1.03, -1.0, -0.97, 0.97, 1.0, 1.03, 1.06]) * rail
    values = np.array([-2.0, -1.0, -0.1, 0.0, 0.0, 0.1, 1.0, 2.0]) * drive
    return Table(knots, values).spice("a", 1.0, 1.0)


def op_amp(hardware: Hardware) -> SubCircuit:
    """Return ``lsc_op_amp inp inn out`` with the parameter ``vos``: one pole, offset, slew rate, rails, output resistance.

    The first stage is a transconductor into node a with the pole's resistor and capacitor, limited by the slew rate and
    clamped at the rails; the second a unity-gain source (a voltage source costs ngspice less than half of what a
    resistive output does, because nothing flows back from the crossbar's columns into its matrix).
    """
    part = hardware.parts.op_amp
    slews, bounded = math.isfinite(part.slew_rate), math.isfinite(part.rail)
    gain = part.gain if math.isfinite(part.gain) else INFINITE_GAIN
    cell = described(SubCircuit("lsc_op_amp", "inp", "inn", "out", vos=0.0), "op-amp: V(out) = A (V(inp,inn) + vos)")
    output = "out" if part.output_resistance == 0 else "o"
    if output == "o":
        cell.R("o", "o", "out", number(hardware.ohm(part.output_resistance)))
    if not (part.offset > 0 or math.isfinite(part.gbw) or slews or bounded):
        cell.VCVS("o", output, 0, "inp", "inn", gain)
        return cell
    cell.VCVS("o", output, 0, "a", 0, 1.0)
    crossover = 2 * math.pi * part.gbw / hardware.parts.corner.capacitance
    if math.isinf(crossover) and slews:
        crossover = FASTEST / hardware.scaling.tau
    gm = crossover * C_POLE if math.isfinite(crossover) else 1e-3
    strongest = gm * min(part.rail, 1e3)
    cell.VCCS("m", 0, "a", *(("d", 0) if slews else ("inp", "inn")), number(gm))
    if slews:
        # the input stage's voltage d is clamped, rather than its current cut off: Newton's iteration follows a conductance
        # that grows, and cycles between two that vanish
        strongest = part.slew_rate * C_POLE
        largest = strongest / gm
        cell.VCCS("d", 0, "d", "inp", "inn", number(gm))
        cell.R("d", "d", 0, number(1 / gm))
        strongest *= 1.05  # a little more passes the clamp
        steep = min(max(100.0 / largest, 1e3), 1e9) * gm
        limit = Table(np.array([-2.0, -1.0, 1.0, 2.0]), np.array([-1.0, 0.0, 0.0, 1.0]))
        cell.B("slew", "d", 0, current_expression=limit.spice("d", largest, steep * largest))
    cell.I("os", 0, "d" if slews else "a", f"{{{number(gm)!r}*vos}}")
    cell.R("a", "a", 0, number(gain / gm))
    if math.isfinite(crossover):
        cell.C("pole", "a", 0, C_POLE, initial_condition=0.0)
    if bounded:
        cell.B("clamp", "a", 0, current_expression=clamp(hardware.rail(part.rail), strongest))
    return cell


def op_amp_states(hardware: Hardware, path: str) -> tuple[State, ...]:
    """Return the capacitor of the op-amp instance at ``path`` (as ngspice flattens it)."""
    part = hardware.parts.op_amp
    if math.isinf(part.gbw) and math.isinf(part.slew_rate):
        return ()
    return (State(f"c.{path}.cpole", f"{path}.a"),)


def finite_gain(hardware: Hardware) -> float:
    """Return 1/A_0, 0 for an infinite gain."""
    gain = hardware.parts.op_amp.gain
    return 0.0 if math.isinf(gain) else 1.0 / gain


class OpAmps(Cell):
    """A vector of op-amps, each with an input offset of its own."""

    hardware: Hardware

    @cached_property
    def offset(self) -> Array:
        """Input offset voltages, volt, shape (size,)."""
        parts = self.hardware.parts
        return parts.normals(self.elements, "offset", parts.op_amp.offset)

    def parameters(self, scaling: Scaling) -> Mapping[str, Array]:
        """Return the input offsets."""
        return {"vos": self.offset}

    def states(self, scaling: Scaling) -> tuple[State, ...]:
        """Return the op-amps' poles."""
        return tuple(s for e in self.elements for s in op_amp_states(self.hardware, f"x{e}.xamp"))


@dataclass(frozen=True, eq=False)
class Inverter(OpAmps):
    """The negative of a voltage vector, for the other half of each differential pair; see `NegatedCode`.

    Parameters
    ----------
    source : str
        Quantity of the input.
    hardware : Hardware
    """

    source: str
    hardware: Hardware

    ports = ("v",)
    definition = "lsc_inverter"

    def respond(self, inputs: Mapping[str, Array]) -> tuple[Array, dict[str, Array]]:
        """Return (-v + 2 v_os) / (1 + 2/A), and -1 / (1 + 2/A)."""
        loop = 1.0 / (1.0 + 2.0 * finite_gain(self.hardware))
        offset = self.offset / self.hardware.scaling.volts(self.source)
        return np.asarray((2 * offset - inputs["v"]) * loop), {"v": np.full(self.size, -loop)}

    def subcircuits(self, scaling: Scaling) -> tuple[SubCircuit, ...]:
        """Return the op-amp, and ``lsc_inverter a y``."""
        r = number(self.hardware.ohm(1 / self.hardware.parts.crossbar.g_on))
        cell = self.defined("inverter: V(y) = -V(a)", "a", "y", vos=0.0)
        cell.R("in", "a", "v", r)
        cell.R("f", "v", "y", r)
        cell.X("amp", "lsc_op_amp", 0, "v", "y", vos="{vos}")
        return (op_amp(self.hardware), cell)


class NegatedCode(Inverter):
    """-s."""

    quantity = "ns"


class NegatedResidual(Inverter):
    """-r."""

    quantity = "nr"


@dataclass(frozen=True, eq=False)
class Buffer(OpAmps):
    """The code of a prior with s = u: an op-amp follower, so that the crossbar does not load the neuron.

    Parameters
    ----------
    hardware : Hardware
    """

    hardware: Hardware

    quantity = "s"
    ports = ("u",)
    definition = "lsc_buffer"

    def respond(self, inputs: Mapping[str, Array]) -> tuple[Array, dict[str, Array]]:
        """Return (u + v_os) / (1 + 1/A), and 1 / (1 + 1/A)."""
        loop = 1.0 / (1.0 + finite_gain(self.hardware))
        u = inputs["u"] + self.offset / self.hardware.scaling.volt
        return np.asarray(u * loop), {"u": np.full(self.size, loop)}

    def subcircuits(self, scaling: Scaling) -> tuple[SubCircuit, ...]:
        """Return the op-amp, and ``lsc_buffer a y``."""
        cell = self.defined("buffer: V(y) = V(a)", "a", "y", vos=0.0)
        cell.X("amp", "lsc_op_amp", "a", "y", "y", vos="{vos}")
        return (op_amp(self.hardware), cell)
