r"""Integrator neuron: a capacitor that sums currents, :math:`C\,du/dt = I`, with its noise voltage in series."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

import numpy as np
from PySpice.Spice.Netlist import SubCircuit

from circuitlsc.circuit.cells.base import Cell, State, Wires, number
from circuitlsc.io.arrays import Array
from circuitlsc.model.piecewise_linear import Table
from circuitlsc.nonideal.hardware import Hardware
from circuitlsc.planning.scaling import Scaling


@dataclass(frozen=True, eq=False)
class Integrator(Cell):
    r"""The state of the circuit, one capacitor per latent.

    .. math:: \frac{C}{C_{int}}\,\tau\,\dot u = \mathrm{drift} - g\,u

    The capacitor's lower plate is a node of its own, ``n_i``: a Brownian voltage there is the Thevenin form of white
    noise current into ``u_i``, and the trapezoid integrates it exactly at every step. Its resistor to ground, the DC
    path that every node must have, leaks 1e-9 units per tau and unit.

    Parameters
    ----------
    start : array, shape (size,)
        Initial u, in model units.
    noisy : bool
        Whether a noise cell sits in series with the capacitors; without one their lower plates are grounded.
    capacitor : float
        C, relative to C_int.
    conductance : float
        g, units of drift per unit of u: a resistor to ground (the friction of a momentum).
    """

    start: Array
    noisy: bool = field(default=True, kw_only=True)
    capacitor: float = field(default=1.0, kw_only=True)
    conductance: float = field(default=0.0, kw_only=True)

    quantity = "u"
    ports = ("drift", "noise")
    definition = "lsc_neuron"
    slow: ClassVar[bool] = False
    what: ClassVar[str] = "integrator neuron"

    def port_nodes(self, port: str) -> tuple[str, ...]:
        """Drift currents enter at u_i; noise voltages sit at n_i, in series with the capacitor."""
        if port == "drift":
            return self.nodes
        plate = f"n_{self.symbol}" if self.symbol else "n"
        return tuple(f"{plate}_{i}" for i in range(self.size)) if self.noisy else ("0",) * self.size

    @cached_property
    def capacitor_factors(self) -> Array:
        """Each capacitor relative to C_int, shape (size,)."""
        return np.full(self.size, self.capacitor)

    @cached_property
    def conductances(self) -> Array:
        """Friction and leak together, units of drift per unit of u, shape (size,)."""
        return np.full(self.size, self.conductance)

    @cached_property
    def offset(self) -> Array:
        """Offset currents in units of drift, shape (size,)."""
        return np.zeros(self.size)

    def velocity(self, u: Array, drift: Array) -> Array:
        """Return du/dt, units per tau, at state u (..., size) from the drift currents (..., size); without the rails."""
        return np.asarray((drift - self.conductances * u + self.offset) / self.capacitor_factors)

    def velocity_jacobian(self, jacobian: Array, own: Array) -> Array:
        """Return d(du/dt)/dz from d(drift)/dz (..., size, n_z) and du/dz (size, n_z), for the whole state z."""
        return np.asarray((jacobian - self.conductances[:, None] * own) / self.capacitor_factors[:, None])

    def respond(self, inputs: Mapping[str, Array]) -> tuple[Array, dict[str, Array]]:
        """Not used: the integrator closes the loop."""
        raise NotImplementedError("the integrator is the state; it has no static transfer function")

    def subcircuits(self, scaling: Scaling) -> tuple[SubCircuit, ...]:
        """Return ``lsc_neuron u n``: capacitor from u to n, leak (and friction) from u to ground."""
        cell = self.defined(f"{self.what}: c_int dV(u,n)/dt = current into u", "u", "n", ic=0.0)
        size = "{c_int}" if self.capacitor == 1 else f"{{c_int*{number(self.capacitor)!r}}}"
        cell.C("int", "u", "n", size, initial_condition="{ic}")
        cell.R("leak", "u", 0, number(scaling.leak))
        if self.conductance > 0:
            cell.R("friction", "u", 0, number(scaling.tau / (self.conductance * scaling.c_int)))
        return (cell,)

    def pins(self, wires: Wires) -> tuple[tuple[str, ...], ...]:
        """Return the two plates of each capacitor."""
        return self.nodes, self.port_nodes("noise")

    def parameters(self, scaling: Scaling) -> Mapping[str, Array]:
        """Return the first voltages."""
        return {"ic": self.start * scaling.volt}

    def states(self, scaling: Scaling) -> tuple[State, ...]:
        """Return the capacitors; the noise in series with them starts again from 0, so u is all they hold."""
        return tuple(
            State(f"c.x{self.name}_{i}.cint".lower(), node, float(self.start[i] * scaling.volt))
            for i, node in enumerate(self.nodes)
        )


class Momentum(Integrator):
    r"""The momentum p of underdamped dynamics, sqrt(m) du/dt, in model units: a second integrator, with friction.

    .. math:: \tau\,\dot p = \omega\,(-\nabla E) - \omega^2\gamma\,p + \omega\sqrt{2\gamma T\tau}\,\dot W, \qquad
              \tau\,\dot u = \omega\,p, \qquad \omega = 1/\sqrt{m}

    With a capacitor of C_int/omega and a conductance of omega gamma. Its variance is T, whatever m and gamma are.
    """

    quantity = "p"
    definition = "lsc_momentum"
    what = "momentum (an inductor by way of a gyrator)"


def clamp(cell: SubCircuit, hardware: Hardware) -> None:
    """Hold u within the integrators' rails, if they have any, by a current that rises steeply beyond them."""
    if np.isfinite(hardware.parts.integrator.rail):
        rail, scaling = hardware.rail(hardware.parts.integrator.rail), hardware.scaling
        knots = np.array([-1.06, -1.03, -1.0, -0.97, 0.97, 1.0, 1.03, 1.06]) * rail
        values = np.array([-63.0, -33.0, -3.0, 0.0, 0.0, 3.0, 33.0, 63.0]) * rail
        steep = scaling.drift_current / scaling.volt
        cell.B("clamp", "u", 0, current_expression=Table(knots, values).spice("u", 1.0, steep))


