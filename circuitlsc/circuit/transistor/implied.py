r"""The posterior that a neuron's measured transfer implies at K = 1, by quadrature, beside the exact one.

.. math:: p(u) \propto \exp \int F\bigl(u', G\,[s(u') - x]\bigr)\,du', \qquad \text{active: } s > w

with the drift F(u, e) and the code s(u) of a staircase, in units.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from circuitlsc.circuit.transistor.staircase import Measured
from circuitlsc.io.arrays import Array

POINTS = 8001
FAR = 2.5  # units: where a gain is read
INPUTS = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0)


@dataclass(frozen=True)
class Transfer:
    """Tables of one neuron, in units.

    Attributes
    ----------
    u : array, shape (n_u,)
    e : array, shape (n_e,)
        With 0 among them.
    drift : array, shape (n_e, n_u)
    code : array, shape (n_u,)
    width : float
        I0 over the unit current.
    """

    u: Array
    e: Array
    drift: Array
    code: Array
    width: float

    @property
    def at_rest(self) -> Array:
        """The drift at e = 0."""
        rest: Array = self.drift[int(np.argmin(np.abs(self.e)))]
        return rest

    def gains(self) -> dict[str, tuple[float, float]]:
        """Return the gains of s', g and lam, each for u below -2.5 and above 2.5 units; all are 1 of an ideal neuron."""
        below, above = self.u < -FAR, self.u > FAR
        slope = np.gradient(self.code, self.u)
        gate = self.gate()
        return {
            "slope": (-float(slope[below].mean()), float(slope[above].mean())),
            "gate": (-float(gate[below].mean()), float(gate[above].mean())),
            "lam": (float(self.at_rest[below].mean()), -float(self.at_rest[above].mean())),
        }

    def gate(self) -> Array:
        """Return the gate: minus the drift's derivative by e, between the innermost levels."""
        at = int(np.argmin(np.abs(self.e)))
        out: Array = -(self.drift[at + 1] - self.drift[at - 1]) / (self.e[at + 1] - self.e[at - 1])
        return out

    def trimmed(self, lam: float = 1.0) -> Transfer:
        """Return the neuron with two numbers set: of the noise's power (so that g is 1) and of lam, as means of both signs."""
        gains = self.gains()
        g, prior = float(np.mean(gains["gate"])), float(np.mean(gains["lam"])) / lam
        return replace(self, drift=(self.drift - self.at_rest) / g + self.at_rest / prior)

    def force(self, u: Array, e: Array) -> Array:
        """Return the drift at points (u, e): linear between the levels of e, and beyond the outermost."""
        levels = np.stack([np.interp(u, self.u, row) for row in self.drift])
        left = np.clip(np.searchsorted(self.e, e) - 1, 0, len(self.e) - 2)
        part = (e - self.e[left]) / (self.e[left + 1] - self.e[left])
        at = np.arange(len(u))
        out: Array = levels[left, at] * (1 - part) + levels[left + 1, at] * part
        return out


def transfer(measured: Measured, *, volt: float, unit: float, unit_e: float, width: float, neuron: int = 0) -> Transfer:
    """Return a neuron's tables from a staircase.

    Parameters
    ----------
    measured : Measured
    volt : float
        Volt per unit of u.
    unit, unit_e : float
        Ampere per unit of s, and of e and of the drift.
    width : float
        I0 over the unit current.
    neuron : int
    """
    return Transfer(
        measured.u / volt,
        measured.e / unit_e,
        measured.drift[neuron] / unit_e,
        measured.code[neuron, 0] / unit,
        width,
    )


@dataclass(frozen=True)
class Statistics:
    """P(active), mean and standard deviation of s."""

    active: float
    mean: float
    sd: float


def posterior(neuron: Transfer, x: float, gain: float) -> Statistics:
    """Return what a neuron with G = ``gain`` samples at the input x (least-squares code, s units)."""
    u = np.linspace(neuron.u[0], neuron.u[-1], POINTS)
    s = np.interp(u, neuron.u, neuron.code)
    return _statistics(neuron.force(u, gain * (s - x)), u, s, s > neuron.width)


def exact(x: float, gain: float, *, lam: float = 1.0, u0: float = 1.204) -> Statistics:
    """Return the statistics of the spike-and-slab posterior with G, lam and u0."""
    u = np.linspace(-14, 14, 7 * POINTS)
    s = np.maximum(np.abs(u) - u0, 0)
    gate = np.abs(u) > u0
    return _statistics(-np.sign(u) * (gain * (s - x) * gate + lam), u, s, gate)


def error(neuron: Transfer, gain: float = 4.0, **prior: float) -> float:
    """Return the largest difference of any statistic from the exact posterior, over the inputs `INPUTS`."""
    pairs = ((posterior(neuron, x, gain), exact(x, gain, **prior)) for x in INPUTS)
    return max(max(abs(a.active - b.active), abs(a.mean - b.mean), abs(a.sd - b.sd)) for a, b in pairs)


def _statistics(force: Array, u: Array, s: Array, active: Array) -> Statistics:
    log = np.concatenate([[0.0], np.cumsum((force[1:] + force[:-1]) / 2 * np.diff(u))])
    p = np.exp(log - log.max())
    p /= np.trapezoid(p, u)
    mean = np.trapezoid(s * p, u)
    spread = np.trapezoid((s - mean) ** 2 * p, u)
    return Statistics(float(np.trapezoid(active * p, u)), float(mean), float(spread**0.5))
