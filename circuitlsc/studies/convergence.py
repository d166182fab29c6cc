r"""How fast averages of samples come near exact probabilities: errors against time, and from when on one sampler is better.

.. math:: \mathrm{rms}^2(t) = \Bigl\langle (\hat p_{nk}(t) - p_{nk})^2 \Bigr\rangle_{n, k}, \qquad
          \mathrm{KL}(t) = \Bigl\langle \sum_S \hat p_n(S; t) \log\frac{\hat p_n(S; t)}{p_n(S)} \Bigr\rangle_n

for inputs n, latents k and supports S, with averages over all samples until t. Of m independent samples of a law with
probabilities q the first is :math:`(q - p)^2 + q(1 - q)/m`, and the second KL(q || p) + (number of supports - 1)/(2 m) once
m is large: what falls is the noise of the samples, and what stays is the bias of the law.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import rel_entr

from circuitlsc.io.arrays import Array

MOST_SUPPORT_LATENTS = 10  # above, supports are too many for plug-in divergences
SMALLEST = 1e-12  # of a probability that is exact
RESAMPLES, LEVEL = 1000, 0.95  # of a bootstrap, and what its intervals hold
ENERGIES = 100  # points of a curve against energy

Counts = NDArray[np.int64]
_Bools = NDArray[np.bool_]


def active_shares(on: _Bools, weights: Array | None, counts: Counts) -> Array:
    """Return the (weighted) share of samples in which each latent is active, among the first ones.

    Parameters
    ----------
    on : array, shape (n, K)
        Which latents are active in each sample.
    weights : array, shape (n,), or None
        Of the samples; None counts each once.
    counts : array, shape (T,)
        How many samples; >= 1.

    Returns
    -------
    array, shape (T, K)
    """
    w = np.ones(len(on)) if weights is None else weights
    last = np.asarray(counts) - 1
    return np.asarray(np.cumsum(w[:, None] * on, axis=0)[last] / np.cumsum(w)[last, None])


def support_shares(on: _Bools, weights: Array | None, counts: Counts) -> Array:
    """Return the (weighted) share of each of the 2^K supports among the first samples, shape (T, 2^K); see `active_shares`.

    Bit i of a support's number is latent i.
    """
    n, K = on.shape
    keys, w = on @ (1 << np.arange(K)), np.ones(n) if weights is None else weights
    sums = np.stack([np.bincount(keys[:count], w[:count], 2**K) for count in counts])
    return np.asarray(sums / sums.sum(1, keepdims=True))


def support_divergence(shares: Array, exact: Array) -> Array:
    """Return the plug-in KL(shares || exact) of supports in nats, shape (T,); ``exact`` (2^K,), all > 0."""
    return np.asarray(rel_entr(shares, exact).sum(-1))


def bernoulli_divergence(shares: Array, exact: Array) -> Array:
    """Return the sum over latents of the plug-in KL of each one's activity, nats, shape (T,); ``exact`` (K,), within (0, 1)."""
    return np.asarray((rel_entr(shares, exact) + rel_entr(1 - shares, 1 - exact)).sum(-1))


def smoothed(counted: dict[int, float], n_latents: int, n_draws: int) -> Array:
    """Return exact probabilities of all 2^K supports that are > 0: those of a sampler with half a draw more in each.

    ``n_draws`` is 0 for probabilities that were not sampled.
    """
    p = np.zeros(2**n_latents)
    p[list(counted)] = list(counted.values())
    if n_draws:
        p = (p * n_draws + 0.5) / (n_draws + 0.5 * len(p))
    return np.asarray(np.maximum(p, SMALLEST))


@dataclass(frozen=True)
class Crossing:
    """Where one error meets another: from when on it is below, or how fast its samples must come.

    Attributes
    ----------
    value : float or None
        In the unit of the curves' abscissa, or 1 for a speed; None with ``reason``.
    low, high : float or None
        Ends of the bootstrap's 95 % interval; None for an end at which they do not meet.
    share : float
        Of the bootstrap's resamples in which they meet.
    reason : str or None
    """

    value: float | None
    low: float | None
    high: float | None
    share: float
    reason: str | None


def resampled(n: int, seed: int, resamples: int = RESAMPLES) -> NDArray[np.int64]:
    """Return the numbers of n inputs, drawn with replacement so many times, shape (resamples, n)."""
    return np.random.default_rng([seed, 11]).integers(n, size=(resamples, n))


