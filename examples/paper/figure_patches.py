"""Dictionaries learned from whitened natural patches, for Figures 8 and 9 of Fang et al. 2022, doi:10.1162/neco_a_01505.

The paper's 8 x 8 patches are of van Hateren's pictures; these are of three photographs of scikit-image (or of pictures
that are given), with unit variance. The left three quarters of each picture are learned from, the rest is held out. The
paper gives neither sigma nor lam nor time constants; here sigma = 0.5, lam = 1, and codes are nonnegative as there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from circuitlsc.io.arrays import Array
from circuitlsc.learning.learner import Learner, LearningRun
from circuitlsc.learning.natural import NaturalPatches, photographs
from circuitlsc.learning.stage import Stage
from circuitlsc.model.images import whiten
from examples.paper.figure_runs import Course, Effort, Note, Progress, held_out_likelihood, run_all

SIDE, SIGMA, LAM, BATCH = 8, 0.5, 1.0, 100
TRAINED = 0.75  # of each picture's width
WINDOW = 500.0  # tau: over which means are compared
STILL = 0.01  # change of the mean norm per 1,000 tau that counts as converged
EFFORT = Effort(held_out=60, sweeps=400)  # annealing is slow where a patch has much contrast
_NOT_ARRAYS = ("omega", "course", "log_p_quick")


@dataclass(frozen=True, eq=False)
class PatchRun:
    """A dictionary learned from patches.

    Attributes
    ----------
    omega : float
        Overcompleteness: K = omega D.
    course : Course
        Of Figure 9 its ``norm`` has one column, the mean over atoms.
    activity : array, shape (batch,)
        Share of active latents for each input that is shown last.
    window : array, shape (m,)
        End of each window of 500 tau, in tau.
    window_pi, window_norm : array, shape (m,)
        Mean of pi, and of the norm of all atoms, in each window.
    window_change : array, shape (m,)
        Median over atoms of the change of their norm from the window before, relative; 0 for the first.
    log_p, log_p_se : array, shape (n_held_out,)
        Log likelihood of held-out patches, and its standard error.
    log_p_quick : float or None
        Mean of a second estimate with a quarter of the sweeps: as far as it lies below, the first may still be low.
    """

    omega: float
    course: Course
    activity: Array
    window: Array
    window_pi: Array
    window_norm: Array
    window_change: Array
    log_p: Array
    log_p_se: Array
    log_p_quick: float | None

    @property
    def n_active(self) -> Array:
        """Number of active latents for each input shown last, shape (batch,)."""
        return np.asarray(self.activity * self.course.A.shape[1])

    @property
    def norm_change(self) -> Array:
        """Relative change of the mean norm per 1,000 tau, from each window to the next, shape (m - 1,)."""
        return np.asarray(self.window_norm[1:] / self.window_norm[:-1] - 1) * (1000.0 / WINDOW)

    def summary(self) -> dict[str, Any]:
        """Return what is said about the run, JSON-ready."""
        norms, used, K = self.course.norms, self.course.used, self.course.A.shape[1]
        out: dict[str, Any] = {
            "omega": self.omega,
            "seed": self.course.seed,
            "n_latents": K,
            "learned_pi": self.course.learned_pi,
            "pi_times_n_latents": self.course.learned_pi * K,
            "active_10_to_90_percent": np.quantile(self.n_active, [0.1, 0.9]).tolist(),
            "n_used": int(used.sum()),
            "norms": {f"{q:g}": float(np.quantile(norms, q)) for q in (0, 0.1, 0.25, 0.5, 0.75, 0.9, 1)},
        }
        if len(self.log_p):
            n = len(self.log_p)
            out["log_likelihood"] = {
                "mean": float(self.log_p.mean()),
                "se_of_patches": float(self.log_p.std(ddof=1) / math.sqrt(n)) if n > 1 else 0.0,
                "se_of_particles": float(np.sqrt(np.sum(self.log_p_se**2)) / n),
                "median_se_of_one": float(np.median(self.log_p_se)),
                "unreliable": int(np.sum(self.log_p_se > 0.5)),
                "mean_with_a_quarter_of_the_sweeps": self.log_p_quick,
                "n": n,
            }
        return out

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> PatchRun:
        """Take back what `plain` made of it."""
        arrays = {k: np.array(v, dtype=float) for k, v in data.items() if k not in _NOT_ARRAYS}
        return cls(
            omega=data["omega"], log_p_quick=data["log_p_quick"], course=Course.from_dict(data["course"]), **arrays
        )


@dataclass(frozen=True, eq=False)
class PatchJob:
    """A run to do: its overcompleteness, seed, first dictionary (D, K), and stages."""

    omega: float
    seed: int
    A0: Array
    stages: tuple[Stage, ...]
    name: str = ""

    def __str__(self) -> str:
        return f"Omega {self.omega:g}, seed {self.seed}{self.name}"


def source_name(pictures: Sequence[Array] | None) -> str:
    """Return whose pictures these are."""
    return "scikit-image: camera, chelsea, coffee" if pictures is None else f"{len(pictures)} pictures that were given"


def halves(pictures: Sequence[Array] | None, side: int) -> tuple[NaturalPatches, NaturalPatches]:
    """Return sources of patches to learn from, the left three quarters of each picture, and of held-out ones."""
    white = [whiten(picture) for picture in (photographs() if pictures is None else pictures)]
    edges = [round(TRAINED * picture.shape[1]) for picture in white]
    left, right = (
        [p[:, :e] for p, e in zip(white, edges, strict=True)],
        [p[:, e:] for p, e in zip(white, edges, strict=True)],
    )
    return NaturalPatches(left, side), NaturalPatches(right, side)


def patch_runs(
    jobs: Sequence[PatchJob],
    effort: Effort,
    *,
    pi: float,
    learn: tuple[str, ...],
    seed: int,
    pictures: Sequence[Array] | None,
    side: int,
    workers: int,
    note: Note | None,
    each_norm: bool,
) -> tuple[PatchRun, ...]:
    """Learn from patches, one run for each job; ``each_norm`` keeps the course of every atom's norm, not of their mean."""
    source, rest = halves(pictures, side)
    held_out = rest.batch(0, effort.held_out, seed)

    def one(job: PatchJob, progress: Progress) -> PatchRun:
        learner = Learner(
            A0=job.A0,
            pi=pi,
            lam=LAM,
            sigma=SIGMA,
            source=source,
            stages=job.stages,
            seed=job.seed,
            learn=learn,
            batch=BATCH,
            records=500,
        )
        run = learner.run(progress=progress)
        return _measured(job, run, held_out, effort, progress, each_norm=each_norm)

    return tuple(run_all(one, jobs, str, workers=workers, note=note))


