r"""What batches do to the Langevin autoencoder of Taniguchi et al. 2022: how hot its codes are, and what it learns of that.

Noise of W belongs to a batch of B inputs. Over n of them drift is on for B/n of the time, and noise always: as steps get short
codes have the law exp(-sum_n E_n B/(n T)). Measured in two ways: the variance of codes of a linear model over that at T = 1, in
closed form; and atoms that are learned under the spike-and-slab prior of Fang et al. 2022 over those of the data, at T = 1 as
published and at T = B/n. Neither is in the paper.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from circuitlsc.io.arrays import Array
from circuitlsc.learning.autoencoder import AutoencoderLearner, amortised_step, codes
from circuitlsc.learning.match import match_atoms
from circuitlsc.model.data import bars
from circuitlsc.model.features import features_of
from circuitlsc.model.generator import DictionaryGenerator, GaussianNoise, NetworkGenerator
from circuitlsc.model.network import Network
from circuitlsc.model.priors import Gaussian, SpikeSlab
from circuitlsc.model.sparse_coding import SparseCodingModel
from circuitlsc.reference.linear_memory import memory_posterior
from circuitlsc.validation.calibration import draw_inputs
from examples.paper.figure_runs import Effort, Note, Progress, plain, run_all
from examples.paper.vsc_measures import mean_se

INPUTS = 32
BATCHES = (2, 4, 8, 16, 32)
STEP, SWEEPS, INNER = 0.02, 30_000, 2  # of a weight (over the features' mean square); Langevin steps; of a batch
HIDDEN, LEARNED_FROM = 64, 400
LEARNED_BATCHES = (16, 64)
PI, LAM, SIGMA, SIDE = 0.3, 1.0, 0.3, 3
UPDATES, ETA, RATE = 20_000, 1e-3, 3e-3  # steps, of W for features of a mean square of 1, and of atoms
EFFORT = Effort(seeds=3)


@dataclass(frozen=True, eq=False)
class Hot:
    """Temperature of codes of a linear model for a batch: over T, mean over seeds and its standard error."""

    batch: int
    published: tuple[float, float]
    divided: tuple[float, float]


@dataclass(frozen=True, eq=False)
class Atoms:
    """A dictionary learned from batches.

    Attributes
    ----------
    batch, seed : int
    divided : bool
        Whether the noise is that of the data, T = B/n.
    cosine, norm : array, shape (K,)
        Of each atom of the data: of the one that is nearest, and its norm over that of the data.
    active : float
        Share of codes that are active, of the inputs that were learned from.
    """

    batch: int
    seed: int
    divided: bool
    cosine: Array
    norm: Array
    active: float


@dataclass(frozen=True, eq=False)
class BatchData:
    """Both experiments."""

    inputs: int
    learned_from: int
    hidden: int
    pi: float
    hot: tuple[Hot, ...]
    atoms: tuple[Atoms, ...]

    def of(self, batch: int, divided: bool) -> list[Atoms]:
        """Return the dictionaries of a batch."""
        return [a for a in self.atoms if (a.batch, a.divided) == (batch, divided)]

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers behind the figure, JSON-ready."""
        return dict(plain(self))


def lae_batch_data(
    effort: Effort | None = None, *, seed: int = 0, workers: int = 1, note: Note | None = None
) -> BatchData:
    """Measure both for every batch and seed."""
    effort = effort or EFFORT
    seeds = [seed + k for k in range(effort.seeds)]

    def one(job: tuple[str, int, bool, int], progress: Progress) -> Any:
        what, batch, divided, k = job
        return (
            _temperature(batch, divided, k, effort)
            if what == "codes"
            else _learned(batch, divided, k, effort, progress)
        )

    jobs = [("codes", b, divided, k) for b in BATCHES for divided in (False, True) for k in seeds]
    jobs += [("atoms", b, divided, k) for b in LEARNED_BATCHES for divided in (False, True) for k in seeds]

    def name(job: tuple[str, int, bool, int]) -> str:
        return f"{job[0]}, batch {job[1]}, noise of the {'data' if job[2] else 'batch'}, seed {job[3]}"

    found = dict(zip(jobs, run_all(one, jobs, name, workers=workers, note=note), strict=True))
    hot = [
        Hot(b, *(mean_se(np.array([found["codes", b, divided, k] for k in seeds])) for divided in (False, True)))
        for b in BATCHES
    ]
    atoms = [value for job, value in found.items() if job[0] == "atoms"]
    return BatchData(INPUTS, LEARNED_FROM, HIDDEN, PI, tuple(hot), tuple(atoms))


def _temperature(batch: int, divided: bool, seed: int, effort: Effort) -> float:
    """Return the variance of codes over that of the posterior, mean over inputs and latents; of fixed features, H = n."""
    rng = np.random.default_rng([seed, 2])
    model = SparseCodingModel(rng.standard_normal((4, 2)), Gaussian(1.0), 1.0)
    X = np.array([model.draw(rng)[1] for _ in range(INPUTS)])
    features = features_of("orthogonal", X)
    mean, cov = memory_posterior(model, X, features)
    exact = np.einsum("nknk->nk", cov)
    generator = NetworkGenerator(Network([model.A], [np.zeros(model.n_features)]), GaussianNoise())
    phi = features.phi.T
    W, eta = features.weights_of(mean), STEP / float(np.linalg.norm(model.gram + np.eye(2), 2))
    squares, kept = np.zeros(mean.shape), 0
    steps = max(100, round(SWEEPS * effort.time)) // INNER
    temperature = batch / INPUTS if divided else 1.0
    for t in range(steps):
        some = rng.choice(INPUTS, batch, replace=False)
        for _ in range(INNER):
            here = generator.energy(codes(W, phi[some]), X[some])
            W = amortised_step(W, phi[some], here, eta, rng, temperature=temperature).W
        if t >= steps // 10:
            squares, kept = squares + (codes(W, phi) - mean) ** 2, kept + 1
    return float(np.mean(squares / kept / exact))


def _learned(batch: int, divided: bool, seed: int, effort: Effort, progress: Progress) -> Atoms:
    true = SparseCodingModel(bars(SIDE), SpikeSlab(PI, LAM), SIGMA)
    X = draw_inputs(true, LEARNED_FROM, np.random.default_rng([seed, 3]))[1]
    start = np.abs(np.random.default_rng([seed, 4]).standard_normal(true.A.shape)) * 0.3
    learner = AutoencoderLearner(
        generator=DictionaryGenerator(SparseCodingModel(start, true.prior, SIGMA)),
        X=X,
        seed=seed,
        hidden=(HIDDEN,),
        train_features=False,
        steps=max(10, round(UPDATES * effort.time)),
        batch=batch,
        inner=INNER,
        step=ETA * batch,
        temperature=batch / LEARNED_FROM if divided else 1.0,
        rate=RATE,
    )
    run = learner.run(progress=progress)
    assert isinstance(run.generator, DictionaryGenerator)
    A = run.generator.model.A
    found = match_atoms(true.A, A)
    u = run.encoder.heads(X)[0]
    active = float(np.mean(run.generator.model.active(u)))
    return Atoms(batch, seed, divided, found.cosine, found.norm_ratio, active)
