r"""Cells of variational sparse coding: an encoder's rectifiers and heads, Laplace noise, and the shifted threshold.

.. math:: s = b\,[f(L - \kappa) - f(-L - \kappa)] + \mu\,[g(L - \kappa) + g(-L - \kappa)], \qquad
          f(v) = w \log(1 + e^{v/w}), \quad g = f', \quad L \sim \mathrm{Laplace}(0, 1)

Fallah & Rozell 2022: s is 0 where abs(L) <= kappa, and else mu + b sign(L) (abs(L) - kappa), through comparators of input
width w. So a latent is active with probability exp(-kappa), whatever mu and b are. The circuits are not in the paper.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from PySpice.Spice.Netlist import Netlist, SubCircuit
from scipy.special import log_ndtr

from circuitlsc.circuit.cells.adaptive import Corner
from circuitlsc.circuit.cells.base import Cell, Wires, number
from circuitlsc.circuit.cells.node import Input, Sum, TransimpedanceSum
from circuitlsc.circuit.cells.op_amp import Inverter
from circuitlsc.io.arrays import Array
from circuitlsc.model.piecewise_linear import Table
from circuitlsc.nonideal.hardware import Hardware
from circuitlsc.planning.scaling import Scaling

MAP_REACH, MAP_KNOTS = 6.5, 105  # standard deviations; the table's error is 0.0013 at most
EXP_STEP, EXP_MOST = 1 / 16, 1024  # spacing of the exponential's knots (its relative error is below 5e-4), and how many
ETA_REACH, ETA_KNOTS = 12.0, 193  # the softplus: its error is below 5e-4
ETA_MOST = (
    30  # knots go on to there, 1 apart: a latent that is always on but once in 10^13 samples; its error is below 1e-6
)
MOST_KAPPA = 16.0  # a larger threshold is this one: a latent is active at least once in nine million samples


@dataclass(frozen=True, eq=False)
class Observation(Input):
    """The observation x as voltages, constant or streamed: what an encoder's first crossbar is driven by."""

    quantity = "x"
    definition = "lsc_observation"
    source_letter = "v"

    def unit(self, scaling: Scaling) -> float:
        """Return volts per unit of x."""
        return scaling.volts(self.quantity)

    def subcircuits(self, scaling: Scaling) -> tuple[SubCircuit, ...]:
        """Return ``lsc_observation x``: a voltage source, and a load where no weight of an encoder is one."""
        defaults = {} if self.streamed else {"v_in": 0.0}
        text = "observation: a voltage from outside at x" if self.streamed else "observation: a voltage v_in at x"
        cell = self.defined(text, "x", **defaults)
        if not self.written:
            cell.V("in", "x", 0, "external" if self.streamed else "{v_in}")
        cell.R("load", "x", 0, number(scaling.r_node))
        return (cell,)

    def emit(self, netlist: Netlist, wires: Wires, scaling: Scaling) -> None:
        """Add one source per component."""
        if not self.written:
            super().emit(netlist, wires, scaling)
            return
        for i, node in enumerate(self.nodes):
            netlist.V(self.element(i), node, 0, self.waveform(i, scaling))
            netlist.X(self.element(i), self.definition, node)


class NegatedObservation(Inverter):
    """-x."""

    quantity = "nx"


class Layer(Sum):
    """What a layer of an encoder is before its rectifiers, W h + c; of the last one mu, rho or eta."""

    quantity = "z"


class DeviceLayer(TransimpedanceSum):
    """A layer of an encoder before its rectifiers, from op-amps."""

    quantity = "z"


@dataclass(frozen=True, eq=False)
class OneTable(Cell):
    """A table of one voltage, as a current through a resistor.

    Parameters
    ----------
    table : Table
        Output against input, both in model units.
    """

    table: Table

    ports = ("z",)
    what: ClassVar[str] = ""

    def respond(self, inputs: Mapping[str, Array]) -> tuple[Array, dict[str, Array]]:
        """Return the table at the input, and its slope."""
        (port,) = self.ports
        value, slope = self.table.with_slope(inputs[port])
        return value, {port: slope}

    def subcircuits(self, scaling: Scaling) -> tuple[SubCircuit, ...]:
        """Return ``lsc_.. z y``: a table that drives a current through a resistor."""
        (port,) = self.ports
        cell = self.defined(self.what, port, "y")
        current = self.table.spice(port, scaling.volt, scaling.volt / scaling.r_node)
        cell.B("y", 0, "y", current_expression=current)
        cell.R("y", "y", 0, number(scaling.r_node))
        return (cell,)


