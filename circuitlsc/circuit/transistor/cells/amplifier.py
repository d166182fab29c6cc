r"""Noise amplifier: the thermal voltage of a resistor, lifted into a current by three gain stages and a transconductor.

.. math:: I = g_m\,v, \qquad g_m = A_1 A_2 A_3\,g_o, \qquad S_I = 2 k T_K R_n\,g_m^2

Stages are p-channel pairs with resistors as loads, one behind the other without capacitors. The common mode of one is the
input level of the next. A servo of picoamperes compares the last stage's outputs, and moves the loads of the first, so that no
stage's offset grows. A chopper between the transconductor and its mirrors changes the sign of the current at a few times 1/tau:
the sign of noise does not matter, and what is slower than that (offsets, 1/f noise, and what the servo takes away) is not slow
any more behind it. What is left is the offset of the mirrors.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from circuitlsc.circuit.transistor.cells.bias import REFERENCE, UNITS, unit
from circuitlsc.circuit.transistor.cells.mirror import CASCODE
from circuitlsc.circuit.transistor.cells.real_bias import ABOUT, ratio
from circuitlsc.circuit.transistor.parts import BELOW, Capacitor, Clock, Mos, Part, Resistor, TransistorCell

TOTAL = 0.83e-12  # farad: nominal, of the noise resistor's node (0.98 pF as measured, mostly the first gate's)
UNIT = 50e-9  # ampere at 27 C: of one unit of a tail, at 1e6/s
CHOPPED = 0.01  # the chopper's frequency over the rate: 5/tau at a rate of 500/tau
SERVO = 40e-12  # ampere of the servo's line, whatever the rate
WIDLAR, FED = 80, 6.0  # devices of the one with a resistor over the other's; the other's current over what is made
THERMAL, TRUE = 0.025865, 1.15  # volt at 27 C, and what the resistor is more than by the equation
HIGH = 2.05  # volt: of the clock, vdd at 3.3 V

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
    area : float
        A factor on the area of the bias block's units, and so of their copies here. The amplifier's own devices are as large as
        its noise asks for, whatever the area of others.
    """

    rate: float = 5e5
    rms: float = 56e-9
    c_n: float = 0.2e-12
    lift: float = 1.0
    area: float = 1.0

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
        """The transconductor's current over that for 70 nA."""
        return self.rms / 70e-9

    @property
    def chop(self) -> float:
        """Frequency of the chopper, hertz."""
        return CHOPPED * self.rate

    @property
    def units(self) -> int:
        """Units of the reference (10 nA) that the transconductor's line carries."""
        return math.ceil(2 * UNIT * self.size / REFERENCE * UNITS - 0.1)

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
        Mos("sc", "n", "sd", "sd", "vr1", 0.5, 50),
        Mos("sd", "n", "vs", "sd", "vr1", 0.5, 50),
        Mos("sr", "p", "sr", "pns", "vdd", 0.3, 20),
        Mos("se", "n", "sr", "sr", "vr1", 0.5, 50, 2),
        Capacitor("s", "vs", "0", 10e-12),
        Capacitor("r", "sr", "0", 10e-12),
        Mos("ct", "p", "ct", "pna", "vdd", 2, 4, 2),
        Mos("ca", "p", "o1a", "vs", "ct", 0.5, 40, bulk="ct"),
        Mos("cb", "p", "o1b", "sr", "ct", 0.5, 40, bulk="ct"),
        # transconductor
        *_degenerated("4", ("o3a", "o3b"), (20, 4), 12, design.slope_ohm, "pno", ("db", "da")),
        *(
            Mos(f"c{at[1]}{side}", "n", f"x{side}", gate, at, 2, 0.5)
            for at, sides in (("da", "ab"), ("db", "ba"))
            for side, gate in zip(sides, ("chop", "nchop"), strict=True)
        ),
        *_branch("n", "xa", "xa", "xa"),
        *_branch("n", "xa2", "xa", "u"),
        *_branch("n", "xb", "xb", "xb"),
        *_branch("n", "xb2", "xb", "y"),
        *_branch("p", "y", "y", "y"),
        *_branch("p", "y2", "y", "u"),
    )
    rest = {"v": 0.0, "o1a": -0.7, "o1b": -0.7, "o2a": -0.7, "o2b": -0.7, "o3a": -0.6, "o3b": -0.6, "vs": -0.5}
    rest |= {"t1": 0.7, "t2": 0.0, "xa": -0.4, "xb": -0.4, "da": -0.4, "db": -0.4, "y": 1.0}
    rest |= {"sd": -0.5, "sr": -0.5, "st": -0.2, "ct": 0.4}
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


