r"""Plastic crossbar: a dictionary that is a matrix of capacitor voltages, with multipliers instead of conductances.

.. math:: r_j = \sum_i a_{ji} s_i - x_j, \qquad e_i = k \sum_j a_{ji} r_j, \qquad \tau_A\,\dot a_{ji} = -k\, r_j s_i

Each synapse is one capacitor and three multipliers; its slowness is the ratio tau_A of its capacitor to a neuron's.
Fang et al. 2022, eq. (2.8), with the 1/sigma^2 that it drops (k).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from PySpice.Spice.Netlist import SubCircuit

from circuitlsc.circuit.cells.base import Cell, Wires, number
from circuitlsc.circuit.cells.integrator import Integrator
from circuitlsc.io.arrays import Array
from circuitlsc.nonideal.hardware import Hardware
from circuitlsc.planning.scaling import Scaling

VERY_SLOW = 300.0  # times slower than a neuron


@dataclass(frozen=True, eq=False)
class Slow(Integrator):
    """A slow variable: a capacitor ``capacitor`` times a neuron's, without noise, that starts from a voltage of its own.

    It moves by its drift over ``capacitor``, in units per tau.
    """

    noisy: bool = field(default=False, kw_only=True)

    @property
    def slow(self) -> bool:  # type: ignore[override]
        """Whether what it does to the neurons within a step can be left out of the twin's Jacobian."""
        return self.capacitor >= VERY_SLOW


