r"""A noise amplifier as it was measured: NumPy and netlist form of a resistor's noise, lifted into a neuron.

.. math:: \dot v = -b\,v + \frac{C_n}{C_v}\,\dot w, \quad \dot a_k = p\,(a_{k-1} - a_k), \quad \dot z = f\,(a_4 - z),
          \quad I = I_{os} + m(t)\,h(a_4 - z)

with a_0 = v, w the Brownian voltage in series with C_n, b the node's pole, p that of four equal stages, f the servo's
corner, h the compression table, whose slope at 0 is the gain, and m the chopper's square wave of -1 and 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from PySpice.Spice.Netlist import Netlist, SubCircuit

from circuitlsc.circuit.cells.base import State, Wires, described, number
from circuitlsc.circuit.cells.noise import Noise
from circuitlsc.circuit.transistor.parts import chopped, chopping
from circuitlsc.errors import InputError
from circuitlsc.io.arrays import Array
from circuitlsc.model.piecewise_linear import Table
from circuitlsc.planning.scaling import BOLTZMANN, Scaling

STAGES = 4
C_STAGE = 1e-12  # farad: of the sections in a netlist


@dataclass(frozen=True, eq=False)
class AmplifierModel:
    """What a noise amplifier does; SI units.

    Parameters
    ----------
    r_n, c_n : float
        The noise resistor, and the capacitor in series with which its noise enters.
    pole : float
        Of the input's node, 1/s: 1/(r_n times all capacitance of the node).
    stages : float
        Pole of each of four stages, 1/s.
    low : float
        Corner below which the servo takes the current away, 1/s; the chopper brings that to its own frequency.
    table : Table
        Ampere of volt.
    offset : float
        Ampere, behind the chopper.
    kelvin : float
        Of the resistor.
    own : float
        White noise of the amplifier's own parts over the resistor's.
    chop : float
        The chopper's frequency, hertz; 0 is none.
    """

    r_n: float
    c_n: float
    pole: float
    stages: float
    low: float
    table: Table
    offset: float
    kelvin: float
    own: float
    chop: float = 0.0

    @property
    def gain(self) -> float:
        """Siemens: the slope of the table at 0."""
        return float(self.table.slope(np.array(0.0)))

    @property
    def density(self) -> float:
        """Volt per root second of the Brownian voltage in series with ``c_n``: all white noise as if it were the resistor's."""
        return float(np.sqrt(2 * BOLTZMANN * self.kelvin * (1 + self.own) / self.r_n)) / self.c_n

    @property
    def rms(self) -> float:
        """Of the current, ampere, without compression and servo."""
        a, b = self._linear
        # covariance of a linear system driven by white noise: A P + P A' + B B' = 0, with the servo left out
        n = STAGES + 1
        a, b = a[:n, :n], b[:n] * self.density
        eye = np.eye(n)
        p = np.linalg.solve(np.kron(a, eye) + np.kron(eye, a), -np.outer(b, b).ravel()).reshape(n, n)
        return self.gain * float(np.sqrt(p[-1, -1]))

    def strength(self, unit: float, tau: float, temperature: float = 1.0) -> float:
        """Return the white current's power over the design's, 2 T unit^2 tau: 1 is a right diffusion."""
        through = self.gain * self.density * self.c_n * self.r_n
        return through**2 / (2 * temperature * unit**2 * tau)

    @property
    def _linear(self) -> tuple[Array, Array]:
        """Matrix (6, 6) of v, a_1 .. a_4, z, and what each gains per volt of w."""
        a = np.zeros((STAGES + 2, STAGES + 2))
        a[0, 0] = -self.pole
        for k in range(1, STAGES + 1):
            a[k, k - 1], a[k, k] = self.stages, -self.stages
        a[-1, -2], a[-1, -1] = self.low, -self.low
        b = np.zeros(STAGES + 2)
        b[0] = self.c_n * self.r_n * self.pole
        return a, b

    def currents(self, volts: Array, step: float, restart: int | None = None) -> Array:
        """Return the current into u on a grid, from rest, by the trapezoid: what a simulator makes of it at any step.

        Parameters
        ----------
        volts : array, shape (n + 1,)
            Of the Brownian voltage at t = 0, h, .. n h; straight between.
        step : float
            h, seconds.
        restart : int or None
            After so many steps, again and again, the amplifier starts from rest, and the chopper anew.

        Returns
        -------
        array, shape (n + 1,)
            Ampere.
        """
        a, b = self._linear
        eye, n = np.eye(len(b)), len(volts) - 1
        left = np.linalg.inv(eye - step / 2 * a)
        forward, driven = left @ (eye + step / 2 * a), left @ b
        state, out = np.zeros(len(b)), np.zeros(n + 1)
        every = restart or n
        for k, rise in enumerate(np.diff(volts)):
            state = forward @ (state if k % every else np.zeros(len(b))) + driven * rise
            out[k + 1] = state[-2] - state[-1]
        phase = np.concatenate([[0], np.arange(n) % every + 1])
        return self.offset + chopping(self.chop, phase * step) * self.table(out)

    def subcircuit(self, name: str, form: str) -> SubCircuit:
        """Return ``name n u``: n is the lower plate of the neuron's capacitor, which is grounded, u takes the current."""
        text = f"noise amplifier: I(u) = {self.gain:.4g} S V(v), compressed as characterised"
        cell = described(SubCircuit(name, "n", "u"), text)
        cell.V("ground", "n", 0, 0.0)
        cell.R("v", "v", 0, number(self.r_n))
        cell.C("v", "v", "b", number(self.c_n), initial_condition=0.0)
        rest = 1 / (self.pole * self.r_n) - self.c_n
        if rest > 0:
            cell.C("g", "v", 0, number(rest), initial_condition=0.0)
        if form == "external":
            cell.V("n", "b", 0, "external")
        else:
            cell.V("n", "b", 0, 0.0)
            held = number(self.density * self.c_n)
            cell.I("n", 0, "v", f"trrandom(2 {{t_hold}} 0 {{{held!r}/sqrt(t_hold)}} 0)")
        unit = number(self.stages * C_STAGE)
        for k in range(1, STAGES + 1):
            cell.VCCS(f"a{k}", 0, f"a{k}", f"a{k - 1}" if k > 1 else "v", 0, unit)
            cell.R(f"a{k}", f"a{k}", 0, number(1 / unit))
            cell.C(f"a{k}", f"a{k}", 0, C_STAGE, initial_condition=0.0)
        cell.VCCS("z", 0, "z", f"a{STAGES}", 0, number(self.low * C_STAGE))
        cell.R("z", "z", 0, number(1 / (self.low * C_STAGE)))
        cell.C("z", "z", 0, C_STAGE, initial_condition=0.0)
        current = self.table.spice_of(f"V(a{STAGES})-V(z)", 1.0, 1.0)
        sign = f"{chopped(self.chop)}*" if self.chop else ""
        cell.B("u", 0, "u", current_expression=f"{number(self.offset)!r}+{sign}({current})")
        return cell