class Rectifier(OneTable):
    """A hidden unit, max(z, 0)."""

    quantity = "h"
    definition = "lsc_rectifier"
    what = "rectifier: V(y) = max(V(z), 0)"


@dataclass(frozen=True, eq=False)
class DeviceRectifier(Rectifier):
    """The same from an op-amp, with its input offset, and an output that can drive a crossbar: max(z + o, 0).

    Parameters
    ----------
    hardware : Hardware
    """

    hardware: Hardware

    @cached_property
    def offset(self) -> Array:
        """Input offset voltages, volt, shape (size,)."""
        parts = self.hardware.parts
        return parts.normals(self.elements, "offset", parts.op_amp.offset)

    def respond(self, inputs: Mapping[str, Array]) -> tuple[Array, dict[str, Array]]:
        """Return max(z + o, 0), and its slope."""
        return super().respond({"z": inputs["z"] + self.offset / self.hardware.scaling.volt})

    def subcircuits(self, scaling: Scaling) -> tuple[SubCircuit, ...]:
        """Return ``lsc_rectifier z y``: a table that holds the voltage of y."""
        cell = self.defined("rectifier: V(y) = max(V(z) + vos, 0)", "z", "y", vos=0.0)
        cell.B("y", "y", 0, voltage_expression=self.table.spice_of("V(z)+{vos}", scaling.volt, scaling.volt))
        return (cell,)

    def parameters(self, scaling: Scaling) -> Mapping[str, Array]:
        """Return the input offsets."""
        return {"vos": self.offset}


class NegatedHidden(Inverter):
    """-h."""

    quantity = "nh"


class Exponential(OneTable):
    """The scale b = exp(rho); what a transistor below its threshold does to a voltage."""

    quantity = "b"
    definition = "lsc_exponential"
    what = "exponential: V(y) = exp(V(z)), the scale of a latent"


class Softplus(OneTable):
    """The threshold kappa = log(1 + exp(-eta)), -log P(active); one that is not learned follows from rho."""

    quantity = "kappa"
    definition = "lsc_softplus"
    what = "softplus: V(y) = -log P(active), the threshold of a latent"


class LaplaceMap(OneTable):
    r"""A Laplace draw from a Gaussian one, by its distribution function.

    .. math:: L = -\mathrm{sign}(u) \log 2 Q(|u|), \qquad u \sim N(0, 1)

    *What it does to the law.* Noise of another power changes the tail's shape, not its scale alone. The table is without
    errors of its own.
    """

    quantity = "laplace"
    definition = "lsc_laplace"
    ports = ("u",)
    what = "Laplace map: V(y) = -sign(u) log(2 Q(abs(u)))"


