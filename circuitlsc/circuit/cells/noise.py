r"""Thermal-noise source: :math:`\sqrt{2 T \tau}\,dW` on each neuron, as ngspice can realise it.

``external``: a Brownian voltage in series with the integrating capacitor, whose values come from outside, one per step
(seeded, exact at every step, one time point per sample). ``trrandom``: a held Gaussian current, for decks that run in
plain ngspice (seeded by ``.option seed``; about five time points per sample, variance of a mode of rate a short by
(a h)^2/12). All of a deck's are current sources: next to a ``trrandom`` voltage source those of ngspice 44 draw a few numbers
and then stay. ``trnoise`` is refused: ngspice seeds it from the process id.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from PySpice.Spice.Netlist import Netlist, SubCircuit

from circuitlsc.circuit.cells.base import Cell, State, Wires, described, number
from circuitlsc.errors import InputError
from circuitlsc.io.arrays import Array
from circuitlsc.nonideal.hardware import Hardware
from circuitlsc.planning.scaling import BOLTZMANN, ROOM, Scaling

NOISE_FORMS = ("external", "trrandom")


@dataclass(frozen=True, eq=False)
class Noise(Cell):
    """Independent white noise on each neuron.

    Parameters
    ----------
    temperature : float
        T in exp(-E/T).
    form : str
        ``"external"`` or ``"trrandom"``.
    strength : float
        Amplitude of the noise current over that of the overdamped circuit: sqrt(friction).
    capacitor : float
        The integrators' capacitor, relative to C_int.
    """

    temperature: float
    form: str = "external"
    strength: float = field(default=1.0, kw_only=True)
    capacitor: float = field(default=1.0, kw_only=True)

    definition = "lsc_noise"

    def __post_init__(self) -> None:
        if not np.isfinite(self.temperature) or self.temperature <= 0:
            raise InputError(f"temperature = {self.temperature!r}, but it must be a finite number > 0.")
        if self.form == "trnoise":
            raise InputError(
                "noise = 'trnoise' is refused: ngspice seeds it from the process id, so that no run can be repeated. "
                "Use 'trrandom' (stand-alone decks) or 'external'."
            )
        if self.form not in NOISE_FORMS:
            raise InputError(f"noise = {self.form!r} is not one of {', '.join(NOISE_FORMS)}.")

    def respond(self, inputs: Mapping[str, Array]) -> tuple[Array, dict[str, Array]]:
        """Return the mean, 0; there is no input."""
        return np.zeros(self.size), {}

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the streams of random numbers, one per neuron; they do not depend on the other neurons."""
        return self.elements

    def devices(self) -> tuple[str, ...]:
        """Names of the voltage sources as ngspice flattens them."""
        return tuple(f"v.x{source}.vn".lower() for source in self.sources)

    def units(self, scaling: Scaling) -> tuple[float, ...]:
        """Return the volts of each source per model unit of its path."""
        return (float(scaling.volt * self.strength / self.capacitor),) * len(self.sources)

    @property
    def mix(self) -> Array:
        """What each source's path adds to each neuron, as white noise, shape (n_sources, size)."""
        return np.eye(self.size) * (self.strength / self.capacitor)

    def shaped(self, increments: Array, scaling: Scaling, step: float, chunk: int) -> Array:
        """Return increments (n, n_sources) of white noise, of ``step`` tau, that would move the neurons as this does."""
        return increments

    def subcircuits(self, scaling: Scaling) -> tuple[SubCircuit, ...]:
        """Return ``lsc_noise n u``: a source at the capacitor's lower plate n, or a current into u."""
        text = "thermal noise: " + (
            "a Brownian voltage at n, in series with the capacitor"
            if self.form == "external"
            else "i_rms, held for t_hold, into u"
        )
        cell = self.defined(text, "n", "u")
        if self.form == "external":
            cell.V("n", "n", 0, "external")
        else:
            cell.V("n", "n", 0, 0.0)
            rms = "i_rms" if self.strength == 1 else f"i_rms*{number(self.strength)!r}"
            cell.I("n", 0, "u", f"trrandom(2 {{t_hold}} 0 {{{rms}}} 0)")
        return (cell,)

    def pins(self, wires: Wires) -> tuple[tuple[str, ...], ...]:
        """Return the capacitors' lower plates, and the neurons."""
        return wires.output, wires.target


def noise_power(hardware: Hardware, elements: tuple[str, ...]) -> Array:
    """Return the noise power of sources over the design's: temperature, its mismatch, and the resistor's corner; (n,)."""
    parts = hardware.parts
    hot = hardware.noise_kelvin / ROOM * parts.corner.resistance
    return hot * parts.factors(elements, "temperature", parts.noise.temperature_mismatch)


