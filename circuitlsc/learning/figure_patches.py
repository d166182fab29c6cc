"""Figures 8 and 9 of Fang et al. 2022, doi:10.1162/neco_a_01505, section 4.3, as numbers: whitened natural patches.

The paper's 8 x 8 patches are of van Hateren's pictures; these are of three photographs of scikit-image (or of pictures
that are given), with unit variance. The left three quarters of each picture are learned from, the rest is held out. The
paper gives neither sigma nor lam nor time constants; here sigma = 0.5, lam = 1, and codes are nonnegative as there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import linregress
from scipy.stats import t as student

from circuitlsc.arrays import Array
from circuitlsc.images import whiten
from circuitlsc.learning.figure_runs import Course, Effort, Note, Progress, held_out_likelihood, plain, run_all
from circuitlsc.learning.learner import Learner, LearningRun
from circuitlsc.learning.natural import NaturalPatches, photographs
from circuitlsc.learning.stage import Stage
from circuitlsc.learning.start import overcomplete, random_weights

SIDE, SIGMA, LAM = 8, 0.5, 1.0
PI_8, OMEGA_8 = 0.5, 4.0
OMEGAS = (1.0, 2.0, 4.0)
PI_START = 0.3  # of Figure 9
TRAINED = 0.75  # of each picture's width
# Time constants: A follows its inputs within tau_A sigma^2/E[s^2]. That is short in Figure 8, where half of the latents are
# active: below tau_A = 1000 the dictionary is that of one batch. In Figure 9, norms grow for thousands of tau at tau_A = 20;
# but |x - A s|^2 rises by a quarter when tau_A goes from 20 to 100, hence 100 in the end.
# Steps: several atoms of norm 2 at sigma = 0.5 are stiff, and h = 0.02 is not short. It is what lets Figure 9 come to rest in
# half an hour; docs/learning.md has a run at h = 0.005.
STAGES_8 = (
    Stage(duration=1500.0, step=0.02, hold=10.0, tau_A=60.0),
    Stage(duration=2500.0, step=0.005, hold=50.0, tau_A=1500.0),
)
STAGES_9 = (  # for Omega = 1: see `_for_omega`
    Stage(duration=8000.0, step=0.02, hold=10.0, tau_A=20.0, tau_u0=80.0),
    # what a long step and a short hold do to norms and pi, undone; and an average over many batches, or A fits each
    Stage(duration=2000.0, step=0.005, hold=40.0, tau_A=800.0, tau_u0=100.0),
    # with a pause pi is no longer biased by the codes of the last input; the stage before shows how much it was
    Stage(duration=3000.0, step=0.005, hold=40.0, pause=10.0, tau_A=800.0, tau_u0=200.0),
)
WINDOW = 500.0  # tau: over which means are compared
STILL = 0.01  # change of the mean norm per 1,000 tau that counts as converged
LEVEL = 0.05  # of the test of the slope
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
class Figure8Data:
    """Norms of an overcomplete dictionary with pi held.

    Attributes
    ----------
    side, pi, lam, sigma, batch
        Of patches and learner.
    source : str
        Whose pictures.
    stages : tuple of Stage
    runs : tuple of PatchRun
    """

    side: int
    pi: float
    lam: float
    sigma: float
    batch: int
    source: str
    stages: tuple[Stage, ...]
    runs: tuple[PatchRun, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers behind the figure, JSON-ready; "used" is longer than a quarter of the longest."""
        return {**plain(self), "summaries": plain([run.summary() for run in self.runs])}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Figure8Data:
        """Take back what `to_dict` returned."""
        numbers = {name: data[name] for name in ("side", "pi", "lam", "sigma", "batch", "source")}
        runs = tuple(PatchRun.from_dict(run) for run in data["runs"])
        return cls(**numbers, stages=tuple(Stage(**stage) for stage in data["stages"]), runs=runs)


@dataclass(frozen=True)
class Slope:
    """Slope of log pi against log Omega: mean over seeds, standard error, and half of its 95 % interval (Student's t).

    With one seed the last two are None.
    """

    each: tuple[float, ...]
    mean: float
    se: float | None
    half_width: float | None

    @classmethod
    def of(cls, each: Sequence[float]) -> Slope:
        """Return the slope over seeds."""
        values, n = np.array(each), len(each)
        if n < 2:
            return cls(tuple(each), float(values.mean()), None, None)
        se = float(values.std(ddof=1) / math.sqrt(n))
        return cls(tuple(each), float(values.mean()), se, se * float(student.isf(LEVEL / 2, n - 1)))

    def agrees(self, value: float = -1.0) -> bool | None:
        """Return whether a value lies in the interval; None if there is none."""
        return None if self.half_width is None else abs(self.mean - value) <= self.half_width


