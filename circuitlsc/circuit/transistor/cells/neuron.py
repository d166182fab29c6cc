r"""The two halves of a neuron with a nonnegative code: its threshold, and the gate that makes the force.

.. math:: a(u) = p_0 + n_0 = \sqrt{u^2 + 4 w^2}, \qquad s = f(a - u_0), \qquad
          I = -\left[f'(a - u_0)\,e + \lambda\right]\frac{p_0 - n_0}{p_0 + n_0}

with w = I_0/I_1 of both splitters. e is split into e+ and e-, tails of two pairs that the threshold steers; each stands under
a pair that the sign steers; lam joins the first.
"""

from __future__ import annotations

from circuitlsc.circuit.transistor.cells.converter import converter
from circuitlsc.circuit.transistor.cells.mirror import mirror, steady
from circuitlsc.circuit.transistor.cells.pair import pair
from circuitlsc.circuit.transistor.cells.splitter import FIRST, LINE, LONG, splitter
from circuitlsc.circuit.transistor.parts import Mos, Part, TransistorCell, Use

#: of both halves: what the first hands to the second
LOGS = ("p0", "n0", "s1", "c1")
#: gate lines of a neuron's code, and the kind of the mirrors that copy them: of s (s+ if it is signed), and of s-
CODE_LINES = {"ps": "p", "ns": "n", "pm": "p", "nm": "n"}


def threshold(
    ohm: float, units: int = 4, *, negative: bool = False, drift: tuple[float, float] = (0.0, 0.0)
) -> TransistorCell:
    """Return the first half: pins u, ps (gate line of the code s), and the log voltages of sign and threshold.

    Parameters
    ----------
    ohm : float
        Of the converter's resistor.
    units : int
        Of the line ``ps``: a mirror of so many units copies s.
    negative : bool
        Whether its column has negative entries: a pin more, ``ns``, the gate line of n-channel copies of s.
    drift : tuple of float
        Of the converter's resistor with temperature.
    """
    parts: tuple[Part, ...] = (
        Use("vi", converter(ohm, drift), ("u", "x0")),
        Use("s0", splitter(diode=FIRST), ("x0", "p0", "n0", "pn0", "bn", "bp", "vr0")),
        # the sum of both halves leaves x1, and u0 enters it: what is left is u0 - a
        Mos("a1", "n", "x1", "p0", "vr0", *FIRST),
        Mos("a2", "n", "x1", "n0", "vr0", *FIRST),
        *steady("p", "th", "pth", "x1"),
        Use("s1", splitter(units), ("x1", "c1", "s1", "ps", "bn", "bp", "vr1")),
    )
    if negative:
        parts += folded("ps", "ns", units)
    rest = {"x0": 0.4, "x1": 0.45, "pn0": 1.35}
    name = "threshold" + ("_n" if negative else "") + (f"_{units}" if units != 4 else "")
    text = "threshold: s = f(a(u) - u0), a current of the line ps"
    return TransistorCell(name, text, ("u", "ps", *LOGS, *(["ns"] if negative else [])), parts, rest)


def folded(line: str, name: str, units: int) -> tuple[Mos, ...]:
    """Return what makes an n-channel gate line of a p-channel one: a copy of it into an n-channel device, both cascoded."""
    return (*mirror("p", f"f{name}", line, name, units=units), *mirror("n", name, name, name, units=units))


def gate() -> TransistorCell:
    """Return the second half: pins u (its current's node), e (a current into it), and the log voltages."""
    parts = (
        *tails(),
        Use("gp", pair(), ("t0", "gd", "s1", "c1", "tp")),
        Use("gn", pair(), ("t0n", "gd", "s1", "c1", "tn")),
        # what is not taken goes to the supply from where the other outputs are: devices of a pair see one drain's voltage
        Mos("gd", "n", "vdd", "vx", "gd", 8, 1),
        *steady("n", "lam", "nlam", "t0"),
        Use("p0", pair(), ("oa", "ob", "p0", "n0", "t0")),
        Use("p0n", pair(), ("ob", "oa", "p0", "n0", "t0n")),
        *outputs(),
    )
    rest = TAIL_REST | OUTPUT_REST | {"t0": -0.55, "t0n": -0.55, "gd": -0.35}
    text = "gate: current -(f'(a - u0) e + lam) sign(u) into u"
    return TransistorCell("gate", text, ("u", "e", *LOGS), parts, rest)


def tails() -> tuple[Part, ...]:
    """Return the splitter of e, and the devices that draw e+ from tp and e- from tn."""
    return (
        Use("se", splitter(diode=LINE, unit=LONG), ("e", "ep", "en", "pne", "bne", "bpe", "vss")),
        Mos("tp", "n", "tp", "ep", "vss", *LINE),
        Mos("tn", "n", "tn", "en", "vss", *LINE),
    )


def outputs() -> tuple[Mos, ...]:
    """Return the mirrors of the force: what is drawn from oa leaves u, what is drawn from ob enters it."""
    return (
        *mirror("p", "oa", "oa", "oa"),
        *mirror("p", "oa2", "oa", "ya"),
        *mirror("p", "ob", "ob", "ob"),
        *mirror("p", "ob2", "ob", "u"),
        *mirror("n", "ya", "ya", "ya", units=8),
        *mirror("n", "ya2", "ya", "u", units=8),
    )


TAIL_REST = {"ep": -0.8, "en": -0.8, "pne": 1.35, "tp": -0.95, "tn": -0.95}
OUTPUT_REST = {"oa": 1.35, "ob": 1.35, "ya": -0.8}
#: where the pins of both halves rest, volt
REST = {"ps": 1.35, "p0": 0.05, "n0": 0.05, "c1": -0.35, "s1": -0.45, "e": 0.4, "ns": -0.8}
