r"""Steps of the weights that make codes sample the posterior: the toys of Taniguchi et al. 2022, against exact references.

Three points, z ~ N(0, I_2), x | z ~ N(z, [[.7, .6], [.6, .8]]) (printed asymmetric), an encoder of three layers of 128
rectified features, steps of 4e-4: closed form. The same with a random network in place of the identity: quadrature on a grid.
And fewer features than points, of which the posterior's restriction is sampled: closed form, which is not in the paper. What
differs from the paper: features are fixed and scaled to a mean square of 1, steps are accepted or rejected, and there are as
many as the errors need.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.linalg import qr

from circuitlsc.io.arrays import Array
from circuitlsc.learning.autoencoder import sample_amortised
from circuitlsc.model.features import Features
from circuitlsc.model.generator import GaussianNoise, NetworkGenerator
from circuitlsc.model.network import Network
from circuitlsc.model.priors import Gaussian
from circuitlsc.model.sparse_coding import SparseCodingModel
from circuitlsc.reference.linear_memory import memory_posterior
from circuitlsc.reference.mcse import mean_with_mcse
from examples.paper.figure_runs import Effort, Note, Progress, plain, run_all

COV = np.array([[0.7, 0.6], [0.6, 0.8]])
POINTS, ETA, LAYERS = 3, 4e-4, (128, 128, 128)
FEWER = (1, 2, 3, 6, 128)
STEPS, WARMUP, CHAINS, THIN = 30_000, 3_000, 16, 10
NOISE = 0.5  # of the random network's inputs
_HIDDEN, _GAIN = 16, 2.5  # of the random network
_REACH, _CELLS = 5.0, 401  # of the grid: prior standard deviations, points of a side
_SHOWN = 400  # draws of a point that are kept for the figure
EFFORT = Effort(seeds=1)


@dataclass(frozen=True, eq=False)
class Sampled:
    """Draws of the codes of every point, beside what is exact.

    Attributes
    ----------
    name : str
    features, rank : int
        H, and the rank of Phi.
    accepted : float
        Share of the steps that were taken.
    mean, cov : array, shape (N, 2), (N, 2, 2)
        Exact ones of what is to be sampled.
    found, found_cov : array
        Those of the draws.
    z : float
        Largest deviation of a mean or second moment about the exact mean, in Monte-Carlo standard errors.
    moments : int
        Of which it is the largest.
    virial : tuple
        sum_n <u_n . grad E_n> over K, which is to be the rank, and its standard error.
    apart : tuple
        Largest distance of a mean of the draws from the posterior's, in its standard deviations, and what is exact for it.
    draws : array, shape (N, n, 2)
        Some of them.
    """

    name: str
    features: int
    rank: int
    accepted: float
    mean: Array
    cov: Array
    found: Array
    found_cov: Array
    z: float
    moments: int
    virial: tuple[float, float]
    apart: tuple[float, float]
    draws: Array


@dataclass(frozen=True, eq=False)
class PointsData:
    """The three toys; ``density`` is p(z | x) of the random network, (N, cells, cells), on ``grid``, the second code first."""

    eta: float
    steps: int
    chains: int
    x: Array
    points: Sampled
    network: Sampled
    ranks: tuple[Sampled, ...]
    grid: Array
    density: Array

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers behind the figure, JSON-ready, without densities."""
        numbers = dict(plain(replace(self, grid=np.empty(0), density=np.empty(0))))
        return {name: value for name, value in numbers.items() if name not in ("grid", "density")}


def ald_points_data(
    effort: Effort | None = None, *, seed: int = 0, workers: int = 1, note: Note | None = None
) -> PointsData:
    """Sample the three toys; the seed is that of points, features and steps."""
    effort = effort or EFFORT
    rng = np.random.default_rng([seed, 0])
    w, axes = np.linalg.eigh(COV)
    A = axes / np.sqrt(w) @ axes.T  # x over the root of its covariance: noise of standard deviation 1
    model = SparseCodingModel(A, Gaussian(1.0), 1.0)
    x = rng.multivariate_normal(np.zeros(2), np.eye(2) + COV, POINTS)
    linear = NetworkGenerator(Network([A], [np.zeros(2)]), GaussianNoise())
    drawn = Network.drawn((2, _HIDDEN, _HIDDEN, 2), rng)
    bent = [0.5 * rng.standard_normal(n) for n in (_HIDDEN, _HIDDEN)]
    f = Network([_GAIN * weights for weights in drawn.weights], [*bent, np.zeros(2)])
    random = NetworkGenerator(f, GaussianNoise(), float(np.log(NOISE)))
    seen = f.values(rng.standard_normal((POINTS, 2)))[-1] + NOISE * rng.standard_normal((POINTS, 2))
    grid, density = _density(random, seen)

    def one(job: tuple[str, int], progress: Progress) -> Sampled:
        name, H = job
        features = _features(x if name != "network" else seen, H, seed)
        if name == "network":
            law = _moments(grid, density)
            return _sampled(name, random, seen, features, law, law, effort, seed)
        law = _own(*memory_posterior(model, x @ A, features))
        posterior = _own(*memory_posterior(model, x @ A, Features(np.eye(POINTS))))
        return _sampled(name, linear, x @ A, features, law, posterior, effort, seed)

    jobs = [("points", LAYERS[-1]), ("network", LAYERS[-1]), *(("rank", H) for H in FEWER)]
    points, network, *ranks = run_all(one, jobs, lambda job: f"{job[0]}, {job[1]} features", workers=workers, note=note)
    steps = max(THIN * 40, round(STEPS * effort.time))
    return PointsData(ETA, steps, CHAINS, x, points, network, tuple(ranks), grid, density)


