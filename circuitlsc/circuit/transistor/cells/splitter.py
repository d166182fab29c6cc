r"""Class-AB splitter: a current and its two halves, the product of which is constant.

.. math:: p - n = I, \qquad p\,n = I_0^2, \qquad p = \tfrac12\left(I + \sqrt{I^2 + 4 I_0^2}\right)

Two common-gate transistors of opposite kind share the node x; their gates stand where each carries I_0 at rest (translinear
loop: the exponents of both add up). The voltages v_p and v_n of diodes that carry p and n are their logarithms, which steer
pairs; ``pn`` is the gate line of p-channel mirrors that copy n.

Holds in weak inversion, with every device saturated (4 U_T or more from drain to source), and matched copies.
"""

from __future__ import annotations

import numpy as np

from circuitlsc.circuit.transistor.cells.mirror import mirror
from circuitlsc.circuit.transistor.parts import Mos, TransistorCell
from circuitlsc.io.arrays import Array

#: diodes that steer pairs, of the pairs' size; those of u, of which copies are taken, too; and those that are only copied
LOGARITHM, FIRST, LINE = (8.0, 1.0), (16.0, 1.0), (2.0, 16.0)
#: a unit of p-channel mirrors on whose line no copy hangs: longer, because errors of threshold count less there
LONG = (0.5, 16.0)
NAMES = {LOGARITHM: "", FIRST: "_first", LINE: "_line"}
UNITS = {None: "", LONG: "_long"}


def splitter(
    units: int = 4, *, diode: tuple[float, float] = LOGARITHM, unit: tuple[float, float] | None = None
) -> TransistorCell:
    """Return the cell with pins x, vp, vn, pn (gate line of n), bn and bp (gates), and vr (foot of the diodes).

    Parameters
    ----------
    units : int
        Of which the line's own mirror consists; a copy of as many has the current n.
    diode : tuple
        Width and length of the diodes: `LOGARITHM`, `FIRST`, or `LINE` if n-channel mirrors alone hang on vp and vn.
    unit : tuple or None
        Width and length of a unit: `LONG`, or that of the crossbar's mirrors if it is not given.
    """
    parts = (
        Mos("p", "p", "vp", "bp", "x", 16, 1),
        Mos("n", "n", "pn", "bn", "x", 8, 1),
        Mos("dp", "n", "vp", "vp", "vr", *diode),
        *mirror("p", "m", "pn", "pn", units=units, unit=unit),
        *mirror("p", "o", "pn", "vn", units=units, unit=unit),
        Mos("dn", "n", "vn", "vn", "vr", *diode),
    )
    text = "splitter: p - n = I(x), p n = I0^2; vp, vn: their logarithms, pn: gate line of n"
    name = "splitter" + NAMES[diode] + UNITS[unit] + (f"_{units}" if units != 4 else "")
    return TransistorCell(name, text, ("x", "vp", "vn", "pn", "bn", "bp", "vr"), parts)


def split(current: Array, least: float) -> tuple[Array, Array]:
    """Return p and n of currents, ampere; ``least`` is I0."""
    half = np.hypot(np.asarray(current, dtype=float) / 2, least)
    size = half + np.abs(current) / 2
    other = least**2 / size
    positive = np.asarray(current) >= 0
    return np.where(positive, size, other), np.where(positive, other, size)
