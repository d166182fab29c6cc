r"""The two halves of a neuron with a signed code: each sign has a threshold of its own.

.. math:: s = s^+ - s^-, \qquad s^\pm = f\left(f(\pm u) - u_0\right), \qquad
          I = -e\,\left[f'(f(u) - u_0)\,f'(u) + f'(f(-u) - u_0)\,f'(-u)\right] - \lambda\,a'(u)

with f(u) = p_0 and f(-u) = n_0, the halves of the first splitter, f'(u) = p_0/(p_0 + n_0), and a' = (p_0 - n_0)/(p_0 + n_0).
The bracket is ds/du. It is a tree of pairs: the sign shares out e+ (e-), and each share is the tail of its threshold's pair;
so e+ and e- need one copy each. s differs from f(u - u_0) - f(-u - u_0) by w^2/u at most, where it is not small.
"""

from __future__ import annotations

from circuitlsc.circuit.transistor.cells.converter import converter
from circuitlsc.circuit.transistor.cells.mirror import steady
from circuitlsc.circuit.transistor.cells.neuron import OUTPUT_REST, TAIL_REST, folded, outputs, tails
from circuitlsc.circuit.transistor.cells.pair import pair, share
from circuitlsc.circuit.transistor.cells.splitter import FIRST, split, splitter
from circuitlsc.circuit.transistor.parts import Mos, Part, TransistorCell, Use
from circuitlsc.io.arrays import Array

#: of both halves: what the first hands to the second
LOGS = ("p0", "n0", "s1", "c1", "s2", "c2")


def signed_threshold(ohm: float, units: int = 4, *, negative: bool = False) -> TransistorCell:
    """Return the first half: pins u, gate lines of the code, and the log voltages of sign and both thresholds.

    A positive entry is units of ``ps`` (s+) and as many of ``nm`` (s-); a negative one units of ``pm`` and of ``ns``.

    Parameters
    ----------
    ohm : float
        Of the converter's resistor.
    units : int
        Of each gate line: a mirror of so many units copies it.
    negative : bool
        Whether its column has negative entries: it has a pin ``ns`` then, the gate line of n-channel copies of s+.
    """
    parts: tuple[Part, ...] = (
        Use("vi", converter(ohm), ("u", "x0")),
        Use("s0", splitter(diode=FIRST), ("x0", "p0", "n0", "pn0", "bn", "bp", "vr1")),
        *_half("1", "p0", "ps", units),
        *_half("2", "n0", "pm", units),
        *folded("pm", "nm", units),
    )
    if negative:
        parts += folded("ps", "ns", units)
    rest = {"x0": 0.4, "x1": 0.45, "x2": 0.45, "pn0": 1.35}
    name = "signed_threshold" + ("_n" if negative else "") + (f"_{units}" if units != 4 else "")
    text = "signed threshold: s+ = f(f(u) - u0) and s- = f(f(-u) - u0), currents of the lines ps and pm"
    pins = ("u", "ps", "pm", "nm", *LOGS, *(["ns"] if negative else []))
    return TransistorCell(name, text, pins, parts, rest)


def _half(side: str, log: str, line: str, units: int) -> tuple[Part, ...]:
    """Return one threshold: a half of u leaves its node x, u0 enters it, and a splitter makes s of what is left."""
    x = f"x{side}"
    return (
        Mos(f"a{side}", "n", f"k{side}", log, "vr1", *FIRST),
        Mos(f"a{side}c", "n", x, "vx", f"k{side}", 8, 1),
        *steady("p", f"th{side}", "pth", x),
        Use(f"s{side}", splitter(units), (x, f"c{side}", f"s{side}", line, "bn", "bp", "vr0")),
    )


def signed_gate() -> TransistorCell:
    """Return the second half: pins u (its current's node), e (a current into it), and the log voltages."""
    parts = (
        *tails(),
        *_tree("p", "oa"),
        *_tree("n", "ob"),
        *steady("n", "lam", "nlam", "tl"),
        Use("pl", pair(), ("oa", "ob", "p0", "n0", "tl")),
        *outputs(),
    )
    rest = TAIL_REST | OUTPUT_REST | dict.fromkeys(("t1p", "t2p", "t1n", "t2n"), -0.55) | {"tl": -0.95}
    text = "signed gate: current -(ds/du e + lam sign(u)) into u"
    return TransistorCell("signed_gate", text, ("u", "e", *LOGS), parts, rest)


def _tree(half: str, out: str) -> tuple[Use, ...]:
    """Return the pairs that take the share ds/du of a half of e to one output."""
    one, two = f"t1{half}", f"t2{half}"
    return (
        Use(f"g{half}", pair(), (one, two, "p0", "n0", f"t{half}")),
        Use(f"g1{half}", pair(), (out, "vdd", "s1", "c1", one)),
        Use(f"g2{half}", pair(), (out, "vdd", "s2", "c2", two)),
    )


def signed_code(u: Array, u0: float, w: float) -> tuple[Array, Array, Array]:
    """Return s+, s- and ds/du at u, all in model units."""
    p, n = split(u, w)
    (s1, c1), (s2, c2) = split(p - u0, w), split(n - u0, w)
    return s1, s2, share(s1, c1) * share(p, n) + share(s2, c2) * share(n, p)


#: where the pins of both halves rest, volt
REST = {"ps": 1.35, "pm": 1.35, "ns": -0.8, "nm": -0.8, "p0": -0.45, "n0": -0.45, "e": 0.4} | {
    log: 0.0 for log in ("s1", "s2", "c1", "c2")
}