def _measured(
    job: PatchJob, run: LearningRun, held_out: Array, effort: Effort, progress: Progress, *, each_norm: bool
) -> PatchRun:
    h = run.history
    time, norm, pi = (np.asarray(h[name].values) for name in ("time", "norm", "pi"))
    ends = np.arange(1, math.floor(time[-1] / WINDOW + 1e-6) + 1) * WINDOW
    inside = [(time > end - WINDOW * (1 + 1e-9)) & (time <= end * (1 + 1e-9)) for end in ends]
    means = np.array([norm[w].mean(0) for w in inside]).reshape(len(ends), norm.shape[1])
    change = np.array([np.median(np.abs(b / a - 1)) for a, b in pairwise(means)])
    course = Course.of(job.seed, run)
    if not each_norm:
        course = replace(course, norm=course.norm.mean(1, keepdims=True))
    none, found, quick = np.zeros(0), None, None
    if len(held_out):
        less = replace(effort, sweeps=max(1, effort.sweeps // 4))
        found = held_out_likelihood(run.learned.model(), held_out, effort, job.seed, progress)
        quick = held_out_likelihood(run.learned.model(), held_out, less, job.seed, progress).mean
    return PatchRun(
        omega=job.omega,
        course=course,
        activity=np.mean(np.abs(run.u) > run.learned.u0_final, 1),
        window=ends,
        window_pi=np.array([pi[w].mean() for w in inside]),
        window_norm=means.mean(1) if len(ends) else none,
        window_change=np.concatenate([[0.0], change]) if len(ends) else none,
        log_p=none if found is None else found.log_p,
        log_p_se=none if found is None else found.se,
        log_p_quick=quick,
    )
