r"""Integrator neuron: a capacitor that sums currents, :math:`C\,du/dt = I`, with its noise voltage in series."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PySpice.Spice.Netlist import Netlist, SubCircuit

from circuitlsc.arrays import Array
from circuitlsc.cells.base import Cell, State, Wires, described, number
from circuitlsc.hardware import Hardware
from circuitlsc.tables import Table

if TYPE_CHECKING:
    from circuitlsc.scaling import Scaling


@dataclass(frozen=True, eq=False)
class Integrator(Cell):
    r"""The state of the circuit: tau du/dt = drift, one capacitor per latent.

    The capacitor's lower plate is a node of its own, ``n_i``: a Brownian voltage there is the Thevenin form of white
    noise current into ``u_i``, and the trapezoid integrates it exactly at every step. Its resistor to ground, the DC
    path that every node must have, leaks 1e-9 units per tau and unit.

    Parameters
    ----------
    start : array, shape (size,)
        Initial u, in model units.
    """

    start: Array

    quantity = "u"
    ports = ("drift", "noise")

    def port_nodes(self, port: str) -> tuple[str, ...]:
        """Drift currents enter at u_i; noise voltages sit at n_i, in series with the capacitor."""
        return self.nodes if port == "drift" else tuple(f"n_{i}" for i in range(self.size))

    def evaluate(self, inputs: Mapping[str, Array]) -> Array:
        """Return du/dt in units per tau (the leak is left out: 1e-9)."""
        return inputs["drift"]

    def velocity(self, u: Array, drift: Array) -> Array:
        """Return du/dt, units per tau, at state u (..., size) from the drift currents (..., size)."""
        return drift

    def velocity_jacobian(self, jacobian: Array) -> Array:
        """Return d(du/dt)/du from d(drift)/du, (..., size, size)."""
        return jacobian

    def partials(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Not used: the integrator closes the loop."""
        raise NotImplementedError("the integrator is the state; it has no static transfer function")

    def subcircuits(self, scaling: Scaling) -> tuple[SubCircuit, ...]:
        """Return ``lsc_neuron u n``: capacitor from u to n, leak from u to ground."""
        cell = described(
            SubCircuit("lsc_neuron", "u", "n", ic=0.0), "integrator neuron: c_int dV(u,n)/dt = current into u"
        )
        cell.C("int", "u", "n", "{c_int}", initial_condition="{ic}")
        cell.R("leak", "u", 0, number(scaling.leak))
        return (cell,)

    def emit(self, netlist: Netlist, wires: Wires, scaling: Scaling) -> None:
        """Add one neuron per latent."""
        for i, (u, n) in enumerate(zip(self.nodes, self.port_nodes("noise"), strict=True)):
            netlist.X(f"{self.name}_{i}", "lsc_neuron", u, n, ic=number(self.start[i] * scaling.volt))

    def states(self, scaling: Scaling) -> tuple[State, ...]:
        """Return the neurons' capacitors; the noise in series with them starts again from 0, so u is all they hold."""
        return tuple(State(f"c.x{self.name}_{i}.cint".lower(), u) for i, u in enumerate(self.nodes))


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

    @property
    def capacitor_factors(self) -> Array:
        """Each capacitor over its nominal value, shape (size,)."""
        parts = self.hardware.parts
        names = [f"{self.name}_{i}" for i in range(self.size)]
        return parts.corner.capacitance * parts.factors(names, "capacitance", parts.integrator.capacitance_mismatch)

    @property
    def leak_rate(self) -> float:
        """Kappa, in 1/tau, for the nominal capacitor."""
        scaling = self.hardware.scaling
        return scaling.tau / (self.hardware.ohm(self.hardware.parts.integrator.output_resistance) * scaling.c_int)

    @property
    def offset(self) -> Array:
        """Offset currents in units of drift, shape (size,)."""
        parts = self.hardware.parts
        names = [f"{self.name}_{i}" for i in range(self.size)]
        amperes = parts.normals(names, "offset_current", parts.integrator.offset_current)
        return amperes / self.hardware.scaling.drift_current

    def velocity(self, u: Array, drift: Array) -> Array:
        """Return (drift - kappa u + o) C / C_i; without the rails."""
        return np.asarray((drift - self.leak_rate * u + self.offset) / self.capacitor_factors)

    def velocity_jacobian(self, jacobian: Array) -> Array:
        """Return d(du/dt)/du."""
        return np.asarray((jacobian - self.leak_rate * np.eye(self.size)) / self.capacitor_factors[:, None])

    def subcircuits(self, scaling: Scaling) -> tuple[SubCircuit, ...]:
        """Return ``lsc_neuron u n``: capacitor from u to n, leak, offset current and clamp at u."""
        part = self.hardware.parts.integrator
        cell = described(
            SubCircuit("lsc_neuron", "u", "n", ic=0.0, c=number(scaling.c_int), i_os=0.0),
            "integrator neuron: c dV(u,n)/dt = current into u",
        )
        cell.C("int", "u", "n", "{c}", initial_condition="{ic}")
        cell.R("leak", "u", 0, number(1 / (1 / scaling.leak + 1 / self.hardware.ohm(part.output_resistance))))
        if part.offset_current > 0:
            cell.I("os", 0, "u", "{i_os}")
        if np.isfinite(part.rail):
            rail = self.hardware.rail(part.rail)
            knots = np.array([-1.06, -1.03, -1.0, -0.97, 0.97, 1.0, 1.03, 1.06]) * rail
            values = np.array([-63.0, -33.0, -3.0, 0.0, 0.0, 3.0, 33.0, 63.0]) * rail
            steep = scaling.drift_current / scaling.volt
            cell.B("clamp", "u", 0, current_expression=Table(knots, values).spice("u", 1.0, steep))
        return (cell,)

    def emit(self, netlist: Netlist, wires: Wires, scaling: Scaling) -> None:
        """Add one neuron per latent."""
        offset, factors = self.offset * scaling.drift_current, self.capacitor_factors
        for i, (u, n) in enumerate(zip(self.nodes, self.port_nodes("noise"), strict=True)):
            ic, c, i_os = (number(v) for v in (self.start[i] * scaling.volt, factors[i] * scaling.c_int, offset[i]))
            netlist.X(f"{self.name}_{i}", "lsc_neuron", u, n, ic=ic, c=c, i_os=i_os)