@dataclass(frozen=True, eq=False)
class LaplaceProduct(Cell):
    r"""A Laplace draw from four Gaussian ones, by two four-quadrant multipliers and no table; the law is exact.

    .. math:: L = u\,u_2 + u_3\,u_4, \qquad u, u_2, u_3, u_4 \sim N(0, 1) \text{ independent}

    The characteristic function of a product is (1 + t^2)^(-1/2), and that of the sum of two is 1/(1 + t^2), Laplace's.
    """

    quantity = "laplace"
    ports = ("u", "u2", "u3", "u4")
    definition = "lsc_laplace"

    @property
    def errors(self) -> tuple[Mapping[str, Array | float], tuple[Array | float, Array | float]]:
        """Input offsets by port, model units, and the two gains; what ideal multipliers have."""
        return dict.fromkeys(self.ports, 0.0), (1.0, 1.0)

    def respond(self, inputs: Mapping[str, Array]) -> tuple[Array, dict[str, Array]]:
        """Return L, shape (..., size), and its slopes."""
        offsets, (first, second) = self.errors
        u, u2, u3, u4 = (inputs[port] + offsets[port] for port in self.ports)
        slopes = {"u": first * u2, "u2": first * u, "u3": second * u4, "u4": second * u3}
        return np.asarray(first * u * u2 + second * u3 * u4), slopes

    def subcircuits(self, scaling: Scaling) -> tuple[SubCircuit, ...]:
        """Return ``lsc_laplace u u2 u3 u4 y``: two multipliers that drive one resistor."""
        cell = self.defined("Laplace product: V(y) = V(u) V(u2) + V(u3) V(u4)", *self.ports, "y")
        unit = number(1 / (scaling.volt * scaling.r_node))
        cell.B("y", 0, "y", current_expression=f"{unit!r}*(V(u)*V(u2)+V(u3)*V(u4))")
        cell.R("y", "y", 0, number(scaling.r_node))
        return (cell,)


@dataclass(frozen=True, eq=False)
class DeviceLaplaceProduct(LaplaceProduct):
    r"""The same with the multipliers' errors, :math:`(1 + \epsilon)(u + o)(u_2 + o_2) + (1 + \epsilon')(u_3 + o_3)(u_4 + o_4)`.

    *What it does to the law.* A gain 1 + d of both is a Laplace draw of scale 1 + d: kappa acts as kappa/(1 + d), b as
    b (1 + d). Noise of power 1 + d does the same.

    Parameters
    ----------
    hardware : Hardware
    """

    hardware: Hardware

    @cached_property
    def draws(self) -> tuple[dict[str, Array], tuple[Array, Array]]:
        """Input offsets by port, volt, and the two gains; each (size,)."""
        parts, names = self.hardware.parts, self.elements
        offsets = {port: parts.normals(names, f"offset_{port}", parts.multiplier.offset) for port in self.ports}
        first, second = (parts.factors(names, f"gain_{k}", parts.multiplier.gain_error) for k in (1, 2))
        return offsets, (first, second)

    @property
    def errors(self) -> tuple[Mapping[str, Array | float], tuple[Array | float, Array | float]]:
        """The draws in model units."""
        offsets, gains = self.draws
        return {port: volts / self.hardware.scaling.volt for port, volts in offsets.items()}, gains

    def subcircuits(self, scaling: Scaling) -> tuple[SubCircuit, ...]:
        """Return ``lsc_laplace u u2 u3 u4 y`` with its errors as parameters."""
        text = "Laplace product: V(y) = k1 (V(u) + o_u) (V(u2) + o_u2) + k2 (V(u3) + o_u3) (V(u4) + o_u4)"
        defaults = {"k1": 1.0, "k2": 1.0, **dict.fromkeys((f"o_{port}" for port in self.ports), 0.0)}
        cell = self.defined(text, *self.ports, "y", **defaults)
        a, b, c, d = (f"(V({port})+{{o_{port}}})" for port in self.ports)
        unit = number(1 / (scaling.volt * scaling.r_node))
        cell.B("y", 0, "y", current_expression=f"{unit!r}*({{k1}}*{a}*{b}+{{k2}}*{c}*{d})")
        cell.R("y", "y", 0, number(scaling.r_node))
        return (cell,)

    def parameters(self, scaling: Scaling) -> Mapping[str, Array]:
        """Return gains and offsets."""
        offsets, (first, second) = self.draws
        return {"k1": first, "k2": second, **{f"o_{port}": volts for port, volts in offsets.items()}}


