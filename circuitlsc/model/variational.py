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
from scipy.optimize import minimize
from scipy.special import logit

from circuitlsc.errors import InputError, ReferenceRefusedError
from circuitlsc.io.arrays import Array, as_generator, check_count, real_array
from circuitlsc.model.encoder import Heads
from circuitlsc.model.prior import Slab
from circuitlsc.model.sparse_coding import SparseCodingModel, check_model
from circuitlsc.model.thresholded import ThresholdedLaplace

ESTIMATORS = ("straight-through", "pathwise")
REDUCTIONS = ("average", "max")
LEAST_SHARE = 0.01  # of effective draws, below which weights say nothing
LEAST_DRAWS = 1000  # fewer cannot tell how bad they are
_NEVER = 1e-300  # a kappa that exp and expm1 still see, where softplus has none left
_DEFENCE = 0.1  # share of a proposal's draws that are the prior's
_CERTAIN = 0.02  # the least probability of either state of a latent in a proposal
_NARROW = 0.05  # of the prior's slab: the least scale in a proposal, unless the likelihood is narrower still
_ODDS = 30.0  # log odds of the best law are within +- that


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


@dataclass(frozen=True, eq=False)
class Evidence:
    """What weighted draws say of an input: log p(x) and the posterior's statistics, each with its standard error.

    Attributes
    ----------
    log_p, se : float
        Log p(x) in nats, of a density in data units.
    ess_share : float
        Effective number of draws, as a share of the draws.
    p_active, mean, second_moment, sd : array, shape (K,)
        Of the posterior, in model units; self-normalised estimates. Their errors have their names and ``_se``.
    n : int
        Number of draws.
    """

    log_p: float
    se: float
    ess_share: float
    p_active: Array
    p_active_se: Array
    mean: Array
    mean_se: Array
    second_moment: Array
    second_moment_se: Array
    sd: Array
    sd_se: Array
    n: int


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


