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
from PySpice.Spice.Netlist import Netlist, SubCircuit

from circuitlsc.circuit.cells.base import Cell, Wires, described, number
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
    subcircuit_name = "lsc_weight"
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

    def velocity(self, u: Array, drift: Array) -> Array:
        """Return da/dt, dictionary units per tau."""
        return np.asarray((drift - self.leak_rate * u) / self.capacitor_factors)

    def velocity_jacobian(self, jacobian: Array, own: Array) -> Array:
        """Return d(da/dt)/dz."""
        return np.asarray((jacobian - self.leak_rate * own) / self.capacitor_factors[:, None])

    def subcircuits(self, scaling: Scaling) -> tuple[SubCircuit, ...]:
        """Return ``lsc_weight u n``: capacitor and leak."""
        cell = described(SubCircuit("lsc_weight", "u", "n", ic=0.0, c=1.0), "weight: c dV(u,n)/dt = current into u")
        cell.C("int", "u", "n", "{c}", initial_condition="{ic}")
        ohm = self.hardware.ohm(self.hardware.parts.plastic.leak_resistance)
        cell.R("leak", "u", 0, number(1 / (1 / scaling.leak + 1 / ohm)))
        return (cell,)

    def emit(self, netlist: Netlist, wires: Wires, scaling: Scaling) -> None:
        """Add one capacitor per entry."""
        for i, node in enumerate(self.nodes):
            given = {"ic": self.start[i] * scaling.volt, "c": self.capacitor_factors[i] * scaling.c_int}
            netlist.X(f"{self.name}_{i}", "lsc_weight", node, "0", **{name: number(v) for name, v in given.items()})


@dataclass(frozen=True, eq=False)
class Multipliers(Cell):
    r"""One multiplier per synapse, :math:`k\,(1 + \epsilon_{ji})(p_{ji} + o_{ji})(q_{ji} + o'_{ji})`; errors at device level.

    Parameters
    ----------
    n_latents : int
        K.
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
    #: what the subcircuit says of itself
    text: ClassVar[str] = ""

    @property
    def quantities(self) -> tuple[str, str]:
        """What is multiplied, by the letters of the nodes: it sets the voltage scales."""
        raise NotImplementedError

    @property
    def n_features(self) -> int:
        """D."""
        return self.size if self.rows is None else self.rows

    @cached_property
    def errors(self) -> tuple[Array, Array, Array]:
        """Gains k (1 + eps), and the input offsets in units of p and of q, each (D, K) (offsets 0 if there are none)."""
        shape = (self.n_features, self.n_latents)
        if self.hardware is None:
            return np.full(shape, self.gain), np.zeros(shape), np.zeros(shape)
        parts, part, scaling = self.hardware.parts, self.hardware.parts.plastic, self.hardware.scaling
        names = [f"{self.name}_{j}_{i}" for j in range(shape[0]) for i in range(shape[1])]
        p, q = (scaling.volts(quantity) for quantity in self.quantities)
        return (
            self.gain * parts.factors(names, "gain", part.gain_error).reshape(shape),
            parts.normals(names, "first_offset", part.offset).reshape(shape) / p,
            parts.normals(names, "second_offset", part.offset).reshape(shape) / q,
        )

    def factors(self, p: Array, q: Array) -> tuple[Array, Array]:
        """Return k (1 + eps) (p + o) and q + o', each (..., D, K)."""
        gain, first, second = self.errors
        return gain * (p + first), q + second

    def amperes(self, scaling: Scaling) -> float:
        """Return the current into one unit of the target's sum, at k = 1."""
        raise NotImplementedError

    def subcircuits(self, scaling: Scaling) -> tuple[SubCircuit, ...]:
        """Return ``lsc_<name> out p q``: a current into out."""
        p, q = (scaling.volts(quantity) for quantity in self.quantities)
        unit = number(self.amperes(scaling) / p / q)
        if self.hardware is None:
            cell = described(SubCircuit(f"lsc_{self.name}", "out", "p", "q"), self.text)
            cell.B("m", 0, "out", current_expression=f"{number(self.gain * unit)!r}*V(p)*V(q)")
        else:
            defaults = {"k": 1.0, "p_os": 0.0, "q_os": 0.0}
            cell = described(SubCircuit(f"lsc_{self.name}", "out", "p", "q", **defaults), self.text)
            cell.B("m", 0, "out", current_expression=f"{{k}}*{unit!r}*(V(p)+{{p_os}})*(V(q)+{{q_os}})")
        return (cell,)

    def emit(self, netlist: Netlist, wires: Wires, scaling: Scaling) -> None:
        """Add one multiplier per synapse."""
        gain, first, second = self.errors
        first, second = (v * scaling.volts(name) for v, name in zip((first, second), self.quantities, strict=True))
        for j in range(self.n_features):
            for i in range(self.n_latents):
                given = {}
                if self.hardware is not None:
                    values = {"k": gain, "p_os": first, "q_os": second}
                    given = {name: number(value[j, i]) for name, value in values.items()}
                netlist.X(f"{self.name}_{j}_{i}", f"lsc_{self.name}", *self.pins(wires, j, i), **given)

    def pins(self, wires: Wires, j: int, i: int) -> tuple[str, str, str]:
        """Return the nodes of one multiplier: output, p, q."""
        raise NotImplementedError

    def matrix(self, a: Array) -> Array:
        """Return weights (..., D * K) as matrices (..., D, K)."""
        return a.reshape(*a.shape[:-1], self.n_features, self.n_latents)

    def weight_of(self, wires: Wires, j: int, i: int) -> str:
        """Return the node of a weight."""
        return wires.inputs["a"][j * self.n_latents + i]


