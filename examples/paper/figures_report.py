"""What Figures 4b and 6 to 9 say, as lines of text: the numbers, and whether they are as in the paper."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from examples.paper.figure_bars import NEAR_NORM, NEAR_PI, SURPLUS, Figure4bData, OvercompleteData
from examples.paper.figure_norms import Figure8Data
from examples.paper.figure_patches import STILL, PatchRun
from examples.paper.figure_runs import USED
from examples.paper.figure_slope import Figure9Data


def figure4b_report(data: Figure4bData) -> str:
    """Return the learned pi of every truth, with its standard error over runs."""
    lines = []
    for truth in sorted({run.truth for run in data.runs}):
        mean, se = data.learned(truth)
        runs = ", ".join(f"{run.learned:.3f} from {run.start:g}" for run in data.runs if run.truth == truth)
        lines.append(f"pi of the data {truth:g}: learned {mean:.4f} ({se:.4f}); {runs}")
    hold = data.stages[-1].hold
    lines.append(
        f"in brackets: standard error over the starts, without the bias of stale codes at a hold of {hold:g} tau"
    )
    return "\n".join(lines)


def _over(run_gain: tuple[float, float] | None) -> str:
    return (
        "" if run_gain is None else f"; held-out log p(x) minus the true model's {run_gain[0]:+.3f} ({run_gain[1]:.3f})"
    )


def figure6_report(data: OvercompleteData) -> str:
    """Return what became of the surplus half, for every pi and seed."""
    lines = []
    for run in data.runs:
        norms, used = run.course.norms, run.course.used
        kept = f"{int(used.sum())} of {len(used)} used, norms {norms[used].min():.3f} to {norms[used].max():.3f}"
        best = data.optimum(run.pi).norm
        verdict = "one copy of each bar, as in the paper" if data.one_of_each(run) else "not as in the paper"
        lines.append(
            f"pi held at {run.pi:g}, seed {run.course.seed}: {kept} (optimum {best:.3f}), longest other "
            f"{run.surplus:.0%} of the shortest used: {verdict}{_over(run.gain())}"
        )
    lines.append(
        f"used: above {USED:.0%} of the longest; as in the paper: one of each bar, within {NEAR_NORM:.0%} of the optimum, "
        f"others below {SURPLUS:.0%}; pi of the data is {data.pi:g}"
    )
    return "\n".join(lines)


def figure7_report(data: OvercompleteData) -> str:
    """Return pi and the copies of each bar, for every seed."""
    goal, best, lines = 1 - math.sqrt(1 - data.pi), data.optima[0], []
    for run in data.runs:
        norms = run.course.norms
        verdict = "as in the paper" if data.two_of_each(run) else "not as in the paper"
        lines.append(
            f"seed {run.course.seed}: pi {run.course.learned_pi:.4f}, copies of each bar {run.copies}, norms "
            f"{norms.min():.3f} to {norms.max():.3f}: {verdict}{_over(run.gain())}"
        )
    lines.append(
        f"as in the paper: every bar twice, pi within {NEAR_PI:.0%} of 1 - sqrt(1 - {data.pi:g}) = {goal:.4f} "
        f"(half of the data's pi is {data.pi / 2:g}); two copies are most likely at pi {best.pi:.4f}, norm {best.norm:.3f}"
    )
    return "\n".join(lines)


def figure8_report(data: Figure8Data) -> str:
    """Return how many atoms are used, for every seed and from a split start."""
    lines = [f"pi held at {data.pi:g}, seed {run.course.seed}: {_norms(run)}{_likelihood(run)}" for run in data.runs]
    lines.append(f"from a start with every other atom a tenth as long: {_norms(data.split)}{_likelihood(data.split)}")
    state = {None: "the runs are too short to tell whether norms are at rest", True: "norms are at rest"}
    lines.append(
        f"{state.get(data.converged(), 'norms are not at rest')} (at rest: every mean norm moves by less than {STILL:.0%} "
        f"per 1000 tau); used: above {USED:.0%} of the longest; the paper has a little more than half"
    )
    return "\n".join(lines)


def _norms(run: PatchRun) -> str:
    norms, used = np.sort(run.course.norms)[::-1], run.course.used
    n = int(used.sum())
    low, middle, high = np.quantile(norms, (0.1, 0.5, 0.9))
    rest = "" if n == len(norms) else f", the others {norms[n:].min():.3f} to {norms[n]:.3f}"
    change = f"; mean {run.norm_change[-1]:+.2%} per 1000 tau" if len(run.norm_change) else ""
    return (
        f"{n} of {len(norms)} atoms used ({n / len(norms):.0%}), norms {norms[n - 1]:.3f} to {norms[0]:.3f}{rest} "
        f"(10, 50, 90 %: {low:.3f}, {middle:.3f}, {high:.3f}){change}"
    )


def _likelihood(run: PatchRun) -> str:
    found = run.summary().get("log_likelihood")
    if found is None:
        return ""
    return (
        f"; held-out log p(x) {found['mean']:.2f} ({found['se_of_patches']:.2f} over {found['n']} patches, "
        f"{found['mean_with_a_quarter_of_the_sweeps']:.2f} with a quarter of the sweeps, {found['unreliable']} unreliable)"
    )


def _before(data: Figure9Data, stages: Sequence[Mapping[str, Any] | None]) -> str:
    """Return what pi was in the stage before the last, which had no pause."""
    if len(stages) < 2 or (before := stages[-2]) is None or data.stages[-1].pause == 0:
        return ""
    return f" ({before['pi_mean']:.4f} without the pause)"


def _moved(rest: Mapping[str, Any] | None) -> str:
    if rest is None:
        return ""
    error = "" if rest["pi_se"] is None else f" ({rest['pi_se']:.1%})"
    return f"; per 1000 tau norms {rest['mean_norm']:+.2%}, pi {rest['pi']:+.1%}{error}"


def figure9_report(data: Figure9Data) -> str:
    """Return pi and the number of active elements for every run, the slope, and whether it is the paper's -1."""
    lines = []
    for run in sorted(data.runs, key=lambda r: (r.omega, r.course.seed)):
        K, stages = run.course.A.shape[1], data.convergence(run)
        lines.append(
            f"Omega {run.omega:g}, seed {run.course.seed}: pi {run.course.learned_pi:.4f}{_before(data, stages)}, active "
            f"{run.course.learned_pi * K:.2f} of {K}{_moved(stages[-1])}{_likelihood(run)}"
        )
    slope, still = data.slope(), data.converged()
    each = ", ".join(f"{value:.3f}" for value in slope.each)
    if slope.se is None or slope.half_width is None:
        lines.append(f"slope of log pi over log Omega: {slope.mean:.3f}; one seed has no error: nothing is said of -1")
    else:
        words = "agrees with" if slope.agrees() else "disagrees with"
        lines.append(
            f"slope of log pi over log Omega: {slope.mean:.3f} ({slope.se:.3f}; of each seed {each}): {words} the paper's -1 "
            f"(95 % interval {slope.mean - slope.half_width:.3f} to {slope.mean + slope.half_width:.3f})"
        )
    state = {
        None: "is too short to tell whether norms are at rest",
        True: "is at rest",
        False: "is not at rest everywhere",
    }
    lines.append(
        f"the learning {state[still]} (at rest: at the end of each of the last two stages every mean norm moves by less "
        f"than {STILL:.0%} per 1000 tau)"
    )
    return "\n".join(lines)
