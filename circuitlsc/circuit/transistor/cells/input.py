r"""Inputs: b as currents that mirrors derive from bias lines, each with errors of its own.

.. math:: b = \lambda\,\frac{n_1 n_2 n_3}{m_1 m_2} \;(b > 0), \qquad
          b = -\frac{u_0 I_1}{I_e}\,\frac{n_1 n_2 n_3}{4\,m_1 m_2} \;(b < 0)
"""

from __future__ import annotations

from circuitlsc.circuit.transistor.cells.bias import Currents
from circuitlsc.circuit.transistor.cells.mirror import REST, STEADY_UNITS, mirror, steady
from circuitlsc.circuit.transistor.cells.real_bias import EXACT, Ratio, ratio
from circuitlsc.circuit.transistor.parts import TransistorCell

LINE = {"n": "nlam", "p": "pth"}  # bias lines: those of lam's and of u0's current
CLOSE = 0.005  # model units of e: how close to b the ratio is


def input_ratio(b: float, currents: Currents, unit_e: float) -> Ratio | None:
    """Return the mirrors that make an input of a bias line's current; None for one below `CLOSE`, which is left out.

    Parameters
    ----------
    b : float
        Model units of e.
    currents : Currents
        Of the bias block, ampere.
    unit_e : float
        Ampere per unit of e.
    """
    if abs(b) < CLOSE:
        return None
    kind = kind_of(b)
    given = {"n": currents.lam, "p": currents.u0}[kind] / unit_e
    return ratio(abs(b) / given, max(EXACT, CLOSE / abs(b)), STEADY_UNITS[kind])


def kind_of(b: float) -> str:
    """Return the kind of the last mirror: n draws b > 0 from the node of e, p puts b < 0 into it."""
    return "n" if b > 0 else "p"


def input_current(kind: str, made: Ratio) -> TransistorCell:
    """Return the mirrors from a bias line into the node of e, the cell's only pin."""
    other = {"n": "p", "p": "n"}[kind]
    (n1, n2, n3), (m1, m2) = made.copies, made.lines
    parts = (
        *steady(kind, "a", LINE[kind], "i", units=n1),
        *mirror(other, "b", "i", "i", units=m1),
        *mirror(other, "c", "i", "j", units=n2),
        *mirror(kind, "d", "j", "j", units=m2),
        *mirror(kind, "o", "j", "e", units=n3),
    )
    text = f"input: {made.value:.6g} of the current of {LINE[kind]} {'into' if kind == 'p' else 'out of'} the node at e"
    name = "_".join(map(str, ("input", kind, *made.copies, *made.lines)))
    return TransistorCell(name, text, ("e",), parts, {"i": REST[other], "j": REST[kind]})
