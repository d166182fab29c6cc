r"""The law of a run's errors if the sampler is right: what is judged on *runs like this one*, replicated in software.

A standard error that is estimated from a run knows nothing of a mode that the run never saw. Replicate runs of the ideal
Langevin equation (`circuitlsc.reference.replicates`) do: same model, input, length, number of chains, starts, dynamics and
temperature. With :math:`d_{rj}` the error of statistic j in replicate r *about the exact value*,

.. math:: s_j^\pm = \sqrt{2\, \langle \max(\pm d_{rj}, 0)^2 \rangle_r} \; \text{(at least half of the rms)}, \qquad
          M_r = \max_j \frac{|d_{rj}|}{s_j^{\mathrm{sign}(d_{rj})}}

and c the 99 % quantile of M, a run is wrong if its own M exceeds c: one p-value, whatever number, correlation and tails the
statistics have. Replicates give spread and tails, never a centre: a design whose own law is another has no help from them.

Long runs are not replicated in full. From a length L on at which the two halves of a replicate are (nearly) uncorrelated, a run
of length T is as good as n = T/L replicates, drawn among all of them: with v the time averages of a replicate,

.. math:: v(T) = v_\mathrm{exact} + (\bar v - \bar v_\mathrm{late}) \frac LT + \frac1n \sum_{k=1}^{n} (v_{r_k} - \bar v)

and sd follows from the averages of s and s^2. The second term is the error that the start makes, once: late is the second half
of the replicates, which has forgotten it, and whose mean is off by their step's bias alone. Where the halves are correlated,
:math:`v_\mathrm{exact}` stands for it, and a mode that most replicates miss counts as the error that it is.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from circuitlsc.io.arrays import Array
from circuitlsc.model.dynamics import LANGEVIN, Dynamics
from circuitlsc.model.sparse_coding import SparseCodingModel
from circuitlsc.reference.replicates import Replicates, cost_per_tau, kernel_law, replicate_runs
from circuitlsc.reference.slice import slice_sampling
from circuitlsc.reference.statistics import PosteriorStatistics

FEWEST, USUAL, MOST = 200, 400, 1000  # replicates
DRAWN = 1000  # runs that are put together from replicates
NORMAL = 256  # of more replicates than that a sum is normal, tails included
WORK = 1e10  # multiplications that a null takes at first: less than half a second of two processors
MOST_WORK = 4e10  # ... and at most, unless the run itself takes much longer
LONGEST = 60.0  # s of one processor, whatever the run takes
SHARE = 0.2  # of the run's own time that the null may take beyond that
MULTIPLIED = 4e9  # multiplications per second of one processor
COUPLED = 0.25  # correlation of the two halves of a replicate up to which it is long enough to be scaled
DISTINCT_STARTS = 4  # chains that are replicated; those of further prior draws are drawn among the last two
WHOLE = 0.9  # of a run's length: replicates that are as long (but for a block) stand for it as they are
QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)
MIN_TAIL = 5.0  # s^-tail, the density's fall along a direction that the data do not bound: above, sd has an error
_KEPT = 16  # nulls in memory


@dataclass(frozen=True, eq=False)
class Judged:
    """Which statistics are judged, and in which unit: probabilities in 1, mean and sd in ``scale``.

    Attributes
    ----------
    n_latents : int
    sparse, signed : bool
        Of the prior: P(active) and P(both active) are judged if codes can be zero, P(s < 0) if they can be negative.
    quantiles : bool
        P(s <= level) in place of mean and sd, which have no error where the posterior has no fourth moment.
    """

    n_latents: int
    sparse: bool
    signed: bool
    quantiles: bool

    @classmethod
    def of(cls, model: SparseCodingModel, levels: Array | None) -> Judged:
        """Return what is judged of a model."""
        return cls(model.n_latents, model.prior.sparse, model.prior.signed, levels is not None)

    @property
    def names(self) -> list[str]:
        """What a message calls them."""
        latents = range(self.n_latents)
        names = [f"P(active) of latent {k}" for k in latents] if self.sparse else []
        names += [f"P(s < 0) of latent {k}" for k in latents] if self.signed else []
        if self.quantiles:
            names += [f"P(s <= its {100 * q:g} % quantile) of latent {k}" for k in latents for q in QUANTILES]
        else:
            names += [f"{what} of latent {k}" for what in ("mean", "sd") for k in latents]
        if self.sparse:
            names += [f"P(both active) of latents {i} and {j}" for i, j in zip(*self._pairs, strict=True)]
        return names

    def units(self, scale: float) -> Array:
        """Return the unit of each, in its own units."""
        K, q = self.n_latents, len(QUANTILES)
        parts = [np.ones(K * (self.sparse + self.signed)), np.ones(q * K) if self.quantiles else np.full(2 * K, scale)]
        return np.concatenate([*parts, np.ones(len(self._pairs[0]) * self.sparse)])

    @property
    def _pairs(self) -> tuple[NDArray[np.int64], ...]:
        return np.triu_indices(self.n_latents, 1)

    def select(self, found: PosteriorStatistics, suffix: str = "") -> Array:
        """Return the judged statistics (or, with ``"_mcse"``, their errors), shape (n_judged,)."""
        names = ["p_active"] * self.sparse + ["p_negative"] * self.signed
        names += ["below"] if self.quantiles else ["mean", "sd"]
        parts = [np.ravel(getattr(found, name + suffix)) for name in names]
        return np.concatenate([*parts, *([getattr(found, "coactive" + suffix)[self._pairs]] * self.sparse)])

    def of_sums(self, n: float, marginals: Array, pairs: Array, below: Array) -> Array:
        """Return time averages of sums over n draws, (..., 4, n_latents), (..., n_pairs), (..., K, n_levels).

        In the order of the judged statistics, with the average of s^2 in the place of sd.
        """
        active, negative, first, second = np.moveaxis(marginals / n, -2, 0)
        parts = [active] * self.sparse + [negative] * self.signed
        parts += [(below / n).reshape(*below.shape[:-2], -1)] if self.quantiles else [first, second]
        return np.concatenate(parts + [pairs / n] * self.sparse, axis=-1)

    def from_averages(self, averages: Array) -> Array:
        """Return the judged statistics of time averages, (..., n_judged)."""
        return self._changed(averages, lambda square, mean: np.sqrt(np.maximum(square - mean**2, 0.0)))

    def averages(self, judged: Array) -> Array:
        """Return the time averages that judged statistics come from: the inverse of `from_averages`."""
        return self._changed(judged, lambda sd, mean: sd**2 + mean**2)

    def _changed(self, values: Array, second: Callable[[Array, Array], Array]) -> Array:
        """Return values with sd, or the average of s^2, in the place of the other."""
        out, (mean, spread) = values.copy(), self.moments
        if not self.quantiles:
            out[..., spread] = second(values[..., spread], values[..., mean])
        return out

    @property
    def moments(self) -> tuple[slice, slice]:
        """Where mean and sd are."""
        K, before = self.n_latents, self.n_latents * (self.sparse + self.signed)
        return slice(before, before + K), slice(before + K, before + 2 * K)


@dataclass(frozen=True, eq=False)
class Null:
    """Replicates of one kind of run.

    Attributes
    ----------
    judged : Judged
    averages : array, shape (n_runs, n_judged)
        Time averages of each replicate (`Judged.of_sums`), in their own units.
    late : array, shape (n_judged,), or None
        Mean over the second halves of all replicates; None if these have not forgotten their starts.
    length, target : float
        Measured time per chain of a replicate, and of the run that is judged, in tau.
    growth : float
        Factor on the variance of a replicate's errors that its length leaves out (1 if halves are uncorrelated).
    scaled : bool
        Whether runs of the target's length are put together from replicates; if not, and they are shorter, the null is
        conservative.
    blocks : array, shape (2, 2, n_latents)
        Mean over replicates of the variance of block means, of 1(active) and s, and of the draws themselves.
    block : float
        Length of these blocks, in tau.
    never : array, shape (2, n_latents)
        Share of the replicates that never have latent k active, and never have it negative.
    """

    judged: Judged
    averages: Array
    late: Array | None
    length: float
    target: float
    growth: float
    scaled: bool
    blocks: Array
    block: float
    own_ratio: float
    never: Array

    @property
    def n_runs(self) -> int:
        """Replicate runs."""
        return len(self.averages)

    @property
    def mean(self) -> Array:
        """The software SDE's statistics: those of all replicates together, shape (n_judged,)."""
        return self.judged.from_averages(self.averages.mean(0))

    @property
    def mean_se(self) -> Array:
        """Standard errors of `mean`."""
        spread = (self.judged.from_averages(self.averages) - self.mean).std(0, ddof=1)
        return np.asarray(spread / math.sqrt(self.n_runs))

    def deviations(self, exact: Array, target: float | None = None) -> Array:
        """Return the errors about the exact values of runs as long as the target (tau), shape (n, n_judged).

        A target other than the null's own is always scaled to.
        """
        truth, mean = self.judged.averages(exact), self.averages.mean(0)
        long = target or (self.target if self.scaled else self.length)
        share, runs = min(self.length / long, 1.0), self.averages
        n = round(1 / share)
        if n > 1:
            spread = self._normal_sums / math.sqrt(n) if n > NORMAL else _multinomial_weights(n, len(runs)) @ runs
            runs = spread + mean
        growth = self.growth if share < 1 else 1.0
        start = (mean - (truth if self.late is None else self.late)) * share
        runs = truth + start + (runs - mean) * math.sqrt(n * share * growth)
        return np.asarray(self.judged.from_averages(runs) - exact)

    @cached_property
    def _normal_sums(self) -> Array:
        """Sums of many replicates about their mean, over the root of their number, shape (DRAWN, n_judged)."""
        weights = np.random.default_rng(0).standard_normal((DRAWN, self.n_runs)) / math.sqrt(self.n_runs)
        return np.asarray((weights - weights.mean(1, keepdims=True)) @ self.averages)

    def errors(self) -> Array:
        """Return the standard errors of a run as long as the target, about its own mean: shape (n_judged,)."""
        return np.asarray(self.deviations(self.mean).std(0, ddof=1))

    def slowdown(self, marginals: Array, per_block: float) -> float:
        """Return how many times more slowly a run mixes than its replicates; 1 is as fast or faster.

        The variance of the run's block means over that of its draws, against the same of the replicates: the median over
        statistics. ``marginals`` are sums (n_chains, n_blocks, 4, n_latents) over ``per_block`` draws each, in blocks as
        long as ``block`` tau.
        """
        run = _block_variances(marginals[None], per_block)
        return max(1.0, float(_ratio(run, self.blocks)) / self.own_ratio)


