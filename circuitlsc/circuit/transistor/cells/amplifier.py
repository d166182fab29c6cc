r"""Noise amplifier: the thermal voltage of a resistor, lifted into a current by three gain stages and a transconductor.

.. math:: I = g_m\,v, \qquad g_m = A_1 A_2 A_3\,g_o, \qquad S_I = 2 k T_K R_n\,g_m^2

Stages are p-channel pairs with resistors as loads, one behind the other without capacitors. The common mode of one is the
input level of the next. A servo of picoamperes compares the last stage's outputs, and moves the loads of the first: offsets
and 1/f noise of the stages are taken off below its corner. What is left are offsets of the servo and of the transconductor.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from circuitlsc.circuit.transistor.cells.mirror import CASCODE
from circuitlsc.circuit.transistor.parts import Capacitor, Current, Mos, Part, Resistor, TransistorCell

TOTAL = 0.83e-12  # farad: nominal, of the noise resistor's node (0.98 pF as measured, mostly the first gate's)
UNIT = 50e-9  # ampere at 27 C: of one unit of a tail, at 1e6/s

LONG = {"n": (2.0, 40.0), "p": (4.0, 20.0)}  # micrometres: of the mirrors at the output


@dataclass(frozen=True)
class AmplifierDesign:
    r"""What the sizes of an amplifier follow from.

    Parameters
    ----------
    rate : float
        1/R_n over its node's nominal capacitance, 1/s: all stages' currents go with it, and their resistors with its inverse.
    rms : float
        Of the current, ampere: the transconductor's tail goes with it.
    c_n : float
        Farad, in series with the noise voltage; most of the node's capacitance is the first transistor's gate.
    lift : float
        A factor on the transconductor, by its resistors: sets the gain (`circuitlsc.circuit.transistor.noise.tuned`).
    """

    rate: float = 5e5
    rms: float = 56e-9
    c_n: float = 0.2e-12
    lift: float = 1.0

    @property
    def r_n(self) -> float:
        """The noise resistor, ohm."""
        return 1 / (self.rate * TOTAL)

    @property
    def speed(self) -> float:
        """Currents over those at 1e6/s."""
        return self.rate / 1e6

    @property
    def size(self) -> float:
        """The transconductor's current over that for 79 nA."""
        return self.rms / 79e-9

    @property
    def slope_ohm(self) -> float:
        """Resistor ahead of each source of the transconductor: with the devices' own n U_T/I it makes 1/g_o."""
        return (0.705e6 / self.lift - 0.12e6) / self.size


def amplifier(design: AmplifierDesign) -> TransistorCell:
    """Return the cell with pins v (above the noise resistor, which is a part of it; C_n is not) and u."""
    k = 1 / design.speed
    parts: tuple[Part, ...] = (
        Resistor("n", "v", "0", design.r_n),
        *_stage("1", ("v", "0"), (30, 6, 4), 20, 1.08e6 * k, cascoded=True),
        *_stage("2", ("o1a", "o1b"), (20, 2, 1), 6, 3.6e6 * k),
        *_degenerated("3", ("o2a", "o2b"), (20, 1), 12, 0.26e6 * k),
        Resistor("l3a", "o3a", "vss", 2.15e6 * k),
        Resistor("l3b", "o3b", "vss", 2.15e6 * k),
        # servo: a transconductor of picosiemens into a capacitor, which shares out a current on the first stage's loads
        Mos("st", "p", "st", "pns", "vdd", 0.3, 20),
        Mos("sa", "p", "sd", "o3a", "st", 2, 40, bulk="st"),
        Mos("sb", "p", "vs", "o3b", "st", 2, 40, bulk="st"),
        Mos("sc", "n", "sd", "sd", "vss", 0.5, 50),
        Mos("sd", "n", "vs", "sd", "vss", 0.5, 50),
        Mos("sr", "p", "sr", "pns", "vdd", 0.3, 20),
        Mos("se", "n", "sr", "sr", "vss", 0.5, 50, 2),
        Capacitor("s", "vs", "0", 10e-12),
        Capacitor("r", "sr", "0", 10e-12),
        Mos("ct", "p", "ct", "pna", "vdd", 2, 4, 2),
        Mos("ca", "p", "o1a", "vs", "ct", 0.5, 40, bulk="ct"),
        Mos("cb", "p", "o1b", "sr", "ct", 0.5, 40, bulk="ct"),
        # transconductor
        *_degenerated("4", ("o3a", "o3b"), (20, 4), 12, design.slope_ohm, "pno", ("xb", "xa")),
        *_branch("n", "xa", "xa", "xa"),
        *_branch("n", "xa2", "xa", "u"),
        *_branch("n", "xb", "xb", "xb"),
        *_branch("n", "xb2", "xb", "y"),
        *_branch("p", "y", "y", "y"),
        *_branch("p", "y2", "y", "u"),
    )
    rest = {"v": 0.0, "o1a": -0.7, "o1b": -0.7, "o2a": -0.7, "o2b": -0.7, "o3a": -0.6, "o3b": -0.6, "vs": -0.9}
    rest |= {"t1": 0.7, "t2": 0.0, "xa": -0.5, "xb": -0.5, "y": 1.1, "sd": -0.9, "sr": -0.9, "st": -0.2, "ct": 0.0}
    return TransistorCell("amplifier", "noise amplifier: I(u) = gm V(v)", ("v", "u"), parts, rest)


