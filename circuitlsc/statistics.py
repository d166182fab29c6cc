r"""What is measured on a set of posterior samples: the same code for the circuit, the SDE and Gibbs.

.. math:: P_i = \langle 1(|u_i| > u_0)\rangle,\quad \langle s_i\rangle,\quad
          \mathrm{sd}(s_i),\quad P_{ij} = \langle 1_i 1_j\rangle,\quad \langle |x - A s|^2\rangle

Every number carries its Monte-Carlo standard error (MCSE) from the effective sample size (ESS) that arviz-stats
estimates, so that correlated samples do not pass for independent ones.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from arviz_stats.base import array_stats
from numpy.typing import ArrayLike, NDArray

from circuitlsc.errors import InputError
from circuitlsc.model import SparseCodingModel

Array = NDArray[np.float64]

#: Fewest draws per chain that arviz-stats takes (it splits each chain in two).
MIN_DRAWS = 4
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
_CHUNK, _INFINITE_RHAT = 10_000, 1e6  # a chunk of residuals with 64 features is 5 MB


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

    def __post_init__(self) -> None:
        K = np.size(self.p_active)
        shapes = {"p_active": (K,), "mean": (K,), "sd": (K,), "coactive": (K, K), "residual_power": ()}
        for name, shape in [(n + suffix, shape) for n, shape in shapes.items() for suffix in ("", "_mcse")]:
            value = np.asarray(getattr(self, name), dtype=float)
            if value.shape != shape:
                raise InputError(f"PosteriorStatistics: {name} has shape {value.shape}. Pass shape {shape}.")
            if not np.isfinite(value).all():
                raise InputError(f"PosteriorStatistics: {name} is not finite ({value}). Check the samples.")
            object.__setattr__(self, name, value if shape else float(value))

    @property
    def n_latents(self) -> int:
        """K, the number of latents."""
        return int(self.p_active.shape[0])

    @property
    def sampled(self) -> bool:
        """Whether the numbers come from samples (else they are exact)."""
        return bool(np.isfinite(self.ess_min))


def mean_with_mcse(values: ArrayLike, weights: ArrayLike | None = None) -> tuple[Array, Array]:
    r"""Return the mean over chains and draws, and its Monte-Carlo standard error.

    .. math:: m = \frac{\sum w v}{\sum w}, \qquad
              \mathrm{MCSE}^2 = \frac{\mathrm{var}\bigl(w\,(v - m) / \bar w\bigr)}{\mathrm{ESS}}

    Parameters
    ----------
    values : array, shape (n_chains, n_draws, ...)
        Any function of the samples.
    weights : array, shape (n_chains, n_draws)
        Importance weights, up to a factor; equal if not given.

    Returns
    -------
    mean, mcse : array, shape (...)
        In the units of `values`. A column that never changes has MCSE 0.

    Raises
    ------
    InputError
        If there are fewer than 4 draws per chain, or a value or weight cannot be used.

    Notes
    -----
    The weighted MCSE is the delta method of a ratio: good to O(1/ESS). The ESS is arviz-stats' (Geyer's initial
    monotone sequence on split chains), itself known to about 10 % at ESS 1,000.
    """
    values = np.asarray(values, dtype=float)
    if values.ndim < 2:
        raise InputError(f"values has shape {values.shape}. Pass shape (n_chains, n_draws, ...).")
    _check("values", values)
    flat = values.reshape(*values.shape[:2], -1)
    if weights is None:
        mean = flat.mean((0, 1))
        terms = flat
    else:
        w = np.asarray(weights, dtype=float)
        if w.shape != values.shape[:2]:
            raise InputError(f"weights has shape {w.shape}. Pass one per sample, shape {values.shape[:2]}.")
        _check("weights", w)
        if (w < 0).any() or w.sum() == 0:
            raise InputError("weights must be >= 0, and not all zero. Check how they were made.")
        w = w / w.mean()
        mean = np.einsum("cd,cdk->k", w, flat) / w.size
        terms = w[..., None] * (flat - mean)
    return mean.reshape(values.shape[2:]), _mcse(terms).reshape(values.shape[2:])


def summarize(
    s: ArrayLike, active: ArrayLike, *, model: SparseCodingModel, x: ArrayLike, method: str
) -> PosteriorStatistics:
    """Measure a set of posterior samples.

    Parameters
    ----------
    s, active : array, shape (n_chains, n_draws, n_latents)
        Codes, in model units, and which latents are active (``model.active(u)``).
    model, x : SparseCodingModel and array, shape (n_features,)
        Dictionary and observation, for the residual; data units.
    method : str
        Who made the samples.

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
    """
    s = np.asarray(s, dtype=float)
    active = np.asarray(active, dtype=bool)
    if s.ndim != 3 or s.shape[2] != model.n_latents:
        raise InputError(f"s has shape {s.shape}. Pass shape (n_chains, n_draws, n_latents = {model.n_latents}).")
    if active.shape != s.shape:
        raise InputError(f"active has shape {active.shape}, but s has {s.shape}. Pass model.active(u).")
    _check("s", s)

    p_active, p_active_mcse = mean_with_mcse(active)
    mean, mean_mcse = mean_with_mcse(s)
    squares = (s - mean) ** 2
    variance = squares.mean((0, 1))
    sd = np.sqrt(variance)
    # arviz-stats 0.8 takes the ESS of s for sd, 1.x that of (s - mean)^2: this is the latter for both.
    variance_mcse = _mcse(squares)
    # Second order: the mean's own error lowers the variance, which is all there is where the first order vanishes.
    sd_mcse = np.hypot(variance_mcse, math.sqrt(3) * mean_mcse**2)
    sd_mcse = np.divide(sd_mcse, 2 * sd, out=np.zeros_like(sd), where=sd > 0)

    spreads = ((p_active * (1 - p_active), p_active_mcse), (variance, mean_mcse), (squares.var((0, 1)), variance_mcse))
    ess = np.concatenate([_ess(variance, mcse) for variance, mcse in spreads])
    coactive, coactive_mcse = _coactivation(active, p_active, p_active_mcse)
    power, power_mcse = mean_with_mcse(_residual_power(s, model, x))
    return PosteriorStatistics(
        p_active=p_active,
        mean=mean,
        sd=sd,
        p_active_mcse=p_active_mcse,
        mean_mcse=mean_mcse,
        sd_mcse=sd_mcse,
        coactive=coactive,
        coactive_mcse=coactive_mcse,
        residual_power=float(power),
        residual_power_mcse=float(power_mcse),
        support=_support(active),
        ess_min=float(ess.min()) if np.isfinite(ess).any() else 1.0,
        rhat_max=_rhat_max(s),
        n_draws=s.shape[0] * s.shape[1],
        method=method,
    )


def virial(
    model: SparseCodingModel, u: ArrayLike, x: ArrayLike, *, width: float, temperature: float
) -> tuple[Array, Array]:
    r"""Return the reference-free check of temperature and force, latent by latent.

    .. math:: \langle u_i\, \partial_i E_w(u) \rangle / T = 1

    It follows by parts from the density exp(-E_w/T), whatever A, x and the prior are.

    Parameters
    ----------
    u : array, shape (n_chains, n_draws, n_latents)
        Samples of the auxiliary variable, in model units.
    x : array, shape (n_features,)
        Observation, in data units.
    width, temperature : float
        Comparator width w (model units) and temperature T of the circuit.

    Returns
    -------
    value, mcse : array, shape (n_latents,)
        Dimensionless; 1 is right. It sees a wrong temperature or too long a step, not a mode never visited.

    Raises
    ------
    InputError
        As `mean_with_mcse`, and if u does not fit the model.
    """
    u = np.asarray(u, dtype=float)
    if u.ndim != 3 or u.shape[2] != model.n_latents:
        raise InputError(f"u has shape {u.shape}. Pass shape (n_chains, n_draws, n_latents = {model.n_latents}).")
    product = np.empty_like(u)
    # In pieces: the residual has n_features columns, and a long run would fill the memory with it.
    for start in range(0, u.shape[1], _CHUNK):
        part = np.s_[:, start : start + _CHUNK]
        product[part] = u[part] * model.energy_grad(u[part], x, width) / temperature
    return mean_with_mcse(product)


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


def _check(name: str, values: Array) -> None:
    chains, draws = values.shape[:2]
    if chains < 1 or draws < MIN_DRAWS:
        raise InputError(
            f"{name} has {draws} samples in each of {chains} chains, but a standard error needs at least {MIN_DRAWS} "
            "per chain. Raise t_stop, or lower thin or warmup."
        )
    bad = np.argwhere(~np.isfinite(values))
    if len(bad):
        where = ", ".join(str(int(k)) for k in bad[0])
        raise InputError(
            f"{name}[{where}] = {values[tuple(bad[0])]}, but every sample must be finite ({len(bad)} are not). "
            "The run failed: look at its waveform before measuring it."
        )


def _mcse(values: Array) -> Array:
    """MCSE of the mean of each column of (chain, draw, column); 0 where a column is constant."""
    columns = np.ascontiguousarray(np.moveaxis(values, 2, 0))
    out = np.zeros(len(columns))
    # A constant column's computed variance is rounding, not 0: recognise it by its values.
    moving = columns.min((1, 2)) < columns.max((1, 2))
    if moving.any():
        out[moving] = array_stats.mcse(columns[moving], chain_axis=1, draw_axis=2, method="mean")
    return out


def _ess(variance: Array, mcse: Array) -> Array:
    """ESS = variance / MCSE^2, which spares a second pass of FFTs; inf for a constant column."""
    return np.divide(variance, mcse**2, out=np.full_like(mcse, np.inf), where=mcse > 0)


def _rhat_max(s: Array) -> float:
    if s.shape[0] == 1:
        half = s.shape[1] // 2
        s = np.stack([s[0, :half], s[0, -half:]])
    if s.shape[1] < MIN_DRAWS:
        return float("inf")
    columns = np.ascontiguousarray(np.moveaxis(s, 2, 0))
    moving = columns.min((1, 2)) < columns.max((1, 2))
    if not moving.any():
        return 1.0
    # Chains that each stand still, at different values, divide by a zero or by its rounding: R-hat is infinite.
    with np.errstate(divide="ignore", invalid="ignore"):
        rhat = np.asarray(array_stats.rhat(columns[moving], chain_axis=1, draw_axis=2, method="rank"))
    return float(np.where(rhat < _INFINITE_RHAT, rhat, np.inf).max())


def _coactivation(active: NDArray[np.bool_], p_active: Array, p_active_mcse: Array) -> tuple[Array, Array]:
    K = active.shape[2]
    # float32 counts exactly up to 2^24, and twice as fast.
    flat: NDArray[Any] = active.reshape(-1, K).astype(np.float32 if active.size < 2**24 * K else np.float64)
    coactive = (flat.T @ flat).astype(float) / len(flat)
    np.fill_diagonal(coactive, p_active)
    if K > MAX_ESS_PAIR_LATENTS:
        mcse = _batch_means_pairs(active)
    else:
        mcse = np.zeros((K, K))
        for i in range(K):
            pairs = active[..., i : i + 1] & active[..., i + 1 :]
            if pairs.shape[2]:
                mcse[i, i + 1 :] = mcse[i + 1 :, i] = _mcse(pairs.astype(float))
    np.fill_diagonal(mcse, p_active_mcse)
    return coactive, mcse


def _batch_means_pairs(active: NDArray[np.bool_]) -> Array:
    chains, draws, K = active.shape
    per_chain = min(draws, -(-N_BATCHES // chains))
    length = draws // per_chain
    # The remainder goes from the beginning, where a chain is least stationary.
    batches = active[:, draws - per_chain * length :].reshape(chains * per_chain, length, K).astype(np.float32)
    means = (batches.transpose(0, 2, 1) @ batches).astype(float) / length
    return np.asarray(means.std(0, ddof=1) / np.sqrt(len(means)))


def _residual_power(s: Array, model: SparseCodingModel, x: ArrayLike) -> Array:
    x = model.check_x(x)
    flat = s.reshape(-1, s.shape[2])
    power = np.empty(len(flat))
    for start in range(0, len(flat), _CHUNK):
        r = flat[start : start + _CHUNK] @ model.A.T - x
        power[start : start + _CHUNK] = np.einsum("nd,nd->n", r, r)
    return power.reshape(s.shape[:2])


def _support(active: NDArray[np.bool_]) -> dict[int, float] | None:
    K = active.shape[2]
    if K > MAX_SUPPORT_LATENTS:
        return None
    keys = active.reshape(-1, K) @ (1 << np.arange(K))
    values, counts = np.unique(keys, return_counts=True)
    return {int(key): int(count) / len(keys) for key, count in zip(values, counts, strict=True)}