def _multinomial_weights(n: int, n_runs: int) -> Array:
    """Return the weights of the mean of n replicates that are drawn among n_runs, less their mean, (DRAWN, n_runs)."""
    weights = _drawn_among(n, n_runs) / n
    return np.asarray(weights - weights.mean(1, keepdims=True))


@lru_cache(maxsize=64)  # verdicts ask for the same ones again and again: 0.8 MB each
def _drawn_among(n: int, n_runs: int) -> NDArray[np.uint16]:
    """Return how often each of n_runs replicates is among n that are drawn, (DRAWN, n_runs)."""
    return np.random.default_rng(0).multinomial(n, np.full(n_runs, 1 / n_runs), size=DRAWN).astype(np.uint16)


def _block_variances(marginals: Array, per_block: float) -> Array:
    """Return the variance of block means about a run's mean, and of its draws: mean over runs, (2, 2, n_latents)."""
    means = marginals[..., [0, 2], :] / per_block  # (run, chain, block, 2, K)
    between = means.reshape(len(means), -1, *means.shape[3:]).var(1)
    p, m = np.moveaxis(means.mean((1, 2)), 1, 0)
    second = marginals[..., 3, :].mean((1, 2)) / per_block
    return np.stack([between.mean(0), np.stack([(p * (1 - p)).mean(0), (second - m**2).mean(0)])])