@dataclass(frozen=True, eq=False)
class DeviceIntegrator(Integrator):
    r"""The neuron with a finite output resistance, an offset current, rails, and a capacitor that is not its neighbour's.

    .. math:: \frac{C_i}{C}\,\tau\,\dot u_i = \mathrm{drift}_i - \kappa u_i + o_i, \qquad \kappa = \frac{\tau}{R\,C}

    *What it does to the posterior.* The leak kappa is a quadratic prior: the energy gains kappa u_i^2/2. An offset current
    o_i adds -o_i u_i. A larger capacitor makes the neuron slower, and colder by the same factor, because the noise
    current stays what it was. Rails clamp the neuron by a current that rises steeply beyond them.

    Parameters
    ----------
    hardware : Hardware
    """

    hardware: Hardware

    @cached_property
    def capacitor_factors(self) -> Array:
        """Each capacitor relative to C_int, shape (size,)."""
        parts = self.hardware.parts
        mismatch = parts.factors(self.elements, "capacitance", parts.integrator.capacitance_mismatch)
        return self.capacitor * parts.corner.capacitance * mismatch

    @cached_property
    def conductances(self) -> Array:
        """Friction and leak together, units of drift per unit of u, shape (size,)."""
        return self.leak_rate + self._friction

    @cached_property
    def _friction(self) -> Array:
        """Units of drift per unit of u, shape (size,); a resistor that the corner and mismatch move."""
        parts = self.hardware.parts
        mismatch = parts.factors(self.elements, "friction", parts.integrator.friction_mismatch)
        return self.conductance * mismatch / parts.corner.resistance

    @cached_property
    def leak_rate(self) -> float:
        """Kappa, in 1/tau, for the nominal capacitor."""
        scaling = self.hardware.scaling
        return scaling.tau / (self.hardware.ohm(self.hardware.parts.integrator.output_resistance) * scaling.c_int)

    @cached_property
    def offset(self) -> Array:
        """Offset currents in units of drift, shape (size,)."""
        parts = self.hardware.parts
        amperes = parts.normals(self.elements, "offset_current", parts.integrator.offset_current)
        return amperes / self.hardware.scaling.drift_current

    def subcircuits(self, scaling: Scaling) -> tuple[SubCircuit, ...]:
        """Return ``lsc_neuron u n``: capacitor from u to n, leak, offset current and clamp at u."""
        part = self.hardware.parts.integrator
        defaults = {"ic": 0.0, "c": number(scaling.c_int), "i_os": 0.0}
        if self.conductance > 0:
            defaults["g_f"] = 0.0
        cell = self.defined(f"{self.what}: c dV(u,n)/dt = current into u", "u", "n", **defaults)
        cell.C("int", "u", "n", "{c}", initial_condition="{ic}")
        cell.R("leak", "u", 0, number(1 / (1 / scaling.leak + 1 / self.hardware.ohm(part.output_resistance))))
        if self.conductance > 0:
            cell.R("friction", "u", 0, "{1/g_f}")
        if part.offset_current > 0:
            cell.I("os", 0, "u", "{i_os}")
        clamp(cell, self.hardware)
        return (cell,)

    def parameters(self, scaling: Scaling) -> Mapping[str, Array]:
        """Return the first voltages, capacitors, offset currents and frictions."""
        farad, amperes = self.capacitor_factors * scaling.c_int, self.offset * scaling.drift_current
        friction = {"g_f": self._friction * scaling.c_int / scaling.tau} if self.conductance > 0 else {}
        return {**super().parameters(scaling), "c": farad, "i_os": amperes, **friction}


class DeviceMomentum(DeviceIntegrator):
    """The momentum, with the errors of an integrator and of its friction; see `Momentum`."""

    quantity = "p"
    definition = "lsc_momentum"
    what = Momentum.what
