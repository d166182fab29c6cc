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
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import logsumexp, ndtr, softmax

from circuitlsc.errors import ReferenceRefusedError
from circuitlsc.io.arrays import Array
from circuitlsc.model.sparse_coding import SparseCodingModel
from circuitlsc.reference.orthant import Moments, OrthantMoments
from circuitlsc.reference.statistics import PosteriorStatistics

_MAX_PATTERNS = 2_200  # as many take about 10 s: K = 11, or K = 7 if signed
_TOLERANCE = 3e-3  # largest accepted error of the moments, in units of the slab's scale
_UNKNOWN = 1e-2  # relative error of a pattern's Z above which its weight is not known, small as it may look


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
    if not model.prior.linear:
        raise ReferenceRefusedError(
            f"gaussian_posterior: the prior is {model.prior!r}, but this closed form holds for Gaussian(sd) alone. "
            "Use gibbs, or enumerate_supports for a few latents."
        )
    cov = np.linalg.inv(model.gram + np.eye(model.n_latents) * model.prior.stiffness)
    cov = (cov + cov.T) / 2
    return np.asarray(cov @ model.drive(x)), np.asarray(cov)


def gaussian_statistics(model: SparseCodingModel, x: ArrayLike) -> PosteriorStatistics:
    """Return the posterior statistics under the Gaussian prior; arguments and errors as for `gaussian_posterior`."""
    mean, cov = gaussian_posterior(model, x)
    negative = ndtr(-mean / np.sqrt(np.diag(cov)))
    return _exact(model, x, None, mean, cov + np.outer(mean, mean), negative, "closed form (Gaussian prior)")


def single_latent(model: SparseCodingModel, x: ArrayLike) -> PosteriorStatistics:
    r"""Return the posterior statistics of a model with one latent, in closed form.

    .. math:: \log Z_\pm = \tfrac12 \log\frac{2\pi}{g} + \frac{a_\pm^2}{2} + \log\Phi(a_\pm), \quad
              a_\pm = \frac{\pm b - \lambda}{\sqrt g}, \quad
              E_\pm|s| = \frac{1}{\sqrt g}\Bigl(a_\pm + \frac{\varphi(a_\pm)}{\Phi(a_\pm)}\Bigr)

    Parameters
    ----------
    model : SparseCodingModel
        A model with n_latents = 1 and a SpikeSlab, Laplace or Gaussian prior (for others: `quadrature`).
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
        If the model has more than one latent, or the prior has no closed form.
    """
    if model.n_latents != 1:
        raise ReferenceRefusedError(
            f"single_latent: the model has {model.n_latents} latents, but this closed form holds for one. "
            "Use enumerate_supports or gibbs."
        )
    if model.prior.linear:
        return gaussian_statistics(model, x)
    return replace(enumerate_supports(model, x), method="closed form")


def enumerate_supports(model: SparseCodingModel, x: ArrayLike) -> PosteriorStatistics:
    r"""Return the posterior statistics by summing over every support (and, if signed, every sign pattern).

    .. math:: E[s \mid x] = \sum_{S, \epsilon} p(S, \epsilon \mid x)\; \epsilon\, E_{S, \epsilon}[t]

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
        If there are too many patterns (2^K, or 3^K if signed; without a spike 1, or 2^K), if the atoms are linearly
        dependent (the posterior is still proper, these formulas are not), or if the integrals miss their tolerance:
        any Z by more than 1 %, or the moments.

    Notes
    -----
    Z and the moments of t, a normal vector truncated to the positive orthant, are closed for one latent; for more
    they are quasi-Monte-Carlo integrals (`OrthantMoments`): Z is good to 1e-4 or better, the moments to 1e-4, or to
    1e-3 where the prior alone bounds t. These errors are estimated, and refused if above 3e-3 of the slab's scale.

    References
    ----------
    Botev 2017, doi:10.1111/rssb.12162 (orthant integrals).
    """
    if model.prior.linear:
        raise ReferenceRefusedError(
            "enumerate_supports: a Gaussian prior has no supports to sum over. Use gaussian_posterior."
        )
    K = model.n_latents
    log_weights, terms = _pattern_weights(model, x)
    weights = np.asarray(softmax(log_weights))
    mean, second, negative, error = np.zeros(K), np.zeros((K, K)), np.zeros(K), 0.0
    support: dict[int, float] = {}
    for weight, (on, sign, moments) in zip(weights, terms, strict=True):
        if weight > 0:
            mean[on] += weight * sign * moments.first
            negative[on] += weight * (sign < 0)
            second[np.ix_(on, on)] += weight * np.outer(sign, sign) * moments.second
            error += weight * moments.error(model.prior.slab_scale)
            mask = sum(1 << int(i) for i in on)
            support[mask] = support.get(mask, 0.0) + float(weight)
    if not (error <= _TOLERANCE and np.isfinite(weights).all()):  # not >: it may be NaN
        raise ReferenceRefusedError(
            f"enumerate_supports: the moments are known to {error:.1e} of the slab's scale only, not to {_TOLERANCE}: the "
            "integrals converge badly (nearly dependent atoms, or a sigma far above the slab). Use gibbs."
        )
    return _exact(model, x, support, mean, second, negative, "enumeration")


