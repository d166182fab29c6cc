"""The coupled equations of `circuitlsc.learning.learner` in plain NumPy: what the compiled kernel and a circuit must do."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from circuitlsc.io.arrays import Array
from circuitlsc.learning.kernel import Rates


@dataclass(frozen=True, eq=False)
class Parameters:
    """The slow variables.

    Attributes
    ----------
    A : array, shape (D, K)
        Dictionary, in data units per model unit.
    u0 : float
        Threshold, in model units; P(active) is exp(-lam u0).
    lam : float
        Rate of the slab, in 1/(model unit).
    sigma : float
        Noise level, in data units.
    signed : bool
        Whether codes may be negative.
    """

    A: Array
    u0: float
    lam: float
    sigma: float
    signed: bool = False

    @property
    def pi(self) -> float:
        """P(active)."""
        return math.exp(-self.lam * self.u0)

    def code(self, u: Array) -> Array:
        """Return s(u), in model units."""
        size = np.maximum(np.abs(u) - self.u0, 0.0)
        return size * np.sign(u) if self.signed else size


class Drift(NamedTuple):
    """Right-hand sides of the equations, each times its own time constant: u (n, K), A (D, K) and numbers."""

    u: Array
    A: Array
    u0: float
    lam: float
    sigma: float


def drift(p: Parameters, u: Array, x: Array, weights: Array | None = None) -> Drift:
    """Return the drift of every variable; those of the slow ones are means over the rows.

    Parameters
    ----------
    p : Parameters
    u : array, shape (n, K)
        Auxiliary variables, in model units.
    x : array, shape (n, D)
        Inputs, in data units.
    weights : array, shape (n,), optional
        Of the rows in the means, with sum 1; by default all the same.
    """
    w = np.full(len(u), 1.0 / len(u)) if weights is None else weights
    s, on = p.code(u), np.abs(u) > p.u0
    r = s @ p.A.T - x
    e = r @ p.A / p.sigma**2
    gate = on * (1.0 if p.signed else np.sign(u))
    outward = np.sign(u) if p.signed else 1.0
    return Drift(
        u=-(gate * e + p.lam * np.sign(u)),
        A=-(r.T @ (w[:, None] * s)) / p.sigma**2,
        u0=float(w @ np.sum(e * on * outward, 1)),
        lam=float(w @ np.sum(on * (1.0 / p.lam - np.abs(s)), 1)),
        sigma=float(w @ np.sum(r**2, 1) / p.A.shape[0] - p.sigma**2),
    )


def take_step(p: Parameters, u: Array, x: Array, noise: Array, rates: Rates) -> tuple[Parameters, Array]:
    """Take one Euler-Maruyama step of everything at once; with half of the noise before the drift if ``rates.split``.

    Parameters
    ----------
    p : Parameters
    u : array, shape (n, K)
        Auxiliary variables, in model units.
    x : array, shape (n, D)
        Inputs, in data units.
    noise : array, shape (n, K)
        Standard normal deviates.
    rates : Rates
        The step h in tau, the temperature, and h/tau_x of each slow variable.

    Returns
    -------
    Parameters, array (n, K)
        Slow variables and u after the step. u0 stays >= 0 (pi <= 1), and moves with lam such that lam u0, hence pi, is left
        alone by lam's rule.
    """
    kick = math.sqrt(2 * rates.temperature * rates.step) * noise
    before = kick / 2 if rates.split else 0 * kick
    d = drift(p, u + before, x)
    u = u + rates.step * d.u + kick
    A = p.A + rates.A * d.A
    if rates.normalise and rates.A:
        A = A / np.linalg.norm(A, axis=0)
    lam = p.lam + rates.lam * d.lam
    u0 = max(0.0, p.u0 + rates.u0 * d.u0) * p.lam / lam
    return replace(p, A=A, u0=u0, lam=lam, sigma=p.sigma + rates.sigma * d.sigma), u