def interval(samples: Array) -> tuple[Array, Array]:
    """Return both ends of what holds 95 % of a bootstrap's curves (resamples, T), each (T,)."""
    low, high = np.quantile(samples, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return low, high


def crossing_of(x: Array, slow: Array, fast: Array) -> Array:
    """Return from which x on ``slow`` stays below ``fast``, both > 0 and of shape (..., T); inf if it is above at the end.

    Between two points of x logarithms are interpolated; where ``slow`` is below from the beginning, that is x[0].
    """
    tiny = np.finfo(float).tiny
    d = np.log(np.maximum(slow, tiny)) - np.log(np.maximum(fast, tiny))
    above = d > 0
    last = len(x) - 1 - np.argmax(above[..., ::-1], axis=-1)
    before = np.minimum(last, len(x) - 2)[..., None]
    a, b = (np.take_along_axis(d, before + k, -1)[..., 0] for k in (0, 1))
    at = np.log(x)[before[..., 0]]
    share = np.clip(np.divide(a, a - b, out=np.zeros_like(a), where=a > b), 0.0, 1.0)
    between = np.exp(at + (np.log(x)[before[..., 0] + 1] - at) * share)
    return np.where(~above.any(-1), x[0], np.where(above[..., -1], np.inf, between))


def crossing(x: Array, slow: tuple[Array, Array], fast: tuple[Array, Array], within: str) -> Crossing:
    """Return from which x on ``slow`` is better; each is its curve (T,) and its bootstrap (resamples, T).

    ``within`` names the end of x, for the reason.
    """
    found = _met(
        float(crossing_of(x, slow[0], fast[0])),
        crossing_of(x, slow[1], fast[1]),
        f"it is not more accurate at the end ({within})",
    )
    return replace(found, reason="it is more accurate from the first point on") if found.value == x[0] else found


def _met(value: float, many: Array, never: str) -> Crossing:
    """Return a crossing of its value and its bootstrap (resamples,), infinite where there is none, and why there is none."""
    ordered, n = np.sort(many), len(many)
    low, high = ordered[math.floor((1 - LEVEL) / 2 * (n - 1))], ordered[math.ceil((1 + LEVEL) / 2 * (n - 1))]
    first, last = (float(end) if np.isfinite(end) else None for end in (low, high))
    there = math.isfinite(value)
    return Crossing(value if there else None, first, last, float(np.isfinite(many).mean()), None if there else never)


def speed(aim: Array, noise: Array, floor: Array, picked: NDArray[np.int64], within: str) -> Crossing:
    r"""Return how many times as fast samples must come to be as accurate as others.

    .. math:: r = \frac{\langle\mathrm{noise}\rangle}{\langle\mathrm{aim}\rangle - \langle\mathrm{floor}\rangle}

    for the mean square error floor + noise/r of r times as many samples: that of independent ones of a law, and of weighted
    ones to first order in 1/n.

    Parameters
    ----------
    aim : array, shape (n_inputs,)
        Mean square errors of the others.
    noise : array, shape (n_inputs,)
        Mean square errors of samples about what infinitely many say.
    floor : array, shape (n_inputs,)
        What is left of mean square errors of infinitely many.
    picked : array, shape (resamples, n_inputs)
        From `resampled`.
    within : str
        Whose error ``aim`` is, for the reason.
    """

    def at(mean: Callable[[Array], Array]) -> Array:
        left = mean(aim) - mean(floor)
        return np.asarray(np.divide(mean(noise), left, out=np.full_like(left, np.inf), where=left > 0))

    never = f"what is left of infinitely many samples is above {within}"
    return _met(float(at(lambda each: np.atleast_1d(each.mean()))[0]), at(lambda each: each[picked].mean(1)), never)


def against_energy(
    times: Array, watts: tuple[float, float], curves: tuple[tuple[Array, Array], tuple[Array, Array]]
) -> tuple[Array, tuple[tuple[Array, Array], tuple[Array, Array]]] | None:
    """Return energies that two circuits both have reached, and both errors there: logarithms are interpolated.

    Parameters
    ----------
    times : array, shape (T,)
        In seconds.
    watts : tuple of float
        Of the two circuits.
    curves : tuple
        Of each its curve (T,) and its bootstrap (resamples, T).

    Returns
    -------
    tuple or None
        Joule (T',), and the curves; None if they have none in common.
    """
    own = [times * power for power in watts]
    low, high = max(e[0] for e in own), min(e[-1] for e in own)
    if not low < high:
        return None
    energies = np.geomspace(low, high, ENERGIES)

    def at(energy: Array, errors: Array) -> Array:
        place = np.interp(np.log(energies), np.log(energy), np.arange(len(energy)))
        below = np.minimum(place.astype(int), len(energy) - 2)
        logs = np.log(np.maximum(errors, np.finfo(float).tiny))
        share = place - below
        return np.asarray(np.exp((1 - share) * logs[..., below] + share * logs[..., below + 1]))

    first, second = (tuple(at(e, part) for part in curve) for e, curve in zip(own, curves, strict=True))
    return energies, ((first[0], first[1]), (second[0], second[1]))
