r"""Where the likelihood has its maximum, for one bar alone: norm and pi that a learner of bars should find.

An atom of unit norm, seen along itself, is x = s + n with P(s > 0) = pi and s | s > 0 ~ Exp(lam). A model with m copies
of it, each of norm c and active with probability q, has

.. math:: p(x) = \sum_{k=0}^{m} \binom{m}{k} q^k (1-q)^{m-k}\; \mathrm{Gamma}(k, c/\lambda) * N(0, \sigma^2),

and its optimum minimises the cross entropy with the data's density (m = 1, c = 1, q = pi). Fang et al. 2022, section 4.2,
say what one should see, but not these numbers. Other bars, which share a pixel with this one, are left out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.stats import gamma, norm

from circuitlsc.errors import InputError
from circuitlsc.io.arrays import Array

_REACH = 30.0  # of the codes, in units of their scale: e^-30 is beyond it
_POINTS = 1501


@dataclass(frozen=True)
class Optimum:
    """The most likely model of one bar.

    Attributes
    ----------
    pi : float
        P(active) of each copy.
    norm : float
        Norm of each copy, over that of the true atom.
    log_likelihood : float
        Mean log p(x) under it, of a density along the atom.
    """

    pi: float
    norm: float
    log_likelihood: float


def bar_optimum(pi_true: float, lam: float, sigma: float, *, copies: int = 1, pi: float | None = None) -> Optimum:
    """Return the optimum for data of this prior and noise, with pi held at a value or (None) free.

    Parameters
    ----------
    pi_true, lam, sigma : float
        P(active), rate of the slab and noise level of the data, for an atom of unit norm.
    copies : int
        Copies of the atom in the model, >= 1.
    pi : float or None
        P(active) that the model is held at.
    """
    if copies < 1 or not 0 < pi_true < 1 or (pi is not None and not 0 < pi < 1) or min(lam, sigma) <= 0:
        raise InputError(
            f"bar_optimum: pi_true = {pi_true!r}, pi = {pi!r}, lam = {lam!r}, sigma = {sigma!r}, copies = {copies!r}. "
            "Give probabilities in (0, 1), lam and sigma > 0, and at least one copy."
        )
    x = np.arange(-6 * sigma, _REACH / lam / 2, sigma / 8)
    edges = np.linspace(0.0, _REACH / lam, _POINTS)
    s, width = (edges[1:] + edges[:-1]) / 2, edges[1] - edges[0]
    noise, silent = norm.pdf(x[:, None], s, sigma) * width, norm.pdf(x, 0.0, sigma)

    def density(q: float, c: float, m: int) -> Array:
        """Return p(x), by the midpoint rule over the sum of the codes."""
        weights = [math.comb(m, k) * q**k * (1 - q) ** (m - k) for k in range(m + 1)]
        slab = np.sum([weights[k] * gamma.pdf(s, k, scale=c / lam) for k in range(1, m + 1)], 0)
        return np.asarray(weights[0] * silent + noise @ slab)

    weight = density(pi_true, 1.0, 1) * (sigma / 8)

    def cost(v: Array) -> float:
        q = pi if pi is not None else 1 / (1 + math.exp(-v[1]))
        return -float(weight @ np.log(density(q, math.exp(v[0]), copies)))

    first = 1 - (1 - pi_true) ** (1 / copies)  # some copy is active as often as the bar
    start = [0.0] if pi is not None else [0.0, math.log(first / (1 - first))]
    found = minimize(cost, start, method="Nelder-Mead", options={"xatol": 1e-5, "fatol": 1e-10})
    best = pi if pi is not None else float(1 / (1 + math.exp(-found.x[1])))
    return Optimum(best, float(math.exp(found.x[0])), -float(found.fun))
