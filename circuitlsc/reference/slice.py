r"""Slice sampling of the posterior p(s | x) for a prior of any smooth cost: exact, whatever C is.

.. math:: p(s \mid x) \propto \exp\Bigl(-\tfrac12 s^T G s + b^T s - \sum_i C(s_i)\Bigr), \quad
          G = A^T A / \sigma^2, \quad b = A^T x / \sigma^2

Neal 2003, doi:10.1214/aos/1056562461: a level is drawn below the density, an interval around the state is stepped out and
shrunk until a point above the level is found. A sweep does so along every coordinate, and along a few eigenvectors of G, on
which correlated latents move together. The width of the first interval is drawn anew each time, from the likelihood's to
the prior's, so that separate modes on a line are found. Nothing is approximated but the cost between the knots of a fine table
(to 1e-5) and the length of the chain.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from circuitlsc.errors import ReferenceRefusedError
from circuitlsc.io.arrays import Array
from circuitlsc.io.compiled import compiled
from circuitlsc.model.prior import Prior
from circuitlsc.model.sparse_coding import SparseCodingModel
from circuitlsc.reference.gibbs import Chains, Rng, check_run

_FAR = 1e6  # slabs that the table of the cost covers; beyond, it goes on linearly in log(s)
_FINE = 0.02  # slabs: below, the table's knots are evenly spaced, above evenly in log(s)
_KNOTS = 1 << 17
_ERROR = 1e-5  # of 1 + C: largest error of the table
_STEPS_OUT = 50  # of an interval, at most
_EIGENVECTORS = 4  # moves along eigenvectors per sweep
_REFRESH = 1024  # sweeps between recomputations of b - G s, so that rounding errors cannot add up


class _Costs(NamedTuple):
    """The cost against asinh(abs(s)/fine), evenly spaced by 1/inverse; row 1 is s < 0, if there is one."""

    values: Array
    fine: float
    inverse: float


class _Lines(NamedTuple):
    """What the kernels need of a model and an observation; first rows of ``widths`` for coordinates, then eigenvectors."""

    G: Array
    b: Array
    vectors: Array  # eigenvectors in rows
    rates: Array  # ... and eigenvalues
    widths: Array  # (2 n_latents, 2): narrowest and widest first interval
    signed: bool


def slice_sampling(
    model: SparseCodingModel,
    x: ArrayLike,
    *,
    n_sweeps: int,
    n_chains: int = 4,
    seed: int,
    warmup: int = 500,
    thin: int = 1,
) -> Array:
    r"""Draw codes from the exact posterior p(s | x) under a prior without a spike.

    Parameters
    ----------
    model : SparseCodingModel
        The model, at temperature 1; pass ``model.tempered(T)`` for exp(-E/T).
    x : array, shape (n_features,)
        Observation, in data units.
    n_sweeps : int
        Sweeps per chain after the warm-up.
    n_chains : int
        Independent chains, started overdispersed: at zero, at the ridge code, the others at draws from the prior (cut at 50
        slabs).
    seed : int
        Seed >= 0; chain c uses ``SeedSequence([seed, c])``, so a chain does not depend on how many there are.
    warmup : int
        Sweeps thrown away at the start of each chain.
    thin : int
        Keep every thin-th sweep.

    Returns
    -------
    array, shape (n_chains, n_sweeps // thin, n_latents)
        Codes s, in model units.

    Raises
    ------
    InputError
        If x does not fit the model, or a count is out of range.
    ReferenceRefusedError
        If codes can be exactly zero, or the cost has features that a table does not hold.

    Notes
    -----
    The draws are correlated: judge them by R-hat and effective sample size. A sweep takes about 10 evaluations of the cost
    for each latent, and 40 for those along eigenvectors.
    """
    check_run("slice_sampling", n_sweeps, n_chains, seed, warmup, thin)
    if model.prior.sparse:
        raise ReferenceRefusedError(
            f"slice_sampling: under the prior {model.prior!r} codes can be exactly zero, which no density describes. Use gibbs."
        )
    return SliceChains(model, x, n_chains=n_chains, seed=seed).draw(n_sweeps // thin, thin=thin, warmup=warmup)


class SliceChains(Chains):
    """Chains of `slice_sampling`; arguments as there, where they are checked."""

    def __init__(self, model: SparseCodingModel, x: ArrayLike, *, n_chains: int, seed: int) -> None:
        costs = _tabulate(model.prior)
        super().__init__(model, x, n_chains=n_chains, seed=seed)
        slab, (rates, vectors) = model.prior.slab_scale, np.linalg.eigh(self._G)
        rates, vectors = np.maximum(rates, 0.0), np.ascontiguousarray(vectors.T)
        precision = np.concatenate([np.diag(self._G), rates]) + 1.0 / slab**2
        narrow = 1.0 / np.sqrt(precision)
        asked = np.abs(np.concatenate([self._b, vectors @ self._b])) / precision
        widths = np.stack([narrow, np.maximum(_span(model.prior), asked) + 5 * narrow], axis=1)
        lines = _Lines(self._G, self._b, vectors, rates, widths, model.prior.signed)
        self._run = lambda c, *run: _chain(self._rngs[c], costs, lines, self._states[c], *run)


def _tabulate(prior: Prior) -> _Costs:
    """Tabulate the cost, finer until it is right half way between the knots."""
    fine, far = _FINE * prior.slab_scale, math.asinh(_FAR / _FINE)
    signs = np.array([[1.0], [-1.0]])[: 2 if prior.signed else 1]
    n = _KNOTS
    while n <= 16 * _KNOTS:
        cost = prior.cost(signs * fine * np.sinh(np.linspace(0, far, 2 * n + 1)))
        knots, between = np.ascontiguousarray(cost[:, ::2]), cost[:, 1::2]
        if (np.abs((knots[:, 1:] + knots[:, :-1]) / 2 - between) <= _ERROR * (1 + np.abs(between))).all():
            return _Costs(knots, fine, n / far)
        n *= 2
    raise ReferenceRefusedError(
        f"slice_sampling: the cost of {prior!r} has features that a table of {n // 2} knots does not hold. Smooth it."
    )


def _span(prior: Prior) -> float:
    """Return how far apart likely codes are, all wells included: where the cost is within 3 of its least."""
    s = prior.slab_scale * np.sinh(np.linspace(0, 20, 4001))
    s = np.concatenate([-s[:0:-1], s]) if prior.signed else s
    cost = prior.cost(s)
    return float(np.ptp(s[cost < cost.min() + 3.0]))


@compiled()
def _cost(costs: _Costs, s: float) -> float:
    """Return C(s): linear between knots, and beyond the last one."""
    values = costs.values[len(costs.values) - 1 if s < 0.0 else 0]
    t = math.asinh(abs(s) / costs.fine) * costs.inverse
    k = min(int(t), len(values) - 2)
    return float(values[k] + (t - k) * (values[k + 1] - values[k]))


@compiled()
def _on_line(costs: _Costs, s: Array, v: Array, first: int, last: int, t: float) -> float:
    """Return the sum of C(s + t v) over the latents first .. last - 1."""
    total = 0.0
    for i in range(first, last):
        total += _cost(costs, s[i] + t * v[i])
    return total


@compiled()
def _move(
    rng: Rng,
    costs: _Costs,
    s: Array,
    v: Array,
    first: int,
    last: int,
    rate: float,
    pull: float,
    low: float,
    high: float,
    widths: Array,
) -> float:
    """Draw t from exp(-rate t^2/2 + pull t - sum C(s + t v)), low <= t <= high, by a slice through t = 0."""
    level = _on_line(costs, s, v, first, last, 0.0) + rng.standard_exponential()
    width = float(widths[0] * (widths[1] / widths[0]) ** rng.random())
    left = -width * rng.random()
    right = left + width
    to_left = int(_STEPS_OUT * rng.random())
    to_right = _STEPS_OUT - 1 - to_left
    while to_left > 0 and left > low:
        if 0.5 * rate * left * left - pull * left + _on_line(costs, s, v, first, last, left) >= level:
            break
        left -= width
        to_left -= 1
    while to_right > 0 and right < high:
        if 0.5 * rate * right * right - pull * right + _on_line(costs, s, v, first, last, right) >= level:
            break
        right += width
        to_right -= 1
    left, right = max(left, low), min(right, high)
    while True:
        t = left + rng.random() * (right - left)
        if 0.5 * rate * t * t - pull * t + _on_line(costs, s, v, first, last, t) < level:
            return t
        if t < 0.0:
            left = t
        else:
            right = t
        if right - left < 1e-300:  # nothing but the state itself is left, to rounding
            return 0.0


@compiled()
def _chain(rng: Rng, costs: _Costs, lines: _Lines, s: Array, warmup: int, thin: int, out: Array) -> None:
    """Run one chain from s."""
    n = len(s)
    along = np.ones(n)
    field = np.empty(n)  # b - G s
    signed = lines.signed
    for sweep in range(warmup + thin * len(out)):
        if sweep % _REFRESH == 0:
            field[:] = lines.b - lines.G @ s
        for i in range(n):
            low = -math.inf if signed else -s[i]
            t = _move(rng, costs, s, along, i, i + 1, lines.G[i, i], field[i], low, math.inf, lines.widths[i])
            s[i] = s[i] + t if signed else max(s[i] + t, 0.0)
            for k in range(n):
                field[k] -= lines.G[i, k] * t
        for _ in range(min(n, _EIGENVECTORS) if n > 1 else 0):
            j = int(n * rng.random())
            v = lines.vectors[j]
            low, high, pull = -math.inf, math.inf, 0.0
            for i in range(n):
                pull += field[i] * v[i]
                if not signed and v[i] > 0.0:
                    low = max(low, -s[i] / v[i])
                elif not signed and v[i] < 0.0:
                    high = min(high, -s[i] / v[i])
            t = _move(rng, costs, s, v, 0, n, lines.rates[j], pull, low, high, lines.widths[n + j])
            for i in range(n):
                s[i] = s[i] + t * v[i] if signed else max(s[i] + t * v[i], 0.0)
                field[i] -= t * lines.rates[j] * v[i]
        done = sweep + 1 - warmup
        if done > 0 and done % thin == 0:
            out[done // thin - 1] = s
