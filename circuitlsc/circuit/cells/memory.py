r"""Memory crossbar: states of a set of inputs in a matrix of capacitor voltages, read and written through multipliers.

.. math:: u_k = \sum_h w_{kh}\,\phi_h, \qquad \tau\,dw_{kh} = (d_k\,dt + \sqrt{2T\tau}\,dB_k)\,v_h - \kappa_L w_{kh}\,dt, \qquad
          d = -\nabla E(u; x)

Each synapse is one capacitor and two multipliers; the neurons are nodes where currents add, and have no capacitors of their
own. Taniguchi et al. 2022, section 3.1, as a circuit, which is not in the paper; nor are noise through the write line and
write vectors v other than phi (`circuitlsc.model.features`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from PySpice.Spice.Netlist import SubCircuit

from circuitlsc.circuit.cells.base import State, Wires, number
from circuitlsc.circuit.cells.integrator import Integrator, clamp
from circuitlsc.circuit.cells.node import Sum
from circuitlsc.circuit.cells.noise import Noise, ThermalNoise
from circuitlsc.circuit.cells.plastic import Multipliers
from circuitlsc.circuit.cells.variational import DeviceRectifier, Observation
from circuitlsc.io.arrays import Array
from circuitlsc.nonideal.hardware import Hardware
from circuitlsc.planning.scaling import Scaling


class FeatureLines(Observation):
    """Features phi that come from outside, as voltages: lines that select an input, or what another circuit makes."""

    quantity = "phi"


class FeatureRectifier(DeviceRectifier):
    """A feature that no crossbar loads, from an op-amp: multipliers sense its voltage alone."""

    definition = "lsc_feature"

    def subcircuits(self, scaling: Scaling) -> tuple[SubCircuit, ...]:
        """Return ``lsc_feature z y``: a rectifier with a load."""
        (cell,) = super().subcircuits(scaling)
        cell.R("load", "y", 0, number(scaling.r_node))
        return (cell,)


@dataclass(frozen=True, eq=False)
class Memory(Integrator):
    r"""The weights W, one capacitor each: w_kh at the node ``w_k_h``; ``start`` is W row by row, shape (K * H,).

    Its own noise, if it has any, is a Brownian voltage in series with each capacitor, as a neuron's.

    Parameters
    ----------
    n_features : int
        H.
    """

    n_features: int = field(kw_only=True)

    quantity = "w"
    definition = "lsc_memory"
    what = "memory"

    @property
    def nodes(self) -> tuple[str, ...]:
        """Names of the capacitors' nodes, row by row."""
        return tuple(f"w_{k}_{h}" for k in range(self.size // self.n_features) for h in range(self.n_features))

    def parameters(self, scaling: Scaling) -> Mapping[str, Array]:
        """Return the first voltages."""
        return {**super().parameters(scaling), "ic": self.start * scaling.volts("w")}

    def states(self, scaling: Scaling) -> tuple[State, ...]:
        """Return the capacitors."""
        unit = scaling.volts("w") / scaling.volt
        return tuple(State(s.capacitor, s.node, s.start * unit) for s in super().states(scaling))


@dataclass(frozen=True, eq=False)
class DeviceMemory(Memory):
    r"""The same with capacitors that leak, and that are not their neighbours'.

    .. math:: \frac{C_{kh}}{C}\,\tau\,\dot w_{kh} = d_k v_h - \kappa_L\,w_{kh}

    *What it does to the posterior.* A leak acts on all inputs while each is on for one N-th of the time: it adds
    N kappa_L/2 abs(u_n)^2 to the energy of each, as hold goes to 0; while an input is away its states decay by
    exp(-kappa_L (N - 1) hold). A capacitor of another size is colder by the same factor, and makes Phi^T V another matrix than
    1 (`circuitlsc.circuit.memory.responses`). Rails of [nonideal.integrator] clamp each weight.

    Parameters
    ----------
    hardware : Hardware
    """

    hardware: Hardware = field(kw_only=True)

    @cached_property
    def capacitor_factors(self) -> Array:
        """Each capacitor relative to C_int, shape (size,)."""
        parts = self.hardware.parts
        mismatch = parts.factors(self.nodes, "capacitance", parts.plastic.capacitance_mismatch)
        return self.capacitor * parts.corner.capacitance * mismatch

    @cached_property
    def leak_rate(self) -> float:
        """Kappa_L of the resistor beside the capacitor, in 1/tau."""
        hardware = self.hardware
        return hardware.scaling.tau / (hardware.ohm(hardware.parts.plastic.leak_resistance) * hardware.scaling.c_int)

    @cached_property
    def conductances(self) -> Array:
        """All leaks, units of drift per unit of w, shape (size,)."""
        return np.full(self.size, self.leak_rate + self.conductance)

    def subcircuits(self, scaling: Scaling) -> tuple[SubCircuit, ...]:
        """Return ``lsc_memory u n``: capacitor and leak."""
        cell = self.defined("memory: c dV(u,n)/dt = current into u", "u", "n", ic=0.0, c=1.0)
        cell.C("int", "u", "n", "{c}", initial_condition="{ic}")
        leak = 1 / scaling.leak + float(self.conductances[0]) * scaling.c_int / scaling.tau
        cell.R("leak", "u", 0, number(1 / leak))
        clamp(cell, self.hardware)
        return (cell,)

    def parameters(self, scaling: Scaling) -> Mapping[str, Array]:
        """Return the first voltages and the capacitors."""
        return {**super().parameters(scaling), "c": self.capacitor_factors * scaling.c_int}


class Neurons(Sum):
    """The states u that are read from a memory: nodes where its currents add."""

    quantity = "u"


class Drive(Sum):
    """What is written, d = -grad E(u), as a voltage: the gates' currents through a resistor."""

    quantity = "d"
    definition = "lsc_drive"

    def subcircuits(self, scaling: Scaling) -> tuple[SubCircuit, ...]:
        """Return ``lsc_drive v``: the resistor that turns a unit of drift into one of d."""
        cell = self.defined("drive: V(v) = resistance times the gate's current", "v")
        cell.R("sum", "v", 0, number(scaling.volts(self.quantity) / scaling.drift_current))
        return (cell,)


class Read(Multipliers):
    r"""The currents into the neurons' nodes, :math:`\sum_h w_{kh} \phi_h`; ``size`` is K, ``n_latents`` H."""

    ports = ("w", "phi")
    target = "u"
    text = "read multiplier: current w phi into u"


class Write(Multipliers):
    r"""The currents into the memory's capacitors, :math:`d_k v_h`; ``size`` is K H, ``n_latents`` H."""

    ports = ("d", "v")
    target = "w"
    text = "write multiplier: current d v into w"

    def gains(self, v: Array, capacitors: Array) -> Array:
        """Return d(dw/dt)/dd over the capacitors, (..., K * H), for write lines v (..., H): what noise of d is written by."""
        gain, _, second = (error.ravel() for error in self.errors)
        return np.asarray(gain * (v[..., self.places["v"]] + second) / capacitors)

    @property
    def neurons(self) -> NDArray[np.int64]:
        """The neuron that each weight is written from, shape (K * H,)."""
        return self.places["d"]


@dataclass(frozen=True, eq=False)
class WrittenNoise(Noise):
    r"""White noise of each neuron that reaches the weights through the line that writes them, with their drift.

    .. math:: dw_{kh} = \sqrt{2T/\tau}\,g_{kh}\,dB_k, \qquad g_{kh} = \frac{\partial\dot w_{kh}}{\partial d_k} = v_h
              \text{ of ideal multipliers}

    A capacitor's path is a sum over the rows that were on, :math:`\sum_n g_{kh}(x_n)\,\Delta_n B_k`: in the external form a
    voltage in series with it, exact at every step. In stand-alone decks a held current joins the gate's, and the write
    multipliers do the rest.

    Parameters
    ----------
    write : Write
        The multipliers; ``size`` is K, the streams.
    capacitors : array, shape (K * H,)
        Those of the memory, relative to C_int.
    power : array, shape (K,)
        Noise power of each neuron's source over the design's.
    """

    write: Write = field(kw_only=True)
    capacitors: Array = field(kw_only=True)
    power: Array = field(kw_only=True)

    ports = ("v",)
    definition = "lsc_written_noise"

    def gains(self, v: Array) -> Array:
        """Return what a unit of each neuron's path adds to each weight, (..., K * H), for write lines v (..., H)."""
        return self.write.gains(v, self.capacitors) * np.sqrt(self.power)[self.write.neurons]

    def respond(self, inputs: Mapping[str, Array]) -> tuple[Array, dict[str, Array]]:
        """Return the mean drift of the weights, 0."""
        return np.zeros(self.write.size), {}

    def devices(self) -> tuple[str, ...]:
        """Names of the voltage sources as ngspice flattens them, one for each weight."""
        return tuple(f"v.x{self.element(i)}.vn".lower() for i in range(self.write.size))

    def units(self, scaling: Scaling) -> tuple[float, ...]:
        """Return the volts of each voltage source per model unit of its path."""
        return (float(scaling.volts("w")),) * self.write.size

    @property
    def mix(self) -> Array:
        """What each source's path adds to each neuron's, which reaches the weights by `gains`, shape (size, size)."""
        return np.eye(self.size)

    def subcircuits(self, scaling: Scaling) -> tuple[SubCircuit, ...]:
        """Return ``lsc_written_noise``: a source at a weight's lower plate n, or a current into a neuron's d."""
        if self.form == "external":
            cell = self.defined("noise through the write line: a Brownian voltage at n, in series with a weight", "n")
            cell.V("n", "n", 0, "external")
        else:
            cell = self.defined("noise through the write line: i_rms, held for t_hold, into d", "d")
            cell.I("n", 0, "d", "trrandom(2 {t_hold} 0 {i_rms} 0)")
        return (cell,)

    def pins(self, wires: Wires) -> tuple[tuple[str, ...], ...]:
        """Return the weights' lower plates, or the nodes d."""
        return (wires.output,)


@dataclass(frozen=True, eq=False)
class WeightNoise(Noise):
    r"""White noise of each weight of a memory, a Brownian voltage in series with its capacitor.

    Parameters
    ----------
    capacitors : array, shape (size,)
        Those of the memory, relative to C_int: noise is a current.
    """

    capacitors: Array = field(kw_only=True)

    definition = "lsc_weight_noise"

    def units(self, scaling: Scaling) -> tuple[float, ...]:
        """Return the volts of each source per model unit of its path."""
        return tuple(float(v) for v in scaling.volts("w") * self.strength / self.capacitors)

    @property
    def mix(self) -> Array:
        """What each source's path adds to each weight, shape (size, size)."""
        return np.diag(self.strength / self.capacitors)

    def subcircuits(self, scaling: Scaling) -> tuple[SubCircuit, ...]:
        """Return ``lsc_weight_noise n u``: a source at the capacitor's lower plate n, or a current into u."""
        cell = self.defined("noise of a weight", "n", "u")
        if self.form == "external":
            cell.V("n", "n", 0, "external")
            return (cell,)
        cell.V("n", "n", 0, 0.0)
        rms = number(self.strength * scaling.volts("w") / scaling.volt)
        cell.I("n", 0, "u", f"trrandom(2 {{t_hold}} 0 {{i_rms*{rms!r}}} 0)")
        return (cell,)


@dataclass(frozen=True, eq=False)
class DriveNoise(ThermalNoise):
    r"""Thermal noise of each neuron as currents into its d, from where it is written with the gate's.

    .. math:: dw_{kh}/dt = (d_k + g_m V_{n,k} / I_{drift})\,v_h/\tau

    Noise of a capacitance, 1/f noise and the amplifiers' offsets are voltages that a step resolves, so that the write
    multipliers turn them into what they do. White noise is none: of the external form it is that of `WrittenNoise`, and this
    cell holds the rest.

    *What it does to the posterior.* An offset adds the drift g_m v_os to every input: the energy gains -o_k u_k. Colour
    and temperature are those of a neuron's noise.

    Parameters
    ----------
    write : Write
        The multipliers; ``size`` is K.
    weights : array, shape (K * H,)
        The memory's capacitors, relative to C_int; a drive has none (``capacitors`` are 1).
    """

    write: Write = field(kw_only=True)
    weights: Array = field(kw_only=True)

    ports = ("v",)
    plates = ()

    def gains(self, v: Array) -> Array:
        """Return what a unit of each neuron's path adds to each weight, (..., K * H), for write lines v (..., H)."""
        return self.write.gains(v, self.weights)

    @property
    def drawn(self) -> tuple[str, ...]:
        """Names of the neurons' noise, whichever of the two cells has it."""
        return tuple(f"noise_{k}" for k in range(self.size))

    @property
    def _elsewhere(self) -> int:
        """How many sources are those of `WrittenNoise`."""
        return self.size if self.form == "external" and self.hardware.parts.noise.capacitance == 0 else 0

    @property
    def sources(self) -> tuple[str, ...]:
        """Streams, without white noise that is written elsewhere."""
        return super().sources[self._elsewhere :]

    def units(self, scaling: Scaling) -> tuple[float, ...]:
        """Return the volts of each voltage source per model unit of its path."""
        return super().units(scaling)[self._elsewhere :]

    @property
    def mix(self) -> Array:
        """What each source's path adds to each neuron's, as white noise, shape (n_sources, size)."""
        return np.zeros((len(self.sources), self.size)) if self._elsewhere else super().mix

    def pins(self, wires: Wires) -> tuple[tuple[str, ...], ...]:
        """Return the nodes of the drive, and the supply if it makes noise."""
        return super().pins(wires)[1:]


@dataclass(frozen=True, eq=False)
class ThermalWeightNoise(ThermalNoise):
    """Thermal noise of each weight of a memory, in units of its voltages: see `ThermalNoise`.

    Parameters
    ----------
    unit : float
        Volts of a unit of a weight over those of a unit of u; the strength is in the latter.
    """

    unit: float = field(kw_only=True)

    @property
    def drift_offset(self) -> Array:
        """The drift that the offsets make, in units of a weight per tau, shape (size,)."""
        return np.asarray(super().drift_offset / self.unit)

    @property
    def mix(self) -> Array:
        """What each source's path adds to each weight, as white noise, shape (n_sources, size)."""
        return np.asarray(super().mix / self.unit)