def _ratio(run: Array, null: Array) -> float:
    """Return the median over statistics of a run's correlation time over that of the null."""
    ok = (run > 1e-300).all(0) & (null > 1e-300).all(0)
    run, null = run[:, ok], null[:, ok]
    return float(np.median(run[0] / run[1] / (null[0] / null[1]))) if ok.any() else 1.0


_nulls: dict[str, Null] = {}


def null_for(
    model: SparseCodingModel,
    x: ArrayLike,
    *,
    starts: Array,
    length: float,
    warmup: float,
    dynamics: Dynamics = LANGEVIN,
    time_scale: float = 1.0,
    levels: Array | None = None,
    seconds: float = 0.0,
    share: float = 1.0,
    seed: int = 0,
    check: Callable[[], None] | None = None,
) -> Null:
    """Return the null of runs from these starts; kept in memory by all that it depends on.

    Parameters
    ----------
    model : SparseCodingModel
        As the circuit realises it, at T = 1.
    x : array, shape (n_features,)
    starts : array, shape (n_chains, n_latents)
        In model units.
    length, warmup : float
        Time that is measured, and dropped before, per chain, in tau.
    dynamics : Dynamics
    time_scale : float
        Time to diffuse over the slab, in tau.
    levels : array, shape (n_latents, n_levels), or None
        Judge the distribution function there in place of mean and sd (`quantile_levels`).
    seconds : float
        What the run itself takes: the null may take a fifth of it, but a minute of one processor at most.
    share : float
        Of the usual work, for one of many nulls.
    seed : int
    check : callable or None
        Called now and then; an error that it raises ends the simulation.
    """
    first, most = share * WORK, max(share * MOST_WORK, min(SHARE * seconds, LONGEST) * MULTIPLIED)
    key = hashlib.sha256()
    for part in (model.A, starts, np.asarray(x, float), np.asarray(levels, float), *kernel_law(model.prior)):
        key.update(np.ascontiguousarray(part).tobytes() + str(np.shape(part)).encode())
    key.update(repr((model.prior, model.sigma, length, warmup, dynamics, time_scale, first, most, seed)).encode())
    name = key.hexdigest()
    if name not in _nulls:
        law = {"warmup": warmup, "dynamics": dynamics, "time_scale": time_scale, "levels": levels, "seed": seed}
        _nulls[name] = _make(model, x, starts, length, (first, most), {**law, "check": check})
    _nulls[name] = _nulls.pop(name)  # the one that was used last is the last
    while len(_nulls) > _KEPT:
        del _nulls[next(iter(_nulls))]
    return _nulls[name]


