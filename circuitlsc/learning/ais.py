r"""Log likelihood of inputs under a model, by annealed importance sampling.

.. math:: \log p(x) = \log E_w\, e^{w}, \qquad
          w = \sum_{t=1}^{m} (\beta_t - \beta_{t-1}) \log p(x \mid s_{t-1}), \qquad 0 = \beta_0 < \dots < \beta_m = 1

s_0 is a draw from the prior, s_t the result of a move that leaves p(s) p(x|s)^beta_t alone: a Gibbs sweep (exact
conditionals, no step size), or for a network that makes inputs of codes a trajectory of Hamiltonian Monte Carlo (Neal 2011).
The mean of e^w is p(x) without bias; its logarithm is low by half of its squared standard error or so.
Neal 2001, doi:10.1023/A:1008923215028; the prior is that of Fang et al. 2022, section 3.1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import logsumexp

from circuitlsc.errors import InputError, ReferenceRefusedError
from circuitlsc.io.arrays import Array, check_count, real_array
from circuitlsc.io.compiled import compiled, side_by_side
from circuitlsc.model.generator import NetworkGenerator
from circuitlsc.model.sparse_coding import SparseCodingModel
from circuitlsc.reference.gibbs import _sweep, _Target, _target

_POWER = 3.0  # beta_t = (t/m)^3: most of the change is where the likelihood first narrows the prior down
_LEAPS = 5  # of a trajectory
_TRIED, _WANTED = 2, 0.8  # particles by which its step is chosen, and the share of trajectories that is to be accepted
_REFRESH = 64  # sweeps between recomputations of b - G s
_RELIABLE = 0.5  # standard error of a log likelihood above which a row is not to be trusted


@dataclass(frozen=True, eq=False)
class LogLikelihood:
    """Estimates of log p(x), dimensionless (of densities in data units).

    Attributes
    ----------
    log_p : array, shape (n_rows,)
        One for each input.
    se : array, shape (n_rows,)
        Standard error of each from its particles, by the delta method.
    """

    log_p: Array
    se: Array

    @property
    def mean(self) -> float:
        """Mean over the inputs."""
        return float(np.mean(self.log_p))

    @property
    def unreliable(self) -> int:
        """Number of inputs whose standard error is above 0.5: ask for more sweeps."""
        return int(np.sum(self.se > _RELIABLE))


def ais_log_likelihood(
    model: SparseCodingModel, X: ArrayLike, *, seed: int, n_sweeps: int = 200, n_particles: int = 32
) -> LogLikelihood:
    """Estimate log p(x) of each row of X.

    Parameters
    ----------
    model : SparseCodingModel
        With a SpikeSlab or Laplace prior, signed or not.
    X : array, shape (n_rows, n_features)
        Inputs, in data units; held-out ones, to compare models.
    seed : int
        Seed >= 0. The estimate of a row depends on seed, model and the row's place alone.
    n_sweeps : int
        Gibbs sweeps from prior to posterior. The variance of w falls as 1/n_sweeps.
    n_particles : int
        Independent particles for each input; >= 2.

    Returns
    -------
    LogLikelihood

    Raises
    ------
    InputError
        If X does not fit the model, or a count is out of range.
    ReferenceRefusedError
        If the prior has no conditionals to draw from.

    Notes
    -----
    The standard error is honest only while it is small (`LogLikelihood.unreliable`): weights that are all bad agree
    with each other. Compare with twice the sweeps.
    """
    prior = model.prior
    if (slab := prior.slab) is None:
        raise ReferenceRefusedError(
            f"ais_log_likelihood: the prior {prior!r} has no known conditional draw. Use SpikeSlab or Laplace."
        )
    for name, value, least in (("seed", seed, 0), ("n_sweeps", n_sweeps, 1), ("n_particles", n_particles, 2)):
        check_count(f"ais_log_likelihood: {name}", value, least)
    X = model.check_rows(X)
    G, beta = np.ascontiguousarray(model.gram), (np.arange(n_sweeps + 1) / n_sweeps) ** _POWER
    # one latent at a time
    target = _target(slab, G, np.zeros(model.n_latents), signed=prior.signed)._replace(n_moves=0)
    log_weights = np.empty((len(X), n_particles))

    def row(n: int) -> None:
        rng = np.random.default_rng([seed, n])
        start = prior.draw((n_particles, model.n_latents), rng)
        _weigh(rng, target._replace(b=model.drive(X[n])), beta, start, log_weights[n])

    side_by_side(row, len(X))
    silent = -0.5 * np.sum(X**2, 1) / model.variance - 0.5 * model.n_features * math.log(2 * math.pi * model.variance)
    return _averaged(log_weights, silent)


def generator_log_likelihood(
    generator: NetworkGenerator, X: ArrayLike, *, seed: int, n_levels: int = 200, n_particles: int = 32
) -> LogLikelihood:
    """Estimate log p(x) of each row of X under a network with a Gaussian prior.

    Parameters
    ----------
    generator : NetworkGenerator
    X : array, shape (n_rows, D)
        Inputs; held-out ones, to compare generators.
    seed : int
        Seed >= 0.
    n_levels : int
        Levels from prior to posterior, with a trajectory of five steps at each.
    n_particles : int
        Independent particles for each input; >= 2.

    Raises
    ------
    InputError
        If X is no array of rows, or a count is out of range.

    Notes
    -----
    The step of each level is chosen beforehand, by two other particles of every input, so that four trajectories of five are
    accepted. What `ais_log_likelihood` says of its standard error holds here.
    """
    counts = (("seed", seed, 0), ("n_levels", n_levels, 1), ("n_particles", n_particles, 2))
    for name, value, least in counts:
        check_count(f"generator_log_likelihood: {name}", value, least)
    X, beta = real_array("x", X), (np.arange(n_levels + 1) / n_levels) ** _POWER
    if X.ndim != 2 or X.shape[1] != len(generator.network.biases[-1]):
        raise InputError(
            f"generator_log_likelihood: x has shape {X.shape}, and the generator makes inputs of "
            f"{len(generator.network.biases[-1])} values. Give rows of these."
        )
    steps = np.full(n_levels, 0.5)
    _anneal(generator, np.repeat(X, _TRIED, 0), beta, steps, np.random.default_rng([seed, 1]), choose=True)
    found = _anneal(generator, np.repeat(X, n_particles, 0), beta, steps, np.random.default_rng([seed, 2]))
    return _averaged(found.reshape(len(X), n_particles), 0.0)


def _anneal(
    generator: NetworkGenerator, x: Array, beta: Array, steps: Array, rng: np.random.Generator, *, choose: bool = False
) -> Array:
    """Return the log weight of a particle for each row of x; the steps of the levels are changed if they are to be chosen."""
    z = rng.standard_normal((len(x), generator.n_latents))

    def at(z: Array) -> tuple[Array, Array]:  # -log p(x|z) and its slope
        value, by_z, _ = generator.energy(z, x)
        return value - 0.5 * np.sum(z**2, -1) - 0.5 * z.shape[-1] * math.log(2 * math.pi), by_z - z

    data, slope = at(z)
    out = -beta[1] * data
    for t in range(1, len(beta) - 1):  # at the last level a move would change nothing
        step, b = steps[t], beta[t]
        v = rng.standard_normal(z.shape)
        new, now, there, moved = z, v, slope, data
        for _ in range(_LEAPS):
            now = now - 0.5 * step * (b * there + new)
            new = new + step * now
            moved, there = at(new)
            now = now - 0.5 * step * (b * there + new)
        gain = b * (data - moved) + 0.5 * (np.sum(z**2 + v**2, -1) - np.sum(new**2 + now**2, -1))
        taken = np.log(rng.random(len(x))) < gain
        z, slope = np.where(taken[:, None], new, z), np.where(taken[:, None], there, slope)
        data = np.where(taken, moved, data)
        out -= (beta[t + 1] - beta[t]) * data
        if choose:
            steps[t + 1 :] = step * math.exp(float(np.mean(taken)) - _WANTED)
    return np.asarray(out)


def _averaged(log_weights: Array, more: Array | float) -> LogLikelihood:
    """Return the logarithm of the mean weight of each row (n_rows, n_particles), plus more, and its error."""
    n = log_weights.shape[1]
    scaled = np.exp(log_weights - log_weights.max(1, keepdims=True))
    se = scaled.std(1, ddof=1) / scaled.mean(1) / math.sqrt(n)
    return LogLikelihood(np.asarray(logsumexp(log_weights, 1) - math.log(n) + more), se)


@compiled()
def _weigh(rng: np.random.Generator, target: _Target, beta: Array, start: Array, out: Array) -> None:
    """Fill out with the log weight of each particle, without log p(x | s = 0); start (n_particles, K) moves along."""
    field = np.empty(len(target.b))
    for p in range(len(start)):
        s = start[p]
        out[p] = 0.0
        for t in range(1, len(beta)):
            if (t - 1) % _REFRESH == 0:
                field[:] = target.b - target.G @ s
            out[p] += (beta[t] - beta[t - 1]) * 0.5 * np.sum(s * (target.b + field))
            if t < len(beta) - 1:  # the last sweep would change nothing
                _sweep(rng, target, beta[t], field, s)