@dataclass(frozen=True, eq=False)
class Weights(Slow):
    r"""The dictionary, one capacitor per entry: a_ji at the node ``a_j_i``; ``start`` is A0 row by row, shape (D * K,).

    Parameters
    ----------
    n_features : int
        D.
    """

    n_features: int

    quantity = "a"
    definition = "lsc_weight"
    what = "weight"

    @property
    def nodes(self) -> tuple[str, ...]:
        """Names of the capacitors' nodes, row by row."""
        return tuple(f"a_{j}_{i}" for j in range(self.n_features) for i in range(self.size // self.n_features))


@dataclass(frozen=True, eq=False)
class DeviceWeights(Weights):
    r"""The same with capacitors that leak, and that are not their neighbours'.

    .. math:: \frac{C_{ji}}{C}\,\tau_A\,\dot a_{ji} = -k\, r_j s_i - \kappa_A\,a_{ji}

    *What it does to learning.* A leak is weight decay, the prior exp(-n kappa_A a^2/2) after n inputs: norms shrink until
    the residual that they leave makes up for it. A capacitor of another size learns at another speed, to the same end.

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
        """Kappa_A, units of drift per dictionary unit."""
        hardware = self.hardware
        return hardware.scaling.tau / (hardware.ohm(hardware.parts.plastic.leak_resistance) * hardware.scaling.c_int)

    @cached_property
    def conductances(self) -> Array:
        """The leak, units of drift per dictionary unit, shape (size,)."""
        return np.full(self.size, self.leak_rate)

    def subcircuits(self, scaling: Scaling) -> tuple[SubCircuit, ...]:
        """Return ``lsc_weight u n``: capacitor and leak."""
        cell = self.defined("weight: c dV(u,n)/dt = current into u", "u", "n", ic=0.0, c=1.0)
        cell.C("int", "u", "n", "{c}", initial_condition="{ic}")
        ohm = self.hardware.ohm(self.hardware.parts.plastic.leak_resistance)
        cell.R("leak", "u", 0, number(1 / (1 / scaling.leak + 1 / ohm)))
        return (cell,)

    def parameters(self, scaling: Scaling) -> Mapping[str, Array]:
        """Return the first voltages and the capacitors."""
        return {**super().parameters(scaling), "c": self.capacitor_factors * scaling.c_int}


@dataclass(frozen=True, eq=False)
class Multipliers(Cell):
    r"""One multiplier per synapse, :math:`k\,(1 + \epsilon_{ji})(p_{ji} + o_{ji})(q_{ji} + o'_{ji})`; errors at device level.

    Of a dictionary, or of a memory (`circuitlsc.circuit.cells.memory`), whose rows are latents and whose columns are features.

    Parameters
    ----------
    n_latents : int
        K, the columns.
    gain : float
        k.
    hardware : Hardware or None
    rows : int or None
        D, where that is not the size.
    source : str
        The letter of the nodes that feed the port ``r``: "r", or "q" where the residual comes over a learned sigma^2.
    """

    n_latents: int
    gain: float = field(default=1.0, kw_only=True)
    hardware: Hardware | None = field(default=None, kw_only=True)
    rows: int | None = field(default=None, kw_only=True)
    source: str = field(default="r", kw_only=True)

    linear = True
    #: letter of the nodes that the currents sum into: r, e or a; u or w of a memory
    target: ClassVar[str]
    #: what the subcircuit says of itself
    text: ClassVar[str]

    @property
    def quantities(self) -> tuple[str, ...]:
        """What is multiplied, p and q, by the letters of the nodes: it sets the voltage scales."""
        return tuple(self.source if port == "r" else port for port in self.ports)

    @property
    def n_features(self) -> int:
        """D."""
        return self.size if self.rows is None else self.rows

    @cached_property
    def places(self) -> dict[str, NDArray[np.int64]]:
        """Where in each vector the multipliers have their element, shape (D * K,), row by row."""
        every = np.arange(self.n_features * self.n_latents)
        row, column = np.divmod(every, self.n_latents)
        return {
            **dict.fromkeys(("a", "w"), every),
            **dict.fromkeys(("r", "u", "d"), row),
            **dict.fromkeys(("s", "e", "phi", "v"), column),
        }

    def element(self, i: int) -> str:
        """Return the name of a multiplier: that of its pixel and its latent."""
        return "{}_{}_{}".format(self.name, *divmod(i, self.n_latents))

    @cached_property
    def errors(self) -> tuple[Array, Array, Array]:
        """Gains k (1 + eps), and the input offsets in units of p and of q, each (D, K) (offsets 0 if there are none)."""
        shape = (self.n_features, self.n_latents)
        if self.hardware is None:
            return np.full(shape, self.gain), np.zeros(shape), np.zeros(shape)
        parts, part, scaling = self.hardware.parts, self.hardware.parts.plastic, self.hardware.scaling
        names = [self.element(i) for i in range(self.n_features * self.n_latents)]
        p, q = (scaling.volts(quantity) for quantity in self.quantities)
        return (
            self.gain * parts.factors(names, "gain", part.gain_error).reshape(shape),
            parts.normals(names, "first_offset", part.offset).reshape(shape) / p,
            parts.normals(names, "second_offset", part.offset).reshape(shape) / q,
        )

    def respond(self, inputs: Mapping[str, Array]) -> tuple[Array, dict[str, Array]]:
        """Return the sums of k (1 + eps) (p + o) (q + o'), shape (..., size), and their derivatives (..., size, n)."""
        gain, first, second = (error.ravel() for error in self.errors)
        (first_port, a), (second_port, b) = ((port, inputs[port][..., self.places[port]]) for port in self.ports)
        p, q = gain * (a + first), b + second
        total = p * q
        if self.target not in ("a", "w"):
            total = total.reshape(*total.shape[:-1], -1, self.n_latents).sum(-2 if self.target == "e" else -1)
        sign = -1.0 if self.target == "a" else 1.0
        partials = {}
        for port, slope in ((first_port, gain * q), (second_port, p)):
            partials[port] = np.zeros((*slope.shape[:-1], self.size, inputs[port].shape[-1]))
            partials[port][..., self.places[self.target], self.places[port]] = sign * slope
        return np.asarray(sign * total), partials

    def amperes(self, scaling: Scaling) -> float:
        """Return the current that makes one unit of the target's sum, at k = 1: out of the capacitor of a weight."""
        if self.target == "a":
            return -scaling.drift_current
        if self.target == "w":
            return scaling.c_int * scaling.volts("w") / scaling.tau
        return scaling.volts(self.target) / scaling.r_node

    def subcircuits(self, scaling: Scaling) -> tuple[SubCircuit, ...]:
        """Return ``lsc_<name> out p q``: a current into out."""
        p, q = (scaling.volts(quantity) for quantity in self.quantities)
        unit = number(self.amperes(scaling) / p / q)
        if self.hardware is None:
            cell = self.defined(self.text, "out", "p", "q")
            cell.B("m", 0, "out", current_expression=f"{number(self.gain * unit)!r}*V(p)*V(q)")
        else:
            cell = self.defined(self.text, "out", "p", "q", k=1.0, p_os=0.0, q_os=0.0)
            cell.B("m", 0, "out", current_expression=f"{{k}}*{unit!r}*(V(p)+{{p_os}})*(V(q)+{{q_os}})")
        return (cell,)

    def pins(self, wires: Wires) -> tuple[tuple[str, ...], ...]:
        """Return the nodes of the multipliers: output, p, q."""
        found = ((self.target, wires.output), *((port, wires.inputs[port]) for port in self.ports))
        return tuple(tuple(nodes[i] for i in self.places[letter]) for letter, nodes in found)

    def parameters(self, scaling: Scaling) -> Mapping[str, Array]:
        """Return gains and offsets."""
        if self.hardware is None:
            return {}
        p, q = (scaling.volts(quantity) for quantity in self.quantities)
        gain, first, second = (error.ravel() for error in self.errors)
        return {"k": gain, "p_os": first * p, "q_os": second * q}


class Forward(Multipliers):
    r"""The currents into the residual's nodes, :math:`\sum_i a_{ji} s_i`: what a crossbar of fixed conductances does."""

    ports = ("a", "s")
    target = "r"
    text = "forward multiplier: current a s into r"


class Backward(Multipliers):
    r"""The currents into the gradient's nodes, :math:`k \sum_j a_{ji} r_j`; ``size`` is K."""

    ports = ("a", "r")
    target = "e"
    text = "backward multiplier: current k a r into e"


class Hebbian(Multipliers):
    r"""The currents into the weights' capacitors, :math:`-k\,r_j s_i`; ``size`` is D K."""

    ports = ("r", "s")
    target = "a"
    text = "plasticity multiplier: current -k r s into a"