@dataclass(frozen=True, eq=False)
class AmplifiedNoise(Noise):
    """Noise of resistors, lifted into the neurons by amplifiers that were measured.

    Parameters
    ----------
    models : sequence of AmplifierModel
        One for each neuron, or the same for all.
    """

    models: Sequence[AmplifierModel] = field(kw_only=True)

    definition = "lsc_noise"

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.models) != self.size:
            raise InputError(
                f"there are {len(self.models)} models of amplifiers for {self.size} neurons. Give one for each."
            )

    @property
    def _names(self) -> tuple[str, ...]:
        alike = all(m is self.models[0] for m in self.models)
        return tuple(self.definition if alike else f"{self.definition}_{i}" for i in range(self.size))

    def units(self, scaling: Scaling) -> tuple[float, ...]:
        """Return the volts in series with each C_n per model unit of its path."""
        second = (scaling.tau / (2 * self.temperature)) ** 0.5  # root seconds per model unit of a path sqrt(2T) W
        return tuple(m.density * second for m in self.models)

    @property
    def mix(self) -> Array:
        """What each source's path adds to each neuron, as white noise, shape (size, size)."""
        return np.eye(self.size) * self.strength / self.capacitor

    def shaped(self, increments: Array, scaling: Scaling, step: float, chunk: int) -> Array:
        """Return the increments of white noise that would move the neurons as the amplifiers' currents do."""
        h, unit = step * scaling.tau, scaling.drift_current * scaling.tau
        restart = None if self.states(scaling) else chunk
        out = np.empty_like(increments)
        for i, (model, volt) in enumerate(zip(self.models, self.units(scaling), strict=True)):
            path = np.concatenate([[0.0], np.cumsum(increments[:, i])]) * volt
            current = model.currents(path, h, restart)
            out[:, i] = (current[1:] + current[:-1]) / 2 * h / unit
        return np.asarray(out @ np.linalg.inv(self.mix))

    def subcircuits(self, scaling: Scaling) -> tuple[SubCircuit, ...]:
        """Return one definition, or one for each neuron if they differ."""
        made = dict(zip(self._names, self.models, strict=True))
        return tuple(model.subcircuit(name, self.form) for name, model in made.items())

    def parameters(self, scaling: Scaling) -> Mapping[str, Array]:
        """Return nothing: what differs is in the definitions."""
        return {}

    def emit(self, netlist: Netlist, wires: Wires, scaling: Scaling) -> None:
        """Add the instances."""
        for i, (name, nodes) in enumerate(zip(self._names, zip(*self.pins(wires), strict=True), strict=True)):
            netlist.X(self.element(i), name, *nodes)

    def states(self, scaling: Scaling) -> tuple[State, ...]:
        """Return the capacitors: of the resistor's node, of the stages, and of the servo."""
        out = []
        for i in range(self.size):
            path = f"x{self.element(i)}".lower()
            out.append(State(f"c.{path}.cv", f"{path}.v"))
            out += [State(f"c.{path}.c{k}", f"{path}.{k}") for k in (*(f"a{j + 1}" for j in range(STAGES)), "z")]
        return tuple(out)
