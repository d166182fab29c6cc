r"""What a thresholded law says of an input: a bound on log p(x), gradients, the best law, and log p(x) by weighting draws.

.. math:: \mathrm{ELBO}(x) = -\tfrac{D}{2}\log 2\pi\sigma^2
          - \frac{|x - A m|^2 + \sum_k |a_k|^2 v_k}{2\sigma^2} - \sum_k \mathrm{KL}_k \;\le\; \log p(x)

with mean m, variance v and divergence KL of each law (`circuitlsc.model.thresholded`): the generator is linear, so that
no draws are needed. The law is rectified where the prior's codes are nonnegative. Fallah & Rozell 2022 (the family and the
estimators from draws); the bound in closed form, its gradients and the weighting of draws are not in the paper.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from circuitlsc.errors import InputError
from circuitlsc.io.arrays import Array, real_array
from circuitlsc.model.prior import Slab
from circuitlsc.model.sparse_coding import SparseCodingModel, check_model
from circuitlsc.model.thresholded import ThresholdedLaplace

_NEVER = 1e-300  # a kappa that exp and expm1 still see, where softplus has none left


@dataclass(frozen=True, eq=False)
class ElboGradients:
    """A bound on log p(x) in nats, and its derivatives: those of laws by input, those of the model summed over inputs.

    Attributes
    ----------
    value : array, shape (n,)
        The bound of each input (an estimate, if it is from draws).
    mu, rho, kappa, eta : array, shape (n, K)
        ``rho`` = log b is moved with kappa held, or along ``slope``; ``eta`` is the log odds of the law before it is rectified,
        kappa = log(1 + exp(-eta)).
    A : array, shape (D, K)
    sigma, pi : float
        0 for pi where the bound does not see it (the published one).
    """

    value: Array
    mu: Array
    rho: Array
    kappa: Array
    eta: Array
    A: Array
    sigma: float
    pi: float


def slab_of(model: SparseCodingModel) -> Slab:
    """Return P(active) and rate of the model's prior, or raise InputError if it has no exponential slab."""
    check_model(model)
    if (slab := model.prior.slab) is None:
        raise InputError(
            f"the prior {model.prior!r} has no exponential slab, but thresholded laws are compared with one. Use SpikeSlab or "
            "Laplace."
        )
    return slab


def law_of(model: SparseCodingModel, mu: ArrayLike, rho: ArrayLike, kappa: ArrayLike) -> ThresholdedLaplace:
    """Return the law of codes (..., K) with b = exp(rho): rectified where the prior's codes are nonnegative."""
    rho = real_array("rho", rho)
    if np.abs(rho).max(initial=0.0) > 200:
        raise InputError(f"rho = log b has an entry of size {np.abs(rho).max():.3g}. Give numbers within +-200.")
    return ThresholdedLaplace(mu, np.exp(rho), kappa, not model.prior.signed)  # type: ignore[arg-type]


def kappa_of(eta: ArrayLike) -> Array:
    """Return kappa = log(1 + exp(-eta)) > 0 of log odds eta."""
    return np.asarray(np.maximum(np.logaddexp(0.0, -np.asarray(eta, dtype=float)), _NEVER))


def elbo(model: SparseCodingModel, X: ArrayLike, mu: ArrayLike, rho: ArrayLike, kappa: ArrayLike) -> Array:
    """Return the bound on log p(x) of each input, in closed form.

    Parameters
    ----------
    model : SparseCodingModel
        With a SpikeSlab or Laplace prior, signed or not.
    X : array, shape (n, D)
        Inputs, in data units.
    mu, rho, kappa : array, shape (n, K)
        Shift in model units, log of the scale, and threshold in scales, of each latent's law.

    Returns
    -------
    array, shape (n,)
        In nats, of a density in data units; -inf where the law has a spike and the prior has none.

    Raises
    ------
    InputError
        If shapes do not fit, a number is out of range, or the prior has no exponential slab.
    """
    slab = slab_of(model)
    X = model.check_rows(X)
    law = _fitting(model, X, mu, rho, kappa)
    return _bound(model, X, law, law.kl(slab.pi, slab.lam))


