r"""What is measured on a set of posterior samples: the same code for the circuit, the SDE and Gibbs.

.. math:: P_i = \langle 1(|u_i| > u_0)\rangle,\quad \langle s_i\rangle,\quad
          \mathrm{sd}(s_i),\quad P_{ij} = \langle 1_i 1_j\rangle,\quad \langle |x - A s|^2\rangle

Every number carries its Monte-Carlo standard error (MCSE) from the effective sample size (ESS) that arviz-stats
estimates, so that correlated samples do not pass for independent ones. Samples are arrays, or `Draws` that are read piece
by piece: then nothing here holds a whole run.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from circuitlsc.errors import InputError
from circuitlsc.io.arrays import Array
from circuitlsc.model.smoothing import LOGISTIC, Smoothing
from circuitlsc.model.sparse_coding import SparseCodingModel
from circuitlsc.reference.mcse import largest_rhat
from circuitlsc.reference.mcse import mean_with_mcse as mean_with_mcse
from circuitlsc.sampling.lazy_draws import Draws, Values

#: Largest K for which a distribution over the 2^K supports is tabulated.
MAX_SUPPORT_LATENTS = 20
#: Largest K whose K(K-1)/2 co-activation MCSEs come from the ESS; above it, from batch means.
MAX_ESS_PAIR_LATENTS = 16
#: Batches, over all chains, of the batch-means MCSE (if there are that many draws).
N_BATCHES = 128
#: Effective visits of the rarer state below which `floored_mcse` acts, and below which it trusts no ESS but ess_min.
MIN_VISITS, MIN_VISITS_ESS = 1000.0, 100.0
#: What is measured on each latent.
MARGINALS = ("p_active", "mean", "sd")
LABELS = {"p_active": "P(active)", "mean": "mean of s", "sd": "sd of s"}  # of them, in reports and figures


@dataclass(frozen=True, eq=False)
class PosteriorStatistics:
    """Statistics of one posterior p(s | x), sampled or exact.

    Parameters
    ----------
    p_active, mean, sd : array, shape (n_latents,)
        P(latent active), mean and standard deviation of s_i (spike included), in model units.
    p_active_mcse, mean_mcse, sd_mcse : array, shape (n_latents,)
        Their Monte-Carlo standard errors; 0 for a column that never changed, and for exact references.
    coactive, coactive_mcse : array, shape (n_latents, n_latents)
        P(i and j both active) and its standard error; the diagonal is `p_active`.
    residual_power, residual_power_mcse : float
        E abs(x - A s)^2 and its standard error, in data units squared.
    support : dict of int to float, or None
        Probability of each set of active latents: bit i of the key is latent i. None if it was not tabulated.
    ess_min : float
        Smallest effective sample size over P(active), mean and sd of all latents; inf if exact.
    rhat_max : float
        Largest rank-normalised split R-hat over the latents; 1 if exact, inf if it cannot be estimated.
    n_draws : int
        Samples over all chains; 0 if exact.
    method : str
        Who made the samples, for example ``"circuit"`` or ``"gibbs"``.
    p_negative, p_negative_mcse : array, shape (n_latents,), or None
        P(s_i < 0), which tells the two signs of an active latent apart; None if it was not measured.
    below, below_mcse : array, shape (n_latents, n_levels), or None
        P(s_i <= level) for the given levels: what is judged where means have no finite variance.

    Raises
    ------
    InputError
        If shapes disagree or a statistic is not finite.
    """

    p_active: Array
    mean: Array
    sd: Array
    p_active_mcse: Array
    mean_mcse: Array
    sd_mcse: Array
    coactive: Array
    coactive_mcse: Array
    residual_power: float
    residual_power_mcse: float
    support: dict[int, float] | None
    ess_min: float
    rhat_max: float
    n_draws: int
    method: str
    p_negative: Array | None = None
    p_negative_mcse: Array | None = None
    below: Array | None = None
    below_mcse: Array | None = None

    def __post_init__(self) -> None:
        K = np.size(self.p_active)
        shapes: dict[str, tuple[int, ...]] = {
            "p_active": (K,), "mean": (K,), "sd": (K,), "coactive": (K, K), "residual_power": ()
        }  # fmt: skip
        if self.p_negative is not None:
            shapes["p_negative"] = (K,)
        if self.below is not None:
            shapes["below"] = (K, np.shape(self.below)[-1])
        for name, shape in [(n + suffix, shape) for n, shape in shapes.items() for suffix in ("", "_mcse")]:
            value = np.asarray(getattr(self, name), dtype=float)
            if value.shape != shape:
                raise InputError(f"PosteriorStatistics: {name} has shape {value.shape}. Pass shape {shape}.")
            if not np.isfinite(value).all():
                raise InputError(f"PosteriorStatistics: {name} is not finite ({value}). Check the samples.")
            object.__setattr__(self, name, value if shape else float(value))

    @classmethod
    def of(
        cls,
        *,
        support: dict[int, float] | None,
        method: str,
        ess_min: float,
        rhat_max: float,
        n_draws: int,
        **measured: tuple[Any, Any] | None,
    ) -> PosteriorStatistics:
        """Return statistics of which each is given with its standard error: ``mean=(mean, mean_mcse)`` and so on."""
        pairs = {name: pair for name, pair in measured.items() if pair is not None}
        named = {name: pair[0] for name, pair in pairs.items()} | {f"{n}_mcse": pair[1] for n, pair in pairs.items()}
        return cls(**named, support=support, method=method, ess_min=ess_min, rhat_max=rhat_max, n_draws=n_draws)

    @property
    def n_latents(self) -> int:
        """K, the number of latents."""
        return int(self.p_active.shape[0])

    @property
    def sampled(self) -> bool:
        """Whether the numbers come from samples (else they are exact)."""
        return bool(np.isfinite(self.ess_min))


def summarize(
    s: ArrayLike | Draws,
    active: ArrayLike | Draws,
    *,
    model: SparseCodingModel,
    x: ArrayLike,
    method: str,
    levels: ArrayLike | None = None,
) -> PosteriorStatistics:
    """Measure a set of posterior samples.

    Parameters
    ----------
    s, active : array or Draws, shape (n_chains, n_draws, n_latents)
        Codes, in model units, and which latents are active (``model.active(u)``).
    model, x : SparseCodingModel and array, shape (n_features,)
        Dictionary and observation, for the residual; data units.
    method : str
        Who made the samples.
    levels : array, shape (n_latents, n_levels), optional
        Codes whose distribution function is measured (``below``).

    Raises
    ------
    InputError
        If shapes disagree, a code is not finite, or there are fewer than 4 draws per chain.

    Notes
    -----
    - A column that never changes has MCSE 0 here (see `floored_mcse`) and does not count in `ess_min`. If *nothing*
      ever changes, `ess_min` is 1: such a run shows no mixing at all.
    - The MCSE of sd is that of the variance over 2 sd (delta method, second order).
    - R-hat of a single chain compares its halves (each split again by arviz-stats).
    - Above K = 16 the co-activation MCSE is that of 128 batch means: too small if a batch is not much longer than the
      autocorrelation time, which `ess_min` >= 1,000 rules out.
    - Values, counts and supports are those of every draw. Of `Draws` with more than 131,072 per chain the MCSEs come
      from block means, and R-hat from every m-th draw (`circuitlsc.reference.mcse`).
    """
    s, active = _of_model("s", s, model), Draws.of(active)
    if active.shape != s.shape:
        raise InputError(f"active has shape {active.shape}, but s has {s.shape}. Pass model.active(u).")
    s, x = s.map(lambda v: np.asarray(v, dtype=float)), model.check_x(x)
    active = active.map(lambda v: np.asarray(v, dtype=bool))

    mean, mean_mcse = mean_with_mcse(s, "s")
    p_active, p_active_mcse = mean_with_mcse(active)
    squares = s.map(lambda v: (v - mean) ** 2)
    # arviz-stats 0.8 takes the ESS of s for sd, 1.x that of (s - mean)^2: this is the latter for both.
    variance, variance_mcse = mean_with_mcse(squares)
    spread_of_squares = squares.map(lambda q: (q - variance) ** 2).mean()
    spreads = ((p_active * (1 - p_active), p_active_mcse), (variance, mean_mcse), (spread_of_squares, variance_mcse))
    # ESS = variance / MCSE^2, which spares a second pass of FFTs; inf for a constant column
    ess = np.concatenate([np.divide(v, e**2, out=np.full_like(e, np.inf), where=e > 0) for v, e in spreads])
    at = None if levels is None else np.asarray(levels, dtype=float)
    return PosteriorStatistics.of(
        p_active=(p_active, p_active_mcse),
        mean=(mean, mean_mcse),
        sd=sd_with_mcse(variance, variance_mcse, mean_mcse),
        coactive=_coactivation(active, p_active, p_active_mcse),
        residual_power=mean_with_mcse(_wide(s, model).map(lambda v: residual_power(v, model, x))),
        p_negative=mean_with_mcse(s.map(lambda v: v < 0)),
        below=None if at is None else mean_with_mcse(s.map(lambda v: v[..., None] <= at)),
        support=_support(active),
        ess_min=float(ess.min()) if np.isfinite(ess).any() else 1.0,
        rhat_max=largest_rhat(s),
        n_draws=s.shape[0] * s.shape[1],
        method=method,
    )


def sd_with_mcse(variance: Array, variance_mcse: Array, mean_mcse: Array) -> tuple[Array, Array]:
    """Return the standard deviation and its standard error, from those of variance and mean; each (n_latents,)."""
    sd = np.sqrt(variance)
    # Second order: the mean's own error lowers the variance, which is all there is where the first order vanishes.
    sd_mcse = np.hypot(variance_mcse, math.sqrt(3) * mean_mcse**2)
    return sd, np.divide(sd_mcse, 2 * sd, out=np.zeros_like(sd), where=sd > 0)


def block_sums(s: Draws, active: Draws, n_blocks: int) -> tuple[Array, int]:
    """Return sums over blocks of draws, of active, s < 0, s and s^2, and the draws in each.

    Returns
    -------
    array, shape (n_chains, n_blocks, 4, n_latents)
        In model units; what does not fill the blocks is left out, from the beginning.
    int
    """
    chains, draws, K = s.shape
    length = draws // n_blocks
    first = draws - length * n_blocks
    sums = np.zeros((chains, n_blocks, 4, K))
    for block in range(n_blocks):
        span = (first + block * length, first + (block + 1) * length)
        for codes, on in zip(s.part(*span).pieces(), active.part(*span).pieces(), strict=True):
            sums[:, block] += np.stack([on.sum(1), (codes < 0).sum(1), codes.sum(1), (codes**2).sum(1)], axis=1)
    return sums, length


def virial(
    model: SparseCodingModel,
    u: ArrayLike | Draws,
    x: ArrayLike,
    *,
    width: float,
    temperature: float,
    smoothing: Smoothing = LOGISTIC,
) -> tuple[Array, Array]:
    r"""Return the reference-free check of temperature and force, latent by latent.

    .. math:: \langle u_i\, \partial_i E_w(u) \rangle / T = 1

    It follows by parts from the density exp(-E_w/T), whatever A, x and the prior are.

    Parameters
    ----------
    u : array or Draws, shape (n_chains, n_draws, n_latents)
        Samples of the auxiliary variable, in model units.
    x : array, shape (n_features,)
        Observation, in data units.
    width, temperature : float
        Comparator width w (model units) and temperature T of the circuit.
    smoothing : Smoothing
        What its comparators make of a corner.

    Returns
    -------
    value, mcse : array, shape (n_latents,)
        Dimensionless; 1 is right. It sees a wrong temperature or too long a step, not a mode never visited.

    Raises
    ------
    InputError
        As `mean_with_mcse`, and if u does not fit the model.
    """
    u = _of_model("u", u, model)
    return mean_with_mcse(_wide(u, model).map(lambda v: v * model.energy_grad(v, x, width, smoothing) / temperature))


def floored_mcse(measured: PosteriorStatistics, exact: PosteriorStatistics) -> dict[str, Array]:
    r"""Return the MCSEs of `measured`, at least what the exact moments imply where a state was hardly visited.

    .. math:: P: \sqrt{\frac{p(1-p)}{\mathrm{ESS}_\min}}, \qquad
              \mathrm{mean}: \frac{\mathrm{sd}}{\sqrt{\mathrm{ESS}_i}}, \qquad
              \mathrm{sd}: \frac{1}{2\,\mathrm{sd}} \sqrt{\frac{m_4 - \mathrm{sd}^4}{\mathrm{ESS}_i}}

    A state never visited has no variance, one visited a few times has too little of it: these floors count where the
    rarer state has fewer than 1,000 effective visits. By the names of `MARGINALS`, and ``coactive``.

    Notes
    -----
    Effective visits are ESS_i min(p, 1-p), ESS_i that of the indicator; below 100 visits it is too uncertain, and
    ess_min stands in. m_4 is the fourth central moment of a spike and a Gamma slab with the exact P(active), mean and
    sd: the family holds the exponential and, in the limit, the Gaussian. Without floors, 6 to 35 % of the correct
    samplers with ESS 150 to 1,100 had a z beyond its 1 % limit (exponential slabs); with them, 0.4 % (11,000 runs).
    """
    mcse = {name: np.array(getattr(measured, f"{name}_mcse")) for name in (*MARGINALS, "coactive")}
    if not measured.sampled:
        return mcse
    for name in ("coactive", "p_active"):
        p, q = np.clip(getattr(exact, name), 0, 1), getattr(measured, name)
        own = np.divide(q * (1 - q), mcse[name] ** 2, out=np.full_like(q, measured.ess_min), where=mcse[name] > 0)
        visits = own * np.minimum(p, 1 - p)
        floor = np.sqrt(p * (1 - p) / measured.ess_min)
        mcse[name] = np.where(visits < MIN_VISITS, np.maximum(mcse[name], floor), mcse[name])
    ess = np.where(visits < MIN_VISITS_ESS, measured.ess_min, own)
    rare = (p > 0) & (p < 1) & (exact.sd > 0) & (visits < MIN_VISITS)
    p, mean, sd, ess = p[rare], exact.mean[rare], exact.sd[rare], ess[rare]
    slab_mean = mean / p
    v = np.maximum((sd**2 + mean**2) / p - slab_mean**2, 0.0)
    # A Gamma law with coefficient of variation c has skewness 2 c and kurtosis 3 + 6 c^2; log-concave slabs have c <= 1.
    c = np.minimum(np.sqrt(v) / np.maximum(np.abs(slab_mean), 1e-300), 1.0)
    gap = np.abs(slab_mean - mean)
    m4 = (1 - p) * mean**4 + p * ((3 + 6 * c**2) * v**2 + 8 * c * gap * v**1.5 + 6 * gap**2 * v + gap**4)
    mcse["mean"][rare] = np.maximum(mcse["mean"][rare], sd / np.sqrt(ess))
    mcse["sd"][rare] = np.maximum(mcse["sd"][rare], np.sqrt(np.maximum(m4 - sd**4, 0.0) / ess) / (2 * sd))
    return mcse


def _coactivation(active: Draws, p_active: Array, p_active_mcse: Array) -> tuple[Array, Array]:
    i, j = np.triu_indices(active.shape[2], 1)
    if active.shape[2] > MAX_ESS_PAIR_LATENTS:
        pairs = tuple(full[i, j] for full in _batch_means_pairs(active))
    else:
        pairs = mean_with_mcse(active.map(lambda a: a[..., i] & a[..., j]))
    coactive, mcse = np.diag(p_active), np.diag(p_active_mcse)
    for full, part in zip((coactive, mcse), pairs, strict=True):
        full[i, j] = full[j, i] = part
    return coactive, mcse


def _batch_means_pairs(active: Draws) -> tuple[Array, Array]:
    """Return how often each two latents are both active, and the standard error from means of batches, each (K, K)."""
    chains, draws, K = active.shape
    n_batches = min(draws, -(-N_BATCHES // chains))
    length = draws // n_batches
    sums = np.zeros((chains, 1 + n_batches, K, K))
    for batch in range(1 + n_batches):
        # The remainder goes from the beginning, where a chain is least stationary.
        stop = draws - (n_batches - batch) * length
        for piece in active.part(stop - length if batch else 0, stop).pieces():
            ones = piece.astype(np.float32)  # counts a piece exactly (up to 2^24), and twice as fast
            sums[:, batch] += ones.transpose(0, 2, 1) @ ones
    means = sums[:, 1:].reshape(-1, K, K) / length
    return sums.sum((0, 1)) / (chains * draws), np.asarray(means.std(0, ddof=1) / np.sqrt(len(means)))


def residual_power(s: Array, model: SparseCodingModel, x: Array) -> Array:
    """Return abs(x - A s)^2 of codes (chain, draw, latent), in data units squared; shape (chain, draw)."""
    r = s @ model.A.T - x
    return np.asarray(np.einsum("cnd,cnd->cn", r, r))


def _of_model(name: str, values: ArrayLike | Draws, model: SparseCodingModel) -> Draws:
    """Return draws of codes or states, or raise InputError."""
    draws = Draws.of(values)
    if len(draws.shape) != 3 or draws.shape[2] != model.n_latents:
        raise InputError(
            f"{name} has shape {draws.shape}. Pass shape (n_chains, n_draws, n_latents = {model.n_latents})."
        )
    return draws


def _wide(draws: Draws, model: SparseCodingModel) -> Draws:
    """Return draws that are read in pieces short enough for residuals: n_features may be many times n_latents."""
    return replace(draws, width=max(draws.width or 0, draws.shape[0] * (model.n_latents + model.n_features)))


def support_keys(active: Values) -> NDArray[np.int64]:
    """Return the set of active latents (..., n_latents) as a number: bit i is latent i."""
    return np.asarray(active @ (1 << np.arange(active.shape[-1])), dtype=np.int64)


def support_counts(active: Values) -> NDArray[np.int64]:
    """Return how often each of the 2^K sets of latents is the active one."""
    return np.bincount(support_keys(active).ravel(), minlength=1 << active.shape[-1])


def shares(counts: NDArray[np.int64]) -> dict[int, float]:
    """Return counts that are not 0 as shares of their sum."""
    total = counts.sum()
    return {int(key): int(counts[key]) / int(total) for key in np.flatnonzero(counts)}


def _support(active: Draws) -> dict[int, float] | None:
    if active.shape[2] > MAX_SUPPORT_LATENTS:
        return None
    return shares(reduce(np.add, map(support_counts, active.pieces())))
