"""Figures 4b, 6 and 7 of Fang et al. 2022, doi:10.1162/neco_a_01505, sections 4.1 and 4.2, as numbers: bars.

The data are x = A s + n with n x n bars of unit norm, lam = 1, and pi = 0.3 but where Figure 4b varies it. Learning follows
(3.9)-(3.13) as `circuitlsc.learning.learner` corrects them, nothing is normalised, and learning never waits. The paper
gives no size of the images, no sigma of Figures 6 and 7 and no time constants: the ones here are ours.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from circuitlsc.io.arrays import Array
from circuitlsc.learning.learner import Learner, LearningRun
from circuitlsc.learning.stage import Stage
from circuitlsc.learning.start import random_weights
from circuitlsc.model.data import bars
from circuitlsc.model.priors import SpikeSlab
from circuitlsc.model.sparse_coding import SparseCodingModel
from examples.paper.figure_runs import Course, Effort, Note, Progress, held_out_likelihood, plain, run_all
from examples.paper.optimum import Optimum, bar_optimum

LAM, PI = 1.0, 0.3
TRUTHS, STARTS = (0.1, 0.3, 0.5), (0.05, 0.6, 0.9)  # pi of the data, and where learning starts, in Figure 4b
HELD = (0.3, 0.4, 0.5)  # pi of Figure 6
SIGMA_4B, SIGMA = 0.5, 0.3  # of Figure 4b, and of Figures 6 and 7
# A first stage that is fast, and a last one that is exact: its bias is about 1/hold, and it averages over more inputs.
STAGES_4B = (
    Stage(duration=600.0, step=0.02, hold=10.0, tau_u0=20.0),
    Stage(duration=4000.0, step=0.01, hold=200.0, tau_u0=100.0),  # at a hold of 50, 0.1 is learned as 0.085
)
STAGES_6 = (
    # at pi = 0.4 the last surplus atom may take 4,000 tau and more
    Stage(duration=8000.0, step=0.01, hold=20.0, tau_A=100.0),
    Stage(duration=8000.0, step=0.005, hold=40.0, tau_A=2000.0),
)
STAGES_7 = (
    Stage(duration=4000.0, step=0.01, hold=10.0, tau_A=100.0, tau_u0=100.0),
    Stage(duration=2000.0, step=0.01, hold=50.0, tau_A=300.0, tau_u0=300.0),
    Stage(duration=4000.0, step=0.01, hold=50.0, tau_A=1000.0, tau_u0=1000.0),
)
SURPLUS = 0.2  # a surplus atom of Figure 6 is shorter than this share of the shortest one that is used
NEAR_NORM, NEAR_PI = 0.1, 0.15  # relative distances from the optimum that count as there


# --- Figure 4b ---


@dataclass(frozen=True, eq=False)
class PiCourse:
    """How pi is learned from one start: pi of the data, where it starts, the run's seed, and pi against time (tau)."""

    truth: float
    start: float
    seed: int
    time: Array
    pi: Array
    learned: float

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> PiCourse:
        """Take back what `plain` made of it."""
        return cls(**{**data, "time": np.array(data["time"]), "pi": np.array(data["pi"])})