def estimate_gradients(
    model: SparseCodingModel,
    X: ArrayLike,
    mu: ArrayLike,
    rho: ArrayLike,
    kappa: ArrayLike,
    *,
    estimator: str = "straight-through",
    reduce: str = "average",
    draws: int = 20,
    rng: np.random.Generator | int,
    slope: ArrayLike = 0.0,
) -> ElboGradients:
    r"""Return the published bound and its derivatives, estimated from J draws of each input.

    .. math:: -\tfrac{D}{2}\log 2\pi\sigma^2 - \frac{|x - A s|^2}{2\sigma^2} - \sum_k \mathrm{KL}^\mathrm{base}_k, \qquad
              \partial_\theta \approx \frac{(A^T(x - A s))_k}{\sigma^2}\, \partial_\theta s_k

    where each estimator has its own idea of the code's derivative (n is the noise, eps = b n, on = 1 if s != 0, else 0):

    ================  =====  ===================  ========================
    estimator         ds/dmu ds/drho (lam held)   ds/dkappa
    ================  =====  ===================  ========================
    straight-through  1      eps                  -b sign(n) on
    pathwise          on     eps on               -b sign(n) on
    ================  =====  ===================  ========================

    Neither sees that codes cross the threshold: `elbo_gradients` is what they should be. Fallah & Rozell 2022; both for
    rectified codes: not in the paper (straight-through is through the rectifier, too).

    Parameters
    ----------
    model, X, mu, rho
        As for `elbo`.
    kappa : array, shape (n, K) or (J, n, K)
        Threshold in scales; one for each draw if it is itself drawn.
    estimator : str
        ``"straight-through"`` or ``"pathwise"``.
    reduce : str
        ``"average"`` over the draws, or ``"max"``: the draw of the largest bound alone.
    draws : int
        J >= 1.
    rng : numpy.random.Generator or int
        What draws the noise, or its seed.
    slope : array, broadcast to kappa
        d kappa/d rho: 0 where kappa is held, as for a head of its own; -kappa where lam is held in model units, as published.

    Returns
    -------
    ElboGradients
        Its ``pi`` is 0: the divergence of the noise before the threshold knows no P(active). With a threshold for each draw,
        ``kappa`` and ``eta`` are as all of them move together.

    Raises
    ------
    InputError
        If shapes do not fit, a number is out of range, the prior has no exponential slab, or a word is not one of these.
    """
    slab = slab_of(model)
    X = model.check_rows(X)
    for name, value, known in (("estimator", estimator, ESTIMATORS), ("reduce", reduce, REDUCTIONS)):
        if value not in known:
            raise InputError(f'estimate_gradients: {name} = {value!r} is not one of "{known[0]}", "{known[1]}".')
    check_count("estimate_gradients: draws", draws, 1)
    rng = as_generator("estimate_gradients: rng", rng)
    kappa = real_array("kappa", kappa)
    each = kappa.ndim == 3
    if each and len(kappa) != draws:
        raise InputError(
            f"kappa has shape {kappa.shape}, but there are {draws} draws. Give (n, K), or ({draws}, n, K)."
        )
    base = _fitting(model, X, mu, rho, kappa[0] if each else kappa)
    many = (draws, *base.shape)
    shift, scale, kappa = (np.broadcast_to(v, many) for v in (base.mu, base.b, kappa))
    law = ThresholdedLaplace(shift, scale, kappa, base.rectified)
    noise = rng.laplace(0.0, 1.0, many)
    s = law.code(noise)
    r = X - s @ model.A.T
    power = np.sum(r**2, -1)
    slope = np.broadcast_to(np.asarray(slope, dtype=float), many)
    if reduce == "max":  # the divergence is the same for all draws
        best = power.argmin(0)[None]
        noise, s, r, kappa, slope = (np.take_along_axis(v, best[..., None], 0) for v in (noise, s, r, kappa, slope))
        power = np.take_along_axis(power, best, 0)
    pull = r @ model.A / model.variance / len(s)
    on = s != 0
    moves = on if estimator == "pathwise" else np.ones_like(on)
    by_kappa = -pull * base.b * np.sign(noise) * on
    base_mu, base_rho = base.kl_base_slopes(slab.lam)
    return ElboGradients(
        value=_log_normal(model, power.mean(0)) - base.kl_base(slab.lam).sum(1),
        mu=(pull * moves).sum(0) - base_mu,
        rho=(pull * base.b * noise * moves + (kappa + slope) * by_kappa).sum(0) - base_rho,
        kappa=by_kappa.sum(0),
        eta=np.asarray((by_kappa * np.expm1(-kappa)).sum(0)),
        A=np.tensordot(r, s, ((0, 1), (0, 1))) / model.variance / len(s),
        sigma=float(power.sum()) / len(s) / model.sigma**3 - X.size / model.sigma,
        pi=0.0,
    )


def best_law(model: SparseCodingModel, x: ArrayLike, start: Heads | None = None, *, starts: int = 4) -> Heads:
    """Return the law with the largest bound for one input: what an encoder cannot surpass.

    Parameters
    ----------
    model : SparseCodingModel
        With a SpikeSlab or Laplace prior, signed or not (nonnegative ones need a spike).
    x : array, shape (D,)
        Input, in data units.
    start : Heads, optional
        From where to search first, such as what an encoder says; each (K,).
    starts : int
        Number of searches (L-BFGS-B, in mu, rho and eta); the bound has several optima. Where they begin depends on the
        arguments alone.

    Returns
    -------
    Heads
        mu, rho and kappa, each (K,). The log odds are kept within +-30.

    Raises
    ------
    InputError
        If shapes do not fit, or there is no such law.
    """
    slab = slab_of(model)
    X = model.check_x(x)[None]
    check_count("best_law: starts", starts, 1)
    K, b0, spike, signed = model.n_latents, 1.0 / slab.lam, slab.pi < 1, model.prior.signed
    width = np.minimum(b0, model.sigma / np.sqrt(model.powers))  # mu is searched in units of it
    projections = X[0] @ model.A / model.powers
    ridge = np.linalg.solve(model.gram + np.eye(K) / b0**2, model.drive(x))
    odds = np.full(K, float(logit(slab.pi)) if spike else 0.0)
    first = [
        np.concatenate([(mu if signed else np.maximum(mu, 0.1 * b0)) / width, np.full(K, -1.0), odds])
        for mu in (ridge, projections / 2)
    ]
    if start is not None:
        law = _fitting(model, X, *(np.asarray(v, dtype=float)[None] for v in start))
        odds = -np.log(np.expm1(np.clip(law.kappa[0], 1e-13, 600.0))) if spike else odds
        first.insert(0, np.concatenate([law.mu[0] / width, np.log(law.b[0] / b0), odds]))
    rng = np.random.default_rng(0)
    spread = 0.7 * np.concatenate([np.sqrt(b0 / width), np.ones(2 * K)])
    first += [first[0] + spread * rng.standard_normal(3 * K) for _ in range(starts - len(first))]
    reach = (20.0 * b0 + 10.0 * float(np.abs(projections).max())) / width
    low = np.concatenate([-reach, np.log(width / b0) - 6.0, np.full(K, -_ODDS if spike else 0.0)])
    high = np.concatenate([reach, np.full(K, 4.0), np.full(K, _ODDS if spike else 0.0)])

    def law_at(p: Array) -> ThresholdedLaplace:
        mu, rho, eta = p.reshape(3, 1, K)
        kappa = kappa_of(eta) if spike else np.zeros((1, K))
        return ThresholdedLaplace(mu * width, b0 * np.exp(rho), kappa, not signed)

    def loss(p: Array) -> tuple[float, Array]:
        g = _gradients(model, slab, X, law_at(p))
        return -float(g.value[0]), -np.concatenate([g.mu[0] * width, g.rho[0], g.eta[0]])

    found = [
        minimize(loss, np.clip(p, low, high), jac=True, method="L-BFGS-B", bounds=np.stack([low, high], 1))
        for p in first[:starts]
    ]
    law = law_at(min(found, key=lambda result: float(result.fun)).x)
    return Heads(law.mu[0], np.log(law.b[0]), law.kappa[0])


