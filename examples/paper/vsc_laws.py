r"""Thresholded laws beside laws without a threshold and a relaxed spike, in kind after Fallah & Rozell 2022.

Each family has the prior that is its own, and laws that are the best of each input:

===================  =========================================  =================================================
family               prior                                      law q of a latent
===================  =========================================  =================================================
thresholded Laplace  spike and slab: pi, Laplace(1/lam)         spike and Laplace(mu, b)
thresholded Gaussian the same                                   spike and two tails of N(mu, c^2)
Laplace              Laplace, of the same E s^2                 Laplace(mu, b)
Gaussian             normal, of the same E s^2                  N(mu, c^2)
concrete             z s', z BinConcrete(pi), s' Laplace(1/lam) z s', z BinConcrete(eta), s' Laplace(mu, b)
===================  =========================================  =================================================

BinConcrete: z = 1/(1 + exp(-(eta + L)/T)), L logistic (Maddison et al. 2017; Jang et al. 2017), T = .5: never exactly 0. For a
linear generator each bound needs E s, Var s and KL of each latent alone; all are closed form but the concrete's moments, a
quadrature over L. What differs from the paper: no encoder (nothing is lost by one), closed forms in place of draws, 4x4 bars
and patches with a dictionary that is known, or learned under the spike-and-slab prior.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, logit
from scipy.stats import multivariate_normal

from circuitlsc.io.arrays import Array
from circuitlsc.learning.learner import Learner
from circuitlsc.learning.start import random_weights
from circuitlsc.model.data import bars
from circuitlsc.model.priors import SpikeSlab
from circuitlsc.model.sparse_coding import SparseCodingModel
from circuitlsc.model.thresholded import Thresholded, ThresholdedGaussian, ThresholdedLaplace
from circuitlsc.model.variational import kappa_of
from circuitlsc.validation.calibration import draw_inputs
from examples.paper.figure_patches import BATCH, LAM, SIDE, SIGMA, halves
from examples.paper.figure_runs import Effort, Note, Progress, held_out_likelihood, plain, run_all
from examples.paper.figures import posterior_draws
from examples.paper.vsc_measures import jaccard, mean_se
from examples.paper.vsc_patches import PI as PATCH_PI
from examples.paper.vsc_patches import STAGES

PI, BARS = 0.3, 4
TEMPERATURE = 0.5
CUT = 0.1  # of the slab's scale 1/lam: codes up to that count as 0 where none is exactly 0
EFFORT = Effort(held_out=60, sweeps=800)
_NODES = logit((np.arange(200) + 0.5) / 200)  # of the logistic law, equal weights
_STEP = 1e-5  # of central differences
_FAR = 12.0  # of log scales and log odds


class Family(ABC):
    """A family of laws with 2 or 3 numbers for each latent, each of shape (K,): mu, log of the scale, and log odds.

    Parameters
    ----------
    pi, lam : float
        P(active) and rate of the spike-and-slab prior that its own prior stands for.
    """

    name: str
    n_numbers = 3

    def __init__(self, pi: float, lam: float) -> None:
        self.pi, self.lam = pi, lam

    @abstractmethod
    def moments(self, theta: Array) -> Array:
        """Return mean, variance and KL from the prior, (3, ..., K), of numbers (n_numbers, ..., K)."""

    @abstractmethod
    def draw(self, theta: Array, n: int, rng: np.random.Generator) -> Array:
        """Return n draws (n, ..., K)."""


class _Thresholded(Family):
    @abstractmethod
    def law(self, theta: Array) -> Thresholded:
        """Return the law."""

    def moments(self, theta: Array) -> Array:
        """Return mean, variance and KL."""
        law = self.law(theta)
        return np.stack([law.mean, law.variance, law.kl(self.pi, self.lam)])

    def draw(self, theta: Array, n: int, rng: np.random.Generator) -> Array:
        """Return n draws."""
        return self.law(theta).draw(n, rng)


class ThresholdedLaplaces(_Thresholded):
    """The package's own: spike and Laplace slab."""

    name = "thresholded Laplace"

    def law(self, theta: Array) -> Thresholded:
        """Return the law: kappa = log(1 + exp(-eta))."""
        return ThresholdedLaplace(theta[0], np.exp(theta[1]), kappa_of(theta[2]))