@dataclass(frozen=True, eq=False)
class Figure4bData:
    """pi learned with the dictionary known, from several starts.

    Attributes
    ----------
    n : int
        Side of the images.
    lam, sigma : float
        Of the data and the learner.
    batch : int
        Inputs shown at once.
    stages : tuple of Stage
    runs : tuple of PiCourse
        Each start of each truth, with inputs and noise of its own.
    """

    n: int
    lam: float
    sigma: float
    batch: int
    stages: tuple[Stage, ...]
    runs: tuple[PiCourse, ...]

    def learned(self, truth: float) -> tuple[float, float]:
        """Return the mean of pi over the runs of one truth, and its standard error from their scatter (0 for one)."""
        values = np.array([run.learned for run in self.runs if run.truth == truth])
        return float(values.mean()), float(values.std(ddof=1) / math.sqrt(len(values))) if len(values) > 1 else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers behind the figure, JSON-ready."""
        truths = sorted({run.truth for run in self.runs})
        found = [{"truth": t, "pi": self.learned(t)[0], "se": self.learned(t)[1]} for t in truths]
        return {**plain(self), "found": found}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Figure4bData:
        """Take back what `to_dict` returned."""
        numbers = {name: data[name] for name in ("n", "lam", "sigma", "batch")}
        runs = tuple(PiCourse.from_dict(run) for run in data["runs"])
        return cls(**numbers, stages=tuple(Stage(**stage) for stage in data["stages"]), runs=runs)


def figure4b_data(
    effort: Effort | None = None,
    *,
    seed: int = 0,
    n: int = 8,
    truths: tuple[float, ...] = TRUTHS,
    starts: tuple[float, ...] = STARTS,
    workers: int = 1,
    note: Note | None = None,
) -> Figure4bData:
    """Learn pi by (3.13), for each pi of the data from each start; A is the data's own.

    Every run has a seed of its own, ``seed`` and those after it; ``effort.seeds`` is not used.
    """
    stages = (effort or Effort()).stages(STAGES_4B)
    kinds = [(truth, start) for truth in truths for start in starts]
    learners = [
        Learner(
            A0=bars(n),
            pi=start,
            lam=LAM,
            sigma=SIGMA_4B,
            source=SparseCodingModel(bars(n), SpikeSlab(truth, LAM), SIGMA_4B),
            stages=stages,
            seed=seed + k,
            learn=("pi",),
        )
        for k, (truth, start) in enumerate(kinds)
    ]

    def learn(k: int, progress: Progress) -> PiCourse:
        run = learners[k].run(progress=progress)
        course = Course.of(seed + k, run, points=200)
        time, pi = np.concatenate([[0.0], course.time]), np.concatenate([[kinds[k][1]], course.pi])
        return PiCourse(*kinds[k], seed + k, time, pi, course.learned_pi)

    def name(k: int) -> str:
        return f"pi {kinds[k][0]:g} from {kinds[k][1]:g}"

    runs = run_all(learn, range(len(kinds)), name, workers=workers, note=note)
    return Figure4bData(n, LAM, SIGMA_4B, learners[0].batch, stages, tuple(runs))


# --- Figures 6 and 7 ---


@dataclass(frozen=True, eq=False)
class OvercompleteRun:
    """A run with twice as many atoms as there are bars.

    Attributes
    ----------
    pi : float
        P(active) that it started with, or was held at.
    course : Course
    bar : array of int, shape (K,)
        The bar that each atom is most parallel to.
    cosine : array, shape (K,)
        And the cosine.
    log_p, log_p_truth : array, shape (n_held_out,)
        Log likelihood of held-out inputs under what was learned, and under the model that drew them; empty if left out.
    log_p_se : float
        Largest standard error of these numbers.
    """

    pi: float
    course: Course
    bar: NDArray[np.intp]
    cosine: Array
    log_p: Array
    log_p_truth: Array
    log_p_se: float

    @property
    def copies(self) -> list[int]:
        """How many used atoms there are of each bar; 2 n numbers."""
        n_bars = 2 * math.isqrt(len(self.course.A))
        return [int(np.sum(self.course.used & (self.bar == b))) for b in range(n_bars)]

    @property
    def surplus(self) -> float:
        """Length of the longest unused atom over the shortest used one; 0 if every atom is used."""
        norms, used = self.course.norms, self.course.used
        return float(norms[~used].max() / norms[used].min()) if not used.all() else 0.0

    def gain(self) -> tuple[float, float] | None:
        """Return the mean of log p(x) learned minus true over the same held-out inputs, and its standard error."""
        if len(self.log_p) < 2:
            return None
        difference = self.log_p - self.log_p_truth
        return float(difference.mean()), float(difference.std(ddof=1) / math.sqrt(len(difference)))

    def summary(self) -> dict[str, Any]:
        """Return what is said about the run, JSON-ready."""
        norms, used, gain = self.course.norms, self.course.used, self.gain()
        return {
            "pi_start": self.pi,
            "seed": self.course.seed,
            "learned_pi": self.course.learned_pi,
            "n_used": int(used.sum()),
            "copies_of_each_bar": self.copies,
            "used_norms": [float(norms[used].min()), float(norms[used].max())],
            "smallest_cosine_of_used": float(self.cosine[used].min()),
            "longest_unused_over_shortest_used": self.surplus,
            "log_likelihood_minus_true_models": None if gain is None else {"mean": gain[0], "se": gain[1]},
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> OvercompleteRun:
        """Take back what `plain` made of it."""
        arrays = {name: np.array(data[name]) for name in ("bar", "cosine", "log_p", "log_p_truth")}
        return cls(pi=data["pi"], log_p_se=data["log_p_se"], course=Course.from_dict(data["course"]), **arrays)


@dataclass(frozen=True, eq=False)
class OvercompleteData:
    """Runs of a dictionary that is twice overcomplete, and where the likelihood of one bar has its optimum.

    Attributes
    ----------
    n : int
        Side of the images: 2 n bars, and 4 n atoms to begin with.
    pi, lam, sigma : float
        Of the data.
    learn : tuple of str
        What moves: "A", or "A" and "pi".
    batch : int
    stages : tuple of Stage
    runs : tuple of OvercompleteRun
    optima : tuple of Optimum
        Figure 6: one copy of a bar, for each pi that is held. Figure 7: two copies, pi free.
    """

    n: int
    pi: float
    lam: float
    sigma: float
    learn: tuple[str, ...]
    batch: int
    stages: tuple[Stage, ...]
    runs: tuple[OvercompleteRun, ...]
    optima: tuple[Optimum, ...]

    def of_pi(self, pi: float) -> tuple[OvercompleteRun, ...]:
        """Return the runs that were held at this pi."""
        return tuple(run for run in self.runs if run.pi == pi)

    def optimum(self, pi: float) -> Optimum:
        """Return the optimum for a held pi."""
        return next(o for o in self.optima if o.pi == pi)

    def one_of_each(self, run: OvercompleteRun) -> bool:
        """Return whether a run ended as Figure 6 says.

        One used atom for each bar, of a norm within 10 % of the optimum; all others below 20 % of the shortest of these.
        """
        best, norms = self.optimum(run.pi).norm, run.course.norms[run.course.used]
        near = bool(np.all(np.abs(norms / best - 1) < NEAR_NORM))
        return set(run.copies) == {1} and near and 0 < run.surplus < SURPLUS

    def two_of_each(self, run: OvercompleteRun) -> bool:
        """Return whether a run ended as Figure 7 says: every bar twice, pi within 15 % of 1 - sqrt(1 - pi)."""
        goal = 1 - math.sqrt(1 - self.pi)
        return set(run.copies) == {2} and abs(run.course.learned_pi / goal - 1) < NEAR_PI

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers behind the figure, JSON-ready."""
        verdict = self.two_of_each if "pi" in self.learn else self.one_of_each
        summaries = [{**run.summary(), "as_in_the_paper": verdict(run)} for run in self.runs]
        return {**plain(self), "summaries": plain(summaries)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> OvercompleteData:
        """Take back what `to_dict` returned."""
        return cls(
            **{name: data[name] for name in ("n", "pi", "lam", "sigma", "batch")},
            learn=tuple(data["learn"]),
            stages=tuple(Stage(**stage) for stage in data["stages"]),
            runs=tuple(OvercompleteRun.from_dict(run) for run in data["runs"]),
            optima=tuple(Optimum(**optimum) for optimum in data["optima"]),
        )


def figure6_data(
    effort: Effort | None = None,
    *,
    seed: int = 0,
    n: int = 4,
    pis: tuple[float, ...] = HELD,
    stages: Sequence[Stage] = STAGES_6,
    workers: int = 1,
    note: Note | None = None,
) -> OvercompleteData:
    """Learn a twice overcomplete dictionary with pi held (0.3 is the data's): the surplus half vanishes, or it does not."""
    stages = (effort or Effort()).stages(stages)
    optima = tuple(bar_optimum(PI, LAM, SIGMA, pi=pi) for pi in pis)
    shell = OvercompleteData(n, PI, LAM, SIGMA, ("A",), 100, stages, (), optima)
    return _runs(shell, effort or Effort(), pis, seed, workers, note)


def figure7_data(
    effort: Effort | None = None, *, seed: int = 0, n: int = 4, workers: int = 1, note: Note | None = None
) -> OvercompleteData:
    """Learn dictionary and pi together from the same overcomplete start: every bar twice, each copy half as active."""
    stages = (effort or Effort()).stages(STAGES_7)
    optima = (bar_optimum(PI, LAM, SIGMA, copies=2),)
    shell = OvercompleteData(n, PI, LAM, SIGMA, ("A", "pi"), 100, stages, (), optima)
    return _runs(shell, effort or Effort(), (PI,), seed, workers, note)


def _runs(
    data: OvercompleteData, effort: Effort, pis: tuple[float, ...], seed: int, workers: int, note: Note | None
) -> OvercompleteData:
    A, K = bars(data.n), 4 * data.n
    truth = SparseCodingModel(A, SpikeSlab(data.pi, data.lam), data.sigma)
    rng = np.random.default_rng([seed, 6])
    held_out = np.array([truth.draw(rng)[1] for _ in range(effort.held_out)])
    true_p = held_out_likelihood(truth, held_out, effort, seed) if effort.held_out else None
    jobs = [(pi, seed + k) for pi in pis for k in range(effort.seeds)]

    def learn(job: tuple[float, int], progress: Progress) -> OvercompleteRun:
        pi, own = job
        run = Learner(
            A0=random_weights(data.n**2, K, own),
            pi=pi,
            lam=data.lam,
            sigma=data.sigma,
            source=truth,
            stages=data.stages,
            seed=own,
            learn=data.learn,
            batch=data.batch,
        ).run(progress=progress)
        return _measured(pi, own, run, truth, held_out, true_p, effort, progress)

    runs = run_all(learn, jobs, lambda job: f"pi {job[0]:g}, seed {job[1]}", workers=workers, note=note)
    return replace(data, runs=tuple(runs))


def _measured(
    pi: float,
    seed: int,
    run: LearningRun,
    truth: SparseCodingModel,
    held_out: Array,
    true_p: Any,
    effort: Effort,
    progress: Progress,
) -> OvercompleteRun:
    course = Course.of(seed, run)
    norms = np.maximum(course.norms, 1e-300)
    cosines = truth.A.T @ (course.A / norms)
    none = np.zeros(0)
    if true_p is None:
        return OvercompleteRun(pi, course, np.argmax(cosines, 0), np.max(cosines, 0), none, none, 0.0)
    found = held_out_likelihood(run.learned.model(), held_out, effort, seed, progress)
    se = float(max(found.se.max(), true_p.se.max()))
    return OvercompleteRun(pi, course, np.argmax(cosines, 0), np.max(cosines, 0), found.log_p, true_p.log_p, se)
