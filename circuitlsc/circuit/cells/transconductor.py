r"""Transconductor: a voltage becomes a current, :math:`I = g\,v`; two of them and two capacitors are a resonator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from PySpice.Spice.Netlist import SubCircuit

from circuitlsc.circuit.cells.base import Cell, number
from circuitlsc.io.arrays import Array
from circuitlsc.nonideal.hardware import Hardware
from circuitlsc.planning.scaling import Scaling


@dataclass(frozen=True, eq=False)
class Transconductor(Cell):
    r"""The velocity of each neuron from its momentum: drift_i = omega p_i, omega = 1/sqrt(m).

    With the gate's force on the momentum it is a gyrator between two capacitors: the momentum is the current of an
    inductor.

    Parameters
    ----------
    gain : float
        omega, in 1/tau.
    """

    gain: float

    ports = ("p",)
    definition = "lsc_velocity"

    def respond(self, inputs: Mapping[str, Array]) -> tuple[Array, dict[str, Array]]:
        """Return the drift, in units per tau, and d(drift)/dp."""
        return np.asarray(self.gain * inputs["p"]), {"p": np.full_like(inputs["p"], self.gain)}

    def subcircuits(self, scaling: Scaling) -> tuple[SubCircuit, ...]:
        """Return ``lsc_velocity p u``."""
        cell = self.defined("transconductor: drift current into u, omega V(p)", "p", "u")
        cell.VCCS("m", 0, "u", "p", 0, number(self.gain * scaling.drift_current / scaling.volt))
        return (cell,)


@dataclass(frozen=True, eq=False)
class DeviceTransconductor(Transconductor):
    r"""The same with an error of its gain and an input offset, :math:`I = (1 + \epsilon_i)\,g\,(p_i + o_i)`.

    *What it does to the posterior.* An offset o_i moves the mean momentum, and through the friction the neuron: the
    energy gains -omega gamma o_i u_i to first order. Different gains scale the masses of the neurons, which no
    stationary average sees as long as the gate's force has the same gain; an error of it scales the temperature.

    Parameters
    ----------
    hardware : Hardware
    """

    hardware: Hardware = field(kw_only=True)

    @cached_property
    def draws(self) -> tuple[Array, Array]:
        """Gain factors and input offsets (V), each (size,)."""
        parts, names = self.hardware.parts, self.elements
        return (
            parts.factors(names, "gain", parts.transconductor.gain_error),
            parts.normals(names, "offset", parts.transconductor.offset),
        )

    def respond(self, inputs: Mapping[str, Array]) -> tuple[Array, dict[str, Array]]:
        """Return the drift, in units per tau, and d(drift)/dp."""
        gain, offset = self.draws
        p = inputs["p"] + offset / self.hardware.scaling.volt
        return np.asarray(self.gain * gain * p), {"p": self.gain * gain * np.ones_like(p)}

    def subcircuits(self, scaling: Scaling) -> tuple[SubCircuit, ...]:
        """Return ``lsc_velocity p u`` with its errors as parameters."""
        cell = self.defined("transconductor: drift current into u, k omega V(p) + i_os", "p", "u", k=1.0, i_os=0.0)
        siemens = number(self.gain * scaling.drift_current / scaling.volt)
        cell.VCCS("m", 0, "u", "p", 0, f"{{k*{siemens!r}}}")
        if self.hardware.parts.transconductor.offset > 0:
            cell.I("os", 0, "u", "{i_os}")
        return (cell,)

    def parameters(self, scaling: Scaling) -> Mapping[str, Array]:
        """Return the gain factors and the offset currents."""
        gain, offset = self.draws
        return {"k": gain, "i_os": gain * offset * self.gain * scaling.drift_current / scaling.volt}