def _make(
    model: SparseCodingModel,
    x: ArrayLike,
    starts: Array,
    length: float,
    work: tuple[float, float],
    law: dict[str, Any],
) -> Null:
    """Return the null of runs from these starts; ``work`` it takes at first, and at most.

    ``law`` are further arguments of `replicate_runs`.
    """
    first, most = work
    warmup, time_scale, levels, seed = (law[name] for name in ("warmup", "time_scale", "levels", "seed"))
    distinct = min(len(starts), DISTINCT_STARTS)
    per_tau = cost_per_tau(model, law["dynamics"], time_scale) * distinct

    def affordable(work: float, runs: int = FEWEST) -> float:
        return float(max(work / (runs * per_tau) - warmup, 5.0 * time_scale))

    long = min(length, affordable(first, USUAL))
    while True:
        runs = int(np.clip(first / (per_tau * (long + warmup)), FEWEST, MOST))
        found = replicate_runs(model, x, starts=starts[:distinct], n_runs=runs, length=long, **law)
        coupled = _coupled(found)
        longer = min(length, 2 * long, affordable(most))
        if long >= length or coupled <= COUPLED or longer < min(1.3 * long, length):
            break
        long = longer
    return null_of(found, Judged.of(model, levels), len(starts), length, seed)


def null_of(found: Replicates, judged: Judged, chains: int, length: float, seed: int) -> Null:
    """Return the null that replicates make of runs of so many chains, each measured over ``length`` tau."""
    coupled = _coupled(found)
    n_blocks = found.marginals.shape[2]
    n = chains * n_blocks * found.per_block
    # the same chains for all, halves apart: (n_runs, n_chains, 2, ...)
    sums = [_all_chains(part, chains, seed) for part in (_halves(found), found.pairs, found.below)]
    averages = judged.of_sums(n, *(part.sum(1) for part in sums))
    forgets = coupled <= COUPLED
    late = judged.of_sums(n / 2, *(part[:, 1] for part in sums)).mean(0) if forgets else None
    blocks = _block_variances(found.marginals, found.per_block)
    ratios = [_ratio(_block_variances(one[None], found.per_block), blocks) for one in found.marginals]
    own_ratio, block = max(float(np.median(ratios)), 1e-3), found.length / n_blocks
    left_out = max(coupled, 0.0) / (1 + 2 * max(coupled, 0.0))  # x of an exponential: 1 - x of the variance is there
    growth, scaled = 1 / (1 - left_out), forgets and found.length < WHOLE * length
    never = (sums[0].sum(1)[:, :2] == 0).mean(0)
    return Null(judged, averages, late, found.length, length, growth, scaled, blocks, block, own_ratio, never)