def elbo_gradients(
    model: SparseCodingModel,
    X: ArrayLike,
    mu: ArrayLike,
    rho: ArrayLike,
    eta: ArrayLike | None = None,
    *,
    kappa: ArrayLike | None = None,
    slope: ArrayLike = 0.0,
) -> ElboGradients:
    r"""Return the bound of each input and its derivatives, in closed form.

    .. math:: \partial\,\mathrm{ELBO} = \sum_k \Bigl[(A^T r/\sigma^2)_k\, \partial m_k
              - \frac{|a_k|^2}{2\sigma^2}\, \partial v_k - \partial\,\mathrm{KL}_k\Bigr], \qquad r = x - A m

    Parameters
    ----------
    model, X, mu, rho
        As for `elbo`.
    eta : array, shape (n, K)
        Log odds of the law before it is rectified; or give ``kappa``.
    kappa : array, shape (n, K), optional
        The threshold in scales; > 0 (and 0 for a signed prior without a spike).
    slope : array, broadcast to (n, K)
        d kappa/d rho of a threshold that is not a head of its own: -kappa where it is held in model units,
        -alpha/(1 + b beta) where it is drawn from Gamma(alpha, beta).

    Raises
    ------
    InputError
        If shapes do not fit, a number is out of range, the prior has no exponential slab, or a divergence is infinite.
    """
    slab = slab_of(model)
    X = model.check_rows(X)
    if (eta is None) == (kappa is None):
        raise InputError("elbo_gradients: give the log odds eta, or kappa: one of them.")
    threshold = kappa if eta is None else kappa_of(real_array("eta", eta))
    assert threshold is not None
    law = _fitting(model, X, mu, rho, threshold)
    return _gradients(model, slab, X, law, np.asarray(slope, dtype=float))


def _gradients(
    model: SparseCodingModel, slab: Slab, X: Array, law: ThresholdedLaplace, slope: Array | float = 0.0
) -> ElboGradients:
    slopes, kl = law.slopes(slab.pi, slab.lam), law.kl(slab.pi, slab.lam)
    m, v, s2 = law.mean, law.variance, model.variance
    r = X - m @ model.A.T
    d_mu, d_rho, d_kappa = (r @ model.A / s2) * slopes.mean - model.powers / (2 * s2) * slopes.variance - slopes.kl
    power = float(np.sum(r**2) + np.sum(v @ model.powers))
    odds = float(np.sum(law.p_active) / slab.pi - (np.sum(law.p_zero) / (1 - slab.pi) if slab.pi < 1 else 0.0))
    return ElboGradients(
        value=_bound(model, X, law, kl),
        mu=d_mu,
        rho=d_rho + d_kappa * slope,
        kappa=d_kappa,
        eta=np.asarray(d_kappa * np.expm1(-law.kappa)),
        A=(r.T @ m - model.A * v.sum(0)) / s2,
        sigma=power / model.sigma**3 - X.size / model.sigma,
        pi=odds,
    )


def _fitting(model: SparseCodingModel, X: Array, mu: ArrayLike, rho: ArrayLike, kappa: ArrayLike) -> ThresholdedLaplace:
    """Return the laws of inputs X (n, D), or raise InputError if they are not (n, K)."""
    law = law_of(model, mu, rho, kappa)
    if law.shape != (len(X), model.n_latents):
        raise InputError(
            f"mu, rho and kappa have shape {law.shape}, but {len(X)} inputs and {model.n_latents} latents need "
            f"({len(X)}, {model.n_latents})."
        )
    return law


def _bound(model: SparseCodingModel, X: Array, law: ThresholdedLaplace, kl: Array) -> Array:
    r = X - law.mean @ model.A.T
    power = np.sum(r**2, 1) + law.variance @ model.powers
    return np.asarray(_log_normal(model, power) - kl.sum(1))


def _log_normal(model: SparseCodingModel, power: Array) -> Array:
    """Return the log density of noise with the given squared norm."""
    return -0.5 * model.n_features * math.log(2 * math.pi * model.variance) - power / (2 * model.variance)