def _stage(
    n: str, gates: tuple[str, str], size: tuple[float, float, int], units: int, ohm: float, *, cascoded: bool = False
) -> tuple[Part, ...]:
    """Return a pair on one tail with two resistors as loads; cascodes keep its gain off the first gate's capacitance."""
    out = "d" if cascoded else "o"
    cascodes = (
        [Mos(f"{n}{k}c", "p", f"o{n}{k}", "vcn", f"d{n}{k}", 10, 1, bulk=f"d{n}{k}") for k in "ab"] if cascoded else []
    )
    return (
        *cascodes,
        Mos(f"t{n}", "p", f"t{n}", "pna", "vdd", 2, 4, units),
        Mos(f"{n}a", "p", f"{out}{n}a", gates[0], f"t{n}", *size, bulk=f"t{n}"),
        Mos(f"{n}b", "p", f"{out}{n}b", gates[1], f"t{n}", *size, bulk=f"t{n}"),
        Resistor(f"l{n}a", f"o{n}a", "vss", ohm),
        Resistor(f"l{n}b", f"o{n}b", "vss", ohm),
    )


def _degenerated(
    n: str,
    gates: tuple[str, str],
    size: tuple[float, float],
    units: int,
    ohm: float,
    line: str = "pna",
    out: tuple[str, str] | None = None,
) -> tuple[Part, ...]:
    """Return a pair with resistors ahead of its sources, on one tail: V/I is linear far beyond n U_T."""
    out = out or (f"o{n}a", f"o{n}b")
    return (
        Mos(f"t{n}", "p", f"t{n}", line, "vdd", 2, 4, units),
        Resistor(f"e{n}a", f"t{n}", f"s{n}a", ohm),
        Resistor(f"e{n}b", f"t{n}", f"s{n}b", ohm),
        Mos(f"{n}a", "p", out[0], gates[0], f"s{n}a", *size, bulk=f"s{n}a"),
        Mos(f"{n}b", "p", out[1], gates[1], f"s{n}b", *size, bulk=f"s{n}b"),
    )


def _branch(kind: str, name: str, gate: str, out: str) -> tuple[Mos, Mos]:
    """Return a mirror's branch: of long devices, whose errors are u's drift, and with a cascode that follows its rail."""
    inner, rail = f"k{name}", {"p": "vdd", "n": "vss"}[kind]
    device = Mos(name, kind, inner, gate, rail, *LONG[kind])
    return device, Mos(f"{name}c", kind, out, f"{kind}ac", inner, *CASCODE[kind])


def amplifier_bias(design: AmplifierDesign, celsius: float = 27.0) -> TransistorCell:
    """Return the first devices of the amplifier's tails, on ideal currents.

    Those of the stages rise with temperature (nine parts PTAT, one constant): so that the diffusion,
    k T_K (A_1 A_2)^2, does not depend on it.
    """
    hot = 0.1 + 0.9 * (celsius + 273.15) / 300.15
    parts = (
        Mos("dpna", "p", "pna", "pna", "vdd", 2, 4, 2),
        Current("ipna", "pna", "vss", 2 * UNIT * design.speed * hot),
        Mos("dpno", "p", "pno", "pno", "vdd", 2, 4, 2),
        Current("ipno", "pno", "vss", 2 * UNIT * design.size),
        Mos("dpac", "p", "pac", "pac", "vdd", 0.5, 20),
        Current("ipac", "pac", "vss", 2 * UNIT * design.size),
        Mos("dnac", "n", "nac", "nac", "vss", 0.5, 40),
        Current("inac", "vdd", "nac", 2 * UNIT * design.size),
        Mos("dpns", "p", "pns", "pns", "vdd", 20, 20),
        Current("ipns", "pns", "vss", 0.2e-9 * design.speed),
    )
    return TransistorCell(
        "amplifier_bias",
        "bias of noise amplifiers",
        (),
        parts,
        {"pna": 1.1, "pno": 1.1, "pac": 0.9, "nac": -0.2, "pns": 1.6},
    )


def rms_current(unit: float, corner: float, temperature: float = 1.0) -> float:
    r"""Return the rms of a noise current of corner b (in 1/tau) that moves u by 2T/tau: IE sqrt(T b)."""
    return unit * math.sqrt(temperature * corner)