def _coupled(found: Replicates) -> float:
    """Return the largest correlation, over statistics, of the two halves of a chain; less its own standard error."""
    halves = _halves(found)
    first, second = np.moveaxis(halves - halves.mean(0), 2, 0)  # each start has a mean of its own
    both, spread = (first * second).sum((0, 1)), np.sqrt((first**2).sum((0, 1)) * (second**2).sum((0, 1)))
    if not (moving := spread > 0).any():
        return 0.0
    return float((both[moving] / spread[moving]).max()) - 1 / math.sqrt(first.shape[0] * first.shape[1])


def _halves(found: Replicates) -> Array:
    """Return the sums over each half of a chain, (n_runs, n_chains, 2, 4, n_latents)."""
    return np.stack([half.sum(2) for half in np.split(found.marginals, 2, axis=2)], axis=2)


def _all_chains(values: Array, chains: int, seed: int) -> Array:
    """Return sums over as many chains as a run has: the further ones are drawn among the replicates of the last two."""
    total = np.asarray(values.sum(1))
    if (more := chains - values.shape[1]) > 0:
        rng = np.random.default_rng([seed, 2])
        pool = np.concatenate(list(values[:, 2:]))
        for _ in range(more):
            total = total + pool[rng.integers(len(pool), size=len(values))]
    return total


def quantile_levels(model: SparseCodingModel, x: ArrayLike) -> Array | None:
    """Return codes at which the posterior's distribution function is judged, (n_latents, 5); None if mean and sd are.

    Only where the prior's tail and a direction that the data do not bound leave the posterior without a fourth moment. The
    levels are near its quantiles (those of a short run of `slice_sampling`); where exactly does not matter.
    """
    far = model.prior.slab_scale * np.array([1e6, 1e8])
    tail = float(np.diff(model.prior.code_cost(far))[0]) / math.log(100)
    # a direction that the data do not bound has two latents at least
    if not 2 * tail <= MIN_TAIL or np.linalg.matrix_rank(model.A) == model.n_latents:
        return None
    s = slice_sampling(model, x, n_sweeps=2000, n_chains=2, seed=0)
    return np.quantile(s.reshape(-1, model.n_latents), QUANTILES, axis=0).T