def log_joint(model: SparseCodingModel, x: ArrayLike, s: ArrayLike) -> Array:
    """Return log p(x, s) of codes s (n, K) against delta_0 + Lebesgue, shape (n,); -inf where the prior has no such code."""
    slab, x = slab_of(model), model.check_x(x)
    s = np.asarray(s, dtype=float)
    return _log_prior(slab, model.prior.signed, s) + _log_normal(model, np.sum((x - s @ model.A.T) ** 2, 1))


def log_evidence(
    model: SparseCodingModel, x: ArrayLike, heads: Heads, *, n: int = 50_000, rng: np.random.Generator | int
) -> Evidence:
    r"""Estimate log p(x) and the posterior's statistics from weighted draws of a law.

    .. math:: p(x) = E_r\Bigl[\frac{p(x, s)}{r(s)}\Bigr], \qquad r = 0.9\, q' + 0.1\, p(s)

    q' is the law with P(active) within .02 and .98, and no scale below 5 % of the prior's slab (or the likelihood's own
    width, if that is less): a law fitted from below is too narrow, and the prior's share bounds the weights. Not in the paper.

    Parameters
    ----------
    model : SparseCodingModel
        With a SpikeSlab or Laplace prior, signed or not.
    x : array, shape (D,)
        Input, in data units.
    heads : Heads
        mu, rho and kappa, each (K,): what an encoder or `best_law` says.
    n : int
        Number of draws; >= 1000.
    rng : numpy.random.Generator or int
        What draws, or its seed.

    Returns
    -------
    Evidence

    Raises
    ------
    InputError
        If shapes do not fit, or a number is out of range.
    ReferenceRefusedError
        If fewer than 1 % of the draws are effective.
    """
    slab, x = slab_of(model), model.check_x(x)
    check_count("log_evidence: n", n, LEAST_DRAWS)
    rng = as_generator("log_evidence: rng", rng)
    law = _fitting(model, x[None], *(np.asarray(v, dtype=float)[None] for v in heads))
    mu, b, kappa = law.mu[0], law.b[0], law.kappa[0]
    if law.rectified:  # what is left of a shift below 0 is a slab that begins at 0
        kappa, mu = kappa + np.maximum(-mu, 0.0) / b, np.maximum(mu, 0.0)
    kappa = np.clip(kappa, -math.log1p(-_CERTAIN), -math.log(_CERTAIN)) if slab.pi < 1 else np.zeros_like(kappa)
    b = np.maximum(b, np.minimum(_NARROW / slab.lam, model.sigma / np.sqrt(model.powers)))
    law = ThresholdedLaplace(mu, b, kappa, law.rectified)
    defence = round(_DEFENCE * n)
    s = np.concatenate([law.draw(n - defence, rng), model.prior.draw((defence, model.n_latents), rng)])
    prior = _log_prior(slab, model.prior.signed, s)
    likelihood = _log_normal(model, np.sum((x - s @ model.A.T) ** 2, 1))
    drawn = math.log1p(-defence / n) + law.log_density(s).sum(1)
    return weigh(prior + likelihood - np.logaddexp(drawn, math.log(defence / n) + prior), s)