class ThresholdedGaussians(_Thresholded):
    """Thresholded normal noise; its threshold is exp(-eta/2) scales."""

    name = "thresholded Gaussian"

    def law(self, theta: Array) -> Thresholded:
        """Return the law."""
        return ThresholdedGaussian(theta[0], np.exp(theta[1]), np.exp(-theta[2] / 2))


class Laplaces(Family):
    """Laplace laws and prior, no spike: the thresholded law at kappa = 0."""

    name = "Laplace"
    n_numbers = 2

    def moments(self, theta: Array) -> Array:
        """Return mean, variance and KL."""
        law = ThresholdedLaplace(theta[0], np.exp(theta[1]), np.zeros_like(theta[0]))
        return np.stack([law.mean, law.variance, law.kl(1.0, self.lam / np.sqrt(self.pi))])

    def draw(self, theta: Array, n: int, rng: np.random.Generator) -> Array:
        """Return n draws."""
        return np.asarray(theta[0] + np.exp(theta[1]) * rng.laplace(size=(n, *theta[0].shape)))


class Gaussians(Family):
    """Normal laws and prior."""

    name = "Gaussian"
    n_numbers = 2

    def moments(self, theta: Array) -> Array:
        """Return mean, variance and KL."""
        mu, variance, prior = theta[0], np.exp(2 * theta[1]), 2 * self.pi / self.lam**2
        return np.stack([mu, variance, 0.5 * ((mu**2 + variance) / prior - 1 - np.log(variance / prior))])

    def draw(self, theta: Array, n: int, rng: np.random.Generator) -> Array:
        """Return n draws."""
        return np.asarray(theta[0] + np.exp(theta[1]) * rng.standard_normal((n, *theta[0].shape)))


class Concretes(Family):
    r"""A relaxed Bernoulli times a Laplace slab, and the same as prior; the divergence is that of both factors together.

    .. math:: \mathrm{KL} = d \coth(d/2) - 2 + \mathrm{KL}(\mathrm{Laplace}(\mu, b)\,\|\,\mathrm{Laplace}(0, 1/\lambda)),
              \qquad d = \eta - \mathrm{logit}\,\pi

    The first part is that of two logistic laws, whatever T is.
    """

    name = "concrete"

    def moments(self, theta: Array) -> Array:
        """Return mean, variance and KL."""
        mu, b, eta = theta[0], np.exp(theta[1]), theta[2]
        z = expit((eta[..., None] + _NODES) / TEMPERATURE)
        d = np.maximum(np.abs(eta - logit(self.pi)), 1e-6)
        mean = z.mean(-1) * mu
        variance = (z**2).mean(-1) * (2 * b**2 + mu**2) - mean**2
        slab = ThresholdedLaplace(mu, b, np.zeros_like(mu)).kl_base(self.lam)
        return np.stack([mean, variance, d / np.tanh(d / 2) - 2 + slab])

    def draw(self, theta: Array, n: int, rng: np.random.Generator) -> Array:
        """Return n draws."""
        shape = (n, *theta[0].shape)
        z = expit((theta[2] + rng.logistic(size=shape)) / TEMPERATURE)
        return np.asarray(z * (theta[0] + np.exp(theta[1]) * rng.laplace(size=shape)))


FAMILIES = (ThresholdedLaplaces, ThresholdedGaussians, Laplaces, Gaussians, Concretes)


