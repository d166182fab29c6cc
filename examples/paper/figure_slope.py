"""Figure 9 of Fang et al. 2022, section 4.3, as numbers: pi learned from patches, against overcompleteness."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import linregress
from scipy.stats import t as student

from circuitlsc.io.arrays import Array
from circuitlsc.learning.stage import Stage
from circuitlsc.learning.start import overcomplete, random_weights
from examples.paper.figure_patches import (
    BATCH,
    EFFORT,
    LAM,
    SIDE,
    SIGMA,
    STILL,
    WINDOW,
    PatchJob,
    PatchRun,
    patch_runs,
    source_name,
)
from examples.paper.figure_runs import Effort, Note, plain

OMEGAS = (1.0, 2.0, 4.0)
PI_START = 0.3
# Several atoms of norm 2 at sigma = 0.5 are stiff, and h = 0.02 is not short: it is what lets norms, which grow for thousands
# of tau, arrive in minutes.
STAGES = (  # for Omega = 1: see `for_omega`
    Stage(duration=8000.0, step=0.02, hold=10.0, tau_A=20.0, tau_u0=80.0),
    # what a long step and a short hold do to norms and pi, undone; and an average over many batches, or A fits each
    Stage(duration=2000.0, step=0.005, hold=40.0, tau_A=800.0, tau_u0=100.0),
    # with a pause pi is no longer biased by the codes of the last input; the stage before shows how much it was
    Stage(duration=3000.0, step=0.005, hold=40.0, pause=10.0, tau_A=800.0, tau_u0=200.0),
)
LEVEL = 0.05  # of the test of the slope


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


def for_omega(stage: Stage, omega: float) -> Stage:
    """Return a later stage of Figure 9 in which A remembers as many inputs at every Omega as at 1.

    That is for tau_A sigma^2/E[s^2], and E[s^2] falls as pi does, about as 1/Omega.
    """
    return stage if stage.tau_u0 is None or stage.tau_A is None else replace(stage, tau_A=stage.tau_A / omega)


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
    stages = effort.stages(STAGES)
    jobs = []
    for omega in sorted(omegas, reverse=True):  # the longest first
        own = (stages[0], *(for_omega(stage, omega) for stage in stages[1:]))
        for k in range(seed, seed + effort.seeds):
            jobs.append(PatchJob(omega, k, random_weights(side**2, overcomplete(side**2, omega), k), own))
    runs = patch_runs(
        jobs,
        effort,
        pi=PI_START,
        learn=("A", "pi"),
        seed=seed,
        pictures=pictures,
        side=side,
        workers=workers,
        note=note,
        each_norm=False,
    )
    return Figure9Data(side, LAM, SIGMA, BATCH, source_name(pictures), stages, runs)
