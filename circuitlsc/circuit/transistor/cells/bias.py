"""Bias of a chip: the lines that all cells hang on, from ideal sources, or from one reference current by real devices."""

from __future__ import annotations

from dataclasses import dataclass

from circuitlsc.circuit.transistor.cells.converter import SUPPLY
from circuitlsc.circuit.transistor.cells.mirror import steady
from circuitlsc.circuit.transistor.parts import Current, Mos, Part, TransistorCell, Voltage

#: of the lines that are voltages, at the analog reference's level (the supply is vdd and vss)
VOLTS = {"vx": 0.4, "vr0": -0.5, "vr1": -0.9, "vcp": 0.9, "vcn": -0.4}
REFERENCE = 100e-9  # ampere, from outside into ``nr``
UNITS = 10  # of the reference's line: 10 nA each
#: width and length of the block's units, micrometres: larger than those of the neurons, because their errors are all neurons'
UNIT = {"p": (2.5, 10.0), "n": (1.25, 10.0)}
SINK, COPY = 20e-9, 100e-9  # ampere: of a follower's input device, and of the copies


@dataclass(frozen=True)
class Currents:
    """The currents of a neuron that the bias block makes, ampere.

    Attributes
    ----------
    least : float
        I0 of the splitters of u: the width is I0 over the unit.
    least_e : float
        Of the splitter of e.
    u0, lam : float
        Threshold and prior.
    """

    least: float
    least_e: float
    u0: float
    lam: float


def ideal_bias(currents: Currents) -> TransistorCell:
    """Return the bias of ideal voltages, and of mirrors' first devices that carry ideal currents."""
    volts = tuple(Voltage(name, name, "0", volt) for name, volt in VOLTS.items())
    parts: tuple[Part, ...] = (
        *volts,
        *_diode("n", "bn", 8, 1, currents.least, "vx"),
        *_diode("p", "bp", 16, 1, currents.least, "vx"),
        *_diode("n", "bne", 8, 1, currents.least_e, "vx"),
        *_diode("p", "bpe", 16, 1, currents.least_e, "vx"),
        *_diode("p", "pis", *SUPPLY, COPY + SINK, "vdd"),
        *_diode("p", "pic", *SUPPLY, COPY, "vdd"),
        *_diode("n", "nib", 2, 4, SINK, "vss"),
        # those of cascoded copies alone are cascoded
        *steady("n", "dnlam", "nlam", "nlam"),
        *steady("p", "dpth", "pth", "pth"),
        Current("inlam", "vdd", "nlam", currents.lam),
        Current("ipth", "pth", "vss", currents.u0),
        # the amplifiers' bias alone takes copies of the reference
        unit("n", "dnr", "nr", "nr", UNITS),
        Current("inr", "vdd", "nr", REFERENCE),
    )
    return TransistorCell("bias", "bias: ideal voltages and currents, and the mirrors' first devices", (), parts, REST)


REST = {
    "bn": 0.85,
    "bp": -0.35,
    "bne": 0.85,
    "bpe": -0.35,
    "pis": 1.35,
    "pic": 1.35,
    "nib": -0.7,
    "nlam": -0.8,
    "pth": 1.35,
}


def _diode(kind: str, line: str, w: float, l: float, ampere: float, foot: str) -> tuple[Mos, Current]:  # noqa: E741
    """Return a device that carries a current, with its gate at its drain, and the source that feeds it."""
    ends = ("vdd", line) if kind == "n" else (line, "vss")
    return Mos(f"d{line}", kind, line, line, foot, w, l), Current(f"i{line}", *ends, ampere)


def unit(kind: str, name: str, gate: str, out: str, units: int) -> Mos:
    """Return a device of so many units without a cascode, where it need not be exact: the reference's line, or a copy."""
    w, l = UNIT[kind]  # noqa: E741
    return Mos(name, kind, out, gate, {"p": "vdd", "n": "vss"}[kind], w, l, units)
