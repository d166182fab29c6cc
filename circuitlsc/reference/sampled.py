r"""Posterior statistics of exact samplers, drawn until they are known well enough, in memory that does not grow.

Draws are summed in blocks that are merged two by two as a chain grows, so that there are 32 to 64 of them in each of 8
chains. With b_j the mean of block j,

.. math:: \mathrm{MCSE}^2(\bar v) = \frac{\mathrm{var}(b)}{n_\mathrm{blocks}}, \qquad
          \mathrm{ESS} = \frac{\mathrm{var}(v)}{\mathrm{MCSE}^2}

(at least 1/n_draws for the mass of a state that was never seen) about the mean over all chains, so that chains which stay in
different modes count as the error that they are.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from circuitlsc.errors import ReferenceRefusedError
from circuitlsc.io.arrays import Array
from circuitlsc.model.sparse_coding import SparseCodingModel
from circuitlsc.reference.exact import enumerate_supports, gaussian_statistics, single_latent
from circuitlsc.reference.gibbs import Chains, GibbsChains
from circuitlsc.reference.quadrature import quadrature
from circuitlsc.reference.slice import SliceChains
from circuitlsc.reference.statistics import (
    MAX_SUPPORT_LATENTS,
    PosteriorStatistics,
    residual_power,
    sd_with_mcse,
    shares,
    support_counts,
)

ENUMERATED_LATENTS = 5  # up to here enumeration takes less time than Gibbs sampling to the same accuracy
CHAINS = 8
MOST_BLOCKS = 64  # per chain
BATCH = 2_000  # draws of a chain between two looks at the error, at first; batches grow with the length
WARMUP = 500  # sweeps
SECONDS = 10.0  # if no other time is given
ERROR = 2e-3  # of probabilities, and of mean and sd in slabs, if no other is asked for

Enough = Callable[[PosteriorStatistics], float]


def usual_error(model: SparseCodingModel) -> Enough:
    """Return how many times too large the errors of statistics are, 0.002 being enough (mean and sd: in slabs)."""
    slab = model.prior.slab_scale

    def ratio(found: PosteriorStatistics) -> float:
        errors = [found.p_active_mcse, found.coactive_mcse, found.mean_mcse / slab, found.sd_mcse / slab]
        return max(float(np.max(e)) for e in errors) / ERROR

    return ratio


def exact_statistics(
    model: SparseCodingModel,
    x: ArrayLike,
    *,
    seed: int = 0,
    enough: Enough | None = None,
    seconds: float = SECONDS,
    levels: Array | None = None,
    progress: Callable[[float, float], None] | None = None,
) -> PosteriorStatistics:
    """Return the posterior's statistics by the best method that holds.

    Closed form, enumeration, or Gibbs sampling; for a prior with a smooth cost quadrature, or slice sampling. Samplers go
    on until their errors are small enough or the time is over; look at the errors to know which.

    Parameters
    ----------
    model : SparseCodingModel
        At temperature 1; pass ``model.tempered(T)`` for exp(-E/T).
    x : array, shape (n_features,)
        Observation, in data units.
    seed : int
        Of the Gibbs or slice sampler.
    enough : callable or None
        Takes statistics, returns how many times too large their errors are (1 or less is enough); None is `usual_error`.
    seconds : float
        Time after which sampling ends all the same.
    levels : array, shape (n_latents, n_levels), optional
        Codes whose distribution function is wanted (``below``): always sampled, as closed forms do not have it.
    progress : callable or None
        Called as ``progress(share_done, seconds_left)`` while a sampler draws.
    """
    x, prior, slabs = model.check_x(x), model.prior, model.prior.slab is not None
    if levels is None:
        if prior.linear:
            return gaussian_statistics(model, x)
        try:
            if slabs and model.n_latents <= ENUMERATED_LATENTS:
                return (single_latent if model.n_latents == 1 else enumerate_supports)(model, x)
            if not slabs and model.n_latents <= 2:
                return quadrature(model, x)
        except ReferenceRefusedError:
            pass  # a singular A_S, or integrals that do not converge: the posterior is proper all the same
    kind = GibbsChains if prior.conditionals else SliceChains
    kind(model, x, n_chains=1, seed=seed).draw(
        1
    )  # compiled, on a new machine: no part of the time that drawing may take
    chains: Chains = kind(model, x, n_chains=CHAINS, seed=seed)
    running = RunningStatistics(model, x, "Gibbs sampling" if prior.conditionals else "slice sampling", levels)
    enough, begun, target, warmup = enough or usual_error(model), time.monotonic(), BATCH, WARMUP
    while True:  # how many draws are enough does not depend on how fast they come
        # always as many at a time: what is updated from draw to draw is calculated anew at each start, and rounded
        running.add(chains.draw(BATCH, warmup=warmup))
        warmup, spent = 0, time.monotonic() - begun
        if running.n_draws < target and spent < seconds:
            continue
        found = running.result()
        excess = enough(found)
        if excess <= 1.0 or spent >= seconds:
            return found
        if progress is not None:
            needed = spent * min(excess**2, 1e6)  # errors fall with the root of the length
            progress(spent / max(needed, spent), min(needed, seconds) - spent)
        # towards the end, but no further than a half of what there is, so that the estimate is looked at again
        more = int(running.n_draws * min(max(1.05 * excess**2 - 1, 0.05), 0.5))
        target = running.n_draws + max(BATCH, BATCH * math.ceil(more / BATCH))


class RunningStatistics:
    """Statistics of draws that come in batches.

    Parameters
    ----------
    model, x : SparseCodingModel and array, shape (n_features,)
    method : str
        Who draws.
    levels : array, shape (n_latents, n_levels), or None
        As for `circuitlsc.reference.statistics.summarize`.
    """

    def __init__(self, model: SparseCodingModel, x: Array, method: str, levels: Array | None = None) -> None:
        self._model, self._x, self._method, self._levels = model, x, method, levels
        K = model.n_latents
        self._ends = np.cumsum([K * K, K, K, K, 1])  # of columns: both active, s < 0, s, s^2, residual; then levels
        self._support = np.zeros(2**K, np.int64) if K <= MAX_SUPPORT_LATENTS else None
        self._blocks: list[Array] = []  # sums (n_chains, n_columns) over equally many batches
        self._size = 1  # batches in each
        self._open: Array | None = None  # the block that is not full yet, and its batches
        self._filled = 0
        self.n_draws = 0  # of each chain

    def add(self, draws: Array) -> None:
        """Take codes (n_chains, n, n_latents), n a multiple of 2,000."""
        for first in range(0, draws.shape[1], BATCH):
            sums = self._sums(draws[:, first : first + BATCH])
            self._open = sums if self._open is None else self._open + sums
            self._filled += 1
            self.n_draws += BATCH
            if self._filled == self._size:
                self._blocks.append(self._open)
                self._open, self._filled = None, 0
                if len(self._blocks) == MOST_BLOCKS:
                    self._blocks = [a + b for a, b in zip(self._blocks[::2], self._blocks[1::2], strict=True)]
                    self._size *= 2

    def _sums(self, draws: Array) -> Array:
        sparse = self._model.prior.sparse
        active = draws != 0 if sparse else np.ones(draws.shape, bool)
        if self._support is not None:
            self._support += support_counts(active)
        ones = active.astype(np.float32)  # counts a batch exactly, and fast
        both = (ones.transpose(0, 2, 1) @ ones).reshape(len(draws), -1)
        columns = [both, (draws < 0).sum(1), draws.sum(1), (draws**2).sum(1)]
        columns.append(residual_power(draws, self._model, self._x).sum(1)[:, None])
        if self._levels is not None:
            columns.append((draws[..., None] <= self._levels).sum(1).reshape(len(draws), -1))
        return np.concatenate(columns, axis=1, dtype=float)

    def result(self) -> PosteriorStatistics:
        """Return the statistics so far."""
        blocks = np.array(self._blocks) / (self._size * BATCH)  # (n_blocks, n_chains, n_columns)
        chains = sum(self._blocks, start=np.zeros(blocks.shape[1:])) + (0 if self._open is None else self._open)
        chains = chains / self.n_draws
        count, draws, K = blocks.shape[0] * blocks.shape[1], self.n_draws * len(chains), self._model.n_latents

        def error(apart: Array) -> Array:
            return np.asarray(np.sqrt((apart**2).sum((0, 1)) / (count * max(count - 1, 1))))

        values, errors, parts, of_chains = (
            np.split(numbers, self._ends, axis=-1)
            for numbers in (chains.mean(0), error(blocks - chains.mean(0)), blocks, chains)
        )
        # a state that was never seen, or never left, may still have a mass of this size
        for states in [0] * self._model.prior.sparse + [1] * self._model.prior.signed:
            errors[states][(values[states] == 0) | (values[states] == 1)] = 1.0 / draws
        coactive, coactive_mcse = values[0].reshape(K, K), errors[0].reshape(K, K)
        p, m, square = coactive.diagonal(), values[2], values[3]
        variance = np.maximum(square - m**2, 0.0)
        spread = error(parts[3] - 2 * m * parts[2] - (square - 2 * m**2))  # of the variance, to first order
        ess, rhat = [], [1.0]
        for total, mcse, ends in (
            (p * (1 - p), coactive_mcse.diagonal(), of_chains[0][:, :: K + 1]),
            (variance, errors[2], of_chains[2]),
        ):
            moving = total > 0
            ess += list(total[moving] / mcse[moving] ** 2)
            within = total[moving] - ends.var(0)[moving]
            between = ends.var(0, ddof=1)[moving]
            rhat += list(np.sqrt(1 + between / np.maximum(within, 1e-300)))
        return PosteriorStatistics.of(
            p_active=(p, coactive_mcse.diagonal()),
            mean=(m, errors[2]),
            sd=sd_with_mcse(variance, spread, errors[2]),
            coactive=(coactive, coactive_mcse),
            residual_power=(values[4][0], errors[4][0]),
            p_negative=(values[1], errors[1]),
            below=None
            if self._levels is None
            else (values[5].reshape(self._levels.shape), errors[5].reshape(self._levels.shape)),
            support=None if self._support is None else shares(self._support),
            ess_min=float(min(ess, default=draws)),
            rhat_max=float(max(rhat)),
            n_draws=draws,
            method=self._method,
        )
