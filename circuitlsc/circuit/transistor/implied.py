r"""The posterior that a neuron's measured tables imply at K = 1, by quadrature, beside the exact one.

.. math:: p(u) \propto \exp \int F\bigl(u', G\,[s(u') - x]\bigr)\,du', \qquad \text{active: } s > w
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from circuitlsc.circuit.transistor.tables import NeuronTables
from circuitlsc.io.arrays import Array

POINTS = 8001
INPUTS = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0)  # slabs


@dataclass(frozen=True)
class Statistics:
    """P(active), mean and standard deviation of s."""

    active: float
    mean: float
    sd: float

    def off(self, other: Statistics) -> tuple[float, float, float]:
        """Return what these differ by from others: P(active), mean, standard deviation."""
        return self.active - other.active, self.mean - other.mean, self.sd - other.sd


def posterior(neuron: NeuronTables, x: float, gain: float, width: float, *, points: int = POINTS) -> Statistics:
    """Return what a neuron with G = ``gain`` samples at the input x (least-squares code, model units); w is ``width``."""
    u = np.linspace(neuron.drift.knots[0], neuron.drift.knots[-1], points)
    s = neuron.code(u)
    force = neuron.drift.with_slopes(u, gain * (s - x))[0]
    beyond, rise = (
        np.abs(s) - width,
        np.maximum(np.abs(np.gradient(s)), 1e-12),
    )  # the share of a step of u that is active
    return _statistics(force, u, s, np.clip(0.5 + beyond / rise, 0, 1))


def exact(x: float, gain: float, *, lam: float = 1.0, u0: float = 1.204, signed: bool = False) -> Statistics:
    """Return the statistics of the spike-and-slab posterior with G, lam and u0."""
    u = np.linspace(-14 / lam, 14 / lam, 7 * POINTS)
    s, gate = np.maximum(np.abs(u) - u0, 0), np.abs(u) > u0
    if signed:
        s = np.sign(u) * s
    slope = gate if signed else np.sign(u) * gate
    return _statistics(-(gain * (s - x) * slope + lam * np.sign(u)), u, s, gate.astype(float))


def rescaled(neuron: NeuronTables) -> NeuronTables:
    """Return a neuron with two numbers set: noise power, so that g is 1, and lam's current, both as means of the two signs."""
    quality, drift = neuron.quality, neuron.drift
    g = (quality["gain negative"] + quality["gain positive"]) / 2
    lam = (quality["lam negative"] + quality["lam positive"]) / 2
    rest = drift.values[int(np.argmin(np.abs(drift.others)))]
    return replace(neuron, drift=replace(drift, values=(drift.values - rest) / g + rest / lam))


def errors(neuron: NeuronTables, gain: float, width: float, *, lam: float = 1.0, u0: float = 1.204) -> Array:
    """Return the differences from the exact posterior, shape (n_inputs, 3): P(active), mean, standard deviation."""
    return np.array(
        [posterior(neuron, x, gain, width).off(exact(x, gain, lam=lam, u0=u0)) for x in np.array(INPUTS) / lam]
    )


def _statistics(force: Array, u: Array, s: Array, active: Array) -> Statistics:
    log = np.concatenate([[0.0], np.cumsum((force[1:] + force[:-1]) / 2 * np.diff(u))])
    p = np.exp(log - log.max())
    p /= np.trapezoid(p, u)
    mean = float(np.trapezoid(s * p, u))
    spread = float(np.trapezoid((s - mean) ** 2 * p, u))
    return Statistics(float(np.trapezoid(active * p, u)), mean, spread**0.5)
