r"""Exact Gibbs sampling of the posterior p(s | x): the reference that no step size or circuit touches.

.. math:: p(s \mid x) \propto e^{-s^T G s / 2 + b^T s} \prod_i p(s_i), \quad
          G = A^T A / \sigma^2, \quad b = A^T x / \sigma^2

Model and priors: Fang et al. 2022, doi:10.1162/neco_a_01505, sections 2 and 3.1. A sweep draws every s_i from
its conditional (zero, or a truncated normal). Two exact additions make it mix where one latent at a time does
not: Metropolis moves of two overlapping atoms, and replica exchange with softer copies of the likelihood. Nothing
is approximated but the length of the chain.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from circuitlsc.errors import ReferenceRefusedError
from circuitlsc.io.arrays import Array, check_count
from circuitlsc.io.compiled import compiled, side_by_side
from circuitlsc.model.prior import Slab
from circuitlsc.model.sparse_coding import SparseCodingModel

_SQRT_HALF = math.sqrt(0.5)
_HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)
_REFRESH = 1024  # sweeps between recomputations of b - G s, so that rounding errors cannot add up
_COUPLED = 0.1  # pairs of atoms with a smaller cosine mix well enough one latent at a time
_SOFTEST = 4.0  # (slab scale * norm of an atom / sigma)^2 at which the posterior has no separate modes (measured)
_RUNG = 0.7  # ratio of neighbouring temperatures, in logarithms: half of the exchanges or so are accepted
_FARTHEST = 50.0  # slabs: where a chain may start
_MAX_LATENTS_TEMPERED = 64  # above, a ladder needs so many rungs that R-hat must judge the plain chain

Rng = np.random.Generator


class _Target(NamedTuple):
    """What the compiled kernels need of a model and an observation."""

    G: Array
    b: Array
    pi: float
    lam: float
    slab: float  # density of the slab at 0+
    signed: bool
    pairs: NDArray[np.int64]  # overlapping atoms, (n_pairs, 2)
    cumulative: Array  # ... and their cumulative probabilities, (n_pairs,)
    n_moves: int  # two-latent moves per sweep


def gibbs(
    model: SparseCodingModel,
    x: ArrayLike,
    *,
    n_sweeps: int,
    n_chains: int = 4,
    seed: int,
    warmup: int = 500,
    thin: int = 1,
    n_rungs: int | None = None,
) -> Array:
    r"""Draw codes from the exact posterior p(s | x).

    .. math:: p(s_i \mid s_{-i}, x) \propto p(s_i)\, e^{-g s_i^2/2 + h s_i}, \quad g = G_{ii}, \quad
              h = b_i - \textstyle\sum_{j \neq i} G_{ij} s_j

    Parameters
    ----------
    model : SparseCodingModel
        The model, at temperature 1; pass ``model.tempered(T)`` for exp(-E/T).
    x : array, shape (n_features,)
        Observation, in data units.
    n_sweeps : int
        Sweeps per chain after the warm-up; one sweep draws every latent once.
    n_chains : int
        Independent chains, started overdispersed: at zero, at the ridge code with every latent on, the others
        at draws from the prior.
    seed : int
        Seed >= 0; chain c uses ``SeedSequence([seed, c])``, so a chain does not depend on how many there are.
    warmup : int
        Sweeps thrown away at the start of each chain.
    thin : int
        Keep every thin-th sweep.
    n_rungs : int, optional
        Copies of the chain, the r-th with its likelihood to the power beta_r, 1 = beta_0 > beta_1 > ..., that
        exchange their states. By default as many as sigma calls for (1 for the softest), or 1 above 64 latents.

    Returns
    -------
    array, shape (n_chains, n_sweeps // thin, n_latents)
        Codes s, in model units; an inactive latent is exactly 0.

    Raises
    ------
    InputError
        If x does not fit the model, or a count is out of range.
    ReferenceRefusedError
        If the prior is of a kind whose conditionals are not known here.

    Notes
    -----
    The draws are correlated: judge them by R-hat and effective sample size. A sweep costs O(n_latents) per latent
    that changes, times the number of rungs.

    References
    ----------
    Fang et al. 2022, doi:10.1162/neco_a_01505, section 3.1. Truncated normals: Robert 1995,
    doi:10.1007/BF00143942. Replica exchange: Hukushima and Nemoto 1996, doi:10.1143/JPSJ.65.1604.
    """
    check_run("gibbs", n_sweeps, n_chains, seed, warmup, thin)
    check_count("gibbs: n_rungs", 1 if n_rungs is None else n_rungs, 1)
    if not model.prior.conditionals:
        raise ReferenceRefusedError(
            f"gibbs: the prior {model.prior!r} has no known conditional draw. Use SpikeSlab, Laplace or Gaussian."
        )
    chains = GibbsChains(model, x, n_chains=n_chains, seed=seed, n_rungs=n_rungs)
    return chains.draw(n_sweeps // thin, thin=thin, warmup=warmup)


def sweep_rows(model: SparseCodingModel, X: Array, s: Array, rng: Rng) -> None:
    """Draw every latent of every row's code once, in place: a sweep of p(s | x) with s as it is.

    Parameters
    ----------
    model : SparseCodingModel
        With a spike-and-slab or a Laplace prior; it may differ from call to call.
    X : array, shape (n, n_features)
        Observations, in data units.
    s : array, shape (n, n_latents)
        Codes, in model units.
    rng : Generator

    Raises
    ------
    ReferenceRefusedError
        If the prior has no slab.
    """
    if (slab := model.prior.slab) is None:
        raise ReferenceRefusedError(f"sweep_rows: the prior {model.prior!r} has no slab. Use SpikeSlab or Laplace.")
    drives = np.ascontiguousarray(model.drives(X))
    target = _target(slab, np.ascontiguousarray(model.gram), drives[0], signed=model.prior.signed)
    _sweep_rows(rng, target, drives, s)


def check_run(caller: str, n_sweeps: int, n_chains: int, seed: int, warmup: int, thin: int) -> None:
    """Raise InputError if a number of an exact sampler's run is out of range."""
    least = {"n_chains": (n_chains, 1), "seed": (seed, 0), "warmup": (warmup, 0), "thin": (thin, 1)}
    for name, (value, lowest) in least.items():
        check_count(f"{caller}: {name}", value, lowest, kept=name != "seed")
    check_count(f"{caller}: n_sweeps", n_sweeps, thin)


class Chains:
    """Chains of an exact sampler that go on where they stopped.

    Parameters
    ----------
    model : SparseCodingModel
    x : array, shape (n_features,)
    n_chains, seed : int
        Chain c uses ``SeedSequence([seed, c])``.
    """

    #: Advance chain c: ``warmup`` sweeps, then a row of the given array every ``thin`` sweeps.
    _run: Callable[[int, int, int, Array], None]

    def __init__(self, model: SparseCodingModel, x: ArrayLike, *, n_chains: int, seed: int) -> None:
        self._K, self._G, self._b = model.n_latents, np.ascontiguousarray(model.gram), model.drive(x)
        self._rngs = [np.random.default_rng(np.random.SeedSequence([seed, c])) for c in range(n_chains)]
        self._states = [_start(model, self._G, self._b, c, rng) for c, rng in enumerate(self._rngs)]

    def draw(self, n: int, *, thin: int = 1, warmup: int = 0) -> Array:
        """Return the next n draws of each chain, ``thin`` sweeps apart, shape (n_chains, n, n_latents)."""
        out = np.empty((len(self._states), n, self._K))
        side_by_side(lambda c: self._run(c, warmup, thin, out[c]), len(out))
        return out


class GibbsChains(Chains):
    """Chains of `gibbs`; arguments as there, where they are checked."""

    def __init__(
        self, model: SparseCodingModel, x: ArrayLike, *, n_chains: int, seed: int, n_rungs: int | None = None
    ) -> None:
        super().__init__(model, x, n_chains=n_chains, seed=seed)
        G, b, slab, precision = self._G, self._b, model.prior.slab, model.prior.stiffness
        if slab is None:
            self._run = lambda c, *run: _gaussian_chain(self._rngs[c], G, b, self._states[c], precision, *run)
        else:
            beta, target = _ladder(model, n_rungs), _target(slab, G, b, signed=model.prior.signed)
            self._states = [np.tile(start, (len(beta), 1)) for start in self._states]
            self._run = lambda c, *run: _sparse_chain(self._rngs[c], target, beta, self._states[c], *run)


def _start(model: SparseCodingModel, G: Array, b: Array, chain: int, rng: Rng) -> Array:
    """Return where a chain starts, shape (n_latents,); overdispersed, so that R-hat can see a stuck chain."""
    scale = model.prior.slab_scale
    if chain == 0:
        return np.zeros(model.n_latents)
    if chain == 1:
        ridge = np.linalg.solve(G + np.eye(model.n_latents) / scale**2, b)
        return np.asarray(ridge if model.prior.signed else np.maximum(ridge, 0.1 * scale))
    return np.clip(model.prior.draw((model.n_latents,), rng), -_FARTHEST * scale, _FARTHEST * scale)


def _ladder(model: SparseCodingModel, n_rungs: int | None) -> Array:
    """Return the powers of the likelihood, from 1 down to where the modes of the posterior have merged."""
    strength = float(np.diag(model.gram).max()) * model.prior.slab_scale**2
    span = max(0.0, math.log(strength / _SOFTEST))
    if n_rungs is None:
        n_rungs = 1 + math.ceil(span / _RUNG) if model.n_latents <= _MAX_LATENTS_TEMPERED else 1
    return np.exp(-span * np.arange(n_rungs) / max(1, n_rungs - 1))


def _target(slab: Slab, G: Array, b: Array, *, signed: bool) -> _Target:
    """Gather what the kernels need, with the table of overlapping atoms.

    A pair of cosine c costs single-latent Gibbs about 1/(1 - c^2) sweeps, so pairs are drawn in that proportion.
    The table depends on the model alone, never on the state: that keeps the two-latent moves exact.
    """
    norm = np.sqrt(np.diag(G))
    cosine = np.clip(G / np.outer(norm, norm), -1.0, 1.0)
    i, j = np.nonzero(np.triu(np.abs(cosine) > _COUPLED, 1))
    weight = cosine[i, j] ** 2 / (1.01 - cosine[i, j] ** 2)
    return _Target(
        G=G,
        b=b,
        pi=slab.pi,
        lam=slab.lam,
        slab=slab.lam / 2.0 if signed else slab.lam,
        signed=signed,
        pairs=np.stack([i, j], axis=1).astype(np.int64),
        cumulative=np.cumsum(weight) / max(weight.sum(), 1e-300),
        n_moves=max(1, len(G) // 4) if len(i) else 0,
    )


@compiled()
def _log_slab_mass(a: float) -> float:
    """Return a^2/2 + log Phi(a), the log mass of a slab whose unit-variance mean is a, for any finite a."""
    if a > -25.0:
        return 0.5 * a * a + math.log(0.5 * math.erfc(-a * _SQRT_HALF))
    y = 1.0 / (a * a)  # Mills' ratio; the first term left out is below 1e-11
    series = math.log1p(-y * (1.0 - 3.0 * y * (1.0 - 5.0 * y * (1.0 - 7.0 * y))))
    return series - math.log(-a) - _HALF_LOG_2PI


@compiled()
def _tail_excess(rng: Rng, alpha: float) -> float:
    """Draw z - alpha > 0 for z ~ N(0, 1) given z > alpha (Robert 1995); no digits cancel in the far tail."""
    if alpha <= 0.0:
        while True:
            z = rng.standard_normal()
            if z > alpha:
                return z - alpha
    rate = 0.5 * (alpha + math.sqrt(alpha * alpha + 4.0))
    while True:
        excess = rng.standard_exponential() / rate
        if rng.standard_exponential() > 0.5 * (alpha + excess - rate) ** 2:
            return excess


@compiled()
def _draw_latent(rng: Rng, h: float, g: float, lam: float, log_odds: float, signed: bool) -> float:
    """Draw s from p(s) exp(-g s^2/2 + h s); log_odds = log(pi slab / (1 - pi)), +inf without a spike."""
    root = math.sqrt(g)
    above = (h - lam) / root
    spike = not math.isinf(log_odds)
    if not signed:
        if spike:
            log_w = log_odds + _HALF_LOG_2PI - math.log(root) + _log_slab_mass(above)
            if rng.random() * (1.0 + math.exp(-log_w)) >= 1.0:
                return 0.0
        return _tail_excess(rng, -above) / root
    below = (-h - lam) / root
    log_above, log_below = _log_slab_mass(above), _log_slab_mass(below)
    log_zero = math.log(root) - _HALF_LOG_2PI - log_odds if spike else -math.inf
    top = max(log_above, log_below, log_zero)
    w_above, w_below = math.exp(log_above - top), math.exp(log_below - top)
    pick = rng.random() * (w_above + w_below + math.exp(log_zero - top))
    if pick < w_above:
        return _tail_excess(rng, -above) / root
    if pick < w_above + w_below:
        return -_tail_excess(rng, -below) / root
    return 0.0


@compiled()
def _shared(rng: Rng, target: _Target, total: float, ni: float, nj: float) -> tuple[float, float]:
    """Propose a split of ni si + nj sj = total (si, sj >= 0): all on i, all on j, or uniform between them."""
    off_j, off_i = (1.0 - target.pi) / ni, (1.0 - target.pi) / nj
    pick = rng.random() * (off_j + off_i + target.pi * target.slab * total / (ni * nj))
    if pick < off_j:
        return total / ni, 0.0
    if pick < off_j + off_i:
        return 0.0, total / nj
    t = rng.random() * total
    return t / ni, (total - t) / nj


@compiled()
def _cancelled(rng: Rng, target: _Target, excess: float, ni: float, nj: float) -> tuple[float, float]:
    """Draw (si, sj) from the prior at fixed ni si - nj sj = excess > 0: the smaller is zero or exponential."""
    off = (1.0 - target.pi) / ni
    on = target.pi * target.slab / (target.lam * (ni + nj))
    t = 0.0
    if rng.random() * (off + on) >= off:
        t = rng.standard_exponential() * ni * nj / (target.lam * (ni + nj))
    return (excess + t) / ni, t / nj


@compiled()
def _pair_move(rng: Rng, target: _Target, beta: float, field: Array, s: Array, i: int, j: int) -> None:
    """Move latents i and j along a line on which the data hardly tell them apart, by Metropolis.

    Two kinds of line, in sizes scaled by the atoms' norms: the sum is kept (one atom replaces the other, or they
    share), or the difference is kept (the two grow together and cancel). The proposal is the prior on that line,
    with the spike's mass at its ends; exp(-lam abs(s)) is left out of it for the sum, and put into the
    acceptance ratio, which otherwise is the ratio of the likelihoods. So the posterior stays invariant. The
    kind is chosen without looking at the state, and a state on no line of that kind stays put.
    """
    G = target.G
    ni, nj = math.sqrt(G[i, i]), math.sqrt(G[j, j])
    overlap = 1.0 if G[i, j] > 0.0 else -1.0
    share = rng.random() < 0.5 if target.signed else overlap > 0.0
    si, sj = abs(s[i]), abs(s[j])
    agree = s[i] * s[j] * overlap
    if si == 0.0 and sj == 0.0:
        return
    log_ratio = 0.0
    if share:
        if agree < 0.0:
            return
        sign_i = math.copysign(1.0, s[i]) if si > 0.0 else overlap * math.copysign(1.0, s[j])
        sign_j = overlap * sign_i
        ti, tj = _shared(rng, target, ni * si + nj * sj, ni, nj)
        log_ratio = target.lam * (si + sj - ti - tj)
    else:
        excess = ni * si - nj * sj
        if agree > 0.0 or excess == 0.0:
            return
        if excess > 0.0:
            sign_i = math.copysign(1.0, s[i])
            sign_j = -overlap * sign_i
            ti, tj = _cancelled(rng, target, excess, ni, nj)
        else:
            sign_j = math.copysign(1.0, s[j])
            sign_i = -overlap * sign_j
            tj, ti = _cancelled(rng, target, -excess, nj, ni)
    di, dj = sign_i * ti - s[i], sign_j * tj - s[j]
    gain = field[i] * di + field[j] * dj
    gain -= 0.5 * (G[i, i] * di * di + 2.0 * G[i, j] * di * dj + G[j, j] * dj * dj)
    if rng.standard_exponential() > -(log_ratio + beta * gain):
        s[i] = sign_i * ti if ti > 0.0 else 0.0
        s[j] = sign_j * tj if tj > 0.0 else 0.0
        for k in range(len(s)):
            field[k] -= G[i, k] * di + G[j, k] * dj


@compiled()
def _sweep(rng: Rng, target: _Target, beta: float, field: Array, s: Array) -> None:
    """Draw every latent once and try the two-latent moves, with the likelihood to the power beta."""
    G, pi = target.G, target.pi
    log_odds = math.log(pi) + math.log(target.slab) - math.log1p(-pi) if pi < 1.0 else math.inf
    for i in range(len(s)):
        old, g = s[i], G[i, i]
        new = _draw_latent(rng, beta * (field[i] + g * old), beta * g, target.lam, log_odds, target.signed)
        if new != old:
            s[i] = new
            for k in range(len(s)):
                field[k] -= G[i, k] * (new - old)
    for _ in range(target.n_moves):
        pair = min(int(np.searchsorted(target.cumulative, rng.random())), len(target.cumulative) - 1)
        _pair_move(rng, target, beta, field, s, target.pairs[pair, 0], target.pairs[pair, 1])


@compiled()
def _sweep_rows(rng: Rng, target: _Target, drives: Array, s: Array) -> None:
    """Sweep each row of s once, with its own row of drives in place of the target's."""
    for n in range(len(s)):
        _sweep(rng, target, 1.0, drives[n] - target.G @ s[n], s[n])


@compiled()
def _sparse_chain(rng: Rng, target: _Target, beta: Array, s: Array, warmup: int, thin: int, out: Array) -> None:
    """Run one chain of a spike-and-slab prior (Laplace: pi = 1) from s, one row per rung; row 0 goes to out."""
    n_rungs, K = s.shape
    field = np.empty((n_rungs, K))  # b - G s of each rung
    log_likelihood = np.empty(n_rungs)
    for sweep in range(warmup + thin * len(out)):
        for r in range(n_rungs):
            if sweep % _REFRESH == 0:
                field[r] = target.b - target.G @ s[r]
            _sweep(rng, target, beta[r], field[r], s[r])
            log_likelihood[r] = 0.5 * np.sum(s[r] * (target.b + field[r]))
        for r in range(sweep % 2, n_rungs - 1, 2):
            log_ratio = (beta[r] - beta[r + 1]) * (log_likelihood[r + 1] - log_likelihood[r])
            if rng.standard_exponential() > -log_ratio:
                for both in (s, field):
                    both[r], both[r + 1] = both[r + 1].copy(), both[r].copy()
        done = sweep + 1 - warmup
        if done > 0 and done % thin == 0:
            out[done // thin - 1] = s[0]


@compiled()
def _gaussian_chain(
    rng: Rng, G: Array, b: Array, s: Array, precision: float, warmup: int, thin: int, out: Array
) -> None:
    """Run one chain of a Gaussian prior from s: every conditional is normal."""
    for sweep in range(warmup + thin * len(out)):
        for i in range(len(s)):
            p = G[i, i] + precision
            h = b[i] + G[i, i] * s[i] - np.sum(G[i] * s)
            s[i] = h / p + rng.standard_normal() / math.sqrt(p)
        done = sweep + 1 - warmup
        if done > 0 and done % thin == 0:
            out[done // thin - 1] = s