@dataclass(frozen=True, eq=False)
class ShiftedThreshold(Cell):
    r"""The code of a Laplace draw: threshold, scale and shift are voltages.

    .. math:: s = b\,[f(v_+) - f(v_-)] + \mu\,[g(v_+) + g(v_-)], \qquad v_\pm = \pm L - \kappa

    Fallah & Rozell 2022. A nonnegative code is the positive part of it.

    *What it does to the law.* A comparator of width w is g = 1/(1 + exp(-v/w)): the mean of g over all draws is
    P pi w/sin(pi w), that over draws beyond the threshold P (1 - w log 2) to first order (a code is read as 0 before it).

    Parameters
    ----------
    corner : Corner
        Tables of f and g.
    rectified : bool
        Whether the code is max(s, 0).
    """

    corner: Corner
    rectified: bool = field(default=False, kw_only=True)

    quantity = "s"
    ports = ("laplace", "mu", "b", "kappa")
    definition = "lsc_shifted_threshold"

    @property
    def errors(self) -> tuple[Array | float, ...]:
        """Offsets of the two comparators, model units, and gains of b and of mu; what an ideal cell has."""
        return 0.0, 0.0, 1.0, 1.0

    def active(self, laplace: Array, kappa: Array) -> NDArray[np.bool_]:
        """Return whether a comparator's output is above one half: whether abs(L) > kappa, with their offsets."""
        above, below, *_ = self.errors
        return np.asarray((laplace - kappa + above > 0) | (-laplace - kappa + below > 0))

    def respond(self, inputs: Mapping[str, Array]) -> tuple[Array, dict[str, Array]]:
        """Return s, shape (..., size), and its slopes."""
        above, below, scale, shift = self.errors
        draw, kappa = inputs["laplace"], inputs["kappa"]
        b, mu = scale * inputs["b"], shift * inputs["mu"]
        up, down = draw - kappa + above, -draw - kappa + below
        (f_up, df_up), (f_down, df_down) = (self.corner.code.with_slope(v) for v in (up, down))
        (g_up, dg_up), (g_down, dg_down) = (self.corner.gate.with_slope(v) for v in (up, down))
        s = b * (f_up - f_down) + mu * (g_up + g_down)
        slopes = {
            "laplace": b * (df_up + df_down) + mu * (dg_up - dg_down),
            "mu": shift * (g_up + g_down),
            "b": scale * (f_up - f_down),
            "kappa": -b * (df_up - df_down) - mu * (dg_up + dg_down),
        }
        if self.rectified:
            slopes = {port: np.where(s > 0, slope, 0.0) for port, slope in slopes.items()}
            s = np.maximum(s, 0.0)
        return np.asarray(s), slopes

    def subcircuits(self, scaling: Scaling) -> tuple[SubCircuit, ...]:
        """Return ``lsc_shifted_threshold laplace mu b kappa s``."""
        cell = self.defined(f"{self._text}: V(s) from a draw, its shift, scale and threshold", *self.ports, "s")
        self._source(cell, scaling, "V(laplace)-V(kappa)", "-V(laplace)-V(kappa)", "V(b)", "V(mu)")
        return (cell,)

    @property
    def _text(self) -> str:
        return "shifted threshold, positive part" if self.rectified else "shifted threshold"

    def _source(self, cell: SubCircuit, scaling: Scaling, up: str, down: str, b: str, mu: str) -> None:
        """Add the current of the code, and the resistor that turns it into a voltage."""
        f_up, f_down = (self.corner.code.spice_of(v, scaling.volt, 1 / scaling.r_node) for v in (up, down))
        per_volt = 1 / scaling.r_node
        g_up, g_down = (self.corner.gate.spice_of(v, scaling.volt, per_volt) for v in (up, down))
        current = f"{b}*({f_up}-{f_down})+{mu}*({g_up}+{g_down})"
        cell.B("s", 0, "s", current_expression=f"max({current},0)" if self.rectified else current)
        cell.R("s", "s", 0, number(scaling.r_node))