class Forward(Multipliers):
    r"""The currents into the residual's nodes, :math:`\sum_i a_{ji} s_i`: what a crossbar of fixed conductances does."""

    ports = ("a", "s")
    text = "forward multiplier: current a s into r"

    @property
    def quantities(self) -> tuple[str, str]:
        """What is multiplied."""
        return "a", "s"

    def respond(self, inputs: Mapping[str, Array]) -> tuple[Array, dict[str, Array]]:
        """Return A s, shape (..., D), d/da (..., D, D K) and d/ds (..., D, K)."""
        a, s = self.factors(self.matrix(inputs["a"]), inputs["s"][..., None, :])
        da = np.eye(self.n_features)[:, :, None] * (self.errors[0] * s)[..., None, :, :]
        return np.asarray((a * s).sum(-1)), {"a": da.reshape(*da.shape[:-2], -1), "s": a}

    def amperes(self, scaling: Scaling) -> float:
        """Return the current that makes one unit of r."""
        return scaling.volt_r / scaling.r_node

    def pins(self, wires: Wires, j: int, i: int) -> tuple[str, str, str]:
        """Return r_j, a_ji, s_i."""
        return wires.output[j], self.weight_of(wires, j, i), wires.inputs["s"][i]


class Backward(Multipliers):
    r"""The currents into the gradient's nodes, :math:`k \sum_j a_{ji} r_j`; ``size`` is K."""

    ports = ("a", "r")
    text = "backward multiplier: current k a r into e"

    @property
    def quantities(self) -> tuple[str, str]:
        """What is multiplied."""
        return "a", self.source

    def respond(self, inputs: Mapping[str, Array]) -> tuple[Array, dict[str, Array]]:
        """Return k A^T r, shape (..., K), d/da (..., K, D K) and d/dr (..., K, D)."""
        a, r = self.factors(self.matrix(inputs["a"]), inputs["r"][..., :, None])
        da = np.eye(self.n_latents)[:, None, :] * (self.errors[0] * r)[..., None, :, :]
        return np.asarray((a * r).sum(-2)), {"a": da.reshape(*da.shape[:-2], -1), "r": np.swapaxes(a, -1, -2)}

    def amperes(self, scaling: Scaling) -> float:
        """Return the current that makes one unit of e."""
        return scaling.volt_e / scaling.r_node

    def pins(self, wires: Wires, j: int, i: int) -> tuple[str, str, str]:
        """Return e_i, a_ji, r_j."""
        return wires.output[i], self.weight_of(wires, j, i), wires.inputs["r"][j]


class Hebbian(Multipliers):
    r"""The currents into the weights' capacitors, :math:`-k\,r_j s_i`; ``size`` is D K."""

    ports = ("r", "s")
    text = "plasticity multiplier: current -k r s into a"

    @property
    def quantities(self) -> tuple[str, str]:
        """What is multiplied."""
        return self.source, "s"

    def respond(self, inputs: Mapping[str, Array]) -> tuple[Array, dict[str, Array]]:
        """Return -k r s^T row by row, shape (..., D K), d/dr (..., D K, D) and d/ds (..., D K, K)."""
        r, s = self.factors(inputs["r"][..., :, None], inputs["s"][..., None, :])
        drift = -(r * s).reshape(*inputs["r"].shape[:-1], -1)
        s, r = np.broadcast_arrays(self.errors[0] * s, r)
        dr = -s[..., None] * np.eye(self.n_features)[:, None, :]
        ds = -r[..., None] * np.eye(self.n_latents)[None, :, :]
        return np.asarray(drift), {
            "r": dr.reshape(*dr.shape[:-3], -1, self.n_features),
            "s": ds.reshape(*ds.shape[:-3], -1, self.n_latents),
        }

    def amperes(self, scaling: Scaling) -> float:
        """Return the current of one unit of drift, out of the capacitor."""
        return -scaling.drift_current

    def pins(self, wires: Wires, j: int, i: int) -> tuple[str, str, str]:
        """Return a_ji, r_j, s_i."""
        return wires.output[j * self.n_latents + i], wires.inputs["r"][j], wires.inputs["s"][i]
