r"""Pair that shares out its tail current by two log voltages: the gate, and the sign.

.. math:: I_a = I_t\,\frac{p}{p + n}, \qquad I_b = I_t\,\frac{n}{p + n}

In weak inversion the gates' voltages, logarithms of p and n at the same slope factor and temperature, steer the tail by
exactly p/(p + n) = f'(I): the derivative of what the splitter makes.
"""

from __future__ import annotations

from circuitlsc.circuit.transistor.parts import Mos, TransistorCell
from circuitlsc.io.arrays import Array


def pair() -> TransistorCell:
    """Return the cell with pins a, b (outputs), va, vb (gates) and t (tail)."""
    parts = (Mos("a", "n", "a", "va", "t", 8, 1), Mos("b", "n", "b", "vb", "t", 8, 1))
    text = "pair: I(a) = I(t) p/(p + n), va, vb: logarithms of p, n"
    return TransistorCell("pair", text, ("a", "b", "va", "vb", "t"), parts)


def share(p: Array, n: Array) -> Array:
    """Return the share of the tail that a takes."""
    return p / (p + n)