def amplifier_bias(design: AmplifierDesign, *, still: str = "") -> TransistorCell:
    r"""Return what makes the amplifiers' lines, of the bias block's reference (``nr``), and the chopper's clock, from outside.

    The stages' current rises nearly in proportion to temperature, so that the diffusion, k T_K (A_1 A_2)^2, does not depend
    on it: of two devices on one gate, the wider one stands on a resistor,

    .. math:: I = \frac{U_T}{R} \ln \frac{80\,I_{fed}}{I}, \qquad I_{fed} \approx 6\,I

    Parameters
    ----------
    design : AmplifierDesign
    still : str
        ``"through"`` or ``"crossed"``: a chopper that stands still, for what is measured of each way; else it runs.
    """
    hertz, crossed = 0.0 if still else design.chop, still == "crossed"
    wanted = 2 * UNIT * design.speed
    fed = max(1, round(FED * wanted / REFERENCE * UNITS))
    ohm = TRUE * THERMAL / wanted * math.log(WIDLAR * fed * REFERENCE / UNITS / wanted)
    servo = ratio(SERVO / REFERENCE, ABOUT)
    copies = (
        unit("n", "q", "nr", "pq", UNITS),
        unit("p", "dq", "pq", "pq", UNITS),
        unit("n", "no", "nr", "pno", design.units),
        unit("n", "ac", "nr", "pac", design.units),
        unit("p", "nac", "pq", "nac", design.units),
        unit("p", "w", "pq", "nw", fed),
        *(
            unit(kind, f"s{k}", gate, out, units)
            for k, (kind, gate, out, units) in enumerate(
                [
                    ("n", "nr", "sp", servo.copies[0]),
                    ("p", "sp", "sp", servo.lines[0]),
                    ("p", "sp", "sn", servo.copies[1]),
                    ("n", "sn", "sn", servo.lines[1]),
                    ("n", "sn", "pns", servo.copies[2]),
                ]
            )
        ),
    )
    parts = (
        *TransistorCell("copies", "copies", (), copies).scaled(design.area).parts,
        Mos("dnw", "n", "nw", "nw", "vss", 4, 2),
        Mos("nw", "n", "pna", "nw", "sw", 4, 2, WIDLAR),
        Resistor("w", "sw", "vss", ohm),
        Mos("dpna", "p", "pna", "pna", "vdd", 2, 4, 2),
        Mos("dpno", "p", "pno", "pno", "vdd", 2, 4, 2),
        Mos("dpac", "p", "pac", "pac", "vdd", 0.5, 20),
        Mos("dnac", "n", "nac", "nac", "vss", 0.5, 40),
        Mos("dpns", "p", "pns", "pns", "vdd", 20, 20),
        Clock("chop", "chop", "0", -BELOW, HIGH, hertz, crossed),
        Clock("nchop", "nchop", "0", -BELOW, HIGH, hertz, not crossed),
    )
    rest = {"pna": 1.1, "pno": 1.1, "pac": 0.9, "nac": -0.2, "pns": 1.6, "pq": 1.3, "nw": -0.6, "sw": -1.12}
    return TransistorCell("amplifier_bias", "bias of noise amplifiers", (), parts, rest | {"sp": 1.4, "sn": -0.9})


def rms_current(unit: float, corner: float, temperature: float = 1.0) -> float:
    r"""Return the rms of a noise current of corner b (in 1/tau) that moves u by 2T/tau: IE sqrt(T b)."""
    return unit * math.sqrt(temperature * corner)