def log_evidence(model: SparseCodingModel, x: ArrayLike) -> float:
    r"""Return log p(x), the log likelihood of the model, by summing over every support (and sign pattern).

    .. math:: \log p(x) = -\tfrac{D}{2} \log 2\pi\sigma^2 - \frac{|x|^2}{2\sigma^2}
              + \log \sum_{S, \epsilon} (1-\pi)^{K-|S|} (\pi\lambda')^{|S|} Z_{S, \epsilon}

    Arguments, errors and accuracy (of Z) as for `enumerate_supports`; of a density in data units.
    """
    if model.prior.linear:
        raise ReferenceRefusedError("log_evidence: a Gaussian prior has no supports to sum over. Use a normal density.")
    log_weights, _ = _pattern_weights(model, x)
    x = model.check_x(x)
    constant = -0.5 * model.n_features * math.log(2 * math.pi * model.variance) - float(x @ x) / (2 * model.variance)
    return constant + float(logsumexp(log_weights))


def _pattern_weights(
    model: SparseCodingModel, x: ArrayLike
) -> tuple[Array, list[tuple[NDArray[np.int64], Array, Moments]]]:
    """Return the log of each pattern's term in p(x), and its latents, their signs and moments."""
    if model.prior.slab is None:
        raise ReferenceRefusedError(
            f"The prior {model.prior!r} has no closed form: only SpikeSlab, Laplace and Gaussian have. Use quadrature (one "
            "or two latents) or slice_sampling."
        )
    (pi, lam), signed, K = model.prior.slab, model.prior.signed, model.n_latents
    choices = ((0.0,) if pi < 1 else ()) + ((1.0, -1.0) if signed else (1.0,))
    if len(choices) ** K > _MAX_PATTERNS:
        raise ReferenceRefusedError(
            f"enumerate_supports: {K} latents make {len(choices) ** K} patterns to sum over, and more than "
            f"{_MAX_PATTERNS} would take too long. Use gibbs."
        )
    rank = np.linalg.matrix_rank(model.A / np.linalg.norm(model.A, axis=0), rtol=1e-6)
    if rank < K:
        raise ReferenceRefusedError(
            f"enumerate_supports: A has rank {rank} for {K} latents, so A_S^T A_S is singular for the support of "
            "all of them and no normal density has it as its precision (the posterior is proper all the same: the "
            "prior bounds it). Use gibbs."
        )
    G, b = model.gram, model.drive(x)
    log_on = math.log(pi * lam / 2 if signed else pi * lam)
    log_off = math.log1p(-pi) if pi < 1 else 0.0
    orthant = OrthantMoments(K)
    log_weights, terms = [], []
    for pattern in itertools.product(choices, repeat=K):
        signs = np.array(pattern)
        on = np.flatnonzero(signs)
        moments = orthant.moments(np.outer(signs, signs)[np.ix_(on, on)] * G[np.ix_(on, on)], (signs * b)[on] - lam)
        log_weights.append(moments.log_z + log_on * len(on) + log_off * (K - len(on)))
        terms.append((on, signs[on], moments))
    unsure = max(moments.errors[0] for _, _, moments in terms)
    if not (unsure <= _UNKNOWN and np.isfinite(log_weights).all()):  # not >: it may be NaN
        raise ReferenceRefusedError(
            f"enumerate_supports: the weight of a support is known to a factor of {1 + unsure:.2g} only, not to "
            f"{1 + _UNKNOWN}: its atoms are nearly dependent. Use gibbs."
        )
    return np.array(log_weights), terms


def _exact(
    model: SparseCodingModel,
    x: ArrayLike,
    support: dict[int, float] | None,
    mean: Array,
    second: Array,
    negative: Array,
    method: str,
) -> PosteriorStatistics:
    """Derive every statistic from the support's probabilities (None: all are active), E s, E s s^T and P(s < 0)."""
    x, support = model.check_x(x), support or {(1 << model.n_latents) - 1: 1.0}
    on = np.array([[mask >> i & 1 for i in range(model.n_latents)] for mask in support], dtype=float)
    coactive = on.T @ (np.array(list(support.values()))[:, None] * on)
    power = x @ x - 2 * x @ model.A @ mean + np.sum((model.A.T @ model.A) * second)
    sd = np.sqrt(np.maximum(np.diag(second) - mean**2, 0.0))
    exact = {
        "p_active": np.diag(coactive).copy(),
        "mean": mean,
        "sd": sd,
        "coactive": coactive,
        "residual_power": power,
        "p_negative": negative,
    }
    measured = {name: (value, np.zeros_like(value)) for name, value in exact.items()}
    return PosteriorStatistics.of(**measured, support=support, method=method, ess_min=math.inf, rhat_max=1.0, n_draws=0)
