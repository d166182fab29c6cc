"""Dictionaries of 8x8 patches learned by the variational learner, beside those that the sampling learner finds.

In kind after Fallah & Rozell 2022 (a linear generator of whitened patches). What differs from the paper: patches of three
photographs of scikit-image; an encoder with one hidden layer; Adam and the closed-form bound in place of SGD and best-of-J
draws; a spike-and-slab prior with pi = .1 for the codes' law itself. Both learners have the same inputs, first dictionary,
prior and noise level, and about as much processor time. The measures are defined in `examples.paper.vsc_measures`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from circuitlsc.errors import ReferenceRefusedError
from circuitlsc.io.arrays import Array
from circuitlsc.learning.learner import Learner
from circuitlsc.learning.stage import Stage
from circuitlsc.learning.start import random_weights
from circuitlsc.learning.variational import VariationalLearner
from circuitlsc.model.encoder import Encoder
from circuitlsc.model.priors import SpikeSlab
from circuitlsc.model.sparse_coding import SparseCodingModel
from circuitlsc.model.variational import best_law, elbo, law_of, log_evidence
from circuitlsc.reference.map_estimate import many_lasso, objective
from examples.paper.figure_patches import BATCH, LAM, SIDE, SIGMA, halves, source_name
from examples.paper.figure_runs import USED, Effort, Note, Progress, held_out_likelihood, plain, run_all
from examples.paper.figures import posterior_draws
from examples.paper.vsc_measures import collapsed, jaccard, mean_se, pairwise_information

PI = 0.1
LATENTS = SIDE**2
HIDDEN = (128,)
STEPS, ENCODER_STEPS = 12_000, 4000  # of dictionary and encoder together; of the encoder for a dictionary that is known
STAGES = (  # patches are large beside sigma: without a pause codes of the last input would smear the atoms
    Stage(duration=3000.0, step=0.02, hold=40.0, pause=20.0, tau_A=20.0),
    Stage(duration=3000.0, step=0.01, hold=40.0, pause=20.0, tau_A=100.0),
    Stage(duration=2000.0, step=0.005, hold=40.0, pause=20.0, tau_A=400.0),
)
EFFORT = Effort(held_out=100, sweeps=800)
METHODS = ("variational", "sampling")
CODERS = ("encoder", "exact", "lasso")
_CODED = 10  # inputs of which codes are measured, for each one whose log p(x) is
_DRAWS = 20_000  # of log p(x) by weighting
_GONE = 1e-3  # of the longest atom: what is shorter has no part in log p(x)


@dataclass(frozen=True, eq=False)
class Codes:
    """One draw of the codes of each held-out patch, and what is measured of them.

    Attributes
    ----------
    coder : str
        "encoder" (draws of its law), "exact" (Gibbs draws of the posterior) or "lasso" (the L1 energy's minimum: no draw).
    error : tuple
        abs(x - A s)^2/D, in (data units)^2: mean over patches and its standard error.
    energy : tuple
        abs(x - A s)^2/(2 sigma^2) + lam sum abs(s), dimensionless: likewise.
    active : tuple
        Share of codes that are not 0, of atoms that are used: likewise.
    jaccard : tuple
        Index of the supports of two independent draws, of atoms that are used: likewise.
    information, shuffled : float
        `pairwise_information` of atoms that are used, in nats.
    """

    coder: str
    error: tuple[float, float]
    energy: tuple[float, float]
    active: tuple[float, float]
    jaccard: tuple[float, float]
    information: float
    shuffled: float


@dataclass(frozen=True, eq=False)
class VscPatchRun:
    """A dictionary of patches, and what it and its encoder are worth.

    Attributes
    ----------
    method : str
        "variational" (dictionary and encoder learned together) or "sampling" (the encoder is trained for it afterwards).
    seed : int
    seconds : float
        Processor time that learning the dictionary took, of its own thread.
    A : array, shape (D, K)
        In data units per model unit.
    log_p, log_p_se : array, shape (n,)
        Held-out log p(x) by annealed importance sampling, in nats.
    log_p_quick : float
        Its mean with a quarter of the sweeps.
    weighted : array, shape (n,)
        The same by weighted draws of the best law; nan where they are refused.
    weighted_se, ess_share : array, shape (n,)
        Their standard errors (nan where refused) and shares of effective draws (0 where refused).
    bound : array, shape (n,)
        The encoder's ELBO of the same patches.
    collapsed, never : int
        Latents whose law is the prior; latents whose P(active) stays below half of the prior's for all patches.
    codes : tuple of Codes
    """

    method: str
    seed: int
    seconds: float
    A: Array
    log_p: Array
    log_p_se: Array
    log_p_quick: float
    weighted: Array
    weighted_se: Array
    ess_share: Array
    bound: Array
    collapsed: int
    never: int
    codes: tuple[Codes, ...]

    @property
    def norms(self) -> Array:
        """Norm of each atom, shape (K,)."""
        return np.asarray(np.linalg.norm(self.A, axis=0))

    @property
    def n_used(self) -> int:
        """Atoms longer than a quarter of the longest; the others are dead."""
        return int(np.sum(self.norms > USED * self.norms.max()))

    @property
    def refused(self) -> int:
        """Patches whose log p(x) by weighted draws is refused."""
        return int(np.sum(~np.isfinite(self.weighted)))

    def summary(self) -> dict[str, Any]:
        """Return what is said of the run, JSON-ready."""
        numbers = {name: mean_se(getattr(self, name)) for name in ("log_p", "bound")}
        counts = {name: getattr(self, name) for name in ("method", "seed", "n_used", "collapsed", "never", "refused")}
        return {**counts, "n_latents": self.A.shape[1], "seconds": self.seconds, **numbers}


@dataclass(frozen=True, eq=False)
class VscPatchesData:
    """Dictionaries of both learners for each seed; settings are those of both."""

    side: int
    pi: float
    lam: float
    sigma: float
    batch: int
    source: str
    steps: int
    stages: tuple[Stage, ...]
    runs: tuple[VscPatchRun, ...]

    def of(self, method: str) -> list[VscPatchRun]:
        """Return the runs of a learner."""
        return [run for run in self.runs if run.method == method]

    def gain(self) -> list[tuple[int, float, float]]:
        """Return for each seed log p(x) by the sampling learner's dictionary minus the other's, and its error over patches."""
        pairs = zip(self.of("variational"), self.of("sampling"), strict=True)
        return [(one.seed, *mean_se(other.log_p - one.log_p)) for one, other in pairs]

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers behind the figure, JSON-ready; null where log p(x) is refused."""
        runs = [replace_nan(plain(run)) | {"summary": plain(run.summary())} for run in self.runs]
        return {**plain(replace(self, runs=())), "runs": runs, "gain": plain(self.gain())}


def replace_nan(numbers: dict[str, Any]) -> dict[str, Any]:
    """Return numbers with null for nan, in lists too."""
    return {
        k: [None if isinstance(x, float) and np.isnan(x) else x for x in v] if isinstance(v, list) else v
        for k, v in numbers.items()
    }


@dataclass(frozen=True)
class _Job:
    method: str
    seed: int

    def __str__(self) -> str:
        return f"{self.method} learner, seed {self.seed}"


def vsc_patches_data(
    effort: Effort | None = None,
    *,
    seed: int = 0,
    pictures: Sequence[Array] | None = None,
    side: int = SIDE,
    workers: int = 1,
    note: Note | None = None,
) -> VscPatchesData:
    """Learn dictionaries of as many atoms as pixels with both learners; ``pictures`` are not yet whitened."""
    effort = effort or EFFORT
    source, rest = halves(pictures, side)
    stages, steps = effort.stages(STAGES), max(1, round(STEPS * effort.time))
    X = rest.batch(0, _CODED * effort.held_out, seed)

    def one(job: _Job, progress: Progress) -> VscPatchRun:
        given: dict[str, Any] = {"pi": PI, "lam": LAM, "sigma": SIGMA, "source": source, "seed": job.seed}
        given |= {"signed": True, "batch": BATCH}
        A0 = random_weights(side**2, side**2, job.seed, signed=True)
        encode: dict[str, Any] = {**given, "hidden": HIDDEN, "held_out": 0}
        began = time.thread_time()
        if job.method == "variational":
            run = VariationalLearner(A0=A0, learn=("A",), steps=steps, **encode).run(progress=progress)
            assert run.learned is not None
            A, encoder = run.learned.A_final, run.encoder  # the encoder is for the dictionary as it stood last
        else:
            A = Learner(A0=A0, stages=stages, learn=("A",), **given).run(progress=progress).learned.A
        seconds = time.thread_time() - began
        if job.method == "sampling":
            less = max(1, round(ENCODER_STEPS * effort.time))
            encoder = VariationalLearner(A0=A, steps=less, **encode).run(progress=progress).encoder
        return _measured(job, A, encoder, X, effort, progress, seconds)

    jobs = [_Job(method, seed + k) for k in range(effort.seeds) for method in METHODS]
    runs = run_all(one, jobs, str, workers=workers, note=note)
    return VscPatchesData(side, PI, LAM, SIGMA, BATCH, source_name(pictures), steps, stages, tuple(runs))


def _measured(
    job: _Job, A: Array, encoder: Encoder, X: Array, effort: Effort, progress: Progress, seconds: float
) -> VscPatchRun:
    prior, norms, some = SpikeSlab(PI, LAM, signed=True), np.linalg.norm(A, axis=0), X[: effort.held_out]
    model = SparseCodingModel(A, prior, SIGMA)
    shorter = SparseCodingModel(
        A[:, norms > _GONE * norms.max()], prior, SIGMA
    )  # the others change log p(x) by nothing
    used = norms > USED * norms.max()
    found = held_out_likelihood(shorter, some, effort, job.seed, progress)
    less = replace(effort, sweeps=max(1, effort.sweeps // 4))
    law = law_of(model, *encoder.heads(X))
    draws = {
        "encoder": law.draw(2, job.seed),
        "exact": np.array([posterior_draws(model, X, 1, 2 * job.seed + k)[:, 0] for k in range(2)]),
        "lasso": np.array([many_lasso(model, X)] * 2),
    }
    weighted = np.array([_weighted(shorter, x, job.seed) for x in some]).T
    return VscPatchRun(
        method=job.method,
        seed=job.seed,
        seconds=seconds,
        A=A,
        log_p=found.log_p,
        log_p_se=found.se,
        log_p_quick=held_out_likelihood(shorter, some, less, job.seed, progress).mean,
        weighted=weighted[0],
        weighted_se=weighted[1],
        ess_share=weighted[2],
        bound=elbo(model, some, *encoder.heads(some)),
        collapsed=int(np.sum(collapsed(law.kl(PI, LAM)))),
        never=int(np.sum(np.all(law.p_active < PI / 2, 0))),
        codes=tuple(_codes(model, X, coder, draws[coder], used, job.seed) for coder in CODERS),
    )


def _weighted(model: SparseCodingModel, x: Array, seed: int) -> tuple[float, float, float]:
    """Return log p(x) by weighted draws of the best law, its error and its share of effective draws."""
    try:
        found = log_evidence(model, x, best_law(model, x, starts=1), n=_DRAWS, rng=seed)
    except ReferenceRefusedError:
        return np.nan, np.nan, 0.0
    return found.log_p, found.se, found.ess_share


def _codes(model: SparseCodingModel, X: Array, coder: str, draws: Array, used: Array, seed: int) -> Codes:
    s, again = draws
    information, shuffled = pairwise_information(s[:, used], seed)
    return Codes(
        coder=coder,
        error=mean_se(np.mean((X - s @ model.A.T) ** 2, 1)),
        energy=mean_se(np.array([float(objective(model, code, x)) for code, x in zip(s, X, strict=True)])),
        active=mean_se(np.mean(s[:, used] != 0, 1)),
        jaccard=mean_se(jaccard(s[:, used], again[:, used])),
        information=information,
        shuffled=shuffled,
    )
