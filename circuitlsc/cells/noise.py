r"""Thermal-noise source: :math:`\sqrt{2 T \tau}\,dW` on each neuron, as ngspice can realise it.

``external``: a Brownian voltage in series with the integrating capacitor, whose values come from outside, one per step
(seeded, exact at every step, one time point per sample). ``trrandom``: a held Gaussian current, for decks that run in
plain ngspice (seeded by ``.option seed``; about five time points per sample, variance of a mode of rate a short by
(a h)^2/12). ``trnoise`` is refused: ngspice seeds it from the process id.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PySpice.Spice.Netlist import Netlist, SubCircuit

from circuitlsc.arrays import Array
from circuitlsc.cells.base import Cell, Wires, described
from circuitlsc.errors import InputError

if TYPE_CHECKING:
    from circuitlsc.scaling import Scaling

NOISE_FORMS = ("external", "trrandom")


@dataclass(frozen=True, eq=False)
class Noise(Cell):
    """Independent white noise on each neuron.

    Parameters
    ----------
    temperature : float
        T in exp(-E/T).
    form : str
        ``"external"`` or ``"trrandom"``.
    """

    temperature: float
    form: str = "external"

    def __post_init__(self) -> None:
        if not np.isfinite(self.temperature) or self.temperature <= 0:
            raise InputError(f"temperature = {self.temperature!r}, but it must be a finite number > 0.")
        if self.form == "trnoise":
            raise InputError(
                "noise = 'trnoise' is refused: ngspice seeds it from the process id, so that no run can be repeated. "
                "Use 'trrandom' (stand-alone decks) or 'external'."
            )
        if self.form not in NOISE_FORMS:
            raise InputError(f"noise = {self.form!r} is not one of {', '.join(NOISE_FORMS)}.")

    def evaluate(self, inputs: Mapping[str, Array]) -> Array:
        """Return the mean, 0."""
        return np.zeros(self.size)

    def partials(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Return nothing: there is no input."""
        return {}

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the streams of random numbers, one per neuron; they do not depend on the other neurons."""
        return tuple(f"{self.name}_{i}" for i in range(self.size))

    def devices(self) -> tuple[str, ...]:
        """Names of the voltage sources as ngspice flattens them."""
        return tuple(f"v.x{source}.vn".lower() for source in self.sources)

    def subcircuits(self, scaling: Scaling) -> tuple[SubCircuit, ...]:
        """Return ``lsc_noise n u``: a source at the capacitor's lower plate n, or a current into u."""
        text = "thermal noise: " + (
            "a Brownian voltage at n, in series with the capacitor"
            if self.form == "external"
            else "i_rms, held for t_hold, into u"
        )
        cell = described(SubCircuit("lsc_noise", "n", "u"), text)
        if self.form == "external":
            cell.V("n", "n", 0, "external")
        else:
            cell.V("n", "n", 0, 0.0)
            cell.I("n", 0, "u", "trrandom(2 {t_hold} 0 {i_rms} 0)")
        return (cell,)

    def emit(self, netlist: Netlist, wires: Wires, scaling: Scaling) -> None:
        """Add one source per neuron."""
        for i, (n, u) in enumerate(zip(wires.output, wires.target, strict=True)):
            netlist.X(f"{self.name}_{i}", "lsc_noise", n, u)