@dataclass(frozen=True, eq=False)
class DeviceShiftedThreshold(ShiftedThreshold):
    r"""The same with an offset of each comparator and a gain of each multiplier.

    .. math:: v_\pm = \pm L - \kappa + o_\pm, \qquad b \to (1 + \epsilon_b)\,b, \quad \mu \to (1 + \epsilon_\mu)\,\mu

    *What it does to the law.* P becomes exp(-kappa) (exp(o+) + exp(o-))/2: what the offsets have in common is an offset of
    kappa, P exp(o), and half their difference one of L, P cosh(o).

    Parameters
    ----------
    hardware : Hardware
    """

    hardware: Hardware = field(kw_only=True)

    @cached_property
    def draws(self) -> tuple[Array, Array, Array, Array]:
        """Offsets of the two comparators (V), gains of b and of mu; each (size,)."""
        parts, names = self.hardware.parts, self.elements
        above, below = (parts.normals(names, f"offset_{k}", parts.comparator.threshold_offset) for k in ("up", "down"))
        scale, shift = (parts.factors(names, f"gain_{k}", parts.multiplier.gain_error) for k in ("b", "mu"))
        return above, below, scale, shift

    @property
    def errors(self) -> tuple[Array | float, ...]:
        """The draws in model units."""
        above, below, scale, shift = self.draws
        return above / self.hardware.scaling.volt, below / self.hardware.scaling.volt, scale, shift

    def subcircuits(self, scaling: Scaling) -> tuple[SubCircuit, ...]:
        """Return ``lsc_shifted_threshold laplace mu b kappa s`` with its errors as parameters."""
        text = f"{self._text}: V(s) from a draw, its shift, scale and threshold, with offsets and gains"
        cell = self.defined(text, *self.ports, "s", o_up=0.0, o_down=0.0, k_b=1.0, k_mu=1.0)
        arms = ("V(laplace)-V(kappa)+{o_up}", "-V(laplace)-V(kappa)+{o_down}")
        self._source(cell, scaling, *arms, "{k_b}*V(b)", "{k_mu}*V(mu)")
        return (cell,)

    def parameters(self, scaling: Scaling) -> Mapping[str, Array]:
        """Return offsets and gains."""
        return dict(zip(("o_up", "o_down", "k_b", "k_mu"), self.draws, strict=True))


def rectifier_table() -> Table:
    """Return max(z, 0)."""
    return Table(np.array([-1.0, 0.0, 1.0]), np.array([0.0, 0.0, 1.0]))


def laplace_table() -> Table:
    """Tabulate -sign(u) log 2Q(abs(u)), with the knots moved so that the mean error between two knots is 0."""
    u = np.linspace(-MAP_REACH, MAP_REACH, MAP_KNOTS)
    size, step = np.abs(u), u[1] - u[0]
    tail = log_ndtr(-size)
    hazard = np.exp(-(size**2) / 2 - np.log(2 * np.pi) / 2 - tail)
    return Table(u, -np.sign(u) * (np.log(2.0) + tail + step**2 / 12 * hazard * (hazard - size)))


def exponential_table(low: float, high: float) -> Table:
    """Tabulate exp(rho) for rho from low to high; below it stays, and above it goes on along its last segment."""
    rho = _grid(low, high)
    return _flat_below(rho, np.exp(rho))


def softplus_table() -> Table:
    """Tabulate kappa = log(1 + exp(-eta))."""
    eta = np.concatenate([np.linspace(-ETA_REACH, ETA_REACH, ETA_KNOTS), np.arange(ETA_REACH + 1, ETA_MOST + 1)])
    return _flat_above(eta, np.logaddexp(0.0, -eta))


def held_table(kappa: Callable[[Array], Array], low: float, high: float) -> Table:
    """Tabulate kappa against rho, of a threshold that is no head of its own (`Encoder.kappa_at`)."""
    rho = _grid(low, high)
    return _flat_above(rho, np.minimum(kappa(rho), MOST_KAPPA))


def _grid(low: float, high: float) -> Array:
    return np.linspace(low, high, min(EXP_MOST, max(2, int(np.ceil((high - low) / EXP_STEP)) + 1)))


def _flat_below(knots: Array, values: Array) -> Table:
    return Table(np.concatenate([[knots[0] - 1.0], knots]), np.concatenate([values[:1], values]))


def _flat_above(knots: Array, values: Array) -> Table:
    """Return a table of a threshold, which stays at its least beyond the last knot and never becomes negative."""
    return Table(np.concatenate([knots, [knots[-1] + 1.0]]), np.concatenate([values, values[-1:]]))
