r"""Bias of a chip from one reference current: ratios of mirrors, stacks that follow temperature, and two regulated lines.

.. math:: I = I_{ref} \frac{n_1}{10} \frac{n_2}{m_1} \frac{n_3}{m_2}

Every current is a product of ratios of numbers of equal units (`Ratio`): from the reference's line (``nr``) to a p-channel
line, to an n-channel line, and so on. The voltages stand on each other: vr1 is what a long device in series with a wide one
drops, nearly in proportion to temperature; vr0 stands on vr1 in the same way; vx is the higher of a diode on vr0 and of one on
vr1, of either kind. An amplifier and a wide device hold vr0 and vr1, into which the neurons' diodes drive their currents.
Cascodes' gates are fed by copies without cascodes, which start as soon as the reference flows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from circuitlsc.circuit.transistor.cells.bias import COPY, REST, SINK, Currents
from circuitlsc.circuit.transistor.cells.converter import SUPPLY
from circuitlsc.circuit.transistor.cells.mirror import mirror, steady
from circuitlsc.circuit.transistor.parts import Capacitor, Current, Mos, Part, TransistorCell
from circuitlsc.errors import InputError

REFERENCE = 100e-9  # ampere, from outside into ``nr``
UNITS = 10  # of the reference's line: 10 nA each
MOST = 24  # units of one line or copy
EXACT, ABOUT = 0.001, 0.01  # relative error of a ratio: of u0 and lam, and of widths
#: width and length of the block's units, micrometres: larger than those of the neurons, because their errors are all neurons'
UNIT = {"p": (2.5, 10.0), "n": (1.25, 10.0)}
MILLER = 1e-12  # farad, of the regulators


@dataclass(frozen=True)
class Ratio:
    r"""A ratio of currents made by three copies and the two lines between them.

    .. math:: r = \frac{n_1}{m_0} \frac{n_2}{m_1} \frac{n_3}{m_2}

    with m_0 units of the line that is copied, 10 in the bias block.
    """

    copies: tuple[int, int, int]
    lines: tuple[int, int]
    first: int = UNITS

    @property
    def value(self) -> float:
        """The ratio."""
        return float(np.prod(self.copies) / np.prod(self.lines) / self.first)

    @property
    def units(self) -> int:
        """How many units it takes."""
        return sum(self.copies) + sum(self.lines)


@cache
def ratio(wanted: float, tolerance: float, first: int = UNITS) -> Ratio:
    """Return the ratio of fewest units to a line of ``first`` that is within a relative tolerance of what is wanted.

    Raises
    ------
    InputError
        If there is none with at most `MOST` units in a line.
    """
    counts = np.arange(1, MOST + 1)
    n1, n2, n3, m1 = np.meshgrid(np.arange(1, UNITS + 1), counts, counts, counts, indexing="ij", sparse=True)
    best: Ratio | None = None
    for m2 in range(1, MOST + 1):
        error = np.abs(n1 * n2 * n3 / (m1 * m2 * first * wanted) - 1)
        units = np.where((error <= tolerance) & (n3 <= n2), n1 + n2 + n3 + m1 + m2, 10 * MOST)
        at = np.unravel_index(int(np.argmin(units)), units.shape)
        if units[at] < (10 * MOST if best is None else best.units):
            best = Ratio((int(at[0]) + 1, int(at[1]) + 1, int(at[2]) + 1), (int(at[3]) + 1, m2), first)
    if best is None:
        least, most = 1 / (first * MOST**2), MOST**2 * UNITS / first
        raise InputError(
            f"a bias current of {wanted * REFERENCE:.4g} A is asked for, and mirrors of at most {MOST} units make "
            f"{least * REFERENCE:.3g} to {most * REFERENCE:.3g} A within {tolerance:g}; choose a current in this range."
        )
    return best


def real_bias(currents: Currents, *, reference: float | None = REFERENCE) -> TransistorCell:
    """Return the bias block of transistors; its lines are those of `ideal_bias`.

    Parameters
    ----------
    currents : Currents
        At a reference of `REFERENCE`; all are in proportion to it.
    reference : float or None
        Ampere; None leaves the line ``nr`` to a source outside.
    """
    source = () if reference is None else (Current("ref", "vdd", "nr", reference),)
    parts: tuple[Part, ...] = (
        *source,
        *_units("n", "r", "nr", "nr", UNITS),
        *_cascode_lines(),
        *_units("n", "pr", "nr", "pr", UNITS),
        *_units("p", "dpr", "pr", "pr", UNITS),
        *_voltages(),
        *_regulator("r1", "a1", "vr1"),
        *_regulator("r0", "a0", "vr0"),
        # what the converters take
        *_units("n", "is", "nr", "pis", _whole(COPY + SINK)),
        Mos("dpis", "p", "pis", "pis", "vdd", *SUPPLY),
        *_units("n", "ic", "nr", "pic", _whole(COPY)),
        Mos("dpic", "p", "pic", "pic", "vdd", *SUPPLY),
        *_units("p", "ib", "pr", "nib", _whole(SINK)),
        Mos("dnib", "n", "nib", "nib", "vss", 2, 4),
        # threshold and prior
        *_chain("n", "th", "pth", currents.u0),
        *steady("p", "dpth", "pth", "pth"),
        *_chain("p", "lam", "nlam", currents.lam),
        *steady("n", "dnlam", "nlam", "nlam"),
        # gates of the splitters' common-gate devices: the same devices and currents, standing on vx
        *_chain("p", "n", "bn", currents.least, exact=False),
        Mos("dbn", "n", "bn", "bn", "vx", 8, 1),
        *_chain("n", "p", "bp", currents.least, exact=False),
        Mos("dbp", "p", "bp", "bp", "vx", 16, 1),
        *_chain("p", "ne", "bne", currents.least_e, exact=False),
        Mos("dbne", "n", "bne", "bne", "vx", 8, 1),
        *_chain("n", "pe", "bpe", currents.least_e, exact=False),
        Mos("dbpe", "p", "bpe", "bpe", "vx", 16, 1),
    )
    text = "bias: every current is the reference's times ratios of units; voltages of stacks of devices"
    return TransistorCell("bias", text, (), parts, REST | INNER)


INNER = {
    **{"vx": 0.4, "vr0": -0.5, "vr1": -0.9, "vcp": 0.9, "vcn": -0.4},
    **{"nr": -0.6, "pr": 1.3, "pb": 1.3, "vcb": -0.3, "a1": -0.9, "g1": -0.3, "a0": -0.5, "g0": 0.2},
    **{"xn": 0.35, "xp": 0.3, "xgn": 1.1, "xgp": 1.1},
    **{"tr0": 0.3, "tr1": 0.0, "or0": -0.6, "or1": -0.6, "ir0": -0.6, "ir1": -0.6},
}


def _whole(ampere: float) -> int:
    return round(ampere / REFERENCE * UNITS)


def _copy(kind: str, name: str, gate: str, out: str, units: int) -> Mos:
    """Return a copy without a cascode, for what need not be exact."""
    w, l = UNIT[kind]  # noqa: E741
    return Mos(name, kind, out, gate, {"p": "vdd", "n": "vss"}[kind], w, l, units)


def _long(kind: str, name: str, d: str, g: str, s: str, l: float, count: int) -> Iterator[Mos]:  # noqa: E741
    """Yield devices in series with one gate: a device as long as all of them."""
    nodes = [d, *(f"{name}{i}" for i in range(1, count)), s]
    for i in range(count):
        yield Mos(f"{name}{i}", kind, nodes[i], g, nodes[i + 1], LONG_WIDTH, l)


LONG_WIDTH = 1.0


def _cascode_lines() -> Iterator[Part]:
    """Yield what makes vcp, vcn and the block's own vcb: long diodes; without cascodes, so that they start from nothing."""
    yield _copy("n", "cp", "nr", "vcp", 5)
    yield from _long("p", "dcp", "vcp", "vcp", "vdd", 20, 2)
    yield _copy("n", "pb", "nr", "pb", 5)
    yield _copy("p", "dpb", "pb", "pb", 5)
    yield _copy("p", "cn", "pb", "vcn", 5)
    yield from _long("n", "dcn", "vcn", "vcn", "vss", 22, 2)
    yield _copy("p", "cb", "pb", "vcb", 5)
    yield from _long("n", "dcb", "vcb", "vcb", "vss", 25, 5)