@dataclass(frozen=True, eq=False)
class Figure9Data:
    """pi learned at several levels of overcompleteness.

    Attributes
    ----------
    side, lam, sigma, batch, source
        As in `Figure8Data`.
    stages : tuple of Stage
        For Omega = 1; in all but the first tau_A is that over Omega.
    runs : tuple of PatchRun
    """

    side: int
    lam: float
    sigma: float
    batch: int
    source: str
    stages: tuple[Stage, ...]
    runs: tuple[PatchRun, ...]

    @property
    def omegas(self) -> list[float]:
        """The levels, from the lowest."""
        return sorted({run.omega for run in self.runs})

    def of_omega(self, omega: float) -> tuple[PatchRun, ...]:
        """Return the runs of one level."""
        return tuple(run for run in self.runs if run.omega == omega)

    def slope(self) -> Slope:
        """Return the least-squares slope of log pi against log Omega, of each seed by itself."""
        each = []
        for seed in dict.fromkeys(run.course.seed for run in self.runs):
            mine = [run for run in self.runs if run.course.seed == seed]
            x, y = np.log([run.omega for run in mine]), np.log([run.course.learned_pi for run in mine])
            each.append(float(np.polyfit(x, y, 1)[0]))
        return Slope.of(each)

    def convergence(self, run: PatchRun) -> list[dict[str, Any] | None]:
        """Return how norms and pi change in each stage, relative and per 1,000 tau; None if too short to tell.

        That of norms is the last one, from a window to the next. That of pi is a line through all windows but the first, with
        its standard error (None for less than three): pi follows each batch. ``pi_mean`` is the mean over the same windows.
        """
        out: list[dict[str, Any] | None] = []
        ends, scale = np.cumsum([stage.duration for stage in self.stages]), 1000.0 / WINDOW
        for stage, end in zip(self.stages, ends, strict=True):
            begun = run.window > (end - stage.duration + WINDOW) * (1 - 1e-9)
            inside = np.flatnonzero(begun & (run.window <= end * (1 + 1e-9)))
            if len(inside) < 2:
                out.append(None)
                continue
            a, b = inside[-2:]
            line = _line(run.window[inside[1:]] / 1000.0, np.log(run.window_pi[inside[1:]]))
            out.append(
                {
                    "tau_A": stage.tau_A,
                    "step": stage.step,
                    "mean_norm": float(run.window_norm[b] / run.window_norm[a] - 1) * scale,
                    "median_atom": float(run.window_change[b]) * scale,
                    "pi_mean": float(run.window_pi[inside[1:]].mean()),
                    "pi": line.slope,
                    "pi_se": line.se,
                }
            )
        return out

    def converged(self) -> bool | None:
        """Return whether no mean norm moves by 1 % or more per 1,000 tau in the last two stages; None if too short."""
        last = [change for run in self.runs for change in self.convergence(run)[-2:]]
        found = [abs(change["mean_norm"]) < STILL for change in last if change is not None]
        return all(found) if len(found) == len(last) else None

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers behind the figure, JSON-ready."""
        slope = self.slope()
        return {
            **plain(self),
            "summaries": plain([{**run.summary(), "last_change": self.convergence(run)} for run in self.runs]),
            "slope": {**plain(slope), "minus_1_in_95_percent_interval": slope.agrees()},
            "converged": self.converged(),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Figure9Data:
        """Take back what `to_dict` returned."""
        numbers = {name: data[name] for name in ("side", "lam", "sigma", "batch", "source")}
        runs = tuple(PatchRun.from_dict(run) for run in data["runs"])
        return cls(**numbers, stages=tuple(Stage(**stage) for stage in data["stages"]), runs=runs)


class _Line(NamedTuple):
    slope: float
    se: float | None


def _line(x: Array, y: Array) -> _Line:
    """Return the least-squares slope, and its standard error if there are three points or more."""
    if len(x) < 2:
        return _Line(0.0, None)
    if len(x) < 3:
        return _Line(float((y[1] - y[0]) / (x[1] - x[0])), None)
    fit = linregress(x, y)
    return _Line(float(fit.slope), float(fit.stderr))


def figure8_data(
    effort: Effort | None = None,
    *,
    seed: int = 0,
    pictures: Sequence[Array] | None = None,
    side: int = SIDE,
    omega: float = OMEGA_8,
    workers: int = 1,
    note: Note | None = None,
) -> Figure8Data:
    """Learn an overcomplete dictionary of patches with pi = 0.5 held; ``pictures`` are not yet whitened."""
    effort = effort or EFFORT
    stages = effort.stages(STAGES_8)
    jobs = [(omega, seed + k) for k in range(effort.seeds)]
    runs = _runs(jobs, effort, stages, PI_8, ("A",), seed, pictures, side, workers, note, norms=True)
    return Figure8Data(side, PI_8, LAM, SIGMA, 100, _kind(pictures), stages, runs)


def figure9_data(
    effort: Effort | None = None,
    *,
    seed: int = 0,
    omegas: Sequence[float] = OMEGAS,
    pictures: Sequence[Array] | None = None,
    side: int = SIDE,
    workers: int = 1,
    note: Note | None = None,
) -> Figure9Data:
    """Learn dictionary and pi from patches, for every overcompleteness and seed; ``pictures`` are not yet whitened."""
    effort = effort or EFFORT
    stages = effort.stages(STAGES_9)
    jobs = [
        (omega, seed + k) for omega in sorted(omegas, reverse=True) for k in range(effort.seeds)
    ]  # the longest first
    runs = _runs(jobs, effort, stages, PI_START, ("A", "pi"), seed, pictures, side, workers, note, norms=False)
    return Figure9Data(side, LAM, SIGMA, 100, _kind(pictures), stages, runs)


def _kind(pictures: Sequence[Array] | None) -> str:
    return "scikit-image: camera, chelsea, coffee" if pictures is None else f"{len(pictures)} pictures that were given"


def _runs(
    jobs: Sequence[tuple[float, int]],
    effort: Effort,
    stages: Sequence[Stage],
    pi: float,
    learn: tuple[str, ...],
    seed: int,
    pictures: Sequence[Array] | None,
    side: int,
    workers: int,
    note: Note | None,
    *,
    norms: bool,
) -> tuple[PatchRun, ...]:
    white = [whiten(picture) for picture in (photographs() if pictures is None else pictures)]
    edges = [round(TRAINED * picture.shape[1]) for picture in white]
    source = NaturalPatches([p[:, :edge] for p, edge in zip(white, edges, strict=True)], side)
    rest = NaturalPatches([p[:, edge:] for p, edge in zip(white, edges, strict=True)], side)
    held_out = rest.batch(0, effort.held_out, seed)

    stage, *more = stages

    def one(job: tuple[float, int], progress: Progress) -> PatchRun:
        omega, own = job
        learner = Learner(
            A0=random_weights(side**2, overcomplete(side**2, omega), own),
            pi=pi,
            lam=LAM,
            sigma=SIGMA,
            source=source,
            stages=[stage, *(_for_omega(later, omega) for later in more)],
            seed=own,
            learn=learn,
            records=500,
        )
        run = learner.run(progress=progress)
        return _measured(omega, own, run, held_out, effort, progress, norms=norms)

    return tuple(run_all(one, jobs, lambda job: f"Omega {job[0]:g}, seed {job[1]}", workers=workers, note=note))


def _for_omega(stage: Stage, omega: float) -> Stage:
    """Return a later stage of Figure 9 in which A remembers as many inputs at every Omega as at 1.

    That is for tau_A sigma^2/E[s^2], and E[s^2] falls as pi does, about as 1/Omega.
    """
    return stage if stage.tau_u0 is None or stage.tau_A is None else replace(stage, tau_A=stage.tau_A / omega)


def _measured(
    omega: float, seed: int, run: LearningRun, held_out: Array, effort: Effort, progress: Progress, *, norms: bool
) -> PatchRun:
    h = run.history
    time, norm, pi = (np.asarray(h[name].values) for name in ("time", "norm", "pi"))
    ends = np.arange(1, math.floor(time[-1] / WINDOW + 1e-6) + 1) * WINDOW
    inside = [(time > end - WINDOW * (1 + 1e-9)) & (time <= end * (1 + 1e-9)) for end in ends]
    means = np.array([norm[w].mean(0) for w in inside]).reshape(len(ends), norm.shape[1])
    change = np.array([np.median(np.abs(b / a - 1)) for a, b in pairwise(means)])
    course = Course.of(seed, run)
    if not norms:
        course = replace(course, norm=course.norm.mean(1, keepdims=True))
    none, found, quick = np.zeros(0), None, None
    if len(held_out):
        less = replace(effort, sweeps=max(1, effort.sweeps // 4))
        found = held_out_likelihood(run.learned.model(), held_out, effort, seed, progress)
        quick = held_out_likelihood(run.learned.model(), held_out, less, seed, progress).mean
    return PatchRun(
        omega=omega,
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
