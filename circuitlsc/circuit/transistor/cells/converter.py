r"""Voltage to current: a super source follower, a resistor, and a copy of what flows through it.

.. math:: I(x) = \frac{V(u)}{R}

Two followers hold the ends of the resistor at V(u) and at the reference, a gate's voltage above both; the difference flows
through R and comes out of x by a copy of the follower's sink.
"""

from __future__ import annotations

from circuitlsc.circuit.transistor.parts import Mos, Resistor, TransistorCell

#: 1/K and 1/K^2 of the process's high-resistance poly (``ppolyf_u_2k``, ``ppolyf_u_3k``)
POLY = (-0.001669823, 3.74326e-06)


def tracking(celsius: float) -> float:
    r"""Return what a current V/R of such a resistor is multiplied by at a temperature: 1 at 27 C, 1.16 at 125 C."""
    warmer = celsius - 27
    return 1 / (1 + POLY[0] * warmer + POLY[1] * warmer**2)


#: width and length of what feeds the followers and the copy: their mismatch is an offset of u, the largest there is
SUPPLY = (8.0, 8.0)


def converter(ohm: float, drift: tuple[float, float] = (0.0, 0.0)) -> TransistorCell:
    """Return the cell with pins u and x: u is a gate, and x a node that takes the current.

    Parameters
    ----------
    ohm : float
        Of the resistor, at 27 C.
    drift : tuple of float
        Its temperature coefficients, 1/K and 1/K^2 (`POLY`). None is right where all currents are in proportion to 1/R
        (`tracking`), and are counted in units that are so, too.
    """
    follower = [
        Mos("1{r}", "p", "d{r}", "{u}", "s{r}", 8, 1, bulk="s{r}"),
        Mos("2{r}", "n", "k{r}", "d{r}", "vss", 4, 8),
        Mos("2{r}c", "n", "s{r}", "vcn", "k{r}", 8, 1),
        Mos("s{r}", "p", "s{r}", "pis", "vdd", *SUPPLY),
        Mos("b{r}", "n", "d{r}", "nib", "vss", 2, 4),
    ]
    parts = [_put(mos, r, u) for r, u in (("", "u"), ("r", "0")) for mos in follower]
    parts += [
        Mos("3", "n", "k3", "d", "vss", 4, 8),
        Mos("3c", "n", "x", "vcn", "k3", 8, 1),
        Mos("c", "p", "kc", "pic", "vdd", *SUPPLY),
        # its source rests where the followers' ends do: the copy sees the voltage that the followers' supply sees
        Mos("cc", "p", "x", "0", "kc", 4, 1, bulk="kc"),
    ]
    rest = {"s": 0.65, "sr": 0.65, "d": -0.7, "dr": -0.7}
    text = "voltage to current: I(x) = V(u)/R out of x"
    return TransistorCell("converter", text, ("u", "x"), (*parts, Resistor("r", "s", "sr", ohm, *drift)), rest)


def _put(mos: Mos, r: str, u: str) -> Mos:
    def named(text: str) -> str:
        return text.format(r=r, u=u)

    return Mos(
        named(mos.name), mos.kind, named(mos.d), named(mos.g), named(mos.s), mos.w, mos.l, mos.m, named(mos.bulk)
    )


def converted(volt: float, ohm: float) -> float:
    """Return the current, ampere, of V(u) in volt."""
    return volt / ohm