def _voltages() -> Iterator[Part]:
    """Yield what makes the voltages that vr1 and vr0 are held at, and vx."""
    for r, foot, length in (("1", "vss", (40, 4)), ("0", "vr1", (40, 4))):
        yield _copy("p", f"a{r}", "pb", f"g{r}", 5)
        yield Mos(f"t{r}", "n", f"g{r}", f"g{r}", f"a{r}", 8, 1)
        yield from _long("n", f"l{r}", f"a{r}", f"g{r}", foot, *length)
    # vx is the higher of two: one follows n-channel devices, the other p-channel ones
    for side, diode in (
        ("n", Mos("xn", "n", "xn", "xn", "vr0", 4, 1)),
        ("p", Mos("xp", "p", "vr1", "vr1", "xp", 8, 1)),
    ):
        yield diode
        yield _copy("p", f"x{side}i", "pb", f"xg{side}", 2)
        yield Mos(f"x{side}d", "n", f"xg{side}", f"xg{side}", f"x{side}", 8, 1, 4)
        yield Mos(f"x{side}f", "n", "vdd", f"xg{side}", "vx", 8, 1, 4)
    yield _copy("n", "xs", "nr", "vx", 2)


def _regulator(r: str, held: str, line: str) -> Iterator[Part]:
    """Yield an amplifier and a wide device that take what comes into a line, and keep it at ``held``."""
    yield _copy("p", f"t{r}", "pb", f"t{r}", 2)
    yield Mos(f"a{r}", "p", f"o{r}", held, f"t{r}", 8, 1)
    yield Mos(f"b{r}", "p", f"i{r}", line, f"t{r}", 8, 1)
    yield Mos(f"c{r}", "n", f"o{r}", f"i{r}", "vss", 1, 4)
    yield Mos(f"d{r}", "n", f"i{r}", f"i{r}", "vss", 1, 4)
    yield Mos(f"s{r}", "n", line, f"o{r}", "vss", 8, 1, 4)
    yield Capacitor(f"c{r}", f"o{r}", line, MILLER)


def _chain(kind: str, name: str, out: str, ampere: float, *, exact: bool = True) -> Iterator[Part]:
    """Yield mirrors from the reference's line of a kind into a line of the other one."""
    made = ratio(ampere / REFERENCE, EXACT if exact else ABOUT)
    gate = {"n": "nr", "p": "pr"}[kind]
    for step, (copies, units) in enumerate(zip(made.copies[:2], made.lines, strict=True)):
        to, other = f"{name}{step}", {"n": "p", "p": "n"}[kind]
        yield from _units(kind, f"{name}c{step}", gate, to, copies)
        yield from _units(other, f"{name}l{step}", to, to, units)
        kind, gate = other, to
    last = made.copies[2]
    yield from _units(kind, f"{name}c2", gate, out, last) if exact else [_copy(kind, f"{name}c2", gate, out, last)]


def _units(kind: str, name: str, gate: str, out: str, units: int) -> tuple[Mos, Mos]:
    """Return a branch with a cascode as wide as its units, so that those of a line and of its copies stand alike."""
    unit, cascode = mirror(kind, name, gate, out, units=units, unit=UNIT[kind])
    own = {"n": "vcb", "p": "vcp"}[kind]
    return unit, replace(cascode, g=own, w=cascode.w / 4, m=units)
