r"""Posterior statistics without sampling: closed forms, and the sum over all supports for a few latents.

.. math:: p(S \mid x) \propto (1-\pi)^{K-|S|} (\pi\lambda')^{|S|} \sum_{\epsilon \in \{\pm 1\}^S} Z_{S,\epsilon},
          \quad Z_{S,\epsilon} = \int_{t > 0} e^{-t^T H t / 2 + c^T t}\, dt

with t = eps * s_S, H = A_S^T A_S / sigma^2 between these signs, c = eps * b_S - lam, b = A^T x / sigma^2, and
lam' = lam (lam/2 if signed: only then are there other signs than +). Model and prior: Fang et al. 2022,
doi:10.1162/neco_a_01505, section 3.1.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import erfcx

from circuitlsc.errors import InputError, ReferenceRefusedError
from circuitlsc.model import Array, Gaussian, Laplace, Prior, SparseCodingModel, SpikeSlab
from circuitlsc.reference.orthant import OrthantIntegral, log_slab_mass
from circuitlsc.statistics import MAX_SUPPORT_LATENTS, PosteriorStatistics

_MAX_PATTERNS = 2_200  # as many take about 6 s: K = 11, or K = 7 if signed
_TOLERANCE = 1e-3  # largest accepted error of the means, in units of the slab's scale


def gaussian_posterior(model: SparseCodingModel, x: ArrayLike) -> tuple[Array, Array]:
    r"""Return mean and covariance of p(s | x) under the Gaussian prior, in closed form.

    .. math:: \Sigma = (A^T A/\sigma^2 + I/\mathrm{sd}^2)^{-1}, \qquad m = \Sigma\, A^T x/\sigma^2

    Parameters
    ----------
    model : SparseCodingModel
        A model with a Gaussian prior.
    x : array, shape (n_features,)
        Observation, in data units.

    Returns
    -------
    mean : array, shape (n_latents,)
        In model units.
    cov : array, shape (n_latents, n_latents)
        In model units squared.

    Raises
    ------
    InputError
        If x does not fit the model.
    ReferenceRefusedError
        If the prior is not Gaussian.
    """
    if not isinstance(model.prior, Gaussian):
        raise ReferenceRefusedError(
            f"gaussian_posterior: the prior is {model.prior!r}, but this closed form holds for Gaussian(sd) alone. "
            "Use gibbs, or enumerate_supports for a few latents."
        )
    cov = np.linalg.inv(model.gram + np.eye(model.n_latents) / model.prior.sd**2)
    cov = (cov + cov.T) / 2
    return np.asarray(cov @ model.drive(x)), np.asarray(cov)


def gaussian_statistics(model: SparseCodingModel, x: ArrayLike) -> PosteriorStatistics:
    """Return the posterior statistics under the Gaussian prior; arguments and errors as for `gaussian_posterior`."""
    mean, cov = gaussian_posterior(model, x)
    everything = {(1 << model.n_latents) - 1: 1.0}
    return _exact(model, x, everything, mean, cov + np.outer(mean, mean), "closed form (Gaussian prior)")


def single_latent(model: SparseCodingModel, x: ArrayLike) -> PosteriorStatistics:
    r"""Return the posterior statistics of a model with one latent, in closed form.

    .. math:: \log Z_\pm = \tfrac12 \log\frac{2\pi}{g} + \frac{a_\pm^2}{2} + \log\Phi(a_\pm), \quad
              a_\pm = \frac{\pm b - \lambda}{\sqrt g}, \quad
              E_\pm|s| = \frac{1}{\sqrt g}\Bigl(a_\pm + \frac{\varphi(a_\pm)}{\Phi(a_\pm)}\Bigr)

    Parameters
    ----------
    model : SparseCodingModel
        A model with n_latents = 1, of any prior.
    x : array, shape (n_features,)
        Observation, in data units.

    Returns
    -------
    PosteriorStatistics
        With standard errors of 0.

    Raises
    ------
    InputError
        If x does not fit the model.
    ReferenceRefusedError
        If the model has more than one latent.
    """
    if model.n_latents != 1:
        raise ReferenceRefusedError(
            f"single_latent: the model has {model.n_latents} latents, but this closed form holds for one. "
            "Use enumerate_supports or gibbs."
        )
    if isinstance(model.prior, Gaussian):
        mean, cov = gaussian_posterior(model, x)
        return _exact(model, x, {1: 1.0}, mean, cov + np.outer(mean, mean), "closed form")
    pi, lam, signed = _slab(model.prior)
    root_g, b = math.sqrt(model.gram[0, 0]), float(model.drive(x)[0])
    signs = (1.0, -1.0) if signed else (1.0,)
    means = [(sign * b - lam) / root_g for sign in signs]
    log_weight = [math.log(pi * lam / len(signs)) - math.log(root_g) + log_slab_mass(a) for a in means]
    if pi < 1:
        log_weight.append(math.log1p(-pi) - 0.5 * math.log(2 * math.pi))
    weight = np.exp(np.array(log_weight) - max(log_weight))
    weight /= weight.sum()
    moments = [_half_normal_moments(a) for a in means]
    first = sum(w * sign * m[0] for w, sign, m in zip(weight, signs, moments, strict=False)) / root_g
    second = sum(w * m[1] for w, m in zip(weight, moments, strict=False)) / root_g**2
    on = float(weight[: len(signs)].sum())
    support = {0: 1.0 - on, 1: on} if pi < 1 else {1: 1.0}
    return _exact(model, x, support, np.array([first]), np.array([[second]]), "closed form")


def prior_statistics(prior: Prior, n_latents: int, x: ArrayLike | None = None) -> PosteriorStatistics:
    r"""Return the statistics of the prior, which is the posterior of the dictionary A = 0 for every x.

    .. math:: P = \pi, \quad E s = \pi/\lambda, \quad E s^2 = 2\pi/\lambda^2 \qquad (E s = 0 \text{ if signed})

    Parameters
    ----------
    prior : SpikeSlab, Laplace or Gaussian
        Prior of each latent.
    n_latents : int
        Number of latents K; >= 1.
    x : array, shape (n_features,), optional
        Observation, in data units: the residual of A = 0 is x, and ``residual_power`` is abs(x)^2 (0 without x).

    Returns
    -------
    PosteriorStatistics
        With standard errors of 0; ``support`` is None above 20 latents.

    Raises
    ------
    InputError
        If n_latents is no positive integer.
    ReferenceRefusedError
        If the prior is of an unknown kind.
    """
    if isinstance(n_latents, bool) or not isinstance(n_latents, (int, np.integer)) or n_latents < 1:
        raise InputError(f"prior_statistics: n_latents = {n_latents!r} cannot be used. Give an integer >= 1.")
    if isinstance(prior, Gaussian):
        pi, mean, second = 1.0, 0.0, prior.sd**2
    else:
        pi, lam, signed = _slab(prior)
        mean, second = (0.0 if signed else pi / lam), 2 * pi / lam**2
    support = None
    if n_latents <= MAX_SUPPORT_LATENTS:
        chance = [pi**n * (1 - pi) ** (n_latents - n) for n in range(n_latents + 1)]
        support = {m: p for m in range(2**n_latents) if (p := chance[m.bit_count()]) > 0}
    on = np.full(n_latents, pi)
    coactive = np.full((n_latents, n_latents), pi**2)
    np.fill_diagonal(coactive, pi)
    power = 0.0 if x is None else float(np.sum(np.asarray(x, dtype=float) ** 2))
    sd = np.full(n_latents, math.sqrt(second - mean**2))
    return _without_error(on, np.full(n_latents, mean), sd, coactive, power, support, "prior")


def enumerate_supports(model: SparseCodingModel, x: ArrayLike) -> PosteriorStatistics:
    r"""Return the posterior statistics by summing over every support (and, if signed, every sign pattern).

    .. math:: E t = H^{-1}(c + r), \quad E\,t t^T = H^{-1}(I + c\,E t^T + B), \quad
              r_i = \frac{Z_{S \setminus i}}{Z_S}, \quad B_{ij} = r_i\, E_{S \setminus i}[t_j]

    These are the moments of the truncated normal (Tallis 1961; Manjunath and Wilhelm 2012). Their boundary terms
    r and B belong to the support with one latent less, which the sum needs anyway.

    Parameters
    ----------
    model : SparseCodingModel
        A model with a SpikeSlab or Laplace prior and linearly independent atoms.
    x : array, shape (n_features,)
        Observation, in data units.

    Returns
    -------
    PosteriorStatistics
        With standard errors of 0.

    Raises
    ------
    InputError
        If x does not fit the model.
    ReferenceRefusedError
        If there are too many patterns (2^K, or 3^K if signed), the atoms are linearly dependent (the posterior
        is still proper, these formulas are not), or the integrals do not reach their tolerance.

    Notes
    -----
    Z of one latent is closed; of more, it is a quasi-Monte-Carlo integral (`OrthantIntegral`), good to a relative
    1e-5 or so. The propagated error of every mean is checked to be below 1e-3 of the slab's scale.

    References
    ----------
    Botev 2017, doi:10.1111/rssb.12162 (orthant probabilities). Manjunath and Wilhelm 2012, arXiv:1206.5387.
    """
    if isinstance(model.prior, Gaussian):
        raise ReferenceRefusedError(
            "enumerate_supports: a Gaussian prior has no supports to sum over. Use gaussian_posterior."
        )
    pi, lam, signed = _slab(model.prior)
    K = model.n_latents
    _refuse_unsound(model, 3**K if signed else 2**K)
    G, b = model.gram, model.drive(x)
    log_on = math.log(pi * lam / 2 if signed else pi * lam)
    log_off = math.log1p(-pi) if pi < 1 else -math.inf
    integral = OrthantIntegral(K)
    orthants: dict[tuple[int, ...], _Orthant] = {}
    patterns = itertools.product((0, 1, -1) if signed else (0, 1), repeat=K)
    for pattern in sorted(patterns, key=lambda p: sum(map(abs, p))):  # small supports first: larger ones use them
        orthants[pattern] = _orthant(pattern, G, b, lam, orthants, integral)
    sizes = np.array([len(o.index) for o in orthants.values()])
    log_weight = np.array([o.log_z for o in orthants.values()]) + sizes * log_on
    log_weight[sizes < K] += log_off * (K - sizes[sizes < K])  # never 0 * inf, where pi = 1
    weight = np.exp(log_weight - log_weight.max())
    weight /= weight.sum()
    mean, mean_error, second = np.zeros(K), np.zeros(K), np.zeros((K, K))
    support: dict[int, float] = {}
    for w, o in zip(weight, orthants.values(), strict=True):
        if w == 0:
            continue
        mean[o.index] += w * o.signs * o.mean
        mean_error[o.index] += w * (o.mean_error + o.log_z_error * o.mean)
        second[np.ix_(o.index, o.index)] += w * np.outer(o.signs, o.signs) * o.second
        mask = sum(1 << int(i) for i in o.index)
        support[mask] = support.get(mask, 0.0) + float(w)
    if not mean_error.max() <= _TOLERANCE * model.prior.slab_scale:
        raise ReferenceRefusedError(
            f"enumerate_supports: the means are known to {mean_error.max():.1e} model units only, because the "
            "atoms are too nearly dependent. Use gibbs."
        )
    return _exact(model, x, support, mean, second, "enumeration")


def _refuse_unsound(model: SparseCodingModel, n_patterns: int) -> None:
    K = model.n_latents
    if n_patterns > _MAX_PATTERNS:
        raise ReferenceRefusedError(
            f"enumerate_supports: {K} latents make {n_patterns} patterns to sum over, and more than "
            f"{_MAX_PATTERNS} would take too long. Use gibbs."
        )
    values = np.linalg.svd(model.A / np.linalg.norm(model.A, axis=0), compute_uv=False)
    rank = int(np.sum(values > 1e-6 * values[0]))
    if rank < K:
        raise ReferenceRefusedError(
            f"enumerate_supports: A has rank {rank} for {K} latents, so A_S^T A_S is singular for the support of "
            "all of them and no normal density has it as its precision (the posterior is proper all the same: the "
            "prior bounds it). Use gibbs."
        )


@dataclass(frozen=True)
class _Orthant:
    """One support with one sign pattern: log Z, and E t and E t t^T of t = abs(s) within it."""

    index: NDArray[np.intp]
    signs: Array
    log_z: float
    log_z_error: float
    mean: Array
    mean_error: Array
    second: Array


def _orthant(
    pattern: tuple[int, ...],
    G: Array,
    b: Array,
    lam: float,
    smaller: dict[tuple[int, ...], _Orthant],
    integral: OrthantIntegral,
) -> _Orthant:
    index = np.flatnonzero(pattern)
    signs = np.array(pattern, dtype=float)[index]
    n = len(index)
    if n == 0:
        return _Orthant(index, signs, 0.0, 0.0, np.zeros(0), np.zeros(0), np.zeros((0, 0)))
    H = G[np.ix_(index, index)] * np.outer(signs, signs)
    c = signs * b[index] - lam
    log_z, error = integral.log(H, c)
    r, r_error, B = np.zeros(n), np.zeros(n), np.zeros((n, n))
    for k, i in enumerate(index):
        face = smaller[(*pattern[:i], 0, *pattern[i + 1 :])]
        r[k] = math.exp(face.log_z - log_z)
        r_error[k] = r[k] * (face.log_z_error + error)
        B[k, np.arange(n) != k] = r[k] * face.mean
    cov = np.linalg.inv(H)
    mean = cov @ (c + r)
    second = cov @ (np.eye(n) + np.outer(c, mean) + B)
    return _Orthant(index, signs, log_z, error, mean, np.abs(cov) @ r_error, (second + second.T) / 2)


def _half_normal_moments(a: float) -> tuple[float, float]:
    """Return E y and E y^2 for the density exp(-(y - a)^2/2) on y > 0."""
    if a < -100:  # a + phi/Phi would cancel
        y = 1 / (a * a)
        return -(1 - 2 * y + 10 * y * y) / a, 2 * y * (1 - 5 * y + 37 * y * y)
    first = a + math.sqrt(2 / math.pi) / float(erfcx(-a * math.sqrt(0.5)))
    return first, 1 + a * first


def _slab(prior: Prior) -> tuple[float, float, bool]:
    """Return (pi, lam, signed)."""
    if isinstance(prior, SpikeSlab):
        return float(prior.pi), float(prior.lam), prior.signed
    if isinstance(prior, Laplace):
        return 1.0, float(prior.lam), prior.signed
    raise ReferenceRefusedError(f"The prior {prior!r} is of no known kind. Use SpikeSlab, Laplace or Gaussian.")


def _exact(
    model: SparseCodingModel, x: ArrayLike, support: dict[int, float], mean: Array, second: Array, method: str
) -> PosteriorStatistics:
    """Derive every statistic from the support's probabilities and E s, E s s^T."""
    x = model.check_x(x)
    on = np.array([[mask >> i & 1 for i in range(model.n_latents)] for mask in support], dtype=float)
    coactive = on.T @ (np.array(list(support.values()))[:, None] * on)
    power = x @ x - 2 * x @ model.A @ mean + np.sum((model.A.T @ model.A) * second)
    sd = np.sqrt(np.maximum(np.diag(second) - mean**2, 0.0))
    return _without_error(np.diag(coactive).copy(), mean, sd, coactive, float(power), support, method)


def _without_error(
    p_active: Array,
    mean: Array,
    sd: Array,
    coactive: Array,
    residual_power: float,
    support: dict[int, float] | None,
    method: str,
) -> PosteriorStatistics:
    zeros = np.zeros(len(mean))
    return PosteriorStatistics(
        p_active=p_active,
        mean=mean,
        sd=sd,
        p_active_mcse=zeros,
        mean_mcse=zeros,
        sd_mcse=zeros,
        coactive=coactive,
        coactive_mcse=np.zeros_like(coactive),
        residual_power=residual_power,
        residual_power_mcse=0.0,
        support=support,
        ess_min=math.inf,
        rhat_max=1.0,
        n_draws=0,
        method=method,
    )