FLICKER_DECADES = (1, 0, -1, -2, -3, -4)  # powers of ten of the sections' rates, in 1/tau
C_SECTION = 1e-12  # farad
SUPPLY = "noise_supply"  # the node and the source that all share


@dataclass(frozen=True, eq=False)
class ThermalNoise(Noise):
    r"""Thermal noise of a resistor R_n with its capacitance C_n, lifted into the neuron by a transconductor g_m.

    .. math:: \mathrm{var} = \frac{k T_K}{C_n}, \quad f_c = \frac{1}{2\pi R_n C_n}, \quad
              g_m = C_{int}\, volt\, \sqrt{\frac{T}{k\, 300\,\mathrm{K}\, R_n\, \tau}}

    C_n = 0 is white noise: a Brownian voltage in series with the neuron's capacitor, as at the ideal level. Offset and 1/f
    noise are the amplifier's, referred to R_n; an AC coupling follows them. 1/f noise is a sum of six first-order
    sections a decade apart, from 1e-4/tau to 10/tau. A resistor makes no noise in ngspice's transient: each R-C section
    gets a Brownian voltage in series with its capacitor, which the trapezoid integrates exactly.

    *What it does to the posterior.* At temperature (1 + eps) 300 K the samples are those of exp(-E/(1 + eps)): a statistic
    moves by eps Cov(statistic, E). A corner of b (in 1/tau) scales the variance of a linear mode of rate a by b/(a + b).
    A DC-coupled offset v_i adds the drift g_m v_i: the energy gains -o_i u_i.

    Parameters
    ----------
    hardware : Hardware
    capacitors : array, shape (size,)
        The neurons' capacitors over their nominal value: noise is a current.
    """

    hardware: Hardware = field(kw_only=True)
    capacitors: Array = field(kw_only=True)

    #: the pin of a capacitor's lower plate, if there are capacitors in series
    plates: ClassVar[tuple[str, ...]] = ("n",)

    @property
    def gain(self) -> float:
        """g_m, siemens."""
        return self.hardware.noise_gain(self.temperature) * self.strength

    @property
    def drawn(self) -> tuple[str, ...]:
        """Names under which the sources' errors are drawn."""
        return self.elements

    @property
    def power(self) -> Array:
        """Each source's noise power over the design's, shape (size,)."""
        return noise_power(self.hardware, self.drawn)

    @property
    def offsets(self) -> Array:
        """The amplifiers' offsets, volt, shape (size,)."""
        parts = self.hardware.parts
        return parts.normals(self.drawn, "offset", parts.noise.offset)

    @property
    def drift_offset(self) -> Array:
        """The drift that the offsets make, in units per tau, shape (size,); 0 behind an AC coupling."""
        if self.hardware.parts.noise.ac_corner > 0:
            return np.zeros(self.size)
        return self.gain * self.offsets / self.hardware.scaling.drift_current

    @property
    def corner_rate(self) -> float:
        """The noise's bandwidth b = tau/(R_n C_n), in 1/tau; inf if white."""
        part, hardware = self.hardware.parts.noise, self.hardware
        c = hardware.farad(part.capacitance)
        return self.hardware.scaling.tau / (hardware.ohm(part.resistance) * c) if c > 0 else float("inf")

    @property
    def _sections(self) -> tuple[tuple[float, float], ...]:
        """Rate (1/s) and variance (V^2) of each section of the 1/f noise; none without a corner."""
        part = self.hardware.parts.noise
        if part.flicker_corner == 0:
            return ()
        thermal = 4 * BOLTZMANN * self.hardware.noise_kelvin * self.hardware.ohm(part.resistance)
        variance = float(np.log(10.0)) * thermal * part.flicker_corner
        return tuple((10.0**k / self.hardware.scaling.tau, variance) for k in FLICKER_DECADES)

    @property
    def coupling_rate(self) -> float:
        """Corner of the AC coupling, 1/s; 0 without one."""
        corner = self.hardware.parts.corner
        return 2 * np.pi * self.hardware.parts.noise.ac_corner / (corner.resistance * corner.capacitance)

    def flicker_variance(self, rate: float) -> float:
        r"""Return what the 1/f noise adds to the variance of a state that forgets at ``rate`` (1/tau), in model units.

        .. math:: \sum_w \frac{D_w^2\,w}{(a + f)(a + w)(f + w)}

        with D the drift of a section's standard deviation, w its rate, and f the AC coupling's corner, all in 1/tau.
        """
        scaling = self.hardware.scaling
        f = self.coupling_rate * scaling.tau
        drifts = [
            (w * scaling.tau, variance * (self.gain / scaling.drift_current) ** 2) for w, variance in self._sections
        ]
        return float(sum(power * w / ((rate + f) * (rate + w) * (f + w)) for w, power in drifts))

    @property
    def taken(self) -> tuple[str, ...]:
        """The supply's node, if it makes noise."""
        return (SUPPLY,) if self.hardware.parts.noise.supply_correlation > 0 else ()

    @property
    def sources(self) -> tuple[str, ...]:
        """Streams: one per neuron, its sections of 1/f noise, and one for the supply."""
        flicker = (f"{name}.flicker_{k}" for name in self.elements for k in range(len(self._sections)))
        return (*self.elements, *flicker, *self.taken)

    def devices(self) -> tuple[str, ...]:
        """Names of the voltage sources as ngspice flattens them."""
        inner = (name.replace(".flicker_", ".vf") if "." in name else f"{name}.vn" for name in self.sources)
        return tuple(f"v.x{name}".lower() for name in inner)

    def units(self, scaling: Scaling) -> tuple[float, ...]:
        """Return the volts of each source per model unit of its path."""
        own = self._unit(scaling) * np.sqrt(1 - self.hardware.parts.noise.supply_correlation)
        flicker = [np.sqrt(v * w * scaling.tau / self.temperature) for _ in range(self.size) for w, v in self._sections]
        return tuple(float(v) for v in (*own, *flicker, *(scaling.volt for _ in self.taken)))

    def respond(self, inputs: Mapping[str, Array]) -> tuple[Array, dict[str, Array]]:
        """Return the mean: the drift that the offsets make."""
        return self.drift_offset, {}

    def _unit(self, scaling: Scaling) -> Array:
        """Volts in series with the neuron's capacitor (white) or with C_n, per model unit of the path; (size,)."""
        part, hardware = self.hardware.parts.noise, self.hardware
        if part.capacitance == 0:
            return np.asarray(scaling.volt * self.strength * np.sqrt(self.power) / self.capacitors)
        kelvin = ROOM * self.power / hardware.parts.corner.resistance
        r, c = hardware.ohm(part.resistance), hardware.farad(part.capacitance)
        return np.asarray(np.sqrt(BOLTZMANN * kelvin * scaling.tau / (r * self.temperature)) / c)

    @property
    def mix(self) -> Array:
        """What each source's path adds to each neuron, as white noise, shape (n_sources, size)."""
        rho = self.hardware.parts.noise.supply_correlation
        size = self.strength * np.sqrt(self.power) / self.capacitors
        mix = np.zeros((len(self.sources), self.size))
        mix[: self.size] = np.diag(size * np.sqrt(1 - rho))
        if self.taken:
            mix[-1] = size * np.sqrt(rho)
        return mix

    def subcircuits(self, scaling: Scaling) -> tuple[SubCircuit, ...]:
        """Return ``lsc_noise n u``, and what the supply adds to all."""
        part = self.hardware.parts.noise
        external, white = self.form == "external", part.capacitance == 0
        noisy = f"thermal noise of {part.resistance:g} ohm and {part.capacitance:g} F"
        pins = (*self.plates, "u", *("sup" for _ in self.taken))
        defaults = dict.fromkeys(("k_own", "k_sup", "v_os", "k_lag"), 0.0)
        cell = self.defined(f"{noisy}, lifted into u by {self.gain:.6g} S", *pins, **defaults)
        foot = "m" if self.taken else 0
        held = number(np.sqrt(2 * BOLTZMANN * ROOM / part.resistance))  # ampere, times sqrt(power/t_hold)
        heard = [f"f{k}" for k in range(len(self._sections))]  # nodes that the transconductor turns into a current
        if not white:
            self._grounded(cell, "ground" if external else "n")
            r, c = self.hardware.ohm(part.resistance), self.hardware.farad(part.capacitance)
            self._section(cell, "n", ("v", "b", foot), r, c, f"{held!r}*k_own")
            heard.insert(0, "v")
        elif external:
            if self.plates:
                cell.V("n", "n", foot, "external")
        else:
            self._grounded(cell, "n")
            cell.I("w", 0, "w", "trrandom(2 {t_hold} 0 {i_rms*k_own} 0)")
            cell.R("w", "w", 0, 1.0)  # one volt stands for one ampere
            cell.VCCS("w", 0, "u", "w", 0, 1.0)
        if self.taken and external:
            cell.VCVS("m", "m", 0, "sup", 0, "{k_sup}")
        elif self.taken:
            per_volt = "{i_rms*k_sup}" if white else f"{{{held!r}*k_sup/sqrt(t_hold)}}"
            cell.VCCS("s", 0, "u" if white else "v", "sup", 0, per_volt)
        for k, (rate, variance) in enumerate(self._sections):
            amperes = number(C_SECTION * np.sqrt(2 * variance * rate))
            self._section(cell, f"f{k}", (f"f{k}", f"bf{k}", 0), 1 / (rate * C_SECTION), C_SECTION, repr(amperes))
        for node in heard:
            cell.VCCS(f"m{node}", 0, "u", node, 0, number(self.gain))
        if part.offset > 0:
            cell.I("os", 0, "u", f"{{{number(self.gain)!r}*v_os}}")
        lag = self.coupling_rate
        if lag > 0:
            # a series capacitor lets pass what a low-pass does not: its voltage y is taken off again
            unit = number(lag * C_SECTION)
            cell.R("y", "y", 0, number(1 / unit))
            cell.C("y", "y", "z", C_SECTION, initial_condition="{v_os}")
            for node in heard:
                cell.VCCS(f"y{node}", 0, "y", node, 0, unit)
            if part.offset > 0:
                cell.I("osy", 0, "y", f"{{{unit!r}*v_os}}")
            if white and external:
                cell.VCVS("z", "z", 0, "n", 0, f"{{{number(lag / self.gain)!r}*k_lag}}")
            else:
                cell.V("z", "z", 0, 0.0)
                if white:
                    cell.VCCS("yw", 0, "y", "w", 0, number(unit / self.gain))
            cell.VCCS("my", "u", 0, "y", 0, number(self.gain))
        if not self.taken:
            return (cell,)
        common = described(SubCircuit("lsc_noise_supply", "sup"), "noise that all neurons share through their supply")
        if external:
            common.V("n", "sup", 0, "external")
        else:
            common.I("n", 0, "sup", "trrandom(2 {t_hold} 0 1.0 0)")
            common.R("n", "sup", 0, 1.0)
        return (cell, common)

    def _grounded(self, cell: SubCircuit, name: str) -> None:
        """Tie the neuron's lower plate to ground, if it has one."""
        if self.plates:
            cell.V(name, "n", 0, 0.0)

    def _section(
        self, cell: SubCircuit, name: str, nodes: tuple[str, str, str | int], r: float, c: float, held: str
    ) -> None:
        """Add a resistor and a capacitor with their noise: in series with the capacitor, or held ampere times sqrt(s)."""
        node, plate, foot = nodes
        cell.R(name, node, 0, number(r))
        cell.C(name, node, plate if self.form == "external" else 0, number(c), initial_condition=0.0)
        if self.form == "external":
            cell.V(name, plate, foot, "external")
        else:
            cell.I(name, 0, node, f"trrandom(2 {{t_hold}} 0 {{{held}/sqrt(t_hold)}} 0)")

    def pins(self, wires: Wires) -> tuple[tuple[str, ...], ...]:
        """Return the capacitors' lower plates, the neurons, and the supply if it makes noise."""
        return (*super().pins(wires), *((SUPPLY,) for _ in self.taken))

    def parameters(self, scaling: Scaling) -> Mapping[str, Array]:
        """Return how much of the noise each source makes by itself and shares, its offset, and its neuron's capacitor."""
        rho, part = self.hardware.parts.noise.supply_correlation, self.hardware.parts.noise
        if self.form == "external":
            own, common = np.ones(self.size), self._unit(scaling) * np.sqrt(rho) / scaling.volt
        else:
            # a held current: of R_n itself (its density falls with the corner's resistance), or of the lifted white noise
            colour = 1 / self.hardware.parts.corner.resistance if part.capacitance > 0 else self.strength
            size = np.sqrt(self.power) * colour
            own, common = size * np.sqrt(1 - rho), size * np.sqrt(rho)
        return {"k_own": own, "k_sup": common, "v_os": self.offsets, "k_lag": scaling.c_int * self.capacitors}

    def emit(self, netlist: Netlist, wires: Wires, scaling: Scaling) -> None:
        """Add one source per neuron, and the supply's."""
        super().emit(netlist, wires, scaling)
        if self.taken:
            netlist.X(SUPPLY, "lsc_noise_supply", SUPPLY)

    def states(self, scaling: Scaling) -> tuple[State, ...]:
        """Return the capacitors of R_n, of the sections, and of the AC coupling (which starts charged to the offset)."""
        part = self.hardware.parts.noise
        out = []
        for i in range(self.size):
            path = f"x{self.name}_{i}".lower()
            if part.capacitance > 0:
                out.append(State(f"c.{path}.cn", f"{path}.v"))
            out += [State(f"c.{path}.cf{k}", f"{path}.f{k}") for k in range(len(self._sections))]
            if part.ac_corner > 0:
                out.append(State(f"c.{path}.cy", f"{path}.y", float(self.offsets[i])))
        return tuple(out)