def sure_evidence(
    model: SparseCodingModel, x: ArrayLike, heads: Heads, *, n: int, rng: np.random.Generator | int
) -> Evidence:
    """Return `log_evidence` from draws of a law, or, where they are refused, of the best law (arguments as there)."""
    rng = as_generator("sure_evidence: rng", rng)
    try:
        return log_evidence(model, x, heads, n=n, rng=rng)
    except ReferenceRefusedError as refusal:
        try:
            best = best_law(model, x, heads)
        except InputError:  # there is none
            raise refusal from None
        return log_evidence(model, x, best, n=n, rng=rng)


def weigh(log_weights: ArrayLike, s: ArrayLike) -> Evidence:
    r"""Return what independent draws say of a posterior when each counts with its weight p(x, s)/r(s).

    .. math:: \hat p = \overline{w}, \quad \hat f = \frac{\sum w f}{\sum w}, \quad
              \mathrm{se}(\hat f)^2 = \frac{\sum w^2 (f - \hat f)^2}{(\sum w)^2}, \quad
              \mathrm{ESS} = \frac{(\sum w)^2}{\sum w^2}

    Parameters
    ----------
    log_weights : array, shape (n,)
        log p(x, s) - log r(s), r the density that the draws have.
    s : array, shape (n, K)
        The draws, in model units.

    Raises
    ------
    InputError
        If shapes do not fit, or there are fewer than 1000 draws.
    ReferenceRefusedError
        If fewer than 1 % of the draws are effective.
    """
    log_w, s = np.asarray(log_weights, dtype=float), real_array("s", s)
    n = log_w.size
    if log_w.ndim != 1 or s.ndim != 2 or len(s) != n or n < LEAST_DRAWS or not (log_w < math.inf).all():
        raise InputError(
            f"weigh: log weights of shape {log_w.shape} and draws of shape {s.shape}. Give (n,), without NaN, and (n, K), "
            f"n >= {LEAST_DRAWS}."
        )
    top = float(log_w.max())
    w = np.exp(log_w - top) if top > -math.inf else np.zeros(n)
    total = float(w.sum())
    share = total**2 / float(w @ w) / n if total > 0 else 0.0
    if share < LEAST_SHARE:
        raise ReferenceRefusedError(
            f"log p(x) from weighted draws: {100 * share:.2g} % of {n} draws are effective, less than {100 * LEAST_SHARE:g} %: "
            "the law is far from the posterior, and its weights say nothing. Use best_law, or circuitlsc.learning.ais."
        )
    se = float(np.std(w, ddof=1)) * math.sqrt(n) / total
    w /= total

    def of(f: Array) -> tuple[Array, Array]:
        value = np.asarray(w @ f)
        return value, np.sqrt(w**2 @ (f - value) ** 2)

    active, mean, second = of((s != 0).astype(float)), of(s), of(s**2)
    variance, variance_se = of((s - mean[0]) ** 2)
    sd = np.sqrt(variance)
    sd_se = variance_se / (2 * np.where(sd > 0, sd, 1.0))
    return Evidence(top + math.log(total / n), se, share, *active, *mean, *second, sd, sd_se, n)


def _log_prior(slab: Slab, signed: bool, s: Array) -> Array:
    """Return log p(s) of codes (n, K) against delta_0 + Lebesgue, shape (n,)."""
    on = math.log(slab.pi) + math.log(slab.lam / 2 if signed else slab.lam) - slab.lam * np.abs(s)
    off = math.log1p(-slab.pi) if slab.pi < 1 else -math.inf
    return np.asarray(np.where(s == 0, off, on if signed else np.where(s > 0, on, -math.inf)).sum(1))


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
