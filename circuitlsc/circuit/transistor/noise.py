r"""What a noise amplifier does: its gain, poles and compression, its offset, and the noise that moves u.

A neuron of drift unit I_e and time constant tau that forgets at rate a (1/tau) turns a current of one-sided density S(f)
into a variance, which is to be T/a:

.. math:: \frac{a}{T}\,\mathrm{var}(u) = \frac{a}{T}\int_0^\infty \frac{S(f)/I_e^2}{a^2 + (2\pi f\tau)^2}\,df
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PySpice.Spice.Netlist import Circuit
from scipy.optimize import least_squares

from circuitlsc.circuit.transistor.amplified import STAGES, AmplifierModel
from circuitlsc.circuit.transistor.cells.amplifier import AmplifierDesign, amplifier, amplifier_bias, rms_current
from circuitlsc.circuit.transistor.cells.bias import Currents
from circuitlsc.circuit.transistor.cells.real_bias import real_bias
from circuitlsc.circuit.transistor.kept import analysed
from circuitlsc.circuit.transistor.parts import (
    BELOW,
    CHOP_LOST,
    Chip,
    Placed,
    TransistorCell,
    definition_name,
    definitions,
    resting,
)
from circuitlsc.circuit.transistor.process import CELSIUS, include_lines, models
from circuitlsc.circuit.transistor.staircase import state_deck
from circuitlsc.errors import SimulationError
from circuitlsc.io.arrays import Array
from circuitlsc.model.piecewise_linear import Table
from circuitlsc.planning.scaling import BOLTZMANN

OPTIONS = ".options gmin=1e-15 abstol=1e-15 reltol=1e-6 vntol=1e-8 itl1=300 itl2=300 itl4=100 trtol=1000"
REACH = 8.0  # sd of the input up to which compression is measured
LEGS, POINTS = 24.0, 401  # of the ramp: its length in input time constants times 8, and how many points are read
ENDS = (-0.8, 0.0, 0.8)  # volt: u at which the offset is measured
CORNER, TUNED_AT = 500.0, 3.0  # 1/tau: of the noise resistor, and the rate at which the diffusion is right
MIDDLE = 0.02  # of the rate: where the gain is read
CURRENTS = Currents(0.4e-9, 0.2e-9, 12.04e-9, 2.5e-9)  # of the bias block beside a measured amplifier
TRIMMED, PROBE = "y2", 5e-3  # the device whose gate takes an amplifier's trim, and volts that tell what they do
ODD = range(1, 64, 2)  # harmonics of a chopper: all but 0.6 % of its power
BEHIND = re.compile(r"\.m(?:x[ab]2?|y2?)c?(\.1overf)?$")  # noise of an amplifier's transistors behind the chopper
KNOTS = 40  # of a model's compression table


@dataclass(frozen=True)
class Spectra:
    """One-sided densities of the current into u, A^2/Hz, over frequency, Hz; all arrays of shape (n,).

    Attributes
    ----------
    frequency : array
    resistor : array
        Of the noise resistor alone: what is wanted.
    own, flicker : array
        Of all other parts, and what of it is 1/f noise.
    chop : float
        Frequency of a square wave that the current is multiplied by on its way to u, hertz; 0: none.
    behind : Spectra or None
        Of the parts behind the chopper, which is in none of the others.
    """

    frequency: Array
    resistor: Array
    own: Array
    flicker: Array
    chop: float = 0.0
    behind: Spectra | None = None

    @property
    def total(self) -> Array:
        """Of everything, as without a chopper."""
        return self.resistor + self.own + (self.behind.total if self.behind else 0.0)

    def diffusion(self, rate: float, unit: float, tau: float, part: str = "") -> float:
        r"""Return the variance of a state that forgets at ``rate`` (1/tau) over 1/rate, from all noise or a part of it.

        A chopper brings what is at f to f - n f_c and f + n f_c, n = 1, 3, 5 .., with a power of 4/(pi n)^2 each.
        """
        rest = self.behind.diffusion(rate, unit, tau, part) if self.behind else 0.0
        f, s = self.frequency, getattr(self, part) if part else self.resistor + self.own

        def kernel(f: Array) -> Array:
            return np.asarray(rate / unit**2 / (rate**2 + (2 * np.pi * f * tau) ** 2))

        if not self.chop:
            return rest + float(np.trapezoid(kernel(f) * s * f, np.log(f)))
        near = np.geomspace(1e-5, 1, 100)
        sides = [self.chop * (n + sign * near) for n in ODD for sign in (-1, 1)]
        fine = np.unique(np.concatenate([f, *sides]).clip(f[0], f[-1]))
        s = np.exp(np.interp(np.log(fine), np.log(f), np.log(np.maximum(s, np.finfo(float).tiny))))
        folded = sum(4 / (np.pi * n) ** 2 * (kernel(fine - n * self.chop) + kernel(fine + n * self.chop)) for n in ODD)
        return rest + (1 - CHOP_LOST) * float(np.trapezoid(folded * s, fine))


@dataclass(frozen=True)
class MeasuredAmplifier:
    """What was measured of an amplifier; SI units.

    Attributes
    ----------
    design : AmplifierDesign
    celsius : float
    spectra : Spectra
    response : array, shape (n,)
        Current over the noise resistor's own voltage, siemens, complex, over ``spectra.frequency``.
    offsets : array, shape (3,)
        Current into u at rest, at u = -0.8, 0 and 0.8 V, without what the chopper takes off.
    ahead : float
        Current into u at rest that the chopper takes off.
    table : Table
        Current into u, without the offset, of the input voltage (far above the servo's corner, far below the poles).
    power, bias_power : float
        Of the amplifier, and of what makes its lines, once for all amplifiers, watt.
    gate_area : float
        Square micrometres.
    """

    design: AmplifierDesign
    celsius: float
    spectra: Spectra
    response: NDArray[np.complex128]
    offsets: Array
    ahead: float
    table: Table
    power: float
    bias_power: float
    gate_area: float

    @cached_property
    def fitted(self) -> tuple[float, float, float, float]:
        """Gain (S), low corner, pole of the input, and that of each of four equal stages (all 1/s), from ``response``."""
        w = 2 * np.pi * self.spectra.frequency
        middle = int(np.argmin(np.abs(np.log(w / (MIDDLE * self.design.rate)))))
        k = float(np.abs(self.response[middle]))
        below = np.maximum.accumulate(np.abs(self.response[: middle + 1]))
        low = float(np.exp(np.interp(np.log(k / np.sqrt(2)), np.log(below), np.log(w[: middle + 1]))))
        above, ratio = w[middle:], self.response[middle:] / self.response[middle]

        def missed(logs: Array) -> Array:
            first, others = np.exp(logs)
            shape = 1 / ((1 + 1j * above / first) * (1 + 1j * above / others) ** STAGES)
            left = (shape / shape[0] - ratio) * np.sqrt(above)  # what white noise would leave, on a grid of logarithms
            return np.concatenate([left.real, left.imag])

        found = least_squares(missed, np.log([self.design.rate, 4 * self.design.rate]), x_scale=0.1)
        first, others = np.exp(found.x)
        return k, low, float(first), float(others)

    @property
    def rms(self) -> float:
        """Of the current into u, ampere, above the servo's corner."""
        f = self.spectra.frequency
        kept = 2 * np.pi * f > 1e-3 * self.design.rate
        return float(np.sqrt(np.trapezoid(self.spectra.total[kept], f[kept])))

    def distortion(self, sigmas: float = 4.0) -> float:
        """Return how far the current is from gain times input at so many sd of the current, relative."""
        k, reach = self.fitted[0], sigmas * self.rms / self.fitted[0]
        both = np.array([-reach, reach])
        return float(np.max(np.abs(self.table(both) / (k * both) - 1)))

    def white_share(self) -> float:
        """Return the white noise of its own parts over the resistor's, in the middle of its band."""
        w = 2 * np.pi * self.spectra.frequency
        near = int(np.argmin(np.abs(np.log(w / (MIDDLE * self.design.rate)))))
        own = sum(part.own[near] - part.flicker[near] for part in (self.spectra, self.spectra.behind) if part)
        return float(own / self.spectra.resistor[near])

    @property
    def model(self) -> AmplifierModel:
        """Its NumPy and netlist form: the table with the slope of the measured gain, at as many points as it bends."""
        k, low, first, others = self.fitted
        knots = self.table.knots[:: (POINTS - 1) // KNOTS]
        values = self.table(knots)
        near = np.abs(knots) < 0.1 * knots[-1]
        table = Table(knots, values * k / float(np.polyfit(knots[near], values[near], 1)[0]) + self.ahead)
        kelvin = self.celsius + CELSIUS
        return AmplifierModel(
            self.design.r_n,
            self.design.c_n,
            first,
            others,
            low,
            table,
            float(self.offsets[1]),
            kelvin,
            self.white_share(),
            self.design.chop,
        )


def amplifier_deck(
    design: AmplifierDesign,
    beside: str,
    *,
    corner: str = "typical",
    celsius: float = 27.0,
    supply: float = 3.3,
    chip: Chip | None = None,
    options: str = OPTIONS,
    path: str = "amplifier_0",
    still: str = "through",
) -> str:
    """Return a deck of an amplifier, nodes v and u, with its bias and whatever lines drive and load it."""
    chip = chip or Chip()
    cell, bias, block = amplifier(design), amplifier_bias(design, still=still), real_bias(CURRENTS).scaled(design.area)
    placed: list[Placed] = [("bias", block, ()), ("amplifier_bias", bias, ()), (path, cell, ("v", "u"))]
    circuit = Circuit("noise amplifier")
    circuit.V("dd", "vdd", 0, supply - BELOW)
    circuit.V("ss", "vss", 0, -BELOW)
    for definition in definitions(placed, chip).values():
        circuit.subcircuit(definition)
    for name, each, pins in placed:
        # what each takes of the supply is measured
        own = {rail: f"{rail}_{name}" for rail in ("vdd", "vss")}
        circuit.X(name, definition_name(each, name, chip), *pins, *(own.get(line, line) for line in each.lines))
        for rail, node in own.items():
            circuit.V(node, rail, node, 0.0)
    sets = resting(placed) | block.rest | bias.rest | {"v": 0.0, "u": 0.0}
    rest = "\n".join(f".nodeset v({node})={volt!r}" for node, volt in sets.items())
    return "\n".join([str(circuit), beside, include_lines(corner, celsius, folder=models()), rest, options, ".end", ""])


def tuned(unit: float, tau: float, corner: float = CORNER) -> AmplifierDesign:
    """Return the design whose noise of all kinds moves a neuron by 2T/tau, as measured at 27 C, typical, and a rate of 3/tau.

    Parameters
    ----------
    unit : float
        Ampere per unit of drift.
    tau : float
        Seconds.
    corner : float
        Nominal pole of the noise resistor's node, in 1/tau.
    """
    design = AmplifierDesign(corner / tau, rms_current(unit, corner))
    for _ in range(3):
        found = amplifier_spectra(design).diffusion(TUNED_AT, unit, tau)
        design = replace(design, lift=float(f"{design.lift / found**0.5:.4g}"))
    return design


def amplifier_spectra(
    design: AmplifierDesign,
    *,
    corner: str = "typical",
    celsius: float = 27.0,
    supply: float = 3.3,
    chip: Chip | None = None,
    path: str = "amplifier_0",
) -> Spectra:
    """Return the densities of an amplifier's noise at a corner."""
    deck, grid = _held(design, corner=corner, celsius=celsius, supply=supply, chip=chip, path=path)
    found = analysed(deck, f"noise v(out) vn {grid} 1")
    return spectra(found, f"r.x{path}.rn", chop=design.chop)


def _held(design: AmplifierDesign, **where: Any) -> tuple[str, str]:
    """Return the deck of an amplifier into a fixed u, and the frequencies of a small-signal analysis."""
    held = f"Cn v plate {design.c_n!r}\nVn plate 0 0 ac 1\nVu u 0 0\nHo out 0 vu 1"
    return amplifier_deck(design, held, **where), f"dec 10 {1e-8 * design.rate:.6g} {20 * design.rate:.6g}"


def measure_amplifier(
    design: AmplifierDesign,
    *,
    corner: str = "typical",
    celsius: float = 27.0,
    supply: float = 3.3,
    chip: Chip | None = None,
    path: str = "amplifier_0",
) -> MeasuredAmplifier:
    """Return what an amplifier does at a corner: two small-signal analyses, and one transient of a ramp of its input.

    Raises
    ------
    SimulationError
        If ngspice found no operating point, or did not reach the end of the ramp.
    """
    where: dict[str, Any] = {"corner": corner, "celsius": celsius, "supply": supply, "chip": chip, "path": path}
    deck, grid = _held(design, **where)
    found = amplifier_spectra(design, **where)
    response = np.asarray(analysed(deck, f"ac {grid}", complex_values=True)["vu#branch"], dtype=complex)
    response = response / (2j * np.pi * found.frequency * design.r_n * design.c_n)
    reach = REACH * (BOLTZMANN * (celsius + CELSIUS) / 1e-12) ** 0.5
    offsets, table = _ramp(design, reach, where)
    at_rest, powers = _at_rest(design, where)
    other, _ = _at_rest(design, where | {"still": "crossed"})
    ahead = (at_rest - other) / 2
    area = amplifier(design).gate_area
    return MeasuredAmplifier(design, celsius, found, response, offsets - ahead, ahead, table, *powers, area)


def _at_rest(design: AmplifierDesign, where: Mapping[str, Any]) -> tuple[float, tuple[float, float]]:
    """Return the current into u at rest, and what an amplifier and its bias take from the supply, watt."""
    path = where["path"]
    found = analysed(_held(design, **where)[0], "op")
    rails = {"vdd": where["supply"] - BELOW, "vss": -BELOW}
    amplifiers, bias = (
        sum(volt * float(found[f"v{rail}_{name}#branch"][0]) for rail, volt in rails.items())
        for name in (path, "amplifier_bias")
    )
    if not np.isfinite(current := float(found["vu#branch"][0])):
        raise SimulationError("ngspice found no operating point of a noise amplifier.", 0)
    return current, (amplifiers, bias)


def offset_trim(design: AmplifierDesign, chip: Chip, path: str, **where: Any) -> float:
    """Return the volts by which the threshold of an amplifier's last mirror is to be raised, so that its offset is 0.

    Two operating points, each with the chopper both ways, and a straight line through them.
    """
    device, moved = f"{path}.{TRIMMED}", []
    for volt in (0.0, PROBE):
        changed = replace(chip, trims={**chip.trims, device: volt})
        given = {**where, "chip": changed, "path": path}
        moved.append(sum(_at_rest(design, given | {"still": way})[0] for way in ("through", "crossed")))
    return PROBE * moved[0] / (moved[0] - moved[1])


def spectra(found: Mapping[str, Array], wanted: str = "", *, chop: float = 0.0) -> Spectra:
    """Return the densities of a noise analysis, of which one part's is the wanted one, and those behind a chopper apart."""
    f, total = found["frequency"], found["onoise_spectrum"] ** 2
    none = np.zeros(len(f))

    def power(names: Iterable[str]) -> Array:
        return np.asarray(sum((found[name] ** 2 for name in names), none))

    flickers = [k for k in found if k.endswith((".1overf", "_1overf"))]
    resistor = power([f"onoise_{wanted}"] if wanted else [])
    if not chop:
        return Spectra(f, resistor, np.maximum(total - resistor, 0.0), power(flickers))
    late = {k: match[1] for k in found if (match := BEHIND.search(k))}
    behind = Spectra(
        f, none, power(k for k, part in late.items() if not part), power(k for k, part in late.items() if part)
    )
    own = np.maximum(total - resistor - behind.own, 0.0)
    return Spectra(f, resistor, own, power(k for k in flickers if k not in late), chop, behind)


def _ramp(design: AmplifierDesign, reach: float, where: Mapping[str, Any]) -> tuple[Array, Table]:
    """Return offsets and table from a ramp 0, reach, -reach, 0 of the input, and steps of u behind it."""
    leg = 4 * LEGS / design.rate
    ends = [(0, 0), (leg, 0), (1.2 * leg, ENDS[0]), (3 * leg, ENDS[0]), (3.4 * leg, ENDS[2]), (5 * leg, ENDS[2])]
    u = [*ends, (5.2 * leg, 0), (12 * leg, 0)]
    v = [(0, 0), (7 * leg, 0), (8 * leg, reach), (10 * leg, -reach), (12 * leg, reach)]
    sources = "\n".join(f"V{name} {name} 0 {_pwl(points)}" for name, points in (("v", v), ("u", u)))
    deck = amplifier_deck(design, f"{sources}\n.save i(vu)", **where)
    step = leg / 50
    found = analysed(deck, f"tran {step:.6g} {12 * leg:.6g} 0 {step:.6g}")
    t, current = found["time"], found["vu#branch"]
    if not len(t) or t[-1] < 11.99 * leg or not np.isfinite(current).all():
        raise SimulationError(f"ngspice stopped at {t[-1] if len(t) else 0:.3g} s of a noise amplifier's ramp.", 0)
    at_rest, low, high = np.interp([0.9 * leg, 2.9 * leg, 4.9 * leg], t, current)
    grid = np.linspace(-reach, reach, POINTS)
    # the lag of one way is that of the other, with the opposite sign
    down, up = (np.interp(middle * leg + sign * grid / reach * leg, t, current) for middle, sign in ((9, -1), (11, 1)))
    values = (down + up) / 2
    return np.array([low, at_rest, high]), Table(grid, values - np.interp(0.0, grid, values))


def _pwl(points: Sequence[tuple[float, float]]) -> str:
    return "PWL(" + " ".join(f"{t:.9g} {v:.9g}" for t, v in points) + ")"


def neuron_spectra(
    bias: TransistorCell,
    threshold: TransistorCell,
    gate: TransistorCell,
    u: float,
    e: float,
    *,
    frequencies: tuple[float, float] = (1e-2, 1e6),
    corner: str = "typical",
    celsius: float = 27.0,
    supply: float = 3.3,
) -> Spectra:
    """Return what the transistors of a neuron add to the current into u, held at a state: u in volt, e in ampere.

    Raises
    ------
    SimulationError
        If ngspice found no operating point.
    """
    low, high = frequencies
    deck = state_deck(bias, threshold, gate, u, e, corner=corner, celsius=celsius, supply=supply)
    heard = "Ho out 0 vu_0 1\nVprobe probe 0 0 ac 1\nRprobe probe 0 1\n.end\n"
    return spectra(analysed(deck.removesuffix(".end") + heard, f"noise v(out) vprobe dec 10 {low:g} {high:g} 1"))
