"""The hardware that a graph is built from: its imperfections, and the scales that turn model units into volts."""

from __future__ import annotations

from dataclasses import dataclass

from circuitlsc.nonideal.nonidealities import Nonidealities
from circuitlsc.planning.scaling import BOLTZMANN, ROOM, Scaling


@dataclass(frozen=True)
class Hardware:
    """What device-level cells need to know; corner factors are applied here, once.

    Parameters
    ----------
    parts : Nonidealities
    scaling : Scaling
    reduced : bool
        Whether a crossbar with resistive wires is written as the mesh of resistors that its terminals see (star-mesh
        transformation: exact, and much faster to simulate), or with every segment of wire.
    """

    parts: Nonidealities
    scaling: Scaling
    reduced: bool = False

    def ohm(self, value: float) -> float:
        """Return a resistance at the chip's corner."""
        return value * self.parts.corner.resistance

    def farad(self, value: float) -> float:
        """Return a capacitance at the chip's corner."""
        return value * self.parts.corner.capacitance

    def rail(self, value: float) -> float:
        """Return a saturation voltage at the chip's corner."""
        return value * self.parts.corner.supply

    @property
    def noise_kelvin(self) -> float:
        """Mean temperature of the noise resistors: their own, heated by the ambient's."""
        return self.parts.noise.temperature * self.parts.corner.temperature / ROOM

    def noise_gain(self, temperature: float = 1.0) -> float:
        r"""Return the transconductance that lifts the resistor's thermal noise to the model's diffusion, siemens.

        .. math:: g_m = C_{int}\, volt\, \sqrt{\frac{T}{k\, 300\,\mathrm{K}\; R_n\, \tau}}

        The white part of the noise voltage, 2 k T_K R_n (two-sided), then moves u with the diffusion 2 T/tau.
        """
        s = self.scaling
        thermal = BOLTZMANN * ROOM * self.parts.noise.resistance * s.tau
        return float(s.c_int * s.volt * (temperature / thermal) ** 0.5)