def bound(model: SparseCodingModel, x: Array, family: Family, theta: Array) -> tuple[float, Array]:
    r"""Return the bound on log p(x) of one input in nats, and its gradient, of shape (n_numbers, K).

    .. math:: -\tfrac{D}{2}\log 2\pi\sigma^2 - \frac{|x - A m|^2 + \sum_k |a_k|^2 v_k}{2\sigma^2} - \sum_k \mathrm{KL}_k

    Each latent's moments depend on its own numbers alone, so that one difference does for all latents.
    """
    (m, v, kl), s2 = family.moments(theta), model.variance
    r = x - model.A @ m
    value = -0.5 * (len(x) * np.log(2 * np.pi * s2) + (r @ r + model.powers @ v) / s2) - kl.sum()
    outer = np.stack([r @ model.A / s2, -model.powers / (2 * s2), -np.ones_like(m)])
    steps = _STEP * np.eye(len(theta))[:, :, None]
    slopes = [(family.moments(theta + h) - family.moments(theta - h)) / (2 * _STEP) for h in steps]
    return float(value), np.array([np.sum(outer * slope, 0) for slope in slopes])


def best(model: SparseCodingModel, x: Array, family: Family) -> tuple[float, Array]:
    """Return the largest bound that is found from two starts (L-BFGS-B), and the law's numbers (n_numbers, K)."""
    K, b0 = model.n_latents, 1 / family.lam
    ridge = np.linalg.solve(model.gram + np.eye(K) / b0**2, model.drive(x))
    found = []
    for mu in (ridge, x @ model.A / model.powers / 2):
        start = np.stack([mu, np.full(K, np.log(b0) - 1), np.full(K, logit(family.pi))])[: family.n_numbers]
        limits = [(None, None)] * K + [(-_FAR, _FAR)] * ((family.n_numbers - 1) * K)

        def loss(flat: Array) -> tuple[float, Array]:
            value, slope = bound(model, x, family, flat.reshape(-1, K))
            return -value, -slope.ravel()

        result = minimize(loss, start.ravel(), jac=True, method="L-BFGS-B", bounds=limits)
        found.append((-float(result.fun), result.x.reshape(-1, K)))
    return max(found, key=lambda pair: pair[0])


@dataclass(frozen=True, eq=False)
class LawsOf:
    """A family on one data set.

    Attributes
    ----------
    data, family : str
    bound : array, shape (n,)
        Best bound of each input under the family's own prior, in nats.
    zero : tuple
        Share of codes that are exactly 0 in a draw: mean over inputs, standard error.
    active : tuple
        Share of codes above a tenth of the slab's scale in size: likewise.
    jaccard : tuple
        Index of the supports above that size of two draws: likewise.
    error : tuple
        abs(x - A s)^2/D of a draw, in (data units)^2: likewise.
    """

    data: str
    family: str
    bound: Array
    zero: tuple[float, float]
    active: tuple[float, float]
    jaccard: tuple[float, float]
    error: tuple[float, float]


