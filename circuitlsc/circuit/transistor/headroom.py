r"""Headroom: what is left of each transistor's drain-source voltage above the four U_T that weak inversion needs to saturate.

.. math:: m = |V_{DS}| - 4 U_T, \qquad U_T = kT/q
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from circuitlsc.circuit.transistor.parts import TransistorCell
from circuitlsc.circuit.transistor.process import CELSIUS
from circuitlsc.io.arrays import Array

THERMAL = 1.380649e-23 / 1.602176634e-19  # volt per kelvin
LEAST = 1e-9  # ampere


def headroom(
    cell: TransistorCell,
    path: str,
    pins: Sequence[str],
    found: Mapping[str, Array],
    celsius: float,
    least: float = LEAST,
) -> dict[str, float]:
    """Return each device's least margin over operating points, volt; negative where one leaves saturation.

    Two kinds of devices are not among them: cascodes of diodes, which are a closed switch at small currents (the device
    below has all of the voltage then), and devices in series with one gate, which are one long device together.

    Parameters
    ----------
    cell : TransistorCell
    path : str
        Of its instance, as ngspice names it (``xgate_0``).
    pins : sequence of str
        The nodes of its pins.
    found : mapping
        As of `staircase.operating_points`: node voltages, and currents as ``id NAME``.
    celsius : float
    least : float
        Ampere: a device counts at the points where it carries more.
    """
    four = 4 * THERMAL * (celsius + CELSIUS)
    devices = list(cell.flat(path, pins))
    gates = {mos.d: mos.g for _, mos in devices}  # of the device whose drain a node is
    inner = {mos.s for _, mos in devices if gates.get(mos.s) == mos.g}

    def at(node: str) -> Array:
        return np.zeros(()) if node == "0" else np.asarray(found[node])

    out: dict[str, float] = {}
    for name, mos in devices:
        if gates.get(mos.s) == mos.d or mos.s in inner or mos.d in inner:
            continue
        margin = np.abs(at(mos.d) - at(mos.s)) - four
        carrying = np.broadcast_to(found[f"id {name}"] > least, np.shape(found[f"id {name}"]))
        if carrying.any():
            out[name] = float(np.min(np.broadcast_to(margin, carrying.shape)[carrying]))
    return out