def _features(x: Array, H: int, seed: int) -> Features:
    """Return H of the rectified features of random layers, the least alike first; abs(phi)^2 is 128 in the mean over points."""
    rng = np.random.default_rng([seed, 1])
    drawn = Network.drawn((2, *LAYERS), rng)
    biases = [0.5 * rng.standard_normal(len(c)) for c in drawn.biases]
    phi = np.maximum(Network([np.sqrt(6.0) * w for w in drawn.weights], biases).values(x)[-1], 0.0)
    order = qr(phi, pivoting=True, mode="r")[1]
    some = phi[:, order[:H]]
    return Features(some.T * np.sqrt(LAYERS[-1] * len(x) / np.sum(some**2)))


def _own(mean: Array, cov: Array) -> tuple[Array, Array]:
    return mean, np.einsum("ninj->nij", cov)


def _sampled(
    name: str,
    generator: NetworkGenerator,
    x: Array,
    features: Features,
    law: tuple[Array, Array],
    posterior: tuple[Array, Array],
    effort: Effort,
    seed: int,
) -> Sampled:
    steps, warmup = max(THIN * 40, round(STEPS * effort.time)), max(THIN, round(WARMUP * effort.time))
    counts: dict[str, Any] = {"steps": steps, "warmup": warmup, "chains": CHAINS, "thin": THIN, "seed": seed}
    draws, accepted = sample_amortised(generator, x, features, eta=ETA, **counts)
    mean, cov = law
    off = draws - mean
    second = off[..., :, None] * off[..., None, :]
    (by_mean, se_mean), (by_cov, se_cov) = mean_with_mcse(off), mean_with_mcse(second)
    z = max(float(np.max(np.abs(by_mean) / se_mean)), float(np.max(np.abs(by_cov - cov) / se_cov)))
    flat, tiled = draws.reshape(-1, draws.shape[-1]), np.tile(x, (draws.shape[0] * draws.shape[1], 1))
    slopes = generator.energy(flat, tiled).by_z.reshape(draws.shape)
    virial, error = mean_with_mcse(np.sum(draws * slopes, (-1, -2)) / draws.shape[-1])
    sd = np.sqrt(np.einsum("nii->ni", posterior[1]))
    apart = [float(np.max(np.abs(m - posterior[0]) / sd)) for m in (mean + by_mean, mean)]
    some = np.moveaxis(draws, 2, 0).reshape(len(x), -1, draws.shape[-1])
    return Sampled(
        name=name,
        features=features.H,
        rank=features.rank,
        accepted=accepted,
        mean=mean,
        cov=cov,
        found=mean + by_mean,
        found_cov=by_cov - by_mean[..., :, None] * by_mean[..., None, :],
        z=z,
        moments=by_mean.size + len(x) * 3,
        virial=(float(virial), float(error)),
        apart=(apart[0], apart[1]),
        draws=some[:, :: max(1, some.shape[1] // _SHOWN)],
    )


def _density(generator: NetworkGenerator, x: Array) -> tuple[Array, Array]:
    """Return a grid and p(z | x) on it, (N, cells, cells): its sum times the area of a cell is 1."""
    grid = np.linspace(-_REACH, _REACH, _CELLS)
    z = np.stack(np.meshgrid(grid, grid), -1).reshape(-1, 2)
    energies = np.array([generator.energy(z, np.broadcast_to(point, (len(z), 2))).value for point in x])
    p = np.exp(energies.min(1, keepdims=True) - energies)
    area = (grid[1] - grid[0]) ** 2
    return grid, (p / (p.sum(1, keepdims=True) * area)).reshape(len(x), _CELLS, _CELLS)


def _moments(grid: Array, density: Array) -> tuple[Array, Array]:
    """Return means and covariances by quadrature, of an error that is exponentially small for what vanishes at the edges."""
    z, area = np.stack(np.meshgrid(grid, grid), -1), (grid[1] - grid[0]) ** 2
    mean = np.einsum("nab,abi->ni", density, z) * area
    off = z[None] - mean[:, None, None]
    return mean, np.einsum("nab,nabi,nabj->nij", density, off, off) * area