@dataclass(frozen=True, eq=False)
class LawsData:
    """Families on bars and on patches.

    Attributes
    ----------
    n_inputs : int
    temperature, cut : float
    log_p : dict of arrays
        Log p(x) under the spike-and-slab prior, by annealed importance sampling, in nats; and ``log_p_se``.
    log_p_gaussian : dict of arrays
        The same under the Gaussian family's prior, in closed form: what of its gap is the prior's, and not the law's.
    laws : tuple of LawsOf
        The last of each data set are draws of the exact posterior ("posterior"), with log p(x) for a bound.
    """

    n_inputs: int
    temperature: float
    cut: float
    log_p: dict[str, Array]
    log_p_se: dict[str, Array]
    log_p_gaussian: dict[str, Array]
    laws: tuple[LawsOf, ...]

    def of(self, data: str) -> list[LawsOf]:
        """Return the families of a data set, the posterior last."""
        return [law for law in self.laws if law.data == data]

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers behind the figure, JSON-ready."""
        return dict(plain(self))


def vsc_laws_data(
    effort: Effort | None = None,
    *,
    seed: int = 0,
    pictures: Sequence[Array] | None = None,
    side: int = SIDE,
    workers: int = 1,
    note: Note | None = None,
) -> LawsData:
    """Find the best laws of every family for inputs of 4x4 bars and for held-out patches; ``pictures`` are not yet whitened."""
    effort, n = effort or EFFORT, max(2, (effort or EFFORT).held_out)
    sets = {
        "4x4 bars": _bars(n, seed),
        f"{side}x{side} patches": _patches(effort, n, seed, pictures, side, workers, note),
    }

    def one(job: tuple[str, type[Family]], progress: Progress) -> LawsOf:
        (model, X), kind = sets[job[0]], job[1]
        assert isinstance(model.prior, SpikeSlab)
        family, bounds, draws = kind(model.prior.pi, model.prior.lam), [], []
        for k, x in enumerate(X):
            progress(k, len(X))
            value, theta = best(model, x, family)
            bounds.append(value)
            draws.append(family.draw(theta, 2, np.random.default_rng([seed, 3, k])))
        return _measured(job[0], family.name, model, X, np.array(bounds), np.array(draws))

    jobs = [(data, kind) for data in sets for kind in FAMILIES]
    laws = run_all(one, jobs, lambda job: f"{job[1].name}, {job[0]}", workers=workers, note=note)
    log_p = {data: held_out_likelihood(model, X, effort, seed) for data, (model, X) in sets.items()}
    for data, (model, X) in sets.items():
        draws = np.stack([posterior_draws(model, X, 1, 2 * seed + k)[:, 0] for k in range(2)], 1)
        laws.append(_measured(data, "posterior", model, X, log_p[data].log_p, draws))
    each = {data: found.log_p for data, found in log_p.items()}
    errors = {data: found.se for data, found in log_p.items()}
    gaussian = {data: _log_p_gaussian(model, X) for data, (model, X) in sets.items()}
    return LawsData(n, TEMPERATURE, CUT, each, errors, gaussian, tuple(laws))


def _log_p_gaussian(model: SparseCodingModel, X: Array) -> Array:
    """Return log p(x) of inputs (n, D) under a normal prior with the variance of the model's own."""
    assert isinstance(model.prior, SpikeSlab)
    variance = 2 * model.prior.pi / model.prior.lam**2
    covariance = model.variance * np.eye(model.n_features) + variance * model.A @ model.A.T
    return np.asarray(multivariate_normal(np.zeros(model.n_features), covariance).logpdf(X))


def _bars(n: int, seed: int) -> tuple[SparseCodingModel, Array]:
    model = SparseCodingModel(bars(BARS), SpikeSlab(PI, LAM, signed=True), SIGMA)
    return model, draw_inputs(model, n, np.random.default_rng([seed, 4]))[1]


def _patches(
    effort: Effort,
    n: int,
    seed: int,
    pictures: Sequence[Array] | None,
    side: int,
    workers: int,
    note: Note | None,
) -> tuple[SparseCodingModel, Array]:
    """Return a model whose dictionary the sampling learner found, as in `examples.paper.vsc_patches`, and held-out patches."""
    source, rest = halves(pictures, side)
    learner = Learner(
        A0=random_weights(side**2, side**2, seed, signed=True),
        pi=PATCH_PI,
        lam=LAM,
        sigma=SIGMA,
        source=source,
        stages=effort.stages(STAGES),
        seed=seed,
        learn=("A",),
        signed=True,
        batch=BATCH,
    )
    (run,) = run_all(
        lambda job, progress: job.run(progress=progress),
        [learner],
        lambda _: "a dictionary of patches",
        workers=workers,
        note=note,
    )
    return run.learned.model(), rest.batch(0, n, seed)


def _measured(data: str, name: str, model: SparseCodingModel, X: Array, bounds: Array, draws: Array) -> LawsOf:
    """Return what is said of a family: best bounds (n,), and two draws for each input (n, 2, K)."""
    assert isinstance(model.prior, SpikeSlab)
    s, again = draws[:, 0], draws[:, 1]
    cut = CUT / model.prior.lam
    return LawsOf(
        data=data,
        family=name,
        bound=bounds,
        zero=mean_se(np.mean(s == 0, 1)),
        active=mean_se(np.mean(np.abs(s) > cut, 1)),
        jaccard=mean_se(jaccard(s, again, cut)),
        error=mean_se(np.mean((X - s @ model.A.T) ** 2, 1)),
    )
